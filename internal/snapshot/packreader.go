package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// packTier reads a packed snapshot. Its index is mapped and used where it
// stands; only the manifest and the routes are kept in memory.
type packTier struct {
	name  string // for errors
	file  *os.File
	man   Manifest
	index region
	tables
	count int // of exchanges
}

func openPack(path string) (*packTier, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &packTier{name: path, file: f}
	if err := guarded(t.load); err != nil {
		return nil, errors.Join(err, t.close())
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

// loadIndex maps the index and checks what every reader needs of it.
func (t *packTier) loadIndex(start, size int64) (err error) {
	if t.index, err = openRegion(t.file, start, size); err != nil {
		return err
	}
	le := binary.LittleEndian
	head := t.index.data[:8+indexHeader]
	manifestSize, tablesSize, filtersSize := le.Uint64(head[16:]), le.Uint64(head[24:]), le.Uint64(head[32:])
	switch {
	case le.Uint32(head) != magicIndex || string(head[8:12]) != "RPKI" || le.Uint32(head[12:]) != 1:
		return t.damaged("its index is not one")
	case manifestSize > maxManifest || tablesSize > 1<<32 || filtersSize > 1<<32 || int64(8+indexHeader+manifestSize+tablesSize+filtersSize) != size:
		return t.damaged("its index does not fit the file")
	}
	rest := t.index.data[8+indexHeader:]
	if t.man, err = parseManifest(bytes.Clone(rest[:manifestSize]), t.name, checkPacked); err != nil {
		return err
	}
	rest = rest[manifestSize:]
	if err := t.checkPart(tablesName, rest[:tablesSize]); err != nil {
		return err
	}
	if t.tables, err = parseTables(rest[:tablesSize]); err != nil {
		return t.damaged("%w", err)
	}
	t.filters = rest[tablesSize:]
	t.count = t.man.Completeness.Stored
	end, inRuns, exchanges, bodies := int64(8+len(packTitle)), 0, uint32(0), uint32(0)
	for i := range t.frameCount() {
		f := t.frame(i)
		if f.offset != end || f.raw == 0 || f.raw > maxFrame || f.exchanges < exchanges || f.bodies < bodies || int(f.exchanges) > t.count {
			return t.damaged("frame %d does not follow the one before", i)
		}
		end, exchanges, bodies = end+int64(f.packed), f.exchanges, f.bodies
	}
	for i := range t.runCount() {
		r := t.run(i)
		if r.count == 0 || int64(r.first)+int64(r.count) > int64(t.count) {
			return t.damaged("its index names exchanges that are not there")
		}
		inRuns += int(r.count)
	}
	if end != start || inRuns != t.count {
		return t.damaged("its index does not hold the %d exchanges of the manifest", t.count)
	}
	return nil
}

// checkPart compares a part of the index with its digest in the manifest.
func (t *packTier) checkPart(name string, data []byte) error {
	for _, f := range t.man.Files {
		if f.Path == name && (int64(len(data)) != f.Size || digestOf(data) != "sha256:"+f.SHA256) {
			return &DigestError{File: t.name, Want: "sha256:" + f.SHA256, Got: digestOf(data)}
		}
	}
	return nil
}

// checkPacked is what a manifest lists in a packed snapshot.
func checkPacked(files []File) error {
	if len(files) == 2 && files[0].Path == filtersName && files[1].Path == tablesName && hexDigest.MatchString(files[0].SHA256) && hexDigest.MatchString(files[1].SHA256) {
		return nil
	}
	return errors.New("a packed snapshot lists the two parts of its index and nothing else")
}

func (t *packTier) manifest() Manifest { return t.man }

func (t *packTier) close() error {
	t.tables = tables{}
	return errors.Join(t.index.close(), t.file.Close())
}

func (t *packTier) all(yield func(*traffic.Exchange, route, error) bool) {
	frames, err := newFrames(t.file, t.name, t, t.count)
	if err != nil {
		yield(nil, route{}, err)
		return
	}
	defer frames.close()
	for i := range t.runCount() {
		var r run
		if err := guarded(func() error { r = t.run(i); return nil }); err != nil {
			yield(nil, route{}, t.damaged("%w", err))
			return
		}
		for n := r.first; n < r.first+r.count; n++ {
			x, route, err := t.read(int(n), frames)
			if !yield(x, route, err) {
				return
			}
		}
	}
}

// frameOf returns the number of the frame that holds exchange n.
func frameOf(t frameTable, n int) int {
	return sort.Search(t.frameCount(), func(i int) bool { return t.exchanges(i) > n }) - 1
}

// read returns exchange n, in the order of the file.
func (t *packTier) read(n int, frames *frameCache) (x *traffic.Exchange, r route, err error) {
	err = guarded(func() error {
		x, r, err = readExchange(frames, t.routes, n)
		return err
	})
	return x, r, err
}

func readExchange(frames *frameCache, routes []route, n int) (*traffic.Exchange, route, error) {
	number := frameOf(frames.table, n)
	if number < 0 {
		return nil, route{}, &SyntaxError{File: frames.name, Err: errIndex}
	}
	f, err := frames.get(number)
	if err != nil {
		return nil, route{}, err
	}
	fail := func(err error) (*traffic.Exchange, route, error) {
		return nil, route{}, &SyntaxError{File: frames.name, Err: fmt.Errorf("frame %d: %w", number, err)}
	}
	if f.exchanges == nil {
		return fail(errIndex)
	}
	x, at, err := f.exchanges.exchange(n-frames.table.exchanges(number), frames)
	if err != nil {
		return fail(err)
	}
	if at >= len(routes) {
		return fail(fmt.Errorf("exchange %s: its route is not in the index", x.ID))
	}
	return x, routes[at], nil
}

func (t *packTier) exchange(id string) (x *traffic.Exchange, err error) {
	frames, err := newFrames(t.file, t.name, t, t.count)
	if err != nil {
		return nil, err
	}
	defer frames.close()
	err = guarded(func() error {
		if err := t.checkPart(filtersName, t.filters); err != nil {
			return err
		}
		for i := range t.frameCount() {
			first, end := t.span(i)
			if !mayHold(t.filter(t.frame(i), end-first), id) {
				continue
			}
			for n := first; n < end; n++ {
				if x, _, err = readExchange(frames, t.routes, n); err != nil || x.ID == id {
					return err
				}
			}
		}
		return fmt.Errorf("exchange %q: %w in this snapshot", id, fs.ErrNotExist)
	})
	return x, err
}

// span returns the exchanges of a frame, as numbers from first up to end.
func (t *packTier) span(i int) (first, end int) {
	if i+1 < t.frameCount() {
		return t.exchanges(i), t.exchanges(i + 1)
	}
	return t.exchanges(i), t.count
}

// verify checks what reading everything does not: frames that no exchange
// needs, that each exchange is found by its id, and the seek table.
func (t *packTier) verify() error {
	frames, err := newFrames(t.file, t.name, t, t.count)
	if err != nil {
		return err
	}
	defer frames.close()
	return guarded(func() error {
		if err := t.checkPart(filtersName, t.filters); err != nil {
			return err
		}
		if err := t.verifySeekTable(); err != nil {
			return err
		}
		for i := range t.frameCount() {
			if _, err := frames.get(i); err != nil {
				return err
			}
			first, end := t.span(i)
			filter := t.filter(t.frame(i), end-first)
			for n := first; n < end; n++ {
				x, _, err := readExchange(frames, t.routes, n)
				if err != nil {
					return err
				}
				if !mayHold(filter, x.ID) {
					return t.damaged("exchange %s is not found by its id", x.ID)
				}
			}
		}
		return nil
	})
}

// verifySeekTable compares what other tools seek by with the index.
func (t *packTier) verifySeekTable() error {
	list := make([]frame, t.frameCount())
	for i := range list {
		list[i] = t.frame(i)
	}
	want := seekTable(list, uint32(len(t.index.data)))
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	got, err := t.bytes(info.Size()-int64(len(want)), int64(len(want)))
	if err == nil && !bytes.Equal(got, want) {
		err = t.damaged("its seek table is not that of its frames")
	}
	return err
}
