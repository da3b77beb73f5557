package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

const bodyLimit = 65_536

func (s *Server) login() (login, kind string) {
	if s.opts.Login == "" {
		return "github-actions[bot]", "Bot"
	}
	return s.opts.Login, "User"
}

func (s *Server) getUser(w http.ResponseWriter, _ *http.Request) {
	if s.opts.Login == "" {
		reply(w, http.StatusForbidden, problem{Message: messages[http.StatusForbidden], URL: "https://docs.github.com/rest/users/users#get-the-authenticated-user"})
		return
	}
	reply(w, http.StatusOK, s.user(s.login()))
}

// number reads a positive number of the path.
func (s *Server) number(w http.ResponseWriter, r *http.Request, name string) (int64, bool) {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil || n <= 0 {
		s.mistake(w, r, http.StatusNotFound, name+" is no number")
		return 0, false
	}
	return n, true
}

// page cuts one page out of a list and sets the Link header.
func page[T any](s *Server, w http.ResponseWriter, r *http.Request, all []T) ([]T, bool) {
	number := func(name string, otherwise, most int) (int, bool) {
		text := r.URL.Query().Get(name)
		if text == "" {
			return otherwise, true
		}
		n, err := strconv.Atoi(text)
		return min(n, most), err == nil && n > 0
	}
	size, ok := number("per_page", 30, 100)
	at, ok2 := number("page", 1, 1<<20)
	if !ok || !ok2 {
		s.mistake(w, r, http.StatusUnprocessableEntity, "page and per_page are positive numbers")
		return nil, false
	}
	last := max(1, (len(all)+size-1)/size)
	link := ""
	add := func(n int, rel string) {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(n))
		if link != "" {
			link += ", "
		}
		link += fmt.Sprintf(`<http://%s%s?%s>; rel="%s"`, r.Host, r.URL.Path, q.Encode(), rel)
	}
	if at > 1 {
		add(at-1, "prev")
		add(1, "first")
	}
	if at < last {
		add(at+1, "next")
		add(last, "last")
	}
	if link != "" {
		w.Header().Set("Link", link)
	}
	from := min(len(all), (at-1)*size)
	return all[from:min(len(all), from+size)], true
}

func (s *Server) listComments(w http.ResponseWriter, r *http.Request) {
	issue, ok := s.number(w, r, "issue")
	if !ok {
		return
	}
	s.mu.Lock()
	var all []any
	for _, c := range s.comments {
		if c.Issue == int(issue) {
			all = append(all, s.comment(r, c))
		}
	}
	s.mu.Unlock()
	if part, ok := page(s, w, r, all); ok {
		reply(w, http.StatusOK, append([]any{}, part...))
	}
}

// tooLong answers a body that GitHub refuses.
func tooLong(w http.ResponseWriter, body string) bool {
	if utf8.RuneCountInString(body) <= bodyLimit {
		return false
	}
	reply(w, http.StatusUnprocessableEntity, problem{Message: "Validation Failed", Errors: []detail{{
		Resource: "IssueComment", Code: "unprocessable", Field: "data", Message: "Body is too long (maximum is 65536 characters)"}}})
	return true
}

func (s *Server) createComment(w http.ResponseWriter, r *http.Request) {
	issue, ok := s.number(w, r, "issue")
	if !ok {
		return
	}
	body, ok := s.body(w, r, "body")
	if !ok || tooLong(w, body) {
		return
	}
	login, kind := s.login()
	s.mu.Lock()
	c := s.add(int(issue), login, kind, body)
	answer := s.comment(r, c)
	s.mu.Unlock()
	s.changed()
	reply(w, http.StatusCreated, answer)
}

