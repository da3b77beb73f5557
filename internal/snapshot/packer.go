package snapshot

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// packFile is what a packer writes to: a file, or in tests one on a disk that
// fills up.
type packFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// packer appends exchanges to the data frames of a packed snapshot. They wait
// in memory until there are enough for a frame, which holds them in the order
// of reading, with the bodies that are new. It is not safe for concurrent use.
type packer struct {
	file packFile
	end  int64 // of the last frame that was written completely
	enc  *zstd.Encoder

	list   []frame
	stored uint32              // bodies in the frames
	places map[[16]byte]uint32 // the numbers of the bodies in the frames

	entries []entry // of the exchanges in the frames
	ids     *idSet  // theirs
	tally   tally   // of all

	pending []*row
	waiting map[string]bool   // their ids
	fresh   map[[16]byte]bool // bodies of the pending ones that are in no frame
	size    int               // of what the pending ones add to the frame
	weight  int               // of them when they are read

	routes []route
	byPath map[string]int
	told   int // how many routes stand in the frames
	// checkpoint returns the manifest so far; it goes with each frame, so that
	// a recording that is cut off keeps its accounts.
	checkpoint func() []byte
}

// entry is what a packer remembers of an exchange in a frame.
type entry struct {
	seconds int64
	nanos   uint32
	flags   uint8
}

func (e entry) start() time.Time { return time.Unix(e.seconds, int64(e.nanos)).UTC() }

func newPacker(f packFile) (*packer, error) {
	p, err := emptyPacker(f)
	if err != nil {
		return nil, err
	}
	head := skippable(magicHeader, []byte(packTitle))
	if _, err := f.WriteAt(head, 0); err != nil {
		return nil, err
	}
	p.end = int64(len(head))
	return p, nil
}

func emptyPacker(f packFile) (*packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, err
	}
	return &packer{file: f, enc: enc, places: map[[16]byte]uint32{}, fresh: map[[16]byte]bool{}, waiting: map[string]bool{}, ids: newIDSet(), byPath: map[string]int{}}, nil
}

// route returns the number of a route.
func (p *packer) route(r route) int {
	i, ok := p.byPath[r.path]
	if !ok {
		i = len(p.routes)
		p.routes = append(p.routes, r)
		p.byPath[r.path] = i
	}
	return i
}

// count is how many exchanges there are, written or pending.
func (p *packer) count() int { return len(p.entries) + len(p.pending) }

// add appends an exchange, which must not change any more. lost is how many
// exchanges are gone because their frame could not be written, x among them
// unless its own addition was refused.
func (p *packer) add(x *traffic.Exchange, r route) (lost int, err error) {
	if p.ids.has(x.ID) || p.waiting[x.ID] {
		return 0, fmt.Errorf("exchange %s: another one has this id", x.ID)
	}
	c, err := takeApart(x, p.route(r))
	if err != nil {
		return 0, err
	}
	row := newRow(x, c)
	for _, b := range c.bodies {
		sum := sha256.Sum256(b)
		key := [16]byte(sum[:])
		row.sums = append(row.sums, key)
		if _, ok := p.places[key]; !ok && !p.fresh[key] {
			p.fresh[key] = true
			p.size += len(b)
		}
	}
	p.size += c.size
	p.weight += c.weight
	p.waiting[x.ID] = true
	p.tally.add(row.flags, 1)
	p.pending = append(p.pending, row)
	if p.size >= frameSize || p.weight >= frameWeight || len(p.pending) >= maxRows {
		return p.flush()
	}
	return 0, nil
}

// flush writes what is pending to the file. When that fails, the file ends
// after the last frame that could be written, and the pending exchanges are
// lost.
func (p *packer) flush() (lost int, err error) {
	if len(p.pending) == 0 {
		return 0, nil
	}
	slices.SortFunc(p.pending, compareRows)
	content := frameParts{rows: p.pending}
	own := map[[16]byte]uint32{} // numbers of the bodies in this frame
	for _, r := range p.pending {
		for i, key := range r.sums {
			b := r.cells.bodies[i]
			_, old := p.places[key]
			_, placed := own[key]
			switch {
			case old, placed:
			case len(b) > ownFrame:
				if err := p.writeFrame(append([]byte{frameBody}, b...), 1); err != nil {
					return p.rollBack(), err
				}
				p.places[key] = p.stored - 1
			default:
				own[key] = uint32(len(content.bodies))
				content.bodies = append(content.bodies, b)
			}
		}
	}
	p.setPlaces(own)
	for ; p.told < len(p.routes); p.told++ {
		content.routes = append(content.routes, numbered{p.told, p.routes[p.told]})
	}
	if p.checkpoint != nil {
		content.checkpoint = p.checkpoint()
	}
	first := p.stored
	if err := p.writeFrame(content.encode(), len(content.bodies)); err != nil {
		return p.rollBack(), err
	}
	for key, n := range own {
		p.places[key] = first + n
	}
	for _, r := range p.pending {
		p.ids.add(r.id)
		p.entries = append(p.entries, r.entry())
	}
	p.clearPending()
	return 0, nil
}

// setPlaces writes into the cells which bodies the pending exchanges have: 0
// is the next one of those of this frame, else it is how far back of that the
// body is.
func (p *packer) setPlaces(own map[[16]byte]uint32) {
	next := uint32(0)
	for _, r := range p.pending {
		nth := 0
		for i := range r.cells.list {
			c := &r.cells.list[i]
			if c.form != freeNumber || c.field != fRequestBase+mBodyPlace && c.field != fResponseBase+mBodyPlace {
				continue
			}
			key := r.sums[nth]
			nth++
			n, ok := own[key]
			switch {
			case ok && n == next:
				c.number = 0
				next++
			case ok:
				c.number = uint64(next - n)
			default:
				c.number = uint64(p.stored + next - p.places[key])
			}
		}
	}
}

