package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/klauspost/compress/zstd"
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

	frameSize   = 256 << 10 // decompressed size at which a data frame is closed
	maxFrame    = maxBody + frameSize
	entrySize   = 36
	chunkSize   = 1024 // entries that are read, and have a digest, together
	frameInfo   = 8 + 4 + 4 + sha256.Size
	chunkInfo   = 4 + sha256.Size
	indexHeader = 32
)

// The first byte of a data frame says what is in it.
const (
	frameRecords = 'R'
	frameBodies  = 'B'
)

// frame is one data frame.
type frame struct {
	offset      int64
	packed, raw uint32
	sum         [sha256.Size]byte // of the compressed bytes
}

// indexEntry is the place of one exchange, and what can be told about it
// without reading it.
type indexEntry struct {
	seconds int64
	nanos   uint32
	frame   uint32
	offset  uint32
	length  uint32
	id      uint32 // hash of the ID
	route   uint32
	status  uint16
	flags   uint16
}

// Flags of an index entry.
const (
	flagOutbound = 1 << iota
	flagIncomplete
	flagAnswered
)

func (e indexEntry) start() time.Time { return time.Unix(e.seconds, int64(e.nanos)).UTC() }

func (e indexEntry) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(e.seconds))
	dst = le.AppendUint32(dst, e.nanos)
	dst = le.AppendUint32(dst, e.frame)
	dst = le.AppendUint32(dst, e.offset)
	dst = le.AppendUint32(dst, e.length)
	dst = le.AppendUint32(dst, e.id)
	dst = le.AppendUint32(dst, e.route)
	dst = le.AppendUint16(dst, e.status)
	return le.AppendUint16(dst, e.flags)
}

func parseIndexEntry(b []byte) indexEntry {
	le := binary.LittleEndian
	return indexEntry{
		seconds: int64(le.Uint64(b)), nanos: le.Uint32(b[8:]), frame: le.Uint32(b[12:]), offset: le.Uint32(b[16:]), length: le.Uint32(b[20:]),
		id: le.Uint32(b[24:]), route: le.Uint32(b[28:]), status: le.Uint16(b[32:]), flags: le.Uint16(b[34:]),
	}
}

