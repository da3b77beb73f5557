package snapshot

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// routeTitle starts the first line of a route file; the endpoint follows.
const routeTitle = "# " + Format + " "

// textTier reads the directory of a snapshot. It keeps a few bytes for each
// exchange and no exchange itself.
type textTier struct {
	root   *os.Root
	man    Manifest
	sizes  map[string]int64 // of every file of the manifest
	titles map[int]string   // of route files, by their number in man.Files
	index  []place
	byID   map[string]int
}

// place is where one entry stands.
type place struct {
	start  time.Time
	id     string
	file   int // in manifest.Files
	line   int // of its first line, from 1
	offset int64
	length int64
}

func openText(path string) (*textTier, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	r := &textTier{root: root, titles: map[int]string{}}
	if err := r.load(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return r, nil
}

func (r *textTier) load() error {
	data, err := r.readFile(manifestName, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it has no %s", ErrNotSnapshot, manifestName)
	}
	if err != nil {
		return err
	}
	if r.man, err = parseManifest(data, manifestName, checkDirectory); err != nil {
		return err
	}
	r.sizes = make(map[string]int64, len(r.man.Files))
	r.byID = map[string]int{}
	for i, f := range r.man.Files {
		r.sizes[f.Path] = f.Size
		if err := r.scan(i, f); err != nil {
			return err
		}
	}
	slices.SortFunc(r.index, func(a, b place) int {
		if c := a.start.Compare(b.start); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	for i, p := range r.index {
		if _, dup := r.byID[p.id]; dup {
			return &SyntaxError{File: r.man.Files[p.file].Path, Line: p.line, Err: fmt.Errorf("exchange %s stands here and elsewhere", p.id)}
		}
		r.byID[p.id] = i
	}
	if stored := r.man.Completeness.Stored; stored != len(r.index) {
		return &SyntaxError{File: manifestName, Err: fmt.Errorf("completeness.stored is %d, but the files hold %d exchanges", stored, len(r.index))}
	}
	return nil
}

// openFile opens a regular file inside the snapshot. Symbolic links are
// refused even where they stay inside.
func (r *textTier) openFile(name string) (*os.File, int64, error) {
	name = filepath.FromSlash(name)
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if d, err := r.root.Lstat(dir); err == nil && !d.IsDir() {
			return nil, 0, &SyntaxError{File: dir, Err: errors.New("must be a directory, not a link")}
		}
	}
	info, err := r.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &SyntaxError{File: name, Err: errors.New("must be a regular file, not a link or a directory")}
	}
	f, err := r.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (r *textTier) readFile(name string, limit int64) ([]byte, error) {
	f, size, err := r.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, &SyntaxError{File: name, Err: fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, limit)}
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// scan checks one file and notes the exchanges in it.
func (r *textTier) scan(i int, want File) error {
	f, size, err := r.openFile(want.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return &DigestError{File: want.Path, Want: "sha256:" + want.SHA256, Got: "missing"}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if size != want.Size {
		return &DigestError{File: want.Path, Want: fmt.Sprintf("%d bytes", want.Size), Got: fmt.Sprintf("%d bytes", size)}
	}
	sum := sha256.New()
	var syntax error
	if isRoute(want.Path) {
		syntax = r.scanRoute(i, io.LimitReader(f, size), sum)
	}
	if _, err := io.Copy(sum, io.LimitReader(f, size)); err != nil {
		return fmt.Errorf("read %s: %w", want.Path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.SHA256 {
		return &DigestError{File: want.Path, Want: "sha256:" + want.SHA256, Got: "sha256:" + got}
	}
	return syntax
}

func isRoute(path string) bool {
	return strings.HasPrefix(path, "inbound/") || strings.HasPrefix(path, "outbound/")
}

// scanRoute reads a route file once, line by line, and indexes its entries.
func (r *textTier) scanRoute(file int, in io.Reader, sum hash.Hash) error {
	name := r.man.Files[file].Path
	br := bufio.NewReaderSize(io.TeeReader(in, sum), 64<<10)
	var offset int64
	open := false
	for n := 1; ; n++ {
		start, l, err := nextLine(br)
		fail := func(err error) error { return &SyntaxError{File: name, Line: n, Err: err} }
		if err != nil && (!errors.Is(err, io.EOF) || l > 0) {
			if errors.Is(err, io.EOF) {
				err = errors.New("the last line does not end")
			}
			return fail(err)
		}
		if open {
			r.index[len(r.index)-1].length = offset - r.index[len(r.index)-1].offset
		}
		switch {
		case n == 1 && !bytes.HasPrefix(start, []byte(routeTitle)):
			return fail(fmt.Errorf("a route file starts with %q and its endpoint", routeTitle))
		case n == 1:
			title, err := parseLine(strings.TrimSuffix(string(start[len(routeTitle):]), "\n"))
			if err != nil {
				return fail(err)
			}
			r.titles[file] = title
		case err != nil:
			return nil
		case bytes.HasPrefix(start, []byte(entryPrefix)):
			id, when, err := parseEntryLine(strings.TrimSuffix(string(start[len(entryPrefix):]), "\n"))
			if err != nil {
				return fail(err)
			}
			r.index = append(r.index, place{start: when, id: id, file: file, line: n, offset: offset})
			open = true
		case n > 1 && !open && string(start) != "\n":
			return fail(errors.New("an exchange starts with ###, its id and its start"))
		}
		offset += l
	}
}

// nextLine reads one line and returns its beginning, which is only valid until
// the next call, and its length with the newline.
func nextLine(br *bufio.Reader) (start []byte, length int64, err error) {
	start, err = br.ReadSlice('\n')
	length = int64(len(start))
	if !errors.Is(err, bufio.ErrBufferFull) {
		return start, length, err
	}
	start = bytes.Clone(start[:min(len(start), 512)])
	for errors.Is(err, bufio.ErrBufferFull) {
		var more []byte
		more, err = br.ReadSlice('\n')
		if length += int64(len(more)); length > maxLine {
			return start, length, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLarge, maxLine)
		}
	}
	return start, length, err
}

func (r *textTier) manifest() Manifest { return r.man }
func (r *textTier) close() error       { return r.root.Close() }

func (r *textTier) all(yield func(*traffic.Exchange, route, error) bool) {
	files := newFileCache(r)
	defer files.close()
	for _, p := range r.index {
		x, err := r.read(p, files)
		if !yield(x, route{path: r.man.Files[p.file].Path, title: r.titles[p.file]}, err) {
			return
		}
	}
}

func (r *textTier) exchange(id string) (*traffic.Exchange, error) {
	i, ok := r.byID[id]
	if !ok {
		return nil, fmt.Errorf("exchange %q: %w in this snapshot", id, fs.ErrNotExist)
	}
	files := newFileCache(r)
	defer files.close()
	return r.read(r.index[i], files)
}

func (r *textTier) read(p place, files *fileCache) (*traffic.Exchange, error) {
	name := r.man.Files[p.file].Path
	fail := func(line int, err error) (*traffic.Exchange, error) {
		return nil, &SyntaxError{File: name, Line: p.line + line, Err: err}
	}
	if p.length > maxEntry+1 {
		return fail(0, fmt.Errorf("%w: an exchange of %d bytes, at most %d", ErrTooLarge, p.length, maxEntry))
	}
	f, err := files.open(name)
	if err != nil {
		return nil, err
	}
	text := make([]byte, p.length)
	if _, err := f.ReadAt(text, p.offset); err != nil {
		return fail(0, err)
	}
	direction := traffic.Inbound
	if strings.HasPrefix(name, "outbound/") {
		direction = traffic.Outbound
	}
	x, line, err := parseExchange(text, direction, r)
	if err != nil {
		return fail(line, err)
	}
	if x.ID != p.id || !x.Start.Equal(p.start) {
		return fail(0, errors.New("the file has changed since it was opened"))
	}
	return x, nil
}

// get returns a stored body.
func (r *textTier) get(path string) ([]byte, error) {
	if _, ok := r.sizes[path]; !ok {
		return nil, fmt.Errorf("the manifest has no %s", path)
	}
	data, err := r.readFile(path, maxBody)
	if err != nil {
		return nil, err
	}
	if blobPath(data, filepath.Ext(path)) != path {
		return nil, fmt.Errorf("%s does not hold the body that its name says", path)
	}
	return data, nil
}

// verify finds files that the manifest does not list; the others were checked
// when the snapshot was opened.
func (r *textTier) verify() error {
	return fs.WalkDir(r.root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, ok := r.sizes[path]; !ok && !d.IsDir() && path != manifestName {
			return &SyntaxError{File: path, Err: errors.New("the manifest does not list this file")}
		}
		return nil
	})
}

// fileCache keeps the route files open that were used last, so that reading
// in order of time over many routes neither opens a file for each exchange nor
// holds all of them open.
type fileCache struct {
	reader *textTier
	files  map[string]*os.File
	order  []string
}

const openFiles = 64

func newFileCache(r *textTier) *fileCache { return &fileCache{reader: r, files: map[string]*os.File{}} }

func (c *fileCache) open(name string) (*os.File, error) {
	if f, ok := c.files[name]; ok {
		return f, nil
	}
	f, _, err := c.reader.openFile(name)
	if err != nil {
		return nil, err
	}
	if len(c.order) == openFiles {
		c.files[c.order[0]].Close()
		delete(c.files, c.order[0])
		c.order = c.order[1:]
	}
	c.files[name] = f
	c.order = append(c.order, name)
	return f, nil
}

func (c *fileCache) close() {
	for _, f := range c.files {
		f.Close()
	}
}
