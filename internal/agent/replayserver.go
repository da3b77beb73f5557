package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// ReplaySettings are the options of a replay that can travel, with the snapshot.
type ReplaySettings struct {
	Concurrency int           `json:"concurrency,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	MaxBody     int64         `json:"max_body,omitempty"`
	KeepHost    bool          `json:"keep_host,omitempty"`
	HTTP2       bool          `json:"http2,omitempty"`
	// Routes are the route templates that name endpoints.
	Routes []string `json:"routes,omitempty"`
	// Transform makes the requests fit to be sent.
	Transform transform.Options `json:"transform"`
	// Keys are those that Transform keeps out of its JSON. Load fills them in.
	Keys []string `json:"keys,omitempty"`
}

// eachKey visits the strings that a value keeps out of its JSON, in the order
// of its fields: keys, which belong into no report but must travel.
func eachKey(v reflect.Value, visit func(key reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachKey(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachKey(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			switch hidden := field.Tag.Get("json") == "-"; {
			case !field.IsExported():
			case hidden && field.Type.Kind() == reflect.String:
				visit(v.Field(i))
			case !hidden:
				eachKey(v.Field(i), visit)
			}
		}
	}
}

// withKeys takes the keys out, for the way.
func (s ReplaySettings) withKeys() ReplaySettings {
	s.Keys = nil
	eachKey(reflect.ValueOf(s.Transform), func(key reflect.Value) { s.Keys = append(s.Keys, key.String()) })
	return s
}

// transform puts the keys back into options that have just been read.
func (s ReplaySettings) transform(router *traffic.Router) (transform.Options, error) {
	opts, keys := s.Transform, s.Keys
	missing := false
	eachKey(reflect.ValueOf(&opts), func(key reflect.Value) {
		if missing = missing || len(keys) == 0; !missing {
			key.SetString(keys[0])
			keys = keys[1:]
		}
	})
	if missing || len(keys) > 0 {
		return opts, fmt.Errorf("%d keys do not fit the rules that need one", len(s.Keys))
	}
	opts.Router = router
	return opts, opts.Validate()
}

// options are those of the engine in the pod. The certificate of a service
// under test is not verified: it names the host that the service has in
// production, and the address of a pod cannot be mistaken for it.
func (s ReplaySettings) options() (replay.Options, error) {
	router, err := traffic.NewRouter(s.Routes)
	if err != nil {
		return replay.Options{}, err
	}
	return replay.Options{
		Concurrency: s.Concurrency, Timeout: s.Timeout, MaxBody: s.MaxBody, KeepHost: s.KeepHost, HTTP2: s.HTTP2, Router: router,
		TLS: &tls.Config{InsecureSkipVerify: true},
	}, nil
}

// Target is a deployed arm as the replayer's pod sees it.
type Target struct {
	Arm  string `json:"arm"`
	Addr string `json:"addr"`
	// Host is the authority for Host and TLS; empty means Addr.
	Host string `json:"host,omitempty"`
	TLS  bool   `json:"tls,omitempty"`
	// Mock is the control API of the arm's mock, to tell it of lanes; nil
	// leaves it alone.
	Mock *Endpoint `json:"mock,omitempty"`
}

type passRequest struct {
	Target Target `json:"target"`
	Pass   uint32 `json:"pass"`
	// Concurrency is that of the settings if zero.
	Concurrency int `json:"concurrency,omitempty"`
}

type roundRequest struct {
	A       Target       `json:"a"`
	B       Target       `json:"b"`
	Pass    uint32       `json:"pass"`
	Seed    int64        `json:"seed"`
	Options RoundOptions `json:"options"`
}

// RoundOptions are those of [replay.RoundOptions] that can travel.
type RoundOptions struct {
	PairsPerEndpoint int           `json:"pairs_per_endpoint,omitempty"`
	MinDuration      time.Duration `json:"min_duration,omitempty"`
	MaxDuration      time.Duration `json:"max_duration,omitempty"`
	Gap              time.Duration `json:"gap,omitempty"`
	// Only lists the IDs of the recorded exchanges that take part; nil takes
	// all.
	Only []string `json:"only,omitempty"`
}

func (o RoundOptions) local() replay.RoundOptions {
	opts := replay.RoundOptions{PairsPerEndpoint: o.PairsPerEndpoint, MinDuration: o.MinDuration, MaxDuration: o.MaxDuration, Gap: o.Gap}
	if o.Only != nil {
		only := make(map[string]bool, len(o.Only))
		for _, id := range o.Only {
			only[id] = true
		}
		opts.Eligible = func(x *traffic.Exchange) bool { return only[x.ID] }
	}
	return opts
}

// loaded is the answer to a load of the replayer.
type loaded struct {
	Requests int `json:"requests"`
}

// replayer is a replay engine behind the control API.
type replayer struct {
	*control
	mu        sync.Mutex
	engine    *replay.Engine
	bindings  *transform.Bindings
	rewriting transform.Options
	part      *replay.Part // of the next load
}

// ServeReplay serves a replayer on l until ctx ends, and returns nil then. It
// closes l.
func ServeReplay(ctx context.Context, l net.Listener, opts ServerOptions) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	s := &replayer{control: newControl("replay", opts)}
	s.handle("POST /v1/load", s.load)
	s.handle("POST /v1/pass", s.pass)
	s.handle("POST /v1/round", s.round)
	s.handle("POST /v1/part", s.takePart)
	s.handle("POST /v1/drive", s.drive)
	s.handle("POST /v1/open-round", s.openRound)
	s.handle("POST /v1/capacity", s.capacity)
	s.handle("GET /v1/clock", func(w http.ResponseWriter, _ *http.Request) error { return writeJSON(w, time.Now()) })
	return s.serve(ctx, l)
}

func (s *replayer) load(w http.ResponseWriter, r *http.Request) error {
	stream := NewStreamReader(r.Body)
	var settings ReplaySettings
	if err := stream.settings(&settings); err != nil {
		return err
	}
	inbound, err := stream.All()
	if err != nil {
		return err
	}
	opts, err := settings.options()
	if err != nil {
		return err
	}
	rewriting, err := settings.transform(opts.Router)
	if err != nil {
		return err
	}
	engine, err := replay.New(inbound, opts)
	if err != nil {
		return err
	}
	bindings, err := transform.Learn(inbound, rewriting)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.engine, s.bindings, s.rewriting, s.part = engine, bindings, rewriting, nil
	s.mu.Unlock()
	s.opts.Log.Info("loaded", "requests", engine.Len())
	return writeJSON(w, loaded{Requests: engine.Len()})
}

// current returns what was loaded last, and a rewriter with fresh state for
// each target.
func (s *replayer) current() (engine *replay.Engine, rewriter func() replay.Rewriter, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == nil {
		return nil, nil, errNotLoaded
	}
	bindings, opts := s.bindings, s.rewriting
	return s.engine, func() replay.Rewriter { return transform.NewRewriter(bindings, opts) }, nil
}

// pass answers with a stream of the live exchanges, while they come in.
func (s *replayer) pass(w http.ResponseWriter, r *http.Request) error {
	engine, rewriter, err := s.current()
	if err != nil {
		return err
	}
	var req passRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	target, lanes := req.Target.local(r.Context())
	out := NewStreamWriter(w)
	var writeErr error
	flushed := time.Now()
	run := engine.Pass
	if req.Concurrency > 0 {
		run = func(ctx context.Context, t replay.Target, rw replay.Rewriter, pass uint32, emit func(*traffic.Exchange)) error {
			return engine.PassWith(ctx, t, rw, pass, req.Concurrency, emit)
		}
	}
	err = run(r.Context(), target, rewriter(), req.Pass, func(x *traffic.Exchange) {
		if writeErr != nil {
			return
		}
		if writeErr = out.Exchange(x); writeErr == nil && time.Since(flushed) > flushEvery {
			writeErr = out.Flush()
			_ = http.NewResponseController(w).Flush()
			flushed = time.Now()
		}
	})
	if err == nil {
		err = lanes.Err()
	}
	if writeErr != nil {
		s.opts.Log.Warn("the caller left in the middle of a pass", "pass", req.Pass, "error", writeErr)
		return nil
	}
	if r.Context().Err() != nil {
		return nil // the stream ends without its end: the caller left, or the agent is being stopped
	}
	_ = out.Close(err) // the caller that went away misses it
	return nil
}

// flushEvery is how often the exchanges of a running pass are sent on, so that
// the other side can show progress.
const flushEvery = 200 * time.Millisecond

func (s *replayer) round(w http.ResponseWriter, r *http.Request) error {
	engine, rewriter, err := s.current()
	if err != nil {
		return err
	}
	var req roundRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	a, lanesA := req.A.local(r.Context())
	b, lanesB := req.B.local(r.Context())
	round, err := engine.Round(r.Context(), a, b, rewriter(), rewriter(), req.Pass, req.Seed, req.Options.local())
	for _, lanes := range []*Mock{lanesA, lanesB} {
		if err == nil {
			err = lanes.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("round %d: %w", req.Pass, err)
	}
	return writeJSON(w, round)
}

// local returns the target for the engine, and the client of its mock, which
// is nil when there is none.
func (t Target) local(ctx context.Context) (replay.Target, *Mock) {
	target := replay.Target{Arm: t.Arm, Addr: t.Addr, Host: t.Host, TLS: t.TLS}
	if t.Mock == nil {
		return target, nil
	}
	mock := NewMock(ctx, *t.Mock)
	target.Mock = mock
	return target, mock
}
