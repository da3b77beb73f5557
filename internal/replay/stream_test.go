package replay_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// frame is a text message on the wire; those of clients are masked with zeros.
func frame(text string, client bool) string {
	if client {
		return string([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
	}
	return string([]byte{0x81, byte(len(text))}) + text
}

// conversation is a recorded WebSocket.
func conversation(client, server []string) *traffic.Exchange {
	x := recorded(1, "GET", "/chat", "Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Protocol", "chat.v1",
		"Sec-WebSocket-Key", "b2xkb2xkb2xkb2xkb2xkCg==", "Sec-WebSocket-Version", "13", "X-User", "ann")
	var said, heard string
	for _, text := range client {
		said += frame(text, true)
	}
	for _, text := range server {
		heard += frame(text, false)
	}
	x.Request.Body = traffic.NewBody([]byte(said), nil)
	x.Response = &traffic.Response{Status: 101, Proto: "HTTP/1.1", Body: traffic.NewBody([]byte(heard), nil)}
	return x
}

// chat greets, answers each message, and does what some messages ask for.
func chat(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-User") == "" {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat.v1"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	say := func(text string) { c.Write(r.Context(), websocket.MessageText, []byte(text)) }
	say("hello " + c.Subprotocol())
	for n := 1; ; n++ {
		_, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		switch text := string(data); text {
		case "twice":
			say(fmt.Sprintf("%d: %s", n, text))
			say(fmt.Sprintf("%d: %s", n, text))
		case "bye":
			c.Close(websocket.StatusNormalClosure, "")
			return
		case "hang":
			<-r.Context().Done()
			return
		case "drop":
			return
		default:
			say(fmt.Sprintf("%d: %s", n, text))
		}
	}
}

func TestWebSocketConversations(t *testing.T) {
	t.Parallel() // it waits most of its time
	s := httptest.NewServer(http.HandlerFunc(chat))
	defer s.Close()
	tests := []struct {
		why            string
		client, server []string
		want           []string
		failure        traffic.Failure
	}{
		{"as recorded", []string{"a", "b"}, []string{"hello", "1", "2"}, []string{"hello chat.v1", "1: a", "2: b"}, ""},
		{"a message too many is seen", []string{"twice"}, []string{"hello", "1"}, []string{"hello chat.v1", "1: twice", "1: twice"}, ""},
		{"a server that closes early", []string{"a", "bye", "c"}, []string{"hello", "1", "2", "3"}, []string{"hello chat.v1", "1: a"}, ""},
		{"a message that never comes", []string{"hang"}, []string{"hello", "1"}, nil, traffic.FailureTimeout},
		{"a connection that breaks", []string{"drop"}, []string{"hello", "1"}, nil, traffic.FailureReset},
		{"nobody says anything", nil, []string{"hello"}, []string{"hello chat.v1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			e, err := replay.New([]*traffic.Exchange{conversation(tt.client, tt.server)}, replay.Options{Timeout: 3 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			var live *traffic.Exchange
			if err := e.Pass(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, nil, 1, func(x *traffic.Exchange) { live = x }); err != nil {
				t.Fatal(err)
			}
			if live.Failure != tt.failure || (live.Response == nil) != (tt.failure != "") {
				t.Fatalf("failure %q, want %q; %v", live.Failure, tt.failure, live.Incomplete)
			}
			if tt.failure != "" {
				return
			}
			var want string
			for _, text := range tt.want {
				want += frame(text, false)
			}
			if got := string(live.Response.Body.Raw); live.Response.Status != 101 || got != want {
				t.Errorf("status %d, frames %q, want %q", live.Response.Status, got, want)
			}
		})
	}
	t.Run("a refusal is the answer", func(t *testing.T) {
		x := conversation([]string{"a"}, []string{"hello"})
		x.Request.Header.Del("X-User")
		e := newEngine(t, x)
		err := e.Pass(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, nil, 1, func(x *traffic.Exchange) {
			if x.Response == nil || x.Response.Status != 401 {
				t.Errorf("%+v, %s", x.Response, x.Failure)
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("in a load", func(t *testing.T) {
		e := newEngine(t, conversation([]string{"a"}, []string{"hello", "1"}), recorded(2, "GET", "/", "X-User", "ann"))
		p, err := e.Plan(replay.Load{Copies: 4})
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Drive(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, p)
		if err != nil || r.Summary(nil).Status[101] != 4 {
			t.Errorf("%v, %v, %v", r.Summary(nil).Status, r.Errors, err)
		}
	})
}

// TestEndlessStreamsOfEvents: a stream that was recorded until its client left
// ends with as many events; one that was recorded to its end is read to its
// end, and enough when time is up.
func TestEndlessStreamsOfEvents(t *testing.T) {
	t.Parallel() // it waits most of its time
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		events := 3
		if r.URL.Path == "/slow" {
			events = 1
		}
		for i := range events {
			fmt.Fprintf(w, "id: %d\ndata: x\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
		if r.URL.Path != "/ends" {
			<-r.Context().Done()
		}
	}))
	defer s.Close()
	stream := func(path string, events int, cut bool) *traffic.Exchange {
		x := recorded(1, "GET", path)
		header := traffic.Header{{Name: "Content-Type", Value: "text/event-stream"}}
		x.Response = &traffic.Response{Status: 200, Header: header, Body: traffic.NewBody([]byte(strings.Repeat("data: y\n\n", events)), header)}
		if cut {
			x.Incomplete = []string{"the client left"}
		}
		return x
	}
	tests := []struct {
		why     string
		x       *traffic.Exchange
		least   int // events
		failure traffic.Failure
	}{
		{"cut where the recording was", stream("/endless", 2, true), 2, ""},
		{"enough when time is up", stream("/endless", 3, false), 3, ""},
		{"too few when time is up", stream("/slow", 2, true), 0, traffic.FailureTimeout},
		{"one that ends has all its events", stream("/ends", 1, false), 3, ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			e, err := replay.New([]*traffic.Exchange{tt.x}, replay.Options{Timeout: 500 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			target := replay.Target{Arm: "base", Addr: addr(s)}
			err = e.Pass(t.Context(), target, nil, 1, func(x *traffic.Exchange) {
				if x.Failure != tt.failure {
					t.Fatalf("failure %q, want %q; %v", x.Failure, tt.failure, x.Incomplete)
				}
				if x.Response != nil && strings.Count(string(x.Response.Body.Raw), "\n\n") < tt.least {
					t.Errorf("answer %q", x.Response.Body.Raw)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			p, err := e.Plan(replay.Load{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := e.Drive(t.Context(), target, p)
			if err != nil || len(r.Samples) != 1 || r.Samples[0].Failure() != tt.failure {
				t.Errorf("%+v, %v, %v", r.Samples, r.Errors, err)
			}
		})
	}
}
