package replay_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// rooms is a service whose WebSocket wants the token of a login, gives a room to
// join, and the id of a note that can be read later.
type rooms struct {
	mu      sync.Mutex
	tokens  map[string]bool
	notes   map[string]bool
	refused []string
}

func (s *rooms) refuse(w http.ResponseWriter, why string) {
	s.refused = append(s.refused, why)
	http.Error(w, why, http.StatusForbidden)
}

func (s *rooms) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Path == "/login":
		token := random()
		s.tokens[token] = true
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"token":%q}`, token)
	case r.URL.Path == "/live":
		s.live(w, r)
	case !s.notes[r.URL.Path]:
		s.refuse(w, r.URL.Path)
	}
}

func (s *rooms) live(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	say := func(format string, args ...any) {
		c.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)) // an error shows at the next read
	}
	room := random()
	say(`{"hello":"who are you?"}`)
	for {
		_, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		var asked struct{ Auth, Join, Note string }
		if err := json.Unmarshal(data, &asked); err != nil {
			s.refused = append(s.refused, err.Error())
			return
		}
		switch {
		case asked.Auth != "" && s.tokens[asked.Auth]:
			say(`{"room":%q}`, room)
		case asked.Join == "/rooms/"+room:
			say(`{"joined":true}`)
		case asked.Note != "":
			id := random()
			s.notes["/notes/"+id] = true
			say(`{"note":{"id":%q}}`, id)
		default:
			s.refused = append(s.refused, string(data))
			c.Close(4003, "refused")
			return
		}
	}
}

// recordRoom uses the service as a client would.
func recordRoom(t *testing.T) []*traffic.Exchange {
	t.Helper()
	service := &rooms{tokens: map[string]bool{}, notes: map[string]bool{}}
	s := httptest.NewServer(service)
	defer s.Close()
	var all []*traffic.Exchange
	b := &browse{t: t, server: s.URL, start: epoch, recorded: &all}
	token := b.member(b.do("POST", "/login", "", "", ""), "token")
	c, _, err := websocket.Dial(t.Context(), s.URL+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	var client, server []string
	hear := func() map[string]any {
		_, data, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		server = append(server, string(data))
		var object map[string]any
		if err := json.Unmarshal(data, &object); err != nil {
			t.Fatal(err)
		}
		return object
	}
	say := func(format string, args ...any) map[string]any {
		client = append(client, fmt.Sprintf(format, args...))
		if err := c.Write(t.Context(), websocket.MessageText, []byte(client[len(client)-1])); err != nil {
			t.Fatal(err)
		}
		return hear()
	}
	hear()
	room := say(`{"auth":%q}`, token)["room"]
	say(`{"join":"/rooms/%s"}`, room)
	note, _ := say(`{"note":"milk"}`)["note"].(map[string]any)
	c.Close(websocket.StatusNormalClosure, "")
	x := conversation(client, server)
	x.ID, x.Lane, x.Request.Target = "x001", "x001", "/live"
	x.Start, x.Duration = epoch.Add(time.Second), 100*time.Millisecond
	x.Request.Header.Del("Sec-WebSocket-Protocol")
	all = append(all, x)
	b.do("GET", fmt.Sprintf("/notes/%s", note["id"]), "", "", "")
	if len(service.refused) > 0 {
		t.Fatalf("the recording itself was refused: %v", service.refused)
	}
	return all
}

// TestValuesInMessagesAreBound has a token of an earlier answer go into a
// message, a value of the server's message into a later one of the client, and
// one into a later request.
func TestValuesInMessagesAreBound(t *testing.T) {
	all := recordRoom(t)
	run := func(t *testing.T, rw replay.Rewriter, load bool) []string {
		service := &rooms{tokens: map[string]bool{}, notes: map[string]bool{}}
		s := httptest.NewServer(service)
		defer s.Close()
		e := newEngine(t, all...)
		target := replay.Target{Arm: "head", Addr: addr(s)}
		if !load {
			if err := e.Pass(t.Context(), target, rw, 1, func(*traffic.Exchange) {}); err != nil {
				t.Fatal(err)
			}
			return service.refused
		}
		plan, err := e.Plan(replay.Load{MaxIdle: time.Millisecond, Rewriter: func(int, int) replay.Rewriter { return rw }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Drive(t.Context(), target, plan); err != nil {
			t.Fatal(err)
		}
		return service.refused
	}
	if refused := run(t, nil, false); len(refused) != 2 {
		t.Errorf("as recorded, the service refuses %q; it is not strict", refused)
	}
	b, err := transform.Learn(all, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, load := range []bool{false, true} {
		if refused := run(t, transform.NewRewriter(b, transform.Options{}), load); len(refused) != 0 {
			t.Errorf("load %v: refused %q", load, refused)
		}
	}
	var learned []string
	for _, l := range b.Learned() {
		learned = append(learned, fmt.Sprintf("%s %s -> %s %s", l.Source, l.From, l.Use, l.To))
	}
	slices.Sort(learned)
	want := []string{
		"x000 response.body.token -> x001 request.body.messages[0].auth",
		"x001 response.body.messages[1].room -> x001 request.body.messages[1].join",
		"x001 response.body.messages[3].note.id -> x002 request.path[1]",
	}
	if !slices.Equal(learned, want) {
		t.Errorf("learned %q", learned)
	}
	t.Run("but where that is forbidden", func(t *testing.T) {
		place, err := traffic.ParsePattern("request.body.messages[].join")
		if err != nil {
			t.Fatal(err)
		}
		opts := transform.Options{Forbid: []traffic.Pattern{place}}
		b, err := transform.Learn(all, opts)
		if err != nil {
			t.Fatal(err)
		}
		if refused := run(t, transform.NewRewriter(b, opts), false); len(refused) == 0 {
			t.Error("the room was bound all the same")
		}
	})
}
