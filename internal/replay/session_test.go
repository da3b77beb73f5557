package replay_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// portal is a service with everything that makes recorded sessions hard to
// repeat: a login page with a CSRF token, session cookies that rotate with
// every request, an OAuth code flow with single-use codes, access tokens that
// expire, generated ids, and lists behind opaque cursors. Any value of another
// instance, or of another user, is refused.
type portal struct {
	now    func() time.Time
	secret []byte

	mu       sync.Mutex
	sessions map[string]*portalUser // by session cookie
	codes    map[string]*portalUser
	items    map[string]string // id -> owner
	users    int
	refused  []string
}

type portalUser struct{ name, csrf, state string }

func newPortal(now func() time.Time) *portal {
	return &portal{
		now: now, secret: []byte(random()),
		sessions: map[string]*portalUser{}, codes: map[string]*portalUser{}, items: map[string]string{},
	}
}

func random() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (p *portal) token(user string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		b64(fmt.Appendf(nil, `{"sub":%q,"iat":%d,"exp":%d}`, user, p.now().Unix(), p.now().Unix()+300))
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// bearer returns the user of a request's access token.
func (p *portal) bearer(r *http.Request) (string, bool) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", false
	}
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(parts[0] + "." + parts[1]))
	data, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Sub string
		Exp int64
	}
	ok := parts[2] == base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) && json.Unmarshal(data, &claims) == nil
	return claims.Sub, ok && claims.Exp > p.now().Unix()
}

// rotate gives the session of a request a new cookie and returns its user.
func (p *portal) rotate(w http.ResponseWriter, r *http.Request) *portalUser {
	c, err := r.Cookie("sid")
	if err != nil || p.sessions[c.Value] == nil {
		return nil
	}
	user := p.sessions[c.Value]
	delete(p.sessions, c.Value)
	next := random()
	p.sessions[next] = user
	http.SetCookie(w, &http.Cookie{Name: "sid", Value: next, Path: "/", HttpOnly: true})
	return user
}

