package replay_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// quick are options for a round that ends as soon as it has its pairs.
func quick(pairs int) replay.RoundOptions {
	return replay.RoundOptions{PairsPerEndpoint: pairs, MinDuration: time.Nanosecond, MaxDuration: 10 * time.Second}
}

func newEngine(t testing.TB, exchanges ...*traffic.Exchange) *replay.Engine {
	t.Helper()
	e, err := replay.New(exchanges, replay.Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRoundPairsAndInterleaves(t *testing.T) {
	var mu sync.Mutex
	var order []string
	arm := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name+r.URL.Path)
		}))
	}
	a, b := arm("a"), arm("b")
	defer a.Close()
	defer b.Close()
	e := newEngine(t, recorded(0, "GET", "/one"), recorded(1, "GET", "/two"), recorded(2, "GET", "/two"))
	base, head := replay.Target{Arm: "base", Addr: addr(a)}, replay.Target{Arm: "head", Addr: addr(b)}
	round, err := e.Round(t.Context(), base, head, nil, nil, 2, 42, quick(50))
	if err != nil {
		t.Fatal(err)
	}
	count, first := map[string]int{}, map[string]int{}
	for _, p := range round.Pairs {
		count[p.Endpoint]++
		first[p.First]++
		if p.A <= 0 || p.B <= 0 {
			t.Fatalf("pair without times: %+v", p)
		}
	}
	if count["GET /one"] != 50 || count["GET /two"] != 50 {
		t.Errorf("pairs per endpoint: %v", count)
	}
	if first["base"] < 40 || first["head"] < 40 {
		t.Errorf("the coin is not fair: %v", first)
	}
	if len(order) != 2*len(round.Pairs) || len(round.SendLag) != len(order) || round.Repetitions != 50 || len(round.Dropped) != 0 {
		t.Errorf("%d requests, %d lags, %d pairs, %d repetitions, dropped %v", len(order), len(round.SendLag), len(round.Pairs), round.Repetitions, round.Dropped)
	}
	var sides [2][]string
	for i := 0; i < len(order); i += 2 {
		if order[i][1:] != order[i+1][1:] || order[i][0] == order[i+1][0] {
			t.Fatalf("requests %d and %d are no pair: %s, %s", i, i+1, order[i], order[i+1])
		}
		sides[0] = append(sides[0], order[i][1:])
	}
	// After 25 repetitions only /one lacks pairs.
	want := slices.Concat(slices.Repeat([]string{"/one", "/two", "/two"}, 25), slices.Repeat([]string{"/one"}, 25))
	if diff := cmp.Diff(want, sides[0]); diff != "" {
		t.Fatalf("not the recorded order (-want +got):\n%s", diff)
	}
	firsts := func(seed int64) string {
		round, err := e.Round(t.Context(), base, head, nil, nil, 2, seed, quick(10))
		if err != nil {
			t.Fatal(err)
		}
		var s strings.Builder
		for _, p := range round.Pairs {
			s.WriteString(p.First)
		}
		return s.String()
	}
	seven, again, eight := firsts(7), firsts(7), firsts(8)
	if seven != again || seven == eight {
		t.Error("the order of pairs does not follow the seed")
	}
}

// A rare endpoint is repeated with what it needs, not with the whole recording.
func TestRoundRepeatsOnlyWhatLacksPairs(t *testing.T) {
	var mu sync.Mutex
	count := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		count[r.URL.Path]++
	}))
	defer s.Close()
	var exchanges []*traffic.Exchange
	for i := range 8 {
		exchanges = append(exchanges, recorded(i, "GET", "/often"))
	}
	exchanges = append(exchanges, recorded(8, "GET", "/rare"))
	rw := &needing{needs: map[string][]string{exchanges[8].ID: {exchanges[7].ID}, exchanges[7].ID: {exchanges[0].ID}}}
	target := replay.Target{Arm: "base", Addr: addr(s)}
	round, err := newEngine(t, exchanges...).Round(t.Context(), target, target, rw, rw, 2, 1, quick(16))
	if err != nil || len(round.Short) > 0 {
		t.Fatalf("short %v, %v", round.Short, err)
	}
	// Two repetitions of everything; in 14 more, /rare with the one that it
	// needs and the one that this needs in turn. Each is sent to both sides.
	want := map[string]int{"/rare": 2 * 16, "/often": 2 * (2*8 + 14*2)}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// needing is a Rewriter that changes nothing and only says what needs what.