func hashID(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// shortID is the hash of an ID in the index. Readers compare the ID itself.
func shortID(id string) uint32 { return uint32(hashID(id) >> 32) }

// chunk is where some entries of the index stand.
type chunk struct {
	packed uint32 // size in the file
	sum    [sha256.Size]byte
}

// packChunk writes entries column by column, a byte of each entry after the
// other, as most bytes of neighbours are equal, and compresses that.
func packChunk(enc *zstd.Encoder, entries []indexEntry) []byte {
	rows := make([]byte, 0, len(entries)*entrySize)
	for _, e := range entries {
		rows = e.append(rows)
	}
	return enc.EncodeAll(transpose(rows, entrySize), nil)
}

// unpackChunk reads n entries; the error says that there are not so many.
func unpackChunk(dec *zstd.Decoder, packed []byte, n int) ([]indexEntry, error) {
	columns, err := dec.DecodeAll(packed, make([]byte, 0, n*entrySize))
	if err != nil || len(columns) != n*entrySize {
		return nil, errIndex
	}
	rows := transpose(columns, n)
	entries := make([]indexEntry, n)
	for i := range entries {
		entries[i] = parseIndexEntry(rows[i*entrySize:])
	}
	return entries, nil
}

// transpose turns rows of that width into columns.
func transpose(rows []byte, width int) []byte {
	out := make([]byte, 0, len(rows))
	for column := range width {
		for i := column; i < len(rows); i += width {
			out = append(out, rows[i])
		}
	}
	return out
}

// skippable wraps payload in a skippable frame.
func skippable(magic uint32, payload []byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(make([]byte, 0, 8+len(payload)), magic)
	out = le.AppendUint32(out, uint32(len(payload)))
	return append(out, payload...)
}

// encodeMeta writes routes, frame table and chunk digests: what is read when a
// packed snapshot is opened. Its digest stands in the manifest.
func encodeMeta(routes []route, frames []frame, chunks []chunk) []byte {
	le := binary.LittleEndian
	var table []byte
	for i, r := range routes {
		record := appendRoute(nil, i, r)
		table = append(binary.AppendUvarint(table, uint64(len(record))), record...)
	}
	out := le.AppendUint32(nil, uint32(len(routes)))
	out = le.AppendUint32(out, uint32(len(table)))
	out = le.AppendUint32(out, uint32(len(frames)))
	out = le.AppendUint32(out, uint32(len(chunks)))
	out = append(out, table...)
	for _, f := range frames {
		out = le.AppendUint64(out, uint64(f.offset))
		out = le.AppendUint32(out, f.packed)
		out = le.AppendUint32(out, f.raw)
		out = append(out, f.sum[:]...)
	}
	for _, c := range chunks {
		out = append(le.AppendUint32(out, c.packed), c.sum[:]...)
	}
	return out
}

var errIndex = errors.New("damaged index")

func parseMeta(data []byte) (routes []route, frames []frame, chunks []chunk, err error) {
	le := binary.LittleEndian
	if len(data) < 16 {
		return nil, nil, nil, errIndex
	}
	nRoutes, table, nFrames, nChunks := le.Uint32(data), le.Uint32(data[4:]), le.Uint32(data[8:]), le.Uint32(data[12:])
	data = data[16:]
	if uint64(len(data)) != uint64(table)+uint64(nFrames)*frameInfo+uint64(nChunks)*chunkInfo || nRoutes > table {
		return nil, nil, nil, errIndex
	}
	for rest := data[:table]; len(rest) > 0; {
		n, width := binary.Uvarint(rest)
		if width <= 0 || n > uint64(len(rest)-width) {
			return nil, nil, nil, errIndex
		}
		number, r, err := parseRoute(string(rest[width : width+int(n)]))
		if err != nil || number != len(routes) {
			return nil, nil, nil, errIndex
		}
		routes = append(routes, r)
		rest = rest[width+int(n):]
	}
	if len(routes) != int(nRoutes) {
		return nil, nil, nil, errIndex
	}
	data = data[table:]
	for range nFrames {
		f := frame{offset: int64(le.Uint64(data)), packed: le.Uint32(data[8:]), raw: le.Uint32(data[12:])}
		copy(f.sum[:], data[16:])
		if f.offset < 0 || f.raw > maxFrame || f.raw == 0 {
			return nil, nil, nil, errIndex
		}
		frames = append(frames, f)
		data = data[frameInfo:]
	}
	for range nChunks {
		chunks = append(chunks, chunk{le.Uint32(data), [sha256.Size]byte(data[4:])})
		if chunks[len(chunks)-1].packed > 2*chunkSize*entrySize {
			return nil, nil, nil, errIndex
		}
		data = data[chunkInfo:]
	}
	return routes, frames, chunks, nil
}

func appendRoute(dst []byte, number int, r route) []byte {
	dst = append(dst, recordRoute)
	dst = appendUint(dst, rNumber, uint64(number))
	dst = appendString(dst, rPath, r.path, true)
	return appendString(dst, rTitle, r.title, true)
}

func parseRoute(record string) (number int, r route, err error) {
	if record == "" || record[0] != recordRoute {
		return 0, r, errRecord
	}
	f := &fields{rest: record[1:]}
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
func encodeTail(manifest, meta []byte, entries []byte, frames []frame) ([]byte, error) {
	le := binary.LittleEndian
	size := indexHeader + len(manifest) + len(meta) + len(entries)
	if uint64(size) >= 1<<32 {
		return nil, fmt.Errorf("index: %w: %d bytes", ErrTooLarge, size)
	}
	payload := append(make([]byte, 0, size+64), "RPKI"...)
	payload = le.AppendUint32(payload, 1)
	payload = le.AppendUint64(payload, uint64(len(manifest)))
	payload = le.AppendUint64(payload, uint64(len(meta)))
	payload = le.AppendUint64(payload, uint64(len(entries)))
	payload = append(append(append(payload, manifest...), meta...), entries...)
	index := skippable(magicIndex, payload)

	table := le.AppendUint32(nil, 8+uint32(len(packTitle)))
	table = le.AppendUint32(table, 0)
	for _, f := range frames {
		table = le.AppendUint32(table, f.packed)
		table = le.AppendUint32(table, f.raw)
	}
	table = le.AppendUint32(table, uint32(len(index)))
	table = le.AppendUint32(table, 0)
	table = le.AppendUint32(table, uint32(len(frames)+2))
	table = append(table, 0) // no checksums here: each frame has its own
	table = le.AppendUint32(table, magicTable)
	return append(index, skippable(magicSeek, table)...), nil
}

// isPack reports whether a file starts as a packed snapshot of any version.
func isPack(head []byte) bool {
	family, _, _ := bytes.Cut([]byte(packTitle), []byte("/"))
	return len(head) >= 8+len(family) && binary.LittleEndian.Uint32(head) == magicHeader && bytes.HasPrefix(head[8:], family)
}
