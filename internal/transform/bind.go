package transform

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// BindRule binds a value that learning leaves alone, because it is short or
// because the client had it before: the value at From in answers of one
// endpoint is the value at To in requests of another, wherever the recording
// has the same value at both.
type BindRule struct {
	// Answer is the endpoint whose answers give the value, as "POST /v1/orders";
	// empty means any.
	Answer string          `yaml:"answer" json:"answer,omitempty"`
	From   traffic.Pattern `yaml:"from" json:"from"`
	// Request is the endpoint whose requests use it; empty means any.
	Request string          `yaml:"request" json:"request,omitempty"`
	To      traffic.Pattern `yaml:"to" json:"to"`
}

func (r BindRule) validate() error {
	for _, endpoint := range []string{r.Answer, r.Request} {
		if method, template, ok := strings.Cut(endpoint, " "); endpoint != "" && (!ok || method == "" || !strings.HasPrefix(template, "/")) {
			return fmt.Errorf(`endpoint %q must be a method and a path, as in "GET /v1/orders/{id}"`, endpoint)
		}
	}
	switch {
	case !strings.HasPrefix(r.From.String(), "response."):
		return errors.New("from must address an answer, as in response.body.number")
	case !strings.HasPrefix(r.To.String(), "request."):
		return errors.New("to must address a request, as in request.query.number")
	}
	return nil
}

// given reports whether the rule takes the value at path of the answer of x.
func (r BindRule) given(router *traffic.Router, x *traffic.Exchange, path traffic.Path) bool {
	return r.From.Matches(path) && (r.Answer == "" || r.Answer == router.Endpoint(&x.Request))
}

// sent reports whether the rule puts a value at path of the request of x.
func (r BindRule) sent(router *traffic.Router, x *traffic.Exchange, path traffic.Path) bool {
	return r.To.Matches(path) && (r.Request == "" || r.Request == router.Endpoint(&x.Request))
}

// pinned is the identity of a value that rule i binds. No learned identity
// starts as it does.
func pinned(i int, value string) string { return "\x01" + strconv.Itoa(i) + "\x00" + value }

func isPinned(identity string) bool { return strings.HasPrefix(identity, "\x01") }
