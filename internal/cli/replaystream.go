package cli

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// Up to these a packed snapshot is read into memory before it is replayed,
// which learns from all of it at once and keeps each time as it was.
const (
	wholeExchanges = 10_000
	wholeBytes     = 32 << 20 // packed
)

// So much of a streamed snapshot is looked at for tokens before it is sent.
const (
	lookExchanges = 4 * windowExchanges
	lookBytes     = 4 * windowBytes
)

// A window of a streamed snapshot is closed at either of these.
const (
	windowExchanges = 1024
	windowBytes     = 2 << 20
)

// loadSource plans and sends a load, from memory or from a snapshot that is read
// meanwhile.
type loadSource struct {
	plan     func(context.Context) (*replay.Plan, error)
	drive    func(context.Context, replay.Target, *replay.Plan, *replay.SampleWriter) (*replay.Result, error)
	capacity func(context.Context, []replay.Target, int64, replay.CapacityOptions) ([]replay.Capacity, error)
	load     replay.Load
}

// loadSource opens the snapshot and makes its requests fit to be sent today, by
// the settings of a run.
func (p *project) loadSource(s Surroundings, f replayFlags, program *transform.Program) (*loadSource, error) {
	path, err := p.findSnapshot(s)
	if err != nil {
		return nil, err
	}
	opts, err := p.Transformation(config.Place{Dir: p.dir, Getenv: s.env, Now: time.Now})
	if err != nil {
		return nil, err
	}
	sending := replay.Options{
		Timeout: time.Duration(p.Replay.Timeout), Router: opts.Router, HTTP2: f.http2, KeepHost: f.keepHost,
	}
	streamed, note, err := streams(path, f)
	if err != nil {
		return nil, err
	}
	if note != "" {
		fmt.Fprintln(s.Stderr, note)
	}
	if !streamed {
		return wholeSource(s, path, f.load, opts, sending, program)
	}
	keep, err := opts.Keeps()
	if err != nil {
		return nil, err
	}
	recorded := &streamedSnapshot{path: path, opts: opts, keep: keep, most: windowExchanges, program: program}
	tokens, err := recorded.tokens()
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(s.Stderr, tokens)
	r, err := replay.NewStreamed(recorded, sending)
	if err != nil {
		return nil, err
	}
	plan := func(ctx context.Context) (*replay.Plan, error) { return r.Plan(ctx, f.load) }
	return &loadSource{plan: plan, drive: r.Drive, capacity: r.Capacity, load: f.load}, nil
}

// wholeSource reads the recording into memory.
func wholeSource(s Surroundings, path string, load replay.Load, opts transform.Options, sending replay.Options, program *transform.Program) (*loadSource, error) {
	recorded, err := readExchanges(path)
	if err != nil {
		return nil, err
	}
	kept, err := opts.Select(recorded)
	if err != nil {
		return nil, err
	}
	bindings, err := transform.Learn(kept, opts)
	if err != nil {
		return nil, err
	}
	if tokens := transform.Check(kept, bindings, opts).String(); tokens != "" {
		fmt.Fprintln(s.Stderr, tokens)
	}
	var inbound []*traffic.Exchange
	for _, x := range kept {
		if x.Direction == traffic.Inbound {
			inbound = append(inbound, x)
		}
	}
	if len(inbound) == 0 {
		return nil, fmt.Errorf("%s: no inbound requests to send", path)
	}
	engine, err := replay.New(inbound, sending)
	if err != nil {
		return nil, err
	}
	load.Rewriter = func(copy, loop int) replay.Rewriter {
		rw := transform.NewRewriter(bindings, opts)
		if program == nil {
			return rw
		}
		return wrap(program, rw, copy, loop)
	}
	plan := func(context.Context) (*replay.Plan, error) { return engine.Plan(load) }
	drive := func(ctx context.Context, t replay.Target, p *replay.Plan, samples *replay.SampleWriter) (*replay.Result, error) {
		r, err := engine.Drive(ctx, t, p)
		if r != nil && samples != nil {
			for _, s := range r.Samples {
				samples.Add(s)
			}
		}
		return r, err
	}
	return &loadSource{plan: plan, drive: drive, capacity: engine.Capacity, load: load}, nil
}

// streams reports whether the snapshot at path is sent while it is read. Note
// says why a large one is not; it is empty for others.
func streams(path string, f replayFlags) (streamed bool, note string, err error) {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return false, "", nil // who reads it into memory reports the error
	}
	r, err := snapshot.Open(path)
	if err != nil {
		return false, "", err
	}
	defer r.Close()
	m := r.Manifest()
	if !large(m, info) {
		return false, "", nil
	}
	needs := needsWhole(f)
	if needs == "" {
		return true, "", nil
	}
	return false, fmt.Sprintf("%s: all %d inbound exchanges, %.1f MB packed, are read into memory, because %s needs them at once; without it they are read while they are sent",
		path, m.Inbound, float64(info.Size())/1e6, needs), nil
}

