package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// refusal is an answer of the API server that is no success.
func refusal(code int, reason metav1.StatusReason, message string) string {
	return fmt.Sprintf(`%d {"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"details":{"name":"orders","kind":"pods"},"code":%d}`, code, reason, message, code)
}

const (
	made = `201 {"kind":"Pod","apiVersion":"v1","metadata":{"name":"orders","uid":"1"}}`
	got  = `200 {"kind":"Pod","apiVersion":"v1","metadata":{"name":"orders","uid":"1"}}`
	cut  = "cut" // the connection is closed instead
)

// TestPatient has a real client talk to a server that answers each request with
// the next line of a script.
func TestPatient(t *testing.T) {
	busy := refusal(503, metav1.StatusReasonServiceUnavailable, "the server is starting")
	for name, tc := range map[string]struct {
		script []string
		create bool   // else a Pod is read
		asked  string // the methods that came
		fails  string // "" where it succeeds
	}{
		"nothing is wrong":             {script: []string{got}, asked: "GET"},
		"too much to do":               {script: []string{refusal(429, metav1.StatusReasonTooManyRequests, "slow down"), got}, asked: "GET GET"},
		"being started":                {script: []string{busy, busy, made}, create: true, asked: "POST POST POST"},
		"the store is slow":            {script: []string{refusal(500, metav1.StatusReasonInternalError, "etcdserver: request timed out"), got}, asked: "GET GET"},
		"late, and it was made":        {script: []string{refusal(504, metav1.StatusReasonTimeout, "Timeout: request did not complete within requested timeout - context deadline exceeded"), refusal(409, metav1.StatusReasonAlreadyExists, "exists"), got}, create: true, asked: "POST POST GET"},
		"cut off, and it was made":     {script: []string{cut, refusal(409, metav1.StatusReasonAlreadyExists, "exists"), got}, create: true, asked: "POST POST GET"},
		"cut off, and it was not made": {script: []string{cut, made}, create: true, asked: "POST POST"},
		"cut off while reading":        {script: []string{cut, got}, asked: "GET GET"},
		"webhook starts":               {script: []string{refusal(500, metav1.StatusReasonInternalError, `failed calling webhook "w": no endpoints available`), made}, create: true, asked: "POST POST"},
		"service account to come":      {script: []string{refusal(403, metav1.StatusReasonForbidden, `pods "orders" is forbidden: error looking up service account n/default: serviceaccount "default" not found`), made}, create: true, asked: "POST POST"},
		"exists from before":           {script: []string{refusal(409, metav1.StatusReasonAlreadyExists, "exists")}, create: true, asked: "POST", fails: "exists"},
		"exists, the server was busy":  {script: []string{busy, refusal(409, metav1.StatusReasonAlreadyExists, "exists")}, create: true, asked: "POST POST", fails: "exists"},
		"the admin is not known yet":   {script: []string{refusal(403, metav1.StatusReasonForbidden, `pods "orders" is forbidden: User "kubernetes-admin" cannot get resource "pods"`), got}, asked: "GET GET"},
		"somebody may not":             {script: []string{refusal(403, metav1.StatusReasonForbidden, `pods "orders" is forbidden: User "ci" cannot get resource "pods"`)}, asked: "GET", fails: "cannot get"},
		"forbidden":                    {script: []string{refusal(403, metav1.StatusReasonForbidden, "no rights")}, asked: "GET", fails: "no rights"},
		"not there":                    {script: []string{refusal(404, metav1.StatusReasonNotFound, "no such pod")}, asked: "GET", fails: "no such pod"},
		"a fault of the server":        {script: []string{refusal(500, metav1.StatusReasonInternalError, "panic")}, asked: "GET", fails: "panic"},
		"busy for too long":            {script: []string{busy, busy, busy, busy}, asked: "GET GET GET GET", fails: "the server is starting"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if len(asked) == len(tc.script) {
					t.Errorf("%s %s: nobody expected it", r.Method, r.URL)
					return
				}
				answer := tc.script[len(asked)]
				asked = append(asked, r.Method)
				if answer == cut {
					panic(http.ErrAbortHandler)
				}
				code, body, _ := strings.Cut(answer, " ")
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(map[string]int{"200": 200, "201": 201, "403": 403, "404": 404, "409": 409, "429": 429, "500": 500, "503": 503, "504": 504}[code])
				io.WriteString(w, body)
			}))
			defer server.Close()
			p := &patient{pauses: []time.Duration{0, 0, 0}}
			p.answered.Store(true)
			config := &rest.Config{Host: server.URL}
			config.Wrap(p.around)
			api, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			var pod *corev1.Pod
			if tc.create {
				pod, err = api.CoreV1().Pods("n").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "orders"}}, metav1.CreateOptions{})
			} else {
				pod, err = api.CoreV1().Pods("n").Get(t.Context(), "orders", metav1.GetOptions{})
			}
			if tc.fails == "" && (err != nil || pod.UID != "1") || tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) {
				t.Errorf("got %v, %v; want %q", pod, err, tc.fails)
			}
			mu.Lock()
			defer mu.Unlock()
			if strings.Join(asked, " ") != tc.asked {
				t.Errorf("asked %q, want %q", asked, tc.asked)
			}
			if tc.fails == "exists" && !apierrors.IsAlreadyExists(err) {
				t.Errorf("%v has lost its kind", err)
			}
		})
	}
}

// failing is a transport that fails a number of times, and then answers.
type failing struct {
	err   error
	times int32
	asked atomic.Int32
}

func (f *failing) RoundTrip(*http.Request) (*http.Response, error) {
	if f.asked.Add(1) <= f.times {
		return nil, f.err
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}}, nil
}

func TestPatientWithConnections(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, tc := range map[string]struct {
		err      error
		url      string
		answered bool
		asked    int32
	}{
		"refused, and it had answered":  {dial, "/api/v1/pods", true, 3},
		"refused, and never answered":   {dial, "/api/v1/pods", false, 1},
		"reset":                         {syscall.ECONNRESET, "/api/v1/pods", true, 3},
		"end of file":                   {io.ErrUnexpectedEOF, "/api/v1/pods", true, 3},
		"certificate of somebody else":  {errors.New("x509: unknown authority"), "/api/v1/pods", true, 1},
		"an upgrade, others repeat it":  {dial, "/api/v1/namespaces/n/pods/p/portforward", true, 1},
		"the caller has left meanwhile": {context.Canceled, "/api/v1/pods", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := &patient{pauses: []time.Duration{0, 0, 0}}
			p.answered.Store(tc.answered)
			next := &failing{err: tc.err, times: 2}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.url, nil)
			req.Body = nil
			_, err := p.around(next).RoundTrip(req)
			if next.asked.Load() != tc.asked || (err == nil) != (tc.asked == 3) {
				t.Errorf("asked %d times, %v; want %d", next.asked.Load(), err, tc.asked)
			}
		})
	}
}

func TestDiscoversIsNotWaitedFor(t *testing.T) {
	for url, want := range map[string]bool{
		"/apis": false, "/apis/metrics.k8s.io": true, "/apis/metrics.k8s.io/v1beta1": true,
		"/apis/apps/v1/deployments": false, "/api/v1/pods": false,
	} {
		if got := discovers(httptest.NewRequest(http.MethodGet, url, nil)); got != want {
			t.Errorf("%s: %v, want %v", url, got, want)
		}
	}
}