// own returns a comment that the token may change; s.mu is held. It answers
// the request itself when there is none.
func (s *Server) own(w http.ResponseWriter, id int64) *Comment {
	i := slices.IndexFunc(s.comments, func(c *Comment) bool { return c.ID == id })
	if i < 0 {
		reply(w, http.StatusNotFound, problem{Message: "Not Found"})
		return nil
	}
	if login, _ := s.login(); s.comments[i].Login != login {
		reply(w, http.StatusForbidden, problem{Message: messages[http.StatusForbidden]})
		return nil
	}
	return s.comments[i]
}

func (s *Server) editComment(w http.ResponseWriter, r *http.Request) {
	id, ok := s.number(w, r, "id")
	if !ok {
		return
	}
	body, ok := s.body(w, r, "body")
	if !ok || tooLong(w, body) {
		return
	}
	s.mu.Lock()
	c := s.own(w, id)
	if c == nil {
		s.mu.Unlock()
		return
	}
	c.Body, c.Updated = body, s.opts.Clock().UTC().Truncate(time.Second)
	c.Edits++
	answer := s.comment(r, c)
	s.mu.Unlock()
	s.changed()
	reply(w, http.StatusOK, answer)
}

func (s *Server) deleteComment(w http.ResponseWriter, r *http.Request) {
	id, ok := s.number(w, r, "id")
	if !ok {
		return
	}
	s.mu.Lock()
	c := s.own(w, id)
	if c == nil {
		s.mu.Unlock()
		return
	}
	s.comments = slices.DeleteFunc(s.comments, func(x *Comment) bool { return x == c })
	s.mu.Unlock()
	s.changed()
	w.WriteHeader(http.StatusNoContent)
}

var reactionContents = []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}

func (s *Server) createReaction(w http.ResponseWriter, r *http.Request) {
	id, ok := s.number(w, r, "id")
	if !ok {
		return
	}
	content, ok := s.body(w, r, "content")
	if !ok {
		return
	}
	if !slices.Contains(reactionContents, content) {
		s.mistake(w, r, http.StatusUnprocessableEntity, "unknown reaction "+content)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.ContainsFunc(s.comments, func(c *Comment) bool { return c.ID == id }) {
		reply(w, http.StatusNotFound, problem{Message: "Not Found"})
		return
	}
	s.reactions = append(s.reactions, Reaction{id, content})
	s.next++
	login, kind := s.login()
	reply(w, http.StatusCreated, map[string]any{
		"id": s.next, "node_id": fmt.Sprintf("REA_%d", s.next), "user": s.user(login, kind), "content": content,
		"created_at": s.opts.Clock().UTC().Format(time.RFC3339),
	})
}

func (s *Server) getPermission(w http.ResponseWriter, r *http.Request) {
	login := r.PathValue("user")
	s.mu.Lock()
	level := s.levels[login]
	s.mu.Unlock()
	if level == "" {
		level = "none"
	}
	legacy := level // GitHub folds the finer roles into the four old ones
	switch level {
	case "maintain":
		legacy = "write"
	case "triage":
		legacy = "read"
	}
	user := s.user(login, "User")
	user["role_name"] = level
	reply(w, http.StatusOK, map[string]any{"permission": legacy, "role_name": level, "user": user})
}

func (s *Server) listPulls(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if state := q.Get("state"); state != "" && state != "open" {
		s.mistake(w, r, http.StatusUnprocessableEntity, "only open pull requests are of interest")
		return
	}
	s.mu.Lock()
	var all []any
	for _, p := range s.pulls {
		owner, _, _ := cutRepo(p.HeadRepo)
		if head := q.Get("head"); head == "" || head == owner+":"+p.HeadRef {
			all = append(all, s.pull(p))
		}
	}
	s.mu.Unlock()
	if part, ok := page(s, w, r, all); ok {
		reply(w, http.StatusOK, append([]any{}, part...))
	}
}

func (s *Server) getPull(w http.ResponseWriter, r *http.Request) {
	n, ok := s.number(w, r, "number")
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pulls {
		if p.Number == int(n) {
			reply(w, http.StatusOK, s.pull(p))
			return
		}
	}
	reply(w, http.StatusNotFound, problem{Message: "Not Found"})
}