// needsWhole names what needs all of a recording in memory; "" for nothing.
func needsWhole(f replayFlags) string {
	if !f.load.CanStream() {
		return "--churn"
	}
	return ""
}

func large(m snapshot.Manifest, info fs.FileInfo) bool {
	return m.Inbound > wholeExchanges || info.Size() > wholeBytes
}

// streamedSnapshot is a snapshot as a recording that is read as it is sent.
type streamedSnapshot struct {
	path string
	opts transform.Options
	keep func(*traffic.Exchange) bool
	most int // exchanges of a window
	// program changes requests after the rewriters; nil without one.
	program *transform.Program
}

// Scan implements [replay.Recording].
func (s *streamedSnapshot) Scan() iter.Seq2[*traffic.Exchange, error] {
	return func(yield func(*traffic.Exchange, error) bool) {
		r, err := snapshot.Open(s.path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.Close()
		sampler := s.opts.Sampler()
		for x, err := range r.All() {
			if err != nil {
				yield(nil, err)
				return
			}
			if x.Direction != traffic.Outbound && sampler.Keeps(x) && s.keep(x) && !yield(x, nil) {
				return
			}
		}
	}
}

// tokens says what becomes of the tokens in the first requests, and how many were
// looked at.
func (s *streamedSnapshot) tokens() (string, error) {
	var first []*traffic.Exchange
	size, more := 0, false
	for x, err := range s.Scan() {
		if err != nil {
			return "", err
		}
		if more = len(first) == lookExchanges || size >= lookBytes; more {
			break
		}
		first = append(first, x)
		size += weight(x)
	}
	bindings, err := transform.Learn(first, s.opts)
	if err != nil {
		return "", err
	}
	text := transform.Check(first, bindings, s.opts).String()
	if text == "" {
		text = "no tokens in requests"
	}
	if more {
		text = fmt.Sprintf("in the first %d requests: %s", len(first), text)
	}
	return text, nil
}

// Windows implements [replay.Recording]. What the windows are learns from those
// around them.
func (s *streamedSnapshot) Windows() iter.Seq2[*replay.Window, error] {
	return func(yield func(*replay.Window, error) bool) {
		learner, err := transform.NewWindows(s.opts)
		if err != nil {
			yield(nil, err)
			return
		}
		rewriters := make(map[int]*transform.Rewriter)
		give := func(exchanges []*traffic.Exchange, b *transform.Bindings) bool {
			return exchanges == nil || yield(s.window(exchanges, b, rewriters), nil)
		}
		var open []*traffic.Exchange
		size := 0
		for x, err := range s.Scan() {
			if err != nil {
				yield(nil, err)
				return
			}
			open = append(open, x)
			if size += weight(x); len(open) < s.most && size < windowBytes {
				continue
			}
			if !give(learner.Next(open)) {
				return
			}
			open, size = nil, 0
		}
		if len(open) > 0 && !give(learner.Next(open)) {
			return
		}
		for exchanges, b := learner.Rest(); exchanges != nil; exchanges, b = learner.Rest() {
			if !give(exchanges, b) {
				return
			}
		}
	}
}

// weight is about what an exchange takes in memory.
func weight(x *traffic.Exchange) int {
	n := 1024 + len(x.Request.Body.Raw)
	if x.Response != nil {
		n += len(x.Response.Body.Raw)
	}
	return n
}

// window makes a window of exchanges with bindings of their own. Rewriters holds
// what each copy has learned in this loop; the goroutine that sends uses it, and
// no other.
func (s *streamedSnapshot) window(exchanges []*traffic.Exchange, b *transform.Bindings, rewriters map[int]*transform.Rewriter) *replay.Window {
	watch := b.Watches
	if s.program != nil {
		watch = func(string) bool { return true }
	}
	for _, x := range exchanges {
		if !watch(x.ID) {
			dropAnswer(x)
		}
	}
	return &replay.Window{
		Exchanges: exchanges, Needs: b.Needs, Watch: watch,
		Rewriter: func(copy, loop int) replay.Rewriter {
			if rewriters[copy] == nil {
				rewriters[copy] = transform.NewRewriter(nil, s.opts)
			}
			rw := rewriters[copy].With(b)
			if s.program == nil {
				return rw
			}
			return wrap(s.program, rw, copy, loop)
		},
	}
}

// dropAnswer lets go of a recorded answer that nobody looks at any more. A
// stream or a conversation tells what is wanted of the live one.
func dropAnswer(x *traffic.Exchange) {
	r := x.Response
	if r != nil && !strings.HasPrefix(traffic.MediaType(x.Request.Header), "application/grpc") && r.Status != http.StatusSwitchingProtocols && traffic.MediaType(r.Header) != "text/event-stream" {
		r.Body.Raw = nil
	}
}

func wrap(program *transform.Program, rw *transform.Rewriter, copy, loop int) replay.Rewriter {
	return program.Wrap(rw, fmt.Sprintf("%d-%d-", copy, loop))
}
