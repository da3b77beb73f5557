package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Redactor makes an exchange safe to keep. It changes x in place, and says by
// rule and place what it changed, never holding a value. It must be safe for
// concurrent use.
type Redactor interface {
	Redact(x *traffic.Exchange) ([]traffic.Redaction, error)
	Describe() RedactionInfo
}

// ErrUnfinished is wrapped by the error of [NewWriter] when an earlier
// recording to the same place was cut off. [Recover] or [Resume] it.
var ErrUnfinished = errors.New("an unfinished recording stands here")

// Writer makes a snapshot: a packed file if its path ends in ".rpk", else a
// directory. What it was given collects in a file beside the target, in frames
// that stay readable when the process is killed; Close makes the snapshot from
// it and moves that into place, so that a reader never sees half a snapshot. A
// Writer is safe for concurrent use. The caller must end it with Close or
// Abort.
type Writer struct {
	opts     Options
	redactor Redactor
	target   string
	partial  string

	resumed    bool // there was something before
	mu         sync.Mutex
	closed     bool
	file       packFile
	pack       *packer
	counts     Completeness // SampledOut and Dropped; the rest is counted at the end
	redactions map[redactionKey]int
	timer      *time.Timer // flushes what waits; nil while nothing does
}

type redactionKey struct{ rule, path string }

// route is one file of the text tier.
type route struct {
	path  string
	title string // the first line says it
}

var errClosed = errors.New("the snapshot writer is closed")

// partialPath is where a recording to target collects.
func partialPath(target string) string {
	return filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".partial")
}

// NewWriter starts a snapshot that will stand at path. It refuses a nil
// redactor, an existing snapshot unless Options.Replace is set, and a place
// where a recording was cut off.
func NewWriter(path string, redactor Redactor, opts Options) (*Writer, error) {
	w, err := newWriter(path, redactor, opts)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(w.target), 0o755); err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	f, err := os.OpenFile(w.partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create snapshot %s: %w: %s; recover it or remove it", path, ErrUnfinished, w.partial)
	}
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	p, err := newPacker(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create snapshot: %w", err), f.Close(), os.Remove(w.partial))
	}
	w.use(f, p)
	return w, nil
}

// newWriter makes a writer that has no file yet.
func newWriter(path string, redactor Redactor, opts Options) (*Writer, error) {
	if redactor == nil {
		return nil, errors.New("a snapshot needs a redactor: unredacted traffic is never stored")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	path = filepath.Clean(path)
	opts = opts.withDefaults(strings.TrimSuffix(filepath.Base(path), packSuffix))
	if _, err := os.Lstat(path); err == nil && !opts.Replace {
		return nil, fmt.Errorf("create snapshot %s: %w; remove it or choose another name", path, fs.ErrExist)
	}
	return &Writer{opts: opts, redactor: redactor, target: path, partial: partialPath(path), redactions: map[redactionKey]int{}}, nil
}

func (w *Writer) use(f packFile, p *packer) {
	w.file, w.pack = f, p
	p.checkpoint = func() []byte {
		m := w.manifest()
		data, err := yaml.Marshal(&m)
		if err != nil {
			return nil // the recording goes on; only its accounts would miss this
		}
		return data
	}
}

// Add redacts a copy of x and stores it; x itself stays as it is. An exchange
// that cannot be redacted or stored is counted as dropped, and leaves nothing
// behind; the writer can be used further. When the disk is full, exchanges
// that were added before but not yet on it are counted as dropped too.
func (w *Writer) Add(x *traffic.Exchange) error {
	c := x.Clone()
	redactions, err := w.redactor.Redact(c)
	if err != nil {
		w.Dropped(1)
		return fmt.Errorf("redact exchange %s: %w", x.ID, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	if err := checkStorable(c); err != nil {
		w.counts.Dropped++
		return err
	}
	// Counted first: adding may write a frame, whose account includes this one.
	for _, r := range redactions {
		w.redactions[redactionKey{r.Rule, r.Path.String()}] += r.Count
	}
	before := w.pack.count()
	lost, err := w.pack.add(c, w.route(c))
	w.counts.Dropped += lost
	if err == nil {
		w.flushLater()
		return nil
	}
	if w.pack.count()+lost == before { // x itself is not among the lost
		w.counts.Dropped++
	}
	for _, r := range redactions {
		w.redactions[redactionKey{r.Rule, r.Path.String()}] -= r.Count
	}
	return fmt.Errorf("store exchange %s: %w", x.ID, err)
}

// route returns the file of the text tier that x belongs to.
func (w *Writer) route(x *traffic.Exchange) route {
	endpoint := w.opts.Router.Endpoint(&x.Request)
	if x.Direction == traffic.Inbound {
		return route{path: routeFile(x.Direction, "", endpoint), title: endpoint}
	}
	host := x.Request.Authority
	method, template, _ := strings.Cut(endpoint, " ")
	return route{path: routeFile(x.Direction, host, endpoint), title: method + " " + host + template}
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

// Flush writes what was added so far to the disk, so that it outlives the
// process. Recorders call it from time to time.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return errClosed
	}
	return w.flush()
}

func (w *Writer) flush() error {
	w.stopTimer()
	lost, err := w.pack.flush()
	w.counts.Dropped += lost
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("flush snapshot %s: %w", w.target, err)
	}
	return nil
}

// flushLater makes sure that what waits is flushed in time. What cannot be
// flushed then is counted as dropped; there is nobody to tell it to.
func (w *Writer) flushLater() {
	if w.opts.FlushAfter == 0 || w.timer != nil || len(w.pack.pending) == 0 {
		return
	}
	w.timer = time.AfterFunc(w.opts.FlushAfter, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.closed {
			_ = w.flush()
		}
	})
}

