package snapshot

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

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

// packer appends exchanges to the data frames of a packed snapshot. Bodies
// collect in one frame, records in another; the bodies' frame is always
// written first, so that every record on disk has its bodies on disk. It is
// not safe for concurrent use.
type packer struct {
	file packFile
	end  int64 // of the last frame that was written completely
	enc  *zstd.Encoder

	frames []frame
	bodies []byte // the frame being filled, with its first byte; empty if there is none
	places map[[16]byte]bodyPlace

	records []byte
	pending int // the entries from here on are in records
	entries []indexEntry
	tally   tally // of entries
	ids     *idSet
	routes  []route
	byPath  map[string]int
	told    int // how many routes stand in written or pending records
	// checkpoint returns the manifest so far; it goes with each records frame,
	// so that a recording that is cut off keeps its accounts.
	checkpoint func() []byte
}

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
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, err
	}
	return &packer{file: f, enc: enc, places: map[[16]byte]bodyPlace{}, ids: newIDSet(), byPath: map[string]int{}}, nil
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

// add appends an exchange. lost is how many exchanges that were added before
// are gone because their frame could not be written.
func (p *packer) add(x *traffic.Exchange, r route) (lost int, err error) {
	if p.ids.has(x.ID) {
		return 0, fmt.Errorf("exchange %s: another one has this id", x.ID)
	}
	number := p.route(r)
	record, err := appendRecord(nil, x, number, p)
	if err != nil {
		return p.rollBack(), err
	}
	if len(p.records) == 0 {
		p.records = append(p.records, frameRecords)
	}
	for ; p.told < len(p.routes); p.told++ {
		p.appendRecord(appendRoute(nil, p.told, p.routes[p.told]))
	}
	offset := p.appendRecord(record)
	e := entryOf(x, uint32(len(p.frames)), uint32(offset), uint32(len(record)), number)
	p.ids.add(x.ID)
	p.entries = append(p.entries, e)
	p.tally.add(e, 1)
	if len(p.records) >= frameSize {
		return p.flush()
	}
	return 0, nil
}

func entryOf(x *traffic.Exchange, frame, offset, length uint32, route int) indexEntry {
	e := indexEntry{
		seconds: x.Start.Unix(), nanos: uint32(x.Start.Nanosecond()), frame: frame, offset: offset, length: length,
		id: shortID(x.ID), route: uint32(route),
	}
	if x.Direction == traffic.Outbound {
		e.flags |= flagOutbound
	}
	if len(x.Incomplete) > 0 {
		e.flags |= flagIncomplete
	}
	if x.Response != nil {
		e.flags |= flagAnswered
		e.status = uint16(min(max(x.Response.Status, 0), 0xffff))
	}
	return e
}

func (p *packer) appendRecord(record []byte) (offset int) {
	p.records = binary.AppendUvarint(p.records, uint64(len(record)))
	offset = len(p.records)
	p.records = append(p.records, record...)
	return offset
}

// place stores a body once.
func (p *packer) place(data []byte) (bodyPlace, error) {
	sum := sha256.Sum256(data)
	key := [16]byte(sum[:])
	if at, ok := p.places[key]; ok {
		return at, nil
	}
	if len(p.bodies) > 1 && len(p.bodies)+len(data) > frameSize {
		if err := p.flushBodies(); err != nil {
			return bodyPlace{}, err
		}
	}
	if len(p.bodies) == 0 {
		p.bodies = append(p.bodies, frameBodies)
	}
	at := bodyPlace{frame: uint32(len(p.frames)), offset: uint32(len(p.bodies)), length: uint32(len(data))}
	p.bodies = append(p.bodies, data...)
	p.places[key] = at
	return at, nil
}

// flush writes what is pending to the file. When that fails, the file ends
// where it ended before, and the pending exchanges are lost.
func (p *packer) flush() (lost int, err error) {
	if len(p.records) == 0 {
		return 0, nil
	}
	if err := p.flushBodies(); err != nil {
		return p.rollBack(), err
	}
	if p.checkpoint != nil {
		p.appendRecord(append([]byte{recordCheckpoint}, p.checkpoint()...))
	}
	for i := range p.entries[p.pending:] {
		p.entries[p.pending+i].frame = uint32(len(p.frames))
	}
	if err := p.writeFrame(p.records); err != nil {
		return p.rollBack(), err
	}
	p.records, p.pending = p.records[:0], len(p.entries)
	return 0, nil
}

func (p *packer) flushBodies() error {
	if len(p.bodies) == 0 {
		return nil
	}
	err := p.writeFrame(p.bodies)
	if err == nil {
		p.bodies = p.bodies[:0]
	}
	return err
}