func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refuse := func(status int, why string) {
		p.refused = append(p.refused, r.Method+" "+r.URL.Path+": "+why)
		http.Error(w, why, status)
	}
	query := r.URL.Query()
	switch r.Method + " " + r.URL.Path {
	case "GET /login":
		user := &portalUser{csrf: random()}
		sid := random()
		p.sessions[sid] = user
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid, Path: "/"})
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method=post><input type=hidden name=csrf value=%q></form>`, user.csrf)
		return
	case "POST /login":
		user := p.rotate(w, r)
		if user == nil || r.PostFormValue("csrf") != user.csrf {
			refuse(403, "csrf or session")
			return
		}
		p.users++
		user.name = fmt.Sprintf("user-%d-%s", p.users, random())
		user.state = random()
		http.Redirect(w, r, "/oauth/authorize?client_id=app&state="+user.state, http.StatusFound)
		return
	case "GET /oauth/authorize":
		user := p.rotate(w, r)
		if user == nil || query.Get("state") != user.state {
			refuse(403, "state or session")
			return
		}
		code := random()
		p.codes[code] = user
		http.Redirect(w, r, "/callback?code="+code+"&state="+user.state, http.StatusFound)
		return
	case "POST /oauth/token":
		user := p.codes[r.PostFormValue("code")]
		if user == nil {
			refuse(400, "code")
			return
		}
		delete(p.codes, r.PostFormValue("code"))
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"access_token": p.token(user.name), "token_type": "Bearer", "expires_in": 300, "user": user.name})
		return
	case "GET /callback":
		user := p.rotate(w, r)
		if user == nil || query.Get("state") != user.state || p.codes[query.Get("code")] != user {
			refuse(403, "callback")
			return
		}
		io.WriteString(w, "welcome")
		return
	}
	user, ok := p.bearer(r)
	switch {
	case !ok:
		refuse(401, "token")
	case r.Method == "POST" && r.URL.Path == "/items":
		if s := p.rotate(w, r); s == nil || s.name != user {
			refuse(403, "session of another user")
			return
		}
		id := random()
		p.items[id] = user
		w.Header().Set("Location", "/items/"+id)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		json.NewEncoder(w).Encode(map[string]any{"id": id, "owner": user})
	case r.Method == "GET" && r.URL.Path == "/items":
		page := 0
		if cursor := query.Get("cursor"); cursor != "" {
			if n, err := fmt.Sscanf(p.open(cursor), user+" %d", &page); err != nil || n != 1 {
				refuse(400, "cursor")
				return
			}
		}
		out := map[string]any{"page": page}
		if page < 3 {
			out["next_cursor"] = p.seal(fmt.Sprintf("%s %d", user, page+1))
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(out)
	default:
		owner, ok := p.items[strings.TrimPrefix(r.URL.Path, "/items/")]
		if !ok || owner != user {
			refuse(404, "item of another user, or of none")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"owner": owner})
	}
}

// seal makes an opaque cursor that only this instance can open.
func (p *portal) seal(text string) string {
	mac := hmac.New(sha256.New, p.secret)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(append(mac.Sum(nil)[:9], text...)) // with +, / and =
}

func (p *portal) open(cursor string) string {
	data, err := base64.StdEncoding.DecodeString(cursor)
	if err != nil || len(data) < 9 || p.seal(string(data[9:])) != cursor {
		return ""
	}
	return string(data[9:])
}

// browse is a client that uses the portal as a browser would, and notes every
// exchange as a recorder would.
type browse struct {
	t        *testing.T
	server   string
	sid      string
	start    time.Time
	recorded *[]*traffic.Exchange
}

func (b *browse) do(method, target, contentType, body, token string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(method, b.server+target, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if b.sid != "" {
		req.Header.Set("Cookie", "sid="+b.sid)
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
	if err != nil {
		b.t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range resp.Cookies() {
		b.sid = c.Value
	}
	resp.Body = io.NopCloser(strings.NewReader(string(data)))
	n := len(*b.recorded)
	x := recorded(n, method, target)
	x.Start, x.Duration = b.start.Add(time.Duration(n)*time.Second), 10*time.Millisecond
	x.Request.Header = traffic.HeaderFrom(req.Header)
	x.Request.Body = traffic.NewBody([]byte(body), x.Request.Header)
	x.Response = &traffic.Response{Status: resp.StatusCode, Proto: "HTTP/1.1", Header: traffic.HeaderFrom(resp.Header)}
	x.Response.Body = traffic.NewBody(data, x.Response.Header)
	*b.recorded = append(*b.recorded, x)
	return resp
}

func (b *browse) member(resp *http.Response, name string) string {
	b.t.Helper()
	var object map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&object); err != nil {
		b.t.Fatal(err)
	}
	text, _ := object[name].(string)
	return text
}

const form = "application/x-www-form-urlencoded"

// visit is one whole session.
func (b *browse) visit() {
	page, _ := io.ReadAll(b.do("GET", "/login", "", "", "").Body)
	csrf := regexp.MustCompile(`value="(\w+)"`).FindStringSubmatch(string(page))[1]
	location := func(resp *http.Response) string { return resp.Header.Get("Location") }
	authorize := location(b.do("POST", "/login", form, "user=ann&csrf="+csrf, ""))
	callback := location(b.do("GET", authorize, "", "", ""))
	b.do("GET", callback, "", "", "")
	u, err := url.Parse(callback)
	if err != nil {
		b.t.Fatal(err)
	}
	token := b.member(b.do("POST", "/oauth/token", form, "grant_type=authorization_code&code="+u.Query().Get("code"), ""), "access_token")
	for range 2 {
		b.do("GET", location(b.do("POST", "/items", "application/json", `{"name":"chair"}`, token)), "", "", token)
	}
	for cursor := "/items"; cursor != ""; {
		next := b.member(b.do("GET", cursor, "", "", token), "next_cursor")
		if cursor = ""; next != "" {
			cursor = "/items?cursor=" + url.QueryEscape(next)
		}
	}
}

// recordVisits records sessions against an instance whose clock stands a year
// in the past.
func recordVisits(t *testing.T, n int) []*traffic.Exchange {
	t.Helper()
	past := time.Now().Add(-365 * 24 * time.Hour)
	p := newPortal(func() time.Time { return past })
	s := httptest.NewServer(p)
	defer s.Close()
	var exchanges []*traffic.Exchange
	for range n {
		b := &browse{t: t, server: s.URL, start: past, recorded: &exchanges}
		b.visit()
	}
	if len(p.refused) > 0 {
		t.Fatalf("the recording itself was refused: %v", p.refused)
	}
	return exchanges
}

func TestOldSessionsWorkWithoutAScript(t *testing.T) {
	exchanges := recordVisits(t, 3)
	b, err := transform.Learn(exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if p := transform.Check(exchanges, b, transform.Options{}); p.Tokens != 3 || p.Expired != 3 || p.Bound != 3 || p.Left != 0 {
		t.Errorf("preflight %+v", p)
	}
	t.Run("in vain when replayed as recorded", func(t *testing.T) {
		p := newPortal(time.Now)
		s := httptest.NewServer(p)
		defer s.Close()
		e := newEngine(t, exchanges...)
		if err := e.Pass(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, nil, 1, func(*traffic.Exchange) {}); err != nil {
			t.Fatal(err)
		}
		if len(p.refused) != len(exchanges)-3 { // all but the login pages
			t.Errorf("%d of %d refused; the portal is not strict", len(p.refused), len(exchanges))
		}
	})
	for _, concurrency := range []int{1, 8} {
		t.Run(fmt.Sprintf("in a pass, %d at once", concurrency), func(t *testing.T) {
			p := newPortal(time.Now)
			s := httptest.NewServer(p)
			defer s.Close()
			e, err := replay.New(exchanges, replay.Options{Concurrency: concurrency})
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]int)
			for _, x := range exchanges {
				want[x.ID] = x.Response.Status
			}
			err = e.Pass(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, transform.NewRewriter(b, transform.Options{}), 1, func(x *traffic.Exchange) {
				if x.Response == nil || x.Response.Status != want[x.Recorded] {
					t.Errorf("%s %s: %+v %s, recorded %d", x.Request.Method, x.Request.Target, x.Response, x.Failure, want[x.Recorded])
				}
			})
			if err != nil || len(p.refused) > 0 {
				t.Errorf("%v, refused %v", err, p.refused)
			}
		})
	}
	t.Run("in a round, again and again", func(t *testing.T) {
		pa, pb := newPortal(time.Now), newPortal(time.Now)
		sa, sb := httptest.NewServer(pa), httptest.NewServer(pb)
		defer sa.Close()
		defer sb.Close()
		round, err := newEngine(t, exchanges...).Round(t.Context(), replay.Target{Arm: "base", Addr: addr(sa)}, replay.Target{Arm: "head", Addr: addr(sb)},
			transform.NewRewriter(b, transform.Options{}), transform.NewRewriter(b, transform.Options{}), 2, 1, quick(12))
		if err != nil || len(round.Dropped) > 0 || len(pa.refused)+len(pb.refused) > 0 || round.Repetitions < 2 {
			t.Errorf("%v, %d repetitions, dropped %v, refused %v %v", err, round.Repetitions, round.Dropped, pa.refused, pb.refused)
		}
	})
	t.Run("at ten times the load, each copy as somebody else", func(t *testing.T) {
		p := newPortal(time.Now)
		s := httptest.NewServer(p)
		defer s.Close()
		e := newEngine(t, exchanges...)
		plan, err := e.Plan(replay.Load{
			Copies: 10, MaxIdle: 10 * time.Millisecond, Connections: 16,
			Rewriter: func(int, int) replay.Rewriter { return transform.NewRewriter(b, transform.Options{}) },
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Drive(t.Context(), replay.Target{Arm: "base", Addr: addr(s)}, plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.Samples {
			if int(x.Status) != exchanges[x.Exchange].Response.Status {
				t.Errorf("copy %d of %s: status %d", x.Instance, r.Recorded(x), x.Status)
			}
		}
		if p.users != 30 || len(p.refused) > 0 || len(r.Samples) != 10*len(exchanges) {
			t.Errorf("%d users of 30, %d requests, refused %v", p.users, len(r.Samples), p.refused)
		}
	})
}