type needing struct{ needs map[string][]string }

func (n *needing) Request(x *traffic.Exchange) *traffic.Request               { return &x.Request }
func (n *needing) Observe(recorded, live *traffic.Exchange) []traffic.Binding { return nil }
func (n *needing) Needs(id string) []string                                   { return n.needs[id] }

func TestRoundMeasuresServiceTime(t *testing.T) {
	slow := func(d time.Duration) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			w.(http.Flusher).Flush() // the first byte comes at once, the last one late
			time.Sleep(d)
			io.WriteString(w, "done")
		}))
	}
	a, b := slow(time.Millisecond), slow(20*time.Millisecond)
	defer a.Close()
	defer b.Close()
	round, err := newEngine(t, recorded(0, "GET", "/")).Round(t.Context(),
		replay.Target{Arm: "base", Addr: addr(a)}, replay.Target{Arm: "head", Addr: addr(b)}, nil, nil, 2, 1, quick(5))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range round.Pairs {
		if p.A < time.Millisecond || p.B < 20*time.Millisecond {
			t.Errorf("service times %v and %v are shorter than the service", p.A, p.B)
		}
	}
}

func TestRoundDropsAndCounts(t *testing.T) {
	steady := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer steady.Close()
	var n atomic.Int64
	shaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch i := n.Add(1); {
		case r.URL.Path == "/status" && i%2 == 0:
			w.WriteHeader(500)
		case r.URL.Path == "/abort" && i%2 == 0:
			panic(http.ErrAbortHandler)
		}
	}))
	defer shaky.Close()
	shaky.Config.ErrorLog = nil
	round, err := newEngine(t, recorded(0, "GET", "/status"), recorded(1, "POST", "/abort"), recorded(2, "GET", "/x")).Round(t.Context(),
		replay.Target{Arm: "base", Addr: addr(steady)}, replay.Target{Arm: "head", Addr: addr(shaky)}, nil, nil, 2, 1, quick(10))
	if err != nil {
		t.Fatal(err)
	}
	kept := len(round.Pairs)
	if round.Dropped["status differs"] == 0 || round.Dropped["head: reset"] == 0 || len(round.Dropped) != 2 {
		t.Errorf("dropped %v", round.Dropped)
	}
	if sent := len(round.SendLag) / 2; kept+round.Dropped["status differs"]+round.Dropped["head: reset"] != sent {
		t.Errorf("%d pairs sent, %d kept, %v dropped", sent, kept, round.Dropped)
	}
}

