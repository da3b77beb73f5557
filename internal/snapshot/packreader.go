package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// packTier reads a packed snapshot. It keeps the routes and the table of
// frames (48 bytes for 256 KiB); the index is read in place, in chunks of 1,024
// entries whose digests are checked as they come by.
type packTier struct {
	name string // for errors
	file *os.File
	man  Manifest

	frames []frame
	routes []route
	chunks []chunk
	starts []int64 // where each chunk of the index stands
	count  int     // of entries
}

func openPack(path string) (*packTier, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &packTier{name: path, file: f}
	if err := t.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return t, nil
}

// damaged is an error about a part of the file that has no lines.
func (t *packTier) damaged(format string, args ...any) error {
	return &SyntaxError{File: t.name, Err: fmt.Errorf(format, args...)}
}

func (t *packTier) bytes(offset, n int64) ([]byte, error) {
	data := make([]byte, n)
	if _, err := t.file.ReadAt(data, offset); err != nil {
		if errors.Is(err, io.EOF) {
			err = t.damaged("it ends early: it was cut off, or is still being written")
		}
		return nil, err
	}
	return data, nil
}

// load reads the file from its two ends: the format at the start, the seek
// table at the end, and before it the index.
func (t *packTier) load() error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	headSize := int64(8 + len(packTitle))
	head := make([]byte, min(headSize, info.Size()))
	if _, err := t.file.ReadAt(head, 0); err != nil || !isPack(head) {
		return fmt.Errorf("%w: it is neither a directory nor a packed snapshot", ErrNotSnapshot)
	}
	if int64(len(head)) < headSize {
		return t.damaged("it ends early: it was cut off")
	}
	if !bytes.Equal(head, skippable(magicHeader, []byte(packTitle))) {
		return &VersionError{Path: t.name, Found: string(bytes.TrimSpace(head[8:]))}
	}
	if info.Size() < headSize+9+8 {
		return t.damaged("it has no index: the recording was cut off; recover it first")
	}
	le := binary.LittleEndian
	foot, err := t.bytes(info.Size()-9, 9)
	if err != nil {
		return err
	}
	nFrames := int64(le.Uint32(foot))
	tableSize := 8 + nFrames*8 + 9
	if le.Uint32(foot[5:]) != magicTable || nFrames < 2 || foot[4] != 0 || tableSize > info.Size()-headSize {
		return t.damaged("it has no index: the recording was cut off; recover it first")
	}
	tableStart := info.Size() - tableSize
	last, err := t.bytes(tableStart+8+(nFrames-1)*8, 8)
	if err != nil {
		return err
	}
	indexSize := int64(le.Uint32(last))
	if indexSize < indexHeader+8 || indexSize > tableStart-headSize {
		return t.damaged("its index does not fit the file")
	}
	return t.loadIndex(tableStart-indexSize, indexSize)
}

func (t *packTier) loadIndex(start, size int64) error {
	le := binary.LittleEndian
	head, err := t.bytes(start, 8+indexHeader)
	if err != nil {
		return err
	}
	manifestSize, metaSize, entriesSize := le.Uint64(head[16:]), le.Uint64(head[24:]), le.Uint64(head[32:])
	switch {
	case le.Uint32(head) != magicIndex || string(head[8:12]) != "RPKI" || le.Uint32(head[12:]) != 1:
		return t.damaged("its index is not one")
	case manifestSize > maxManifest || metaSize > 1<<32 || entriesSize > 1<<32 || int64(8+indexHeader+manifestSize+metaSize+entriesSize) != size:
		return t.damaged("its index does not fit the file")
	}
	start += 8 + indexHeader
	manifest, err := t.bytes(start, int64(manifestSize))
	if err != nil {
		return err
	}
	if t.man, err = parseManifest(manifest, t.name, checkPacked); err != nil {
		return err
	}
	meta, err := t.bytes(start+int64(manifestSize), int64(metaSize))
	if err != nil {
		return err
	}
	want := t.man.Files[0]
	if got := sha256.Sum256(meta); hex.EncodeToString(got[:]) != want.SHA256 {
		return &DigestError{File: t.name, Want: "sha256:" + want.SHA256, Got: digestOf(meta)}
	}
	if t.routes, t.frames, t.chunks, err = parseMeta(meta); err != nil {
		return t.damaged("%w", err)
	}
	for i, f := range t.frames {
		if f.offset+int64(f.packed) > start-8-indexHeader {
			return t.damaged("frame %d does not fit the file", i)
		}
	}
	at := start + int64(manifestSize+metaSize)
	end := at + int64(entriesSize)
	for _, c := range t.chunks {
		t.starts = append(t.starts, at)
		at += int64(c.packed)
	}
	t.count = t.man.Completeness.Stored
	if at != end || len(t.chunks) != (t.count+chunkSize-1)/chunkSize {
		return t.damaged("its index does not hold the %d exchanges of the manifest", t.count)
	}
	return nil
}

