package replay_test

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// pauses is a clock that tells how long somebody wanted to wait, and does not.
type pauses struct {
	mu  sync.Mutex
	all []time.Duration
}

func (p *pauses) pause(_ context.Context, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, d)
	return nil
}

func (p *pauses) take() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.all
	p.all = nil
	return all
}

func ms(list ...int) (times []time.Duration) {
	for _, n := range list {
		times = append(times, time.Duration(n)*time.Millisecond)
	}
	return times
}

// TestMessagesKeepTheirDistance has the client of a recorded WebSocket wait as
// long as it did: after the message of the server that it answered, or after
// its own one before.
func TestMessagesKeepTheirDistance(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(chat))
	defer s.Close()
	talk := func(client, server []time.Duration) *traffic.Exchange {
		x := conversation([]string{"a", "b", "c"}, []string{"hello", "1: a", "2: b", "3: c"})
		x.FirstByte = 5 * time.Millisecond
		x.Request.Body.Times, x.Response.Body.Times = client, server
		return x
	}
	tests := []struct {
		why     string
		x       *traffic.Exchange
		timeout time.Duration
		load    *replay.Load
		want    []time.Duration
	}{
		{"after the answers", talk(ms(105, 300, 900), ms(10, 110, 310, 905)), 0, nil, ms(95, 190, 590)},
		{"after its own message", talk(ms(20, 60, 160), ms(10, 170, 180, 190)), 0, nil, ms(10, 40, 100)},
		{"before the server said anything", talk(ms(15, 20, 30), ms(40, 50, 60, 70)), 0, nil, ms(10, 5, 10)},
		{"where no moments are known", talk(nil, ms(40, 50, 60, 70)), 0, nil, nil},
		{"in half the time that there is", talk(ms(20010, 40020, 40030), ms(10, 20020, 40025, 40040)), 20 * time.Second, nil, []time.Duration{4999375078, 4999375078, 1249844}},
		{"in a load at twice the speed", talk(ms(105, 300, 900), ms(10, 110, 310, 905)), 0, &replay.Load{Speed: 2}, []time.Duration{47500000, 95000000, 295000000}},
		{"in a closed loop", talk(ms(105, 300, 900), ms(10, 110, 310, 905)), 0, &replay.Load{Max: true}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			clock := new(pauses)
			e, err := replay.New([]*traffic.Exchange{tt.x}, replay.Options{Pause: clock.pause, Timeout: tt.timeout})
			if err != nil {
				t.Fatal(err)
			}
			target := replay.Target{Arm: "base", Addr: addr(s)}
			if tt.load != nil {
				p, err := e.Plan(*tt.load)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := e.Drive(t.Context(), target, p); err != nil {
					t.Fatal(err)
				}
			} else if err := e.Pass(t.Context(), target, nil, 1, func(x *traffic.Exchange) {
				if x.Failure != "" || strings.Count(string(x.Response.Body.Raw), ": ") != 3 {
					t.Errorf("%s %v %+v", x.Failure, x.Incomplete, x.Response)
				}
			}); err != nil {
				t.Fatal(err)
			}
			got := clock.take()
			near := cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() <= 2 }) // nanoseconds, of rounding
			if diff := cmp.Diff(tt.want, got, near); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestStreamKeepsItsTurns has the messages of a gRPC stream, and its half-close,
// go out when they did: a server that answers each message, and says one more
// thing when the client has ended, sees the conversation that was recorded.
func TestStreamKeepsItsTurns(t *testing.T) {
	message := func(text string) string {
		return "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
	}
	var heard []string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		flush := http.NewResponseController(w).Flush
		if err := flush(); err != nil {
			t.Error(err)
		}
		for {
			head := make([]byte, 5)
			if _, err := io.ReadFull(r.Body, head); err != nil {
				heard = append(heard, err.Error())
				break
			}
			data := make([]byte, binary.BigEndian.Uint32(head[1:]))
			if _, err := io.ReadFull(r.Body, data); err != nil {
				t.Error(err)
			}
			heard = append(heard, string(data))
			_, _ = io.WriteString(w, message("re "+string(data)))
			if err := flush(); err != nil {
				t.Error(err)
			}
		}
		_, _ = io.WriteString(w, message("bye"))
		w.Header().Set("Grpc-Status", "0")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	x := recorded(1, "POST", "/s/Talk", "Content-Type", "application/grpc", "Te", "trailers")
	x.Request.Proto = "HTTP/2.0"
	x.Request.Body = traffic.NewBody([]byte(message("a")+message("b")), nil)
	x.Request.Body.Times = ms(0, 50, 90)
	x.Response.Header = traffic.Header{{Name: "Content-Type", Value: "application/grpc"}}
	x.Response.Body = traffic.NewBody([]byte(message("re a")+message("re b")+message("bye")), nil)
	x.Response.Body.Times = ms(10, 60, 95)
	clock := new(pauses)
	e, err := replay.New([]*traffic.Exchange{x}, replay.Options{Pause: clock.pause})
	if err != nil {
		t.Fatal(err)
	}
	var live *traffic.Exchange
	if err := e.Pass(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, nil, 1, func(x *traffic.Exchange) { live = x }); err != nil {
		t.Fatal(err)
	}
	if live.Failure != "" || string(live.Response.Body.Raw) != message("re a")+message("re b")+message("bye") {
		t.Fatalf("%s %v %+v", live.Failure, live.Incomplete, live.Response)
	}
	if want := []string{"a", "b", "EOF"}; !slices.Equal(heard, want) {
		t.Errorf("the server heard %q", heard)
	}
	// 40 ms after the first answer, 30 ms after the second.
	if diff := cmp.Diff(ms(40, 30), slices.DeleteFunc(clock.take(), func(d time.Duration) bool { return d == 0 })); diff != "" {
		t.Error(diff)
	}
}
