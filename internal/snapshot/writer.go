package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Redactor makes an exchange safe to keep. It changes x in place, and says by
// rule and place what it changed, never holding a value. It must be safe for
// concurrent use.
type Redactor interface {
	Redact(x *traffic.Exchange) ([]traffic.Redaction, error)
	Describe() RedactionInfo
}

// Writer makes a snapshot of the text tier. What it was given stands in a
// directory beside the target until Close renames it into place, so that a
// reader never sees half a snapshot. It is safe for concurrent use. The caller
// must end it with Close or Abort.
type Writer struct {
	opts     Options
	redactor Redactor
	target   string
	temp     string

	mu         sync.Mutex
	closed     bool
	spool      *os.File
	spoolEnd   int64
	entries    []entry
	routes     []route
	routeIndex map[string]int
	ids        map[string]struct{}
	blobs      map[string]File
	counts     Completeness
	inbound    int
	redactions map[redactionKey]int
}

// entry is the place of one exchange in the spool.
type entry struct {
	start  time.Time
	id     string
	route  int
	offset int64
	length int
}

// route is one file to be written.
type route struct {
	path  string
	title string // the first line
}

type redactionKey struct{ rule, path string }

const spoolName = "spool"

// NewWriter starts a snapshot that will stand at the directory dir. It refuses
// a nil redactor, and an existing dir unless Options.Replace is set.
func NewWriter(dir string, redactor Redactor, opts Options) (*Writer, error) {
	if redactor == nil {
		return nil, errors.New("a snapshot needs a redactor: unredacted traffic is never stored")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	opts = opts.withDefaults(filepath.Base(dir))
	if _, err := os.Lstat(dir); err == nil && !opts.Replace {
		return nil, fmt.Errorf("create snapshot %s: %w; remove it or choose another name", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".partial-")
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	w := &Writer{
		opts: opts, redactor: redactor, target: dir, temp: temp,
		routeIndex: map[string]int{}, ids: map[string]struct{}{}, blobs: map[string]File{}, redactions: map[redactionKey]int{},
	}
	if w.spool, err = os.OpenFile(filepath.Join(temp, spoolName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
		os.RemoveAll(temp)
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	return w, nil
}

// Add redacts a copy of x and stores it; x itself stays as it is. An exchange
// that cannot be redacted or stored is counted as dropped, and leaves nothing
// behind; the writer can be used further.
func (w *Writer) Add(x *traffic.Exchange) error {
	c := x.Clone()
	redactions, err := w.redactor.Redact(c)
	if err != nil {
		err = fmt.Errorf("redact exchange %s: %w", x.ID, err)
	} else {
		err = w.store(c, redactions)
	}
	if err != nil {
		w.Dropped(1)
	}
	return err
}

func (w *Writer) store(x *traffic.Exchange, redactions []traffic.Redaction) error {
	if err := checkStorable(x); err != nil {
		return err
	}
	text, err := appendExchange(nil, x, w.opts.InlineLimit, w)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	if _, dup := w.ids[x.ID]; dup {
		return fmt.Errorf("exchange %s: another one has this id", x.ID)
	}
	r := w.route(x)
	if _, err := w.spool.WriteAt(text, w.spoolEnd); err != nil {
		return fmt.Errorf("store exchange %s: %w", x.ID, err)
	}
	w.entries = append(w.entries, entry{start: x.Start.UTC().Round(0), id: x.ID, route: r, offset: w.spoolEnd, length: len(text)})
	w.spoolEnd += int64(len(text))
	w.ids[x.ID] = struct{}{}
	w.counts.Stored++
	if x.Direction == traffic.Inbound {
		w.inbound++
	}
	if len(x.Incomplete) > 0 {
		w.counts.Incomplete++
	}
	for _, red := range redactions {
		w.redactions[redactionKey{red.Rule, red.Path.String()}] += red.Count
	}
	return nil
}

var errClosed = errors.New("the snapshot writer is closed")

// route returns the index of the file for x.
func (w *Writer) route(x *traffic.Exchange) int {
	endpoint := w.opts.Router.Endpoint(&x.Request)
	title := endpoint
	host := ""
	if x.Direction == traffic.Outbound {
		host = x.Request.Authority
		method, template, _ := strings.Cut(endpoint, " ")
		title = method + " " + host + template
	}
	path := routeFile(x.Direction, host, endpoint)
	i, ok := w.routeIndex[path]
	if !ok {
		i = len(w.routes)
		w.routes = append(w.routes, route{path: path, title: title})
		w.routeIndex[path] = i
	}
	return i
}

// SampledOut counts exchanges that were seen and left out on purpose.
func (w *Writer) SampledOut(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.SampledOut += n
}

// Dropped counts exchanges that were seen and lost before Add.
func (w *Writer) Dropped(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Dropped += n
}

// put stores a body once.
func (w *Writer) put(data []byte, ext string) (string, error) {
	path := blobPath(data, ext)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return "", errClosed
	}
	if _, ok := w.blobs[path]; ok {
		return path, nil
	}
	file, err := w.writeFile(path, func(out io.Writer) error {
		_, err := out.Write(data)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("store body: %w", err)
	}
	w.blobs[path] = file
	return path, nil
}

// writeFile writes one file of the snapshot through fill, flushed to disk, and
// describes it. A file that could not be written is removed.
func (w *Writer) writeFile(path string, fill func(io.Writer) error) (file File, err error) {
	name := filepath.Join(w.temp, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return file, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return file, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			os.Remove(name)
		}
	}()
	sum := sha256.New()
	buf := bufio.NewWriterSize(f, 64<<10)
	counted := &countWriter{w: io.MultiWriter(buf, sum)}
	if err := fill(counted); err != nil {
		return file, err
	}
	if err := buf.Flush(); err != nil {
		return file, err
	}
	return File{Path: path, Size: counted.n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Close writes the route files and the manifest and moves the snapshot into
// its place. After an error nothing stands there that was not there before.
func (w *Writer) Close() (Manifest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return Manifest{}, errClosed
	}
	w.closed = true
	m, err := w.finish()
	if err != nil {
		os.RemoveAll(w.temp)
		return Manifest{}, fmt.Errorf("finish snapshot %s: %w", w.target, err)
	}
	return m, nil
}

func (w *Writer) finish() (Manifest, error) {
	m := w.manifest()
	slices.SortFunc(w.entries, func(a, b entry) int {
		if c := a.start.Compare(b.start); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	if n := len(w.entries); n > 0 {
		m.RecordedFrom, m.RecordedTo = w.entries[0].start, w.entries[n-1].start
	}
	files, err := w.writeRoutes()
	if err != nil {
		return m, errors.Join(err, w.spool.Close())
	}
	if err := errors.Join(w.spool.Close(), os.Remove(w.spool.Name())); err != nil {
		return m, err
	}
	attributes, err := w.writeFile(gitattributesName, func(out io.Writer) error {
		_, err := io.WriteString(out, gitattributes)
		return err
	})
	if err != nil {
		return m, err
	}
	m.Files = slices.SortedFunc(maps.Values(w.blobs), byPath)
	m.Files = append(append(m.Files, files...), attributes)
	slices.SortFunc(m.Files, byPath)
	data, err := m.encode()
	if err != nil {
		return m, err
	}
	if err := m.check(); err != nil {
		return m, err
	}
	if err := os.WriteFile(filepath.Join(w.temp, manifestName), data, 0o644); err != nil {
		return m, err
	}
	return m, w.publish()
}

func byPath(a, b File) int { return strings.Compare(a.Path, b.Path) }

func (w *Writer) manifest() Manifest {
	c := w.counts
	c.Seen = c.Stored + c.SampledOut + c.Dropped
	m := Manifest{
		Format: Format, Name: w.opts.Name, Service: w.opts.Service, CreatedAt: w.opts.Now().UTC().Round(0),
		Inbound: w.inbound, Outbound: c.Stored - w.inbound, Completeness: c, Redaction: w.redactor.Describe(),
		Redactions: []traffic.Redaction{},
	}
	for key, n := range w.redactions {
		path, err := traffic.ParsePattern(key.path)
		if err != nil {
			// A redactor may name a place that only it can spell; the count
			// must not be lost for that.
			path = traffic.Pattern{}
		}
		m.Redactions = append(m.Redactions, traffic.Redaction{Rule: key.rule, Path: path, Count: n})
	}
	slices.SortFunc(m.Redactions, func(a, b traffic.Redaction) int {
		if c := strings.Compare(a.Rule, b.Rule); c != 0 {
			return c
		}
		return strings.Compare(a.Path.String(), b.Path.String())
	})
	return m
}

// writeRoutes copies the sorted entries from the spool to their files.
func (w *Writer) writeRoutes() ([]File, error) {
	perRoute := make([][]entry, len(w.routes))
	for _, e := range w.entries {
		perRoute[e.route] = append(perRoute[e.route], e)
	}
	files := make([]File, 0, len(w.routes))
	for i, r := range w.routes {
		file, err := w.writeFile(r.path, func(out io.Writer) error {
			if _, err := fmt.Fprintf(out, "%s%s\n", routeTitle, line(r.title)); err != nil {
				return err
			}
			for _, e := range perRoute[i] {
				if _, err := io.WriteString(out, "\n"); err != nil {
					return err
				}
				if _, err := io.Copy(out, io.NewSectionReader(w.spool, e.offset, int64(e.length))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// publish moves the finished directory to its place, the old one out of the
// way first and back again if that fails.
func (w *Writer) publish() error {
	if err := os.Chmod(w.temp, 0o755); err != nil {
		return err
	}
	if err := syncTree(w.temp); err != nil {
		return err
	}
	old := ""
	if _, err := os.Lstat(w.target); err == nil {
		if !w.opts.Replace {
			return fmt.Errorf("%s: %w", w.target, fs.ErrExist)
		}
		old = w.temp + ".old"
		if err := os.Rename(w.target, old); err != nil {
			return err
		}
	}
	if err := os.Rename(w.temp, w.target); err != nil {
		if old != "" {
			err = errors.Join(err, os.Rename(old, w.target))
		}
		return err
	}
	if old != "" {
		return os.RemoveAll(old)
	}
	return nil
}

// syncTree flushes files and directories, so that the rename is not on disk
// before what it names.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// Abort throws the snapshot away. It does nothing after Close.
func (w *Writer) Abort() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	return errors.Join(w.spool.Close(), os.RemoveAll(w.temp))
}
