package mock_test

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// standing is a clock that moves by what is waited for, and notes it.
type standing struct {
	mu    sync.Mutex
	at    time.Time
	waits []time.Duration
}

func (s *standing) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *standing) wait(_ context.Context, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = append(s.waits, until.Sub(s.at))
	s.at = until
	return nil
}

func milliseconds(list ...int) (times []time.Duration) {
	for _, n := range list {
		times = append(times, time.Duration(n)*time.Millisecond)
	}
	return times
}

// A conversation whose moments were recorded is played in them: three messages
// of the server's own before the client says anything, none after its first, one
// after its second; at their distances where answers take their time.
func TestWebSocketInItsRecordedTurns(t *testing.T) {
	frame := func(text string, mask byte) string {
		f := string([]byte{0x81, mask | byte(len(text))})
		if mask != 0 {
			f += "\x00\x00\x00\x00"
		}
		return f + text
	}
	rec := &recording{}
	x := rec.call("background", "GET", "http://chat.example/live", "", nil)
	x.Request.Header = traffic.Header{{Name: "Connection", Value: "Upgrade"}, {Name: "Upgrade", Value: "websocket"}}
	x.Request.Body = traffic.NewBody([]byte(frame("one", 0x80)+frame("two", 0x80)), nil)
	x.Request.Body.Times = milliseconds(100, 200)
	x.FirstByte, x.Duration = 5*time.Millisecond, 250*time.Millisecond
	x.Response = &traffic.Response{Status: 101, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Connection", Value: "Upgrade"}, {Name: "Upgrade", Value: "websocket"}, {Name: "Sec-WebSocket-Accept", Value: "x"}}}
	x.Response.Body = traffic.NewBody([]byte(frame("a", 0)+frame("b", 0)+frame("c", 0)+frame("d", 0)), nil)
	x.Response.Body.Times = milliseconds(15, 35, 95, 230)

	for _, tt := range []struct {
		why     string
		latency mock.Latency
		want    []time.Duration
	}{
		{"at once", mock.Latency{}, nil},
		{"at the recorded distances", mock.Latency{Scale: 1, EveryPass: true}, milliseconds(10, 20, 60, 30)},
		{"at twice those", mock.Latency{Scale: 2, EveryPass: true}, milliseconds(20, 40, 120, 60)},
	} {
		t.Run(tt.why, func(t *testing.T) {
			clock := &standing{at: begin}
			s := start(t, rec.exchanges, mock.Options{Latency: tt.latency, Now: clock.now, Wait: clock.wait})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, _, err := websocket.Dial(ctx, "ws://"+s.addr+"/live", &websocket.DialOptions{Host: "chat.example"})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			var seen []string
			hear := func(n int) {
				for range n {
					_, data, err := c.Read(ctx)
					if err != nil {
						t.Fatal(err)
					}
					seen = append(seen, string(data))
				}
			}
			hear(3)
			for _, text := range []string{"one", "two"} {
				seen = append(seen, text)
				if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			hear(1)
			if want := []string{"a", "b", "c", "one", "two", "d"}; !slices.Equal(seen, want) {
				t.Errorf("the client saw %q", seen)
			}
			waited := slices.DeleteFunc(clock.waits, func(d time.Duration) bool { return d == 0 })
			if !slices.Equal(tt.want, waited) {
				t.Errorf("waited %v, want %v", waited, tt.want)
			}
		})
	}
}

// Events are said when they were.
func TestEventsAtTheirTimes(t *testing.T) {
	rec := &recording{}
	x := rec.call("background", "GET", "http://news.example/live", "", response(200, "data: a\n\ndata: b\n\ndata: c\n\n"))
	x.Response.Header.Set("Content-Type", "text/event-stream")
	x.FirstByte, x.Duration = 10*time.Millisecond, 500*time.Millisecond
	x.Response.Body.Times = milliseconds(20, 400, 410)
	clock := &standing{at: begin}
	s := start(t, rec.exchanges, mock.Options{Latency: mock.Latency{Scale: 1, EveryPass: true}, Now: clock.now, Wait: clock.wait})
	resp, err := s.proxied().Get("http://news.example/live")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	events, err := io.ReadAll(resp.Body)
	if err != nil || string(events) != "data: a\n\ndata: b\n\ndata: c\n\n" {
		t.Errorf("%q, %v", events, err)
	}
	if diff := cmp.Diff(milliseconds(10, 10, 380, 10), clock.waits); diff != "" {
		t.Error(diff)
	}
}
