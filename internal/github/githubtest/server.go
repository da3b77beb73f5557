// Package githubtest is a stand-in for the part of GitHub's API that reprise
// uses. It keeps comments in memory, pages through them as GitHub does, and is
// strict: a request that GitHub would refuse, or that reprise has no business
// to make, is refused and written down as a mistake.
package githubtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options say what the stand-in knows.
type Options struct {
	Owner, Repo string
	// Token is the only one that is accepted; empty accepts any.
	Token string
	// Login is who the token comments as; "github-actions[bot]" if empty, who
	// may not ask for its own name, as on GitHub.
	Login string
	// Clock gives the times of comments; time.Now if nil.
	Clock func() time.Time
	// Changed is called after each change of the comments, without locks held.
	Changed func()
}

// Server is the stand-in; it is an http.Handler and safe for concurrent use.
type Server struct {
	opts Options
	mux  *http.ServeMux

	mu        sync.Mutex
	next      int64
	comments  []*Comment
	reactions []Reaction
	pulls     []Pull
	levels    map[string]string
	faults    []*Fault
	requests  []string
	mistakes  []string
}

// Comment is a comment as the tests see it.
type Comment struct {
	ID      int64     `json:"id"`
	Issue   int       `json:"issue"`
	Login   string    `json:"login"`
	Type    string    `json:"type"` // Bot or User
	Body    string    `json:"body"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
	Edits   int       `json:"edits"`
}

// Reaction is a reaction to a comment.
type Reaction struct {
	Comment int64  `json:"comment"`
	Content string `json:"content"`
}

// Pull is an open pull request.
type Pull struct {
	Number                      int
	HeadSHA, HeadRef, HeadRepo  string
	BaseSHA, BaseRef, BaseOwner string
}

// Fault makes requests fail.
type Fault struct {
	Method string // any if empty
	Path   string // a part of the path; any if empty
	Status int
	Header map[string]string
	Body   string // the message; a fitting one if empty
	// Times is how many requests fail; 0 means all.
	Times int
	// After lets that many requests pass first.
	After int
	// Applied carries the request out before it fails, as when an answer is
	// lost.
	Applied bool
	seen    int
}

// New returns a stand-in without comments.
func New(opts Options) *Server {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	s := &Server{opts: opts, mux: http.NewServeMux(), next: 1000, levels: map[string]string{}}
	prefix := "/repos/" + opts.Owner + "/" + opts.Repo
	s.mux.HandleFunc("GET /user", s.getUser)
	s.mux.HandleFunc("GET "+prefix+"/issues/{issue}/comments", s.listComments)
	s.mux.HandleFunc("POST "+prefix+"/issues/{issue}/comments", s.createComment)
	s.mux.HandleFunc("PATCH "+prefix+"/issues/comments/{id}", s.editComment)
	s.mux.HandleFunc("DELETE "+prefix+"/issues/comments/{id}", s.deleteComment)
	s.mux.HandleFunc("POST "+prefix+"/issues/comments/{id}/reactions", s.createReaction)
	s.mux.HandleFunc("GET "+prefix+"/collaborators/{user}/permission", s.getPermission)
	s.mux.HandleFunc("GET "+prefix+"/pulls", s.listPulls)
	s.mux.HandleFunc("GET "+prefix+"/pulls/{number}", s.getPull)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.mistake(w, r, http.StatusNotFound, "no such address")
	})
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	fault := s.fault(r)
	s.mu.Unlock()
	if s.opts.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.opts.Token {
		reply(w, http.StatusUnauthorized, problem{Message: "Bad credentials"})
		return
	}
	if a := r.Header.Get("Accept"); !strings.Contains(a, "json") && !strings.Contains(a, "application/vnd.github.") {
		s.mistake(w, r, http.StatusUnsupportedMediaType, "Accept must name a media type of GitHub")
		return
	}
	if fault == nil {
		s.mux.ServeHTTP(w, r)
		return
	}
	if fault.Applied {
		s.mux.ServeHTTP(discard{http.Header{}}, r)
	}
	for k, v := range fault.Header {
		w.Header().Set(k, v)
	}
	message := fault.Body
	if message == "" {
		message = messages[fault.Status]
	}
	reply(w, fault.Status, problem{Message: message})
}

var messages = map[int]string{
	http.StatusForbidden:           "Resource not accessible by integration",
	http.StatusNotFound:            "Not Found",
	http.StatusTooManyRequests:     "You have exceeded a secondary rate limit",
	http.StatusUnprocessableEntity: "Validation Failed",
	http.StatusInternalServerError: "Server Error",
}

// discard is a response that nobody reads.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// fault returns the fault that applies to a request; s.mu is held.
func (s *Server) fault(r *http.Request) *Fault {
	for _, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.Path, f.Path) {
			continue
		}
		f.seen++
		if f.seen > f.After && (f.Times == 0 || f.seen <= f.After+f.Times) {
			return f
		}
	}
	return nil
}

// Fail makes requests fail from now on.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Seed adds a comment that someone wrote, and returns its id.
func (s *Server) Seed(issue int, login, kind, body string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(issue, login, kind, body).ID
}

// SetPermission says what a user may do: admin, maintain, write, read or none.
func (s *Server) SetPermission(login, level string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levels[login] = level
}

// AddPull adds an open pull request.
func (s *Server) AddPull(p Pull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls = append(s.pulls, p)
}

// Comments returns a copy of all comments, the oldest first.
func (s *Server) Comments() []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Comment, len(s.comments))
	for i, c := range s.comments {
		out[i] = *c
	}
	return out
}

// Reactions returns all reactions.
func (s *Server) Reactions() []Reaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Reaction(nil), s.reactions...)
}

// Requests lists what was asked, as "GET /user".
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// Mistakes lists requests that GitHub would not have understood; a test that
// ends with any has found a bug.
func (s *Server) Mistakes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mistakes...)
}

func (s *Server) mistake(w http.ResponseWriter, r *http.Request, status int, why string) {
	s.mu.Lock()
	s.mistakes = append(s.mistakes, fmt.Sprintf("%s %s: %s", r.Method, r.URL.RequestURI(), why))
	s.mu.Unlock()
	reply(w, status, problem{Message: messages[status] + ": " + why})
}

// add appends a comment; s.mu is held.
func (s *Server) add(issue int, login, kind, body string) *Comment {
	s.next++
	now := s.opts.Clock().UTC().Truncate(time.Second)
	c := &Comment{ID: s.next, Issue: issue, Login: login, Type: kind, Body: body, Created: now, Updated: now}
	s.comments = append(s.comments, c)
	return c
}

func (s *Server) changed() {
	if s.opts.Changed != nil {
		s.opts.Changed()
	}
}

// problem is an error as GitHub writes it.
type problem struct {
	Message string   `json:"message"`
	Errors  []detail `json:"errors,omitempty"`
	URL     string   `json:"documentation_url"`
}

type detail struct {
	Resource string `json:"resource"`
	Code     string `json:"code"`
	Field    string `json:"field"`
	Message  string `json:"message,omitempty"`
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
	if p, ok := v.(problem); ok && p.URL == "" {
		p.URL = "https://docs.github.com/rest"
		v = p
	}
	w.WriteHeader(status)
	if v != nil {
		_ = json.NewEncoder(w).Encode(v)
	}
}

// body reads a request's JSON object with exactly one text in it.
func (s *Server) body(w http.ResponseWriter, r *http.Request, key string) (string, bool) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		s.mistake(w, r, http.StatusUnsupportedMediaType, "Content-Type must be application/json")
		return "", false
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var fields map[string]any
	if err == nil {
		err = json.Unmarshal(data, &fields)
	}
	if err != nil {
		s.mistake(w, r, http.StatusBadRequest, "Problems parsing JSON")
		return "", false
	}
	for k := range fields {
		if k != key {
			s.mistake(w, r, http.StatusUnprocessableEntity, "unknown key "+k)
			return "", false
		}
	}
	text, ok := fields[key].(string)
	if !ok || text == "" {
		s.mistake(w, r, http.StatusUnprocessableEntity, key+" is missing")
		return "", false
	}
	return text, true
}