func (p *packer) writeFrame(raw []byte) error {
	packed := p.enc.EncodeAll(raw, nil)
	if _, err := p.file.WriteAt(packed, p.end); err != nil {
		return errors.Join(fmt.Errorf("write frame: %w", err), p.file.Truncate(p.end))
	}
	p.frames = append(p.frames, frame{offset: p.end, packed: uint32(len(packed)), raw: uint32(len(raw)), sum: sha256.Sum256(packed)})
	p.end += int64(len(packed))
	return nil
}

// rollBack forgets what is pending, and returns how many exchanges that were.
func (p *packer) rollBack() int {
	lost := len(p.entries) - p.pending
	for _, e := range p.entries[p.pending:] {
		p.tally.add(e, -1)
	}
	p.entries = p.entries[:p.pending]
	p.ids.truncate(p.pending)
	p.records, p.bodies = p.records[:0], p.bodies[:0]
	p.told = 0 // told again with the next frame; readers take the same number twice
	for key, at := range p.places {
		if int(at.frame) >= len(p.frames) {
			delete(p.places, key)
		}
	}
	return lost
}

// tally counts exchanges by what their index entry says.
type tally struct{ inbound, outbound, incomplete int }

func (t *tally) add(e indexEntry, n int) {
	if e.flags&flagOutbound != 0 {
		t.outbound += n
	} else {
		t.inbound += n
	}
	if e.flags&flagIncomplete != 0 {
		t.incomplete += n
	}
}

// dropLast takes the last data frame off the file, and with it the exchanges
// that need it, to make room on a full disk. It returns how many those are.
func (p *packer) dropLast() (int, error) {
	last := len(p.frames) - 1
	p.end = p.frames[last].offset
	p.frames = p.frames[:last]
	entries, ids := p.entries[:0], newIDSet()
	lost := 0
	for i, e := range p.entries {
		if int(e.frame) >= last {
			lost++
			p.tally.add(e, -1)
			continue
		}
		entries = append(entries, e)
		ids.add(p.ids.at(i))
	}
	p.entries, p.ids, p.pending = entries, ids, len(entries)
	return lost, p.file.Truncate(p.end)
}

// sorted returns the entries in the order of reading: by start, then id.
func (p *packer) sorted() []indexEntry {
	order := make([]int, len(p.entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &p.entries[a], &p.entries[b]
		return cmp.Or(cmp.Compare(x.seconds, y.seconds), cmp.Compare(x.nanos, y.nanos), strings.Compare(p.ids.at(a), p.ids.at(b)))
	})
	sorted := make([]indexEntry, len(order))
	for i, n := range order {
		sorted[i] = p.entries[n]
	}
	return sorted
}

// finish writes manifest and index behind the data frames. m gets its Files
// and Digest.
func (p *packer) finish(m *Manifest, sorted []indexEntry) error {
	var entries []byte
	var chunks []chunk
	for list := range slices.Chunk(sorted, chunkSize) {
		packed := packChunk(p.enc, list)
		entries = append(entries, packed...)
		chunks = append(chunks, chunk{uint32(len(packed)), sha256.Sum256(packed)})
	}
	meta := encodeMeta(p.routes, p.frames, chunks)
	m.Files = []File{{Path: indexName, Size: int64(len(meta)), SHA256: strings.TrimPrefix(digestOf(meta), "sha256:")}}
	manifest, err := m.encode()
	if err != nil {
		return err
	}
	tail, err := encodeTail(manifest, meta, entries, p.frames)
	if err != nil {
		return err
	}
	if _, err := p.file.WriteAt(tail, p.end); err != nil {
		return errors.Join(fmt.Errorf("write index: %w", err), p.file.Truncate(p.end))
	}
	return p.file.Sync()
}

// indexName stands for the index of a packed snapshot in its manifest.
const indexName = "index"

// idSet remembers ids in the order they were added, in little memory.
type idSet struct {
	text   []byte
	ends   []uint32
	lookup map[uint64]uint32 // hash, or the next free number after it, to position
}

func newIDSet() *idSet { return &idSet{lookup: map[uint64]uint32{}} }

func (s *idSet) at(i int) string {
	start := uint32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	return string(s.text[start:s.ends[i]])
}

// find returns the slot of id, and whether it is there.
func (s *idSet) find(id string) (slot uint64, ok bool) {
	for slot = hashID(id); ; slot++ {
		i, taken := s.lookup[slot]
		if !taken {
			return slot, false
		}
		if int(i) < len(s.ends) && s.at(int(i)) == id {
			return slot, true
		}
	}
}

func (s *idSet) has(id string) bool { _, ok := s.find(id); return ok }

func (s *idSet) add(id string) {
	slot, _ := s.find(id)
	s.lookup[slot] = uint32(len(s.ends))
	s.text = append(s.text, id...)
	s.ends = append(s.ends, uint32(len(s.text)))
}

// truncate forgets all ids from position n on. It is rare, so it rebuilds.
func (s *idSet) truncate(n int) {
	if n >= len(s.ends) {
		return
	}
	kept := newIDSet()
	for i := range n {
		kept.add(s.at(i))
	}
	*s = *kept
}