func TestRoundRetriedPairsAreDropped(t *testing.T) {
	address := rawServer(t, func(_ int, c net.Conn, r *bufio.Reader) { // two answers a connection, then it closes without a third
		for range 2 {
			if skipRequest(r) != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		r.Peek(1)
	})
	round, err := newEngine(t, recorded(0, "GET", "/")).Round(t.Context(),
		replay.Target{Arm: "base", Addr: address}, replay.Target{Arm: "head", Addr: address}, nil, nil, 2, 1, quick(10))
	if err != nil {
		t.Fatal(err)
	}
	if round.Dropped["base: retried"] == 0 || round.Dropped["head: retried"] == 0 || len(round.Pairs) != 10 {
		t.Errorf("%d pairs, dropped %v", len(round.Pairs), round.Dropped)
	}
}

func TestRoundEnds(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer s.Close()
	refused := replay.Target{Arm: "head", Addr: "127.0.0.1:1"}
	base := replay.Target{Arm: "base", Addr: addr(s)}
	e := newEngine(t, recorded(0, "GET", "/"))
	t.Run("at its longest, when an arm never answers", func(t *testing.T) {
		round, err := e.Round(t.Context(), base, refused, nil, nil, 2, 1, replay.RoundOptions{MinDuration: time.Millisecond, MaxDuration: 30 * time.Millisecond})
		if err != nil || len(round.Pairs) != 0 || round.Dropped["head: refused"] == 0 || !slices.Equal(round.Short, []string{"GET /"}) {
			t.Errorf("%+v, %v", round, err)
		}
	})
	t.Run("no earlier than its least", func(t *testing.T) {
		start := time.Now()
		round, err := e.Round(t.Context(), base, base, nil, nil, 2, 1, replay.RoundOptions{PairsPerEndpoint: 1, MinDuration: 50 * time.Millisecond})
		if err != nil || time.Since(start) < 50*time.Millisecond || len(round.Pairs) < 2 {
			t.Errorf("%d pairs after %v, %v", len(round.Pairs), time.Since(start), err)
		}
	})
	t.Run("with its context, keeping what it has", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var n atomic.Int64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 7 { // four pairs begin, three are complete
				cancel()
			}
		}))
		defer s.Close()
		base := replay.Target{Arm: "base", Addr: addr(s)}
		round, err := e.Round(ctx, base, base, nil, nil, 2, 1, replay.RoundOptions{MinDuration: time.Hour, MaxDuration: time.Hour})
		if !errors.Is(err, context.Canceled) || len(round.Pairs) != 3 || len(round.Dropped) != 0 {
			t.Errorf("%d pairs, dropped %v, %v", len(round.Pairs), round.Dropped, err)
		}
	})
	t.Run("at once, with nothing to send", func(t *testing.T) {
		round, err := e.Round(t.Context(), base, base, nil, nil, 2, 1, replay.RoundOptions{Eligible: func(*traffic.Exchange) bool { return false }})
		if err != nil || len(round.Pairs) != 0 {
			t.Errorf("%+v, %v", round, err)
		}
	})
}

func TestRoundRepetitionsArePassesOfTheirOwn(t *testing.T) {
	var traces sync.Map
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if mark, ok := traffic.ParseMark(r.Header.Get("traceparent")); ok {
			traces.Store(mark.Pass, true)
		}
	}))
	defer s.Close()
	a, b := &ledger{active: map[traffic.Lane]bool{}}, &ledger{active: map[traffic.Lane]bool{}}
	rwA, rwB := &chain{observed: map[string]bool{}}, &chain{observed: map[string]bool{}}
	round, err := newEngine(t, recorded(0, "GET", "/"), recorded(1, "GET", "/")).Round(t.Context(),
		replay.Target{Arm: "base", Addr: addr(s), Mock: a}, replay.Target{Arm: "head", Addr: addr(s), Mock: b}, rwA, rwB, 5, 1, quick(8))
	if err != nil || round.Repetitions != 4 {
		t.Fatalf("%d repetitions, %v", round.Repetitions, err)
	}
	for n := range uint32(4) {
		if _, ok := traces.Load(5 + n<<16); !ok {
			t.Errorf("no request of pass %d", 5+n<<16)
		}
	}
	for name, mock := range map[string]*ledger{"base": a, "head": b} {
		var got []string
		for _, event := range mock.events {
			if strings.HasPrefix(event, "begin") || strings.HasPrefix(event, "forget") {
				got = append(got, event)
			}
		}
		want := []string{}
		for _, event := range []string{"begin 5", "begin 5+1", "begin 5+2", "begin 5+3", "forget 5+1", "forget 5+3", "forget 5+2"} {
			var verb string
			var n uint32
			fmt.Sscanf(event, "%s 5+%d", &verb, &n)
			want = append(want, fmt.Sprintf("%s %d", verb, 5+n<<16))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("passes of %s (-want +got):\n%s", name, diff)
		}
		if bound := fmt.Sprintf("bind %d x001 of x000=%s-x000", 5+1<<16, name); !slices.Contains(mock.events, bound) {
			t.Errorf("%s was not told %q", name, bound)
		}
	}
	if len(rwA.early)+len(rwB.early) > 0 {
		t.Errorf("sent before the answers they need: %v %v", rwA.early, rwB.early)
	}
}
