package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// patient repeats requests to an API server that fails in a way that passes: it
// is being restarted, its store is slow, it has too much to do, or what it needs
// to admit an object is not there yet. client-go repeats only what the server
// itself asks it to. A server that has never answered is believed to be away, so
// that a wrong address shows at once.
type patient struct {
	answered atomic.Bool
	pauses   []time.Duration // between attempts
}

// apiPauses give an API server that has answered before some 17 s to recover.
var apiPauses = []time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1500 * time.Millisecond,
	2 * time.Second, 3 * time.Second, 3 * time.Second, 3 * time.Second, 3 * time.Second,
}

// around wraps a transport; all that it wraps share what is known of the server.
func (p *patient) around(next http.RoundTripper) http.RoundTripper { return &patientTransport{p, next} }

type patientTransport struct {
	*patient
	next http.RoundTripper
}

// outcome says what an attempt came to.
type outcome int

const (
	final    outcome = iota // an answer, or an error that would come again
	refused                 // not carried out, and may be the next time
	doubtful                // failed, and nobody knows whether it was carried out
)

// RoundTrip implements [http.RoundTripper]. An object that an attempt without an
// answer turns out to have made is returned as if it had been answered.
func (t *patientTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.GetBody == nil || upgrades(req) {
		return t.next.RoundTrip(req)
	}
	unsure := false
	for attempt := 0; ; attempt++ {
		resp, err := t.next.RoundTrip(req)
		if err == nil {
			t.answered.Store(true)
		}
		came := t.judge(req, resp, err)
		if came == final && unsure && resp != nil && resp.StatusCode == http.StatusConflict && req.Method == http.MethodPost {
			return t.made(req, resp)
		}
		if came == final || attempt == len(t.pauses) || !wait(req.Context(), t.pauses[attempt]) {
			return resp, err
		}
		unsure = unsure || came == doubtful
		again := req.Clone(req.Context())
		if req.GetBody != nil {
			body, bodyErr := req.GetBody()
			if bodyErr != nil {
				return resp, err
			}
			again.Body = body
		}
		if resp != nil {
			resp.Body.Close()
		}
		req = again
	}
}

// upgrades reports whether a request turns its connection into something else,
// which those who ask for it repeat themselves.
func upgrades(req *http.Request) bool {
	switch path.Base(req.URL.Path) {
	case "portforward", "exec", "attach":
		return true
	}
	return req.Header.Get("Upgrade") != ""
}

// judge tells what an attempt came to. The body of the answer can still be read
// after it.
func (t *patientTransport) judge(req *http.Request, resp *http.Response, err error) outcome {
	switch {
	case req.Context().Err() != nil || !t.answered.Load():
		return final
	case err != nil:
		return judgeError(err)
	case resp.StatusCode < 400 || resp.Header.Get("Retry-After") != "": // client-go obeys that
		return final
	case resp.StatusCode == http.StatusTooManyRequests:
		return refused
	case resp.StatusCode == http.StatusServiceUnavailable && !discovers(req):
		return refused
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusForbidden:
		return judgeMessage(peek(resp))
	}
	return final
}

// judgeError tells a server that was not reached from one that was lost.
func judgeError(err error) outcome {
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial", utilnet.IsConnectionRefused(err), strings.Contains(err.Error(), "TLS handshake timeout"):
		return refused
	case utilnet.IsProbableEOF(err), utilnet.IsConnectionReset(err), utilnet.IsHTTP2ConnectionLost(err), utilnet.IsTimeout(err):
		return doubtful
	}
	return final
}

// discovers reports whether a request asks what an API group has: a group whose
// own server is down says so for as long as it is, and nobody waits for it.
func discovers(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.HasPrefix(req.URL.Path, "/apis/") && strings.Count(strings.Trim(req.URL.Path, "/"), "/") <= 2
}

// passing are messages of errors that go by, and whether what was asked for may
// have been done all the same.
var passing = []struct {
	text string
	came outcome
}{
	{"etcdserver: ", doubtful}, // request timed out, leader changed, no leader
	{"context deadline exceeded", doubtful},
	{"request did not complete within", doubtful},
	{"failed calling webhook", refused},
	{"error trying to reach service", refused},
	{"error looking up service account", refused}, // of a namespace made just now
	{`User "kubernetes-admin" cannot `, refused},  // kubeadm's own, whom only a server that has just started does not know
	{"connection refused", refused},
	{"TLS handshake timeout", refused},
}

func judgeMessage(body []byte) outcome {
	body = bytes.ReplaceAll(body, []byte(`\"`), []byte(`"`)) // it is JSON
	for _, p := range passing {
		if bytes.Contains(body, []byte(p.text)) {
			return p.came
		}
	}
	return final
}

// maxStatus bounds what is read of an error's body.
const maxStatus = 64 << 10

// peek reads the body of a refusal and leaves it to be read once more.
func peek(resp *http.Response) []byte {
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = io.MultiReader() // it ends where reading did
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	return head
}

// made answers for an object that exists although nobody said that it was made:
// an attempt before this one did it. Any other conflict stays one.
func (t *patientTransport) made(req *http.Request, resp *http.Response) (*http.Response, error) {
	var status metav1.Status
	if json.Unmarshal(peek(resp), &status) != nil || status.Reason != metav1.StatusReasonAlreadyExists || status.Details == nil || status.Details.Name == "" {
		return resp, nil
	}
	get := req.Clone(req.Context())
	get.Method, get.Body, get.GetBody, get.ContentLength = http.MethodGet, nil, nil, 0
	get.Header.Del("Content-Type")
	get.URL.Path, get.URL.RawQuery = path.Join(get.URL.Path, status.Details.Name), ""
	found, err := t.RoundTrip(get)
	if err != nil || found.StatusCode != http.StatusOK {
		if err == nil {
			found.Body.Close()
		}
		return resp, nil
	}
	resp.Body.Close()
	return found, nil
}

// wait reports whether the time went by before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
