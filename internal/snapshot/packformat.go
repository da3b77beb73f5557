package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// The parts of a packed snapshot, each a frame of the Zstandard format, so
// that "zstd -d" reads the file: a skippable frame that names the format, the
// data frames, a skippable frame with manifest and index, and the seek table
// of the Zstandard seekable format.
const (
	magicHeader = 0x184D2A50
	magicIndex  = 0x184D2A51
	magicSeek   = 0x184D2A5E
	magicTable  = 0x8F92EAB1 // ends the seek table and so the file

	packSuffix = ".rpk"
	packTitle  = "reprise.pack/v1\n"

	frameSize   = 2 << 20  // decompressed size at which a data frame is closed
	frameWeight = 16 << 20 // weight of its exchanges at which it is closed
	maxRows     = 1 << 14  // exchanges at which it is closed
	ownFrame    = 256 << 10
	maxFrame    = maxBody + maxEntry
	indexHeader = 32
	frameEntry  = 64
	runEntry    = 8
)

// The first byte of a data frame says what is in it.
const (
	frameExchanges = 'X' // exchanges, and bodies that they have
	frameBody      = 'B' // one body larger than ownFrame
)

// frame is one data frame.
type frame struct {
	offset      int64
	packed, raw uint32
	exchanges   uint32            // in the frames before
	bodies      uint32            // in the frames before
	filter      uint32            // where its filter begins
	sum         [sha256.Size]byte // of the compressed bytes
}

func (f frame) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(f.offset))
	for _, v := range []uint32{f.packed, f.raw, f.exchanges, f.bodies, f.filter, 0} {
		dst = le.AppendUint32(dst, v)
	}
	return append(dst, f.sum[:]...)
}

func parseFrame(b []byte) frame {
	le := binary.LittleEndian
	return frame{
		offset: int64(le.Uint64(b)), packed: le.Uint32(b[8:]), raw: le.Uint32(b[12:]), exchanges: le.Uint32(b[16:]),
		bodies: le.Uint32(b[20:]), filter: le.Uint32(b[24:]), sum: [sha256.Size]byte(b[32:]),
	}
}

// run is a part of the order of reading: exchanges that stand one after the
// other in the file.
type run struct{ first, count uint32 }

func parseRun(b []byte) run {
	return run{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])}
}

// runsOf shortens an order of exchanges to runs.
func runsOf(order []uint32) (runs []run) {
	for _, n := range order {
		if last := len(runs) - 1; last >= 0 && runs[last].first+runs[last].count == n {
			runs[last].count++
			continue
		}
		runs = append(runs, run{n, 1})
	}
	return runs
}

// The filter of a frame tells which ids may be in it: a Bloom filter of
// filterBits bits an id and filterProbes probes, by which one frame in
// fifty is read in vain.
const (
	filterBits   = 8
	filterProbes = 6
)

func filterSize(ids int) int { return (ids*filterBits + 7) / 8 }