// checkPacked is what a manifest lists in a packed snapshot.
func checkPacked(files []File) error {
	if len(files) != 1 || files[0].Path != indexName || !hexDigest.MatchString(files[0].SHA256) {
		return errors.New("a packed snapshot lists its index and nothing else")
	}
	return nil
}

// chunk returns the index entries from number i*chunkSize on.
func (t *packTier) chunk(i int, dec *zstd.Decoder) ([]indexEntry, error) {
	packed, err := t.bytes(t.starts[i], int64(t.chunks[i].packed))
	if err != nil {
		return nil, err
	}
	if got := sha256.Sum256(packed); got != t.chunks[i].sum {
		return nil, &DigestError{File: t.name, Want: "sha256:" + hex.EncodeToString(t.chunks[i].sum[:]), Got: "sha256:" + hex.EncodeToString(got[:])}
	}
	entries, err := unpackChunk(dec, packed, min(chunkSize, t.count-i*chunkSize))
	if err != nil {
		return nil, t.damaged("%w", err)
	}
	return entries, nil
}

func (t *packTier) manifest() Manifest { return t.man }
func (t *packTier) close() error       { return t.file.Close() }

func (t *packTier) all(yield func(*traffic.Exchange, route, error) bool) {
	frames, err := newFrames(t.file, t.name, t.frames)
	if err != nil {
		yield(nil, route{}, err)
		return
	}
	defer frames.close()
	for i := range t.chunks {
		entries, err := t.chunk(i, frames.dec)
		if err != nil {
			if !yield(nil, route{}, err) {
				return
			}
			continue
		}
		for _, e := range entries {
			x, r, err := t.read(e, frames)
			if !yield(x, r, err) {
				return
			}
		}
	}
}

func (t *packTier) exchange(id string) (*traffic.Exchange, error) {
	frames, err := newFrames(t.file, t.name, t.frames)
	if err != nil {
		return nil, err
	}
	defer frames.close()
	want := shortID(id)
	for i := range t.chunks {
		entries, err := t.chunk(i, frames.dec)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.id != want {
				continue
			}
			if x, _, err := t.read(e, frames); err != nil || x.ID == id {
				return x, err
			}
		}
	}
	return nil, fmt.Errorf("exchange %q: %w in this snapshot", id, fs.ErrNotExist)
}

func (t *packTier) read(e indexEntry, frames *frameCache) (*traffic.Exchange, route, error) {
	raw, err := frames.get(e.frame)
	if err != nil {
		return nil, route{}, err
	}
	if raw[0] != frameRecords || uint64(e.offset)+uint64(e.length) > uint64(len(raw)) || e.length == 0 || raw[e.offset] != recordExchange {
		return nil, route{}, t.damaged("an index entry points to no exchange")
	}
	x, number, err := parseRecord(string(raw[e.offset+1:e.offset+e.length]), frames)
	if err != nil {
		return nil, route{}, t.damaged("frame %d: %w", e.frame, err)
	}
	if shortID(x.ID) != e.id || !x.Start.Equal(e.start()) || number >= len(t.routes) {
		return nil, route{}, t.damaged("exchange %s is not the one that the index names", x.ID)
	}
	return x, t.routes[number], nil
}