func (p *packer) writeFrame(raw []byte, bodies int) error {
	if len(raw) > maxFrame {
		return fmt.Errorf("write frame: %w", ErrTooLarge)
	}
	packed := p.enc.EncodeAll(raw, nil)
	if _, err := p.file.WriteAt(packed, p.end); err != nil {
		return errors.Join(fmt.Errorf("write frame: %w", err), p.file.Truncate(p.end))
	}
	p.appendFrame(frame{offset: p.end, packed: uint32(len(packed)), raw: uint32(len(raw)), bodies: p.stored, sum: sha256.Sum256(packed)}, bodies)
	return nil
}

// appendFrame takes up a frame that stands at the end of the file.
func (p *packer) appendFrame(f frame, bodies int) {
	f.exchanges = uint32(len(p.entries))
	p.list = append(p.list, f)
	p.stored += uint32(bodies)
	p.end += int64(f.packed)
}

func (p *packer) clearPending() {
	p.pending, p.size, p.weight = nil, 0, 0
	clear(p.fresh)
	clear(p.waiting)
}

// sparse reports whether the file has far more frames than its exchanges
// need, as one that was flushed again and again has, or is read here and there.
func (p *packer) sparse(order []uint32) bool {
	raw := 0
	for _, f := range p.list {
		raw += int(f.raw)
	}
	needed := 1 + max(raw/frameSize, len(p.entries)/maxRows)
	return len(p.list) > 2*needed+2 || len(runsOf(order)) > len(p.entries)/16+needed
}

// rollBack forgets what is pending, and returns how many exchanges that were.
func (p *packer) rollBack() int {
	lost := len(p.pending)
	for _, r := range p.pending {
		p.tally.add(r.flags, -1)
	}
	p.told = 0 // told again with the next frame; readers take the same number twice
	p.clearPending()
	return lost
}

// tally counts exchanges.
type tally struct{ inbound, outbound, incomplete int }

func (t *tally) add(flags uint8, n int) {
	if flags&rowOutbound != 0 {
		t.outbound += n
	} else {
		t.inbound += n
	}
	if flags&rowIncomplete != 0 {
		t.incomplete += n
	}
}

// dropLast takes the last data frame off the file, and with it the exchanges
// in it, to make room on a full disk. It returns how many those are.
func (p *packer) dropLast() (int, error) {
	last := p.list[len(p.list)-1]
	p.end, p.stored = last.offset, last.bodies
	p.list = p.list[:len(p.list)-1]
	for _, e := range p.entries[last.exchanges:] {
		p.tally.add(e.flags, -1)
	}
	lost := len(p.entries) - int(last.exchanges)
	p.entries = p.entries[:last.exchanges]
	p.ids.truncate(len(p.entries))
	maps.DeleteFunc(p.places, func(_ [16]byte, n uint32) bool { return n >= p.stored })
	return lost, p.file.Truncate(p.end)
}

// order returns the numbers of the exchanges in the order of reading: by
// start, then id.
func (p *packer) order() []uint32 {
	order := make([]uint32, len(p.entries))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		x, y := &p.entries[a], &p.entries[b]
		if c := cmp.Or(cmp.Compare(x.seconds, y.seconds), cmp.Compare(x.nanos, y.nanos)); c != 0 {
			return c
		}
		return strings.Compare(p.ids.at(int(a)), p.ids.at(int(b)))
	})
	return order
}

// filters writes the filters of all frames, and notes where each begins.
func (p *packer) filters() []byte {
	var out []byte
	var ids []string
	for i := range p.list {
		end := len(p.entries)
		if i+1 < len(p.list) {
			end = int(p.list[i+1].exchanges)
		}
		p.list[i].filter = uint32(len(out))
		ids = ids[:0]
		for n := int(p.list[i].exchanges); n < end; n++ {
			ids = append(ids, p.ids.at(n))
		}
		out = appendFilter(out, ids)
	}
	return out
}

// finish writes manifest and index behind the data frames. m gets its Files
// and Digest.
func (p *packer) finish(m *Manifest, order []uint32) error {
	filters := p.filters()
	tables := encodeTables(p.routes, p.list, runsOf(order))
	m.Files = []File{
		{Path: filtersName, Size: int64(len(filters)), SHA256: strings.TrimPrefix(digestOf(filters), "sha256:")},
		{Path: tablesName, Size: int64(len(tables)), SHA256: strings.TrimPrefix(digestOf(tables), "sha256:")},
	}
	manifest, err := m.encode()
	if err != nil {
		return err
	}
	tail, err := encodeTail(manifest, tables, filters, p.list)
	if err != nil {
		return err
	}
	if _, err := p.file.WriteAt(tail, p.end); err != nil {
		return errors.Join(fmt.Errorf("write index: %w", err), p.file.Truncate(p.end))
	}
	return p.file.Sync()
}

// What stands for the parts of the index in the manifest.
const (
	filtersName = "filters"
	tablesName  = "tables"
)

// A packer that is not finished yet is the table of its frames.

func (p *packer) frameCount() int     { return len(p.list) }
func (p *packer) frame(i int) frame   { return p.list[i] }
func (p *packer) bodies(i int) int    { return int(p.list[i].bodies) }
func (p *packer) exchanges(i int) int { return int(p.list[i].exchanges) }
