package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"example.com/shop/internal/orders"
	"example.com/shop/internal/upstream"
)

// problem is an error for the caller, as RFC 9457 writes it.
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Errors []invalidField `json:"errors,omitempty"`
}

// invalidField says what is wrong with one field of a request.
type invalidField struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

func (p *problem) Error() string { return p.Detail }

func (p *problem) write(w http.ResponseWriter) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	data, _ := json.Marshal(p) // strings and numbers only
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="shop"`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	w.Write(append(data, '\n'))
}

func badRequest(detail string) error {
	return &problem{Status: http.StatusBadRequest, Detail: detail}
}

func notFound(detail string) error {
	return &problem{Status: http.StatusNotFound, Detail: detail}
}

func conflict(detail string) error {
	return &problem{Status: http.StatusConflict, Detail: detail}
}

// failedUpstream wraps the failure of a dependency. Its cause is for the log;
// the caller learns only which one it was.
type failedUpstream struct {
	service string
	cause   error
}

func (f *failedUpstream) Error() string { return f.service + ": " + f.cause.Error() }
func (f *failedUpstream) Unwrap() error { return f.cause }

// problemOf finds the words for an error. What it does not know is a 500
// without details.
func problemOf(err error) *problem {
	var known *problem
	var failed *failedUpstream
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, orders.ErrNotFound):
		return &problem{Status: http.StatusNotFound, Detail: err.Error()}
	case errors.Is(err, orders.ErrNotRefundable):
		return &problem{Status: http.StatusConflict, Detail: err.Error()}
	case errors.Is(err, orders.ErrBadCursor):
		return &problem{Status: http.StatusBadRequest, Detail: err.Error()}
	case errors.Is(err, upstream.ErrDeclined):
		return &problem{Status: http.StatusPaymentRequired, Detail: upstream.ErrDeclined.Error()}
	case errors.As(err, &failed):
		return &problem{Status: http.StatusBadGateway, Detail: failed.service + " does not answer as it should; try again later"}
	}
	return &problem{Status: http.StatusInternalServerError}
}