// verify reads everything and checks what reading alone does not.
func (t *packTier) verify() error {
	frames, err := newFrames(t.file, t.name, t.frames)
	if err != nil {
		return err
	}
	defer frames.close()
	end := int64(8 + len(packTitle))
	for i, f := range t.frames {
		if f.offset != end {
			return t.damaged("frame %d does not follow the one before", i)
		}
		end += int64(f.packed)
		if _, err := frames.decode(uint32(i)); err != nil {
			return err
		}
	}
	return nil
}

// frameCache decodes frames and keeps those used last.
type frameCache struct {
	file   io.ReaderAt
	name   string
	frames []frame
	dec    *zstd.Decoder

	mu    sync.Mutex
	raw   map[uint32][]byte
	order []uint32 // the one used last at the end
	size  int
}

// frameMemory bounds the decoded frames that are kept, beside the one in use.
const frameMemory = 8 << 20

func newFrames(file io.ReaderAt, name string, frames []frame) (*frameCache, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	return &frameCache{file: file, name: name, frames: frames, dec: dec, raw: map[uint32][]byte{}}, nil
}

func (c *frameCache) close() { c.dec.Close() }

// get returns the content of a frame, which the caller must not change.
func (c *frameCache) get(number uint32) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.order); n > 0 && c.order[n-1] == number {
		return c.raw[number], nil
	}
	raw, ok := c.raw[number]
	for i, n := range c.order {
		if ok && n == number {
			c.order = append(c.order[:i], c.order[i+1:]...)
			break
		}
	}
	if !ok {
		var err error
		if raw, err = c.decode(number); err != nil {
			return nil, err
		}
		c.raw[number] = raw
		c.size += len(raw)
		for c.size > frameMemory && len(c.order) > 1 {
			c.size -= len(c.raw[c.order[0]])
			delete(c.raw, c.order[0])
			c.order = c.order[1:]
		}
	}
	c.order = append(c.order, number)
	return raw, nil
}

func (c *frameCache) decode(number uint32) ([]byte, error) {
	fail := func(err error) error {
		return &SyntaxError{File: c.name, Err: fmt.Errorf("frame %d: %w", number, err)}
	}
	if int(number) >= len(c.frames) {
		return nil, fail(errors.New("there is no such frame"))
	}
	f := c.frames[number]
	if f.packed > maxFrame || f.raw > maxFrame {
		return nil, fail(ErrTooLarge)
	}
	packed := make([]byte, f.packed)
	if _, err := c.file.ReadAt(packed, f.offset); err != nil {
		return nil, fail(err)
	}
	if got := sha256.Sum256(packed); got != f.sum {
		return nil, &DigestError{File: c.name, Want: "sha256:" + hex.EncodeToString(f.sum[:]), Got: "sha256:" + hex.EncodeToString(got[:])}
	}
	raw, err := c.dec.DecodeAll(packed, make([]byte, 0, f.raw))
	if err != nil {
		return nil, fail(err)
	}
	if len(raw) != int(f.raw) || len(raw) == 0 {
		return nil, fail(errors.New("its size is not the one in the index"))
	}
	return raw, nil
}

// load returns a copy of a body.
func (c *frameCache) load(at bodyPlace) ([]byte, error) {
	raw, err := c.get(at.frame)
	if err != nil {
		return nil, err
	}
	if raw[0] != frameBodies || uint64(at.offset)+uint64(at.length) > uint64(len(raw)) {
		return nil, errRecord
	}
	return bytes.Clone(raw[at.offset : at.offset+at.length]), nil
}
