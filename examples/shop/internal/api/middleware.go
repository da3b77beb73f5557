package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"example.com/shop/internal/id"
	"example.com/shop/internal/upstream"
)

// identify gives every request an id, unless the caller gave one, and keeps
// its trace for the calls it causes.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", cmp.Or(r.Header.Get("X-Request-Id"), id.New()))
		next.ServeHTTP(w, r.WithContext(upstream.WithTrace(r.Context(), r)))
	})
}

// observed remembers what was answered.
type observed struct {
	http.ResponseWriter
	status int
	err    error
}

func (o *observed) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

// observe writes one line of log for every request.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := s.Now()
		o := &observed{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(o, r)
		attrs := []any{
			"method", r.Method,
			"path", r.URL.Path,
			"status", o.status,
			"ms", float64(s.Now().Sub(start).Microseconds()) / 1000,
			"request_id", w.Header().Get("X-Request-Id"),
		}
		switch {
		case o.status >= 500:
			s.Log.Error("request", append(attrs, "error", fmt.Sprint(o.err))...)
		case r.URL.Path != "/healthz":
			s.Log.Info("request", attrs...)
		}
	})
}

// recovered turns a panic into a 500.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				s.Log.Error("panic", "value", fmt.Sprint(v), "stack", string(debug.Stack()))
				problemOf(errors.New("panic")).write(w)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