func hashID(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// probe calls visit with the bits of an id in a filter of so many bytes.
func probe(id string, size int, visit func(at int, bit byte) bool) {
	h := hashID(id)
	step := h>>32 | 1
	for range filterProbes {
		at := h % uint64(size*8)
		if !visit(int(at/8), 1<<(at%8)) {
			return
		}
		h += step
	}
}

// appendFilter writes the filter of these ids.
func appendFilter(dst []byte, ids []string) []byte {
	filter := make([]byte, filterSize(len(ids)))
	for _, id := range ids {
		probe(id, len(filter), func(at int, bit byte) bool { filter[at] |= bit; return true })
	}
	return append(dst, filter...)
}

// mayHold reports whether an id may be among those of a filter.
func mayHold(filter []byte, id string) bool {
	holds := len(filter) > 0
	if holds {
		probe(id, len(filter), func(at int, bit byte) bool { holds = filter[at]&bit != 0; return holds })
	}
	return holds
}

// skippable wraps payload in a skippable frame.
func skippable(magic uint32, payload []byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(make([]byte, 0, 8+len(payload)), magic)
	out = le.AppendUint32(out, uint32(len(payload)))
	return append(out, payload...)
}

var errIndex = errors.New("damaged index")

// encodeTables writes what is read when a packed snapshot is opened: routes,
// frames and the order of reading.
func encodeTables(routes []route, frames []frame, runs []run) []byte {
	le := binary.LittleEndian
	var table []byte
	for i, r := range routes {
		record := appendRoute(nil, i, r)
		table = append(binary.AppendUvarint(table, uint64(len(record))), record...)
	}
	out := le.AppendUint32(nil, uint32(len(routes)))
	out = le.AppendUint32(out, uint32(len(table)))
	out = le.AppendUint32(out, uint32(len(frames)))
	out = le.AppendUint32(out, uint32(len(runs)))
	out = append(out, table...)
	for _, f := range frames {
		out = f.append(out)
	}
	for _, r := range runs {
		out = le.AppendUint32(le.AppendUint32(out, r.first), r.count)
	}
	return out
}

// tables is the part of the index that is used where it stands: nothing but
// the routes is copied from it.
type tables struct {
	routes  []route
	frames  []byte
	runs    []byte
	filters []byte
}

func (t *tables) frameCount() int   { return len(t.frames) / frameEntry }
func (t *tables) frame(i int) frame { return parseFrame(t.frames[i*frameEntry:]) }
func (t *tables) runCount() int     { return len(t.runs) / runEntry }
func (t *tables) run(i int) run     { return parseRun(t.runs[i*runEntry:]) }
func (t *tables) exchanges(i int) int {
	return int(binary.LittleEndian.Uint32(t.frames[i*frameEntry+16:]))
}
func (t *tables) bodies(i int) int {
	return int(binary.LittleEndian.Uint32(t.frames[i*frameEntry+20:]))
}

// filter returns the filter of a frame that holds so many exchanges.
func (t *tables) filter(f frame, exchanges int) []byte {
	n := filterSize(exchanges)
	if uint64(f.filter)+uint64(n) > uint64(len(t.filters)) {
		return nil
	}
	return t.filters[f.filter:][:n]
}

// parseTables takes the tables apart; data is used further.
func parseTables(data []byte) (t tables, err error) {
	le := binary.LittleEndian
	if len(data) < 16 {
		return t, errIndex
	}
	nRoutes, table, nFrames, nRuns := le.Uint32(data), le.Uint32(data[4:]), le.Uint32(data[8:]), le.Uint32(data[12:])
	data = data[16:]
	if uint64(len(data)) != uint64(table)+uint64(nFrames)*frameEntry+uint64(nRuns)*runEntry || nRoutes > table {
		return t, errIndex
	}
	p := parts{rest: data[:table], ok: true}
	for len(p.rest) > 0 {
		number, r, err := parseRoute(string(p.bytes()))
		if err != nil || !p.ok || number != len(t.routes) {
			return t, errIndex
		}
		t.routes = append(t.routes, r)
	}
	if len(t.routes) != int(nRoutes) || !p.ok {
		return t, errIndex
	}
	t.frames, t.runs = data[table:][:nFrames*frameEntry], data[uint64(table)+uint64(nFrames)*frameEntry:]
	return t, nil
}

func appendRoute(dst []byte, number int, r route) []byte {
	dst = appendUint(dst, rNumber, uint64(number))
	dst = appendString(dst, rPath, r.path, true)
	return appendString(dst, rTitle, r.title, true)
}

func parseRoute(record string) (number int, r route, err error) {
	f := &fields{rest: record}
	for f.next() {
		switch f.field {
		case rNumber:
			number = int(min(f.value, maxFiles))
		case rPath:
			r.path = f.text
		case rTitle:
			r.title = f.text
		}
	}
	if f.err == nil && (!isRoute(r.path) || (File{Path: r.path, SHA256: emptyDigest}).check() != nil) {
		f.err = fmt.Errorf("%q is not the path of a route", r.path)
	}
	return number, r, f.err
}

// emptyDigest is the SHA-256 of nothing.
const emptyDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// encodeTail writes all that follows the data frames.
func encodeTail(manifest, tables, filters []byte, frames []frame) ([]byte, error) {
	le := binary.LittleEndian
	size := indexHeader + len(manifest) + len(tables) + len(filters)
	if uint64(size) >= 1<<32 {
		return nil, fmt.Errorf("index: %w: %d bytes", ErrTooLarge, size)
	}
	payload := append(make([]byte, 0, size+64), "RPKI"...)
	payload = le.AppendUint32(payload, 1)
	payload = le.AppendUint64(payload, uint64(len(manifest)))
	payload = le.AppendUint64(payload, uint64(len(tables)))
	payload = le.AppendUint64(payload, uint64(len(filters)))
	payload = append(append(append(payload, manifest...), tables...), filters...)
	index := skippable(magicIndex, payload)

	return append(index, seekTable(frames, uint32(len(index)))...), nil
}

// seekTable writes the seek table of a file whose index takes so many bytes.
func seekTable(frames []frame, index uint32) []byte {
	le := binary.LittleEndian
	table := le.AppendUint32(nil, 8+uint32(len(packTitle)))
	table = le.AppendUint32(table, 0)
	for _, f := range frames {
		table = le.AppendUint32(table, f.packed)
		table = le.AppendUint32(table, f.raw)
	}
	table = le.AppendUint32(table, index)
	table = le.AppendUint32(table, 0)
	table = le.AppendUint32(table, uint32(len(frames)+2))
	table = append(table, 0) // no checksums here: each frame has its own
	table = le.AppendUint32(table, magicTable)
	return skippable(magicSeek, table)
}

// isPack reports whether a file starts as a packed snapshot of any version.
func isPack(head []byte) bool {
	family, _, _ := bytes.Cut([]byte(packTitle), []byte("/"))
	return len(head) >= 8+len(family) && binary.LittleEndian.Uint32(head) == magicHeader && bytes.HasPrefix(head[8:], family)
}