func (w *Writer) stopTimer() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// Close makes the snapshot and moves it into its place. After an error nothing
// stands there that was not there before, and what was recorded can be
// recovered.
func (w *Writer) Close() (Manifest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return Manifest{}, errClosed
	}
	w.closed = true
	w.stopTimer()
	m, err := w.finish()
	if err != nil {
		return Manifest{}, fmt.Errorf("finish snapshot %s: %w; what was recorded is in %s", w.target, err, w.partial)
	}
	return m, nil
}

func (w *Writer) finish() (Manifest, error) {
	// A frame that does not fit is counted as dropped; the rest is a snapshot.
	lost, err := w.pack.flush()
	w.counts.Dropped += lost
	if err != nil && !diskFull(err) {
		return Manifest{}, errors.Join(err, w.file.Close())
	}
	if strings.HasSuffix(w.target, packSuffix) {
		return w.finishPack()
	}
	m, order := w.account()
	err = writeText(w.target, w.opts.Replace, &m, w.all(order))
	if err = errors.Join(err, w.file.Close()); err == nil {
		err = os.Remove(w.partial)
	}
	return m, err
}

// all yields what is in the frames, in that order.
func (w *Writer) all(order []uint32) tierFunc {
	return func(yield func(*traffic.Exchange, route, error) bool) {
		frames, err := newFrames(w.file, w.partial, w.pack, len(w.pack.entries))
		if err != nil {
			yield(nil, route{}, err)
			return
		}
		defer frames.close()
		for _, n := range order {
			if !yield(readExchange(frames, w.pack.routes, int(n))) {
				return
			}
		}
	}
}

// rewrite makes the snapshot from what was recorded, in full frames and in
// order. After an error nothing has changed.
func (w *Writer) rewrite(m *Manifest, order []uint32) error {
	name := w.partial + ".new"
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = packAll(f, m, w.all(order))
	if err = errors.Join(err, f.Close()); err == nil {
		err = publish(name, w.target, w.opts.Replace)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// account returns the manifest of what is in the frames, and the order of
// reading.
func (w *Writer) account() (Manifest, []uint32) {
	m, order := w.manifest(), w.pack.order()
	if n := len(order); n > 0 {
		m.RecordedFrom, m.RecordedTo = w.pack.entries[order[0]].start(), w.pack.entries[order[n-1]].start()
	}
	return m, order
}

// finishPack completes the file that was recorded to, or writes it anew if it
// is in many small frames. On a full disk it gives up the last frames until
// its index fits: a readable snapshot of less is better than one that cannot
// be read.
func (w *Writer) finishPack() (Manifest, error) {
	if m, order := w.account(); w.pack.sparse(order) {
		if err := w.rewrite(&m, order); err == nil {
			return m, errors.Join(w.file.Close(), os.Remove(w.partial))
		}
	}
	for {
		m, order := w.account()
		err := w.pack.finish(&m, order)
		if err == nil {
			if err = w.file.Close(); err == nil {
				err = publish(w.partial, w.target, w.opts.Replace)
			}
			return m, err
		}
		if !diskFull(err) || len(w.pack.list) == 0 {
			return m, errors.Join(err, w.file.Close())
		}
		lost, err := w.pack.dropLast()
		if err != nil {
			return m, errors.Join(err, w.file.Close())
		}
		w.counts.Dropped += lost
	}
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// manifest returns the manifest of what was added so far.
func (w *Writer) manifest() Manifest {
	m := Manifest{
		Format: Format, Name: w.opts.Name, Service: w.opts.Service, CreatedAt: w.opts.Now().UTC().Round(0),
		Completeness: w.counts, Redaction: w.redactor.Describe(), Redactions: []traffic.Redaction{}, InlineLimit: w.opts.InlineLimit, Files: []File{},
	}
	c := &m.Completeness
	m.Inbound, m.Outbound, c.Incomplete = w.pack.tally.inbound, w.pack.tally.outbound, w.pack.tally.incomplete
	c.Stored = w.pack.count()
	c.Seen = c.Stored + c.SampledOut + c.Dropped
	for key, n := range w.redactions {
		path, err := traffic.ParsePattern(key.path)
		if err != nil {
			// A redactor may name a place that only it can spell; the count
			// must not be lost for that.
			path = traffic.Pattern{}
		}
		if n > 0 {
			m.Redactions = append(m.Redactions, traffic.Redaction{Rule: key.rule, Path: path, Count: n})
		}
	}
	slices.SortFunc(m.Redactions, func(a, b traffic.Redaction) int {
		if c := strings.Compare(a.Rule, b.Rule); c != 0 {
			return c
		}
		return strings.Compare(a.Path.String(), b.Path.String())
	})
	return m
}

// Abort throws the recording away; one that was resumed stays cut off, so that
// what was there before is not lost. It does nothing after Close.
func (w *Writer) Abort() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	w.stopTimer()
	err := w.file.Close()
	if !w.resumed {
		err = errors.Join(err, os.Remove(w.partial))
	}
	return err
}
