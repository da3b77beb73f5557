package capture

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestWithoutShadow(t *testing.T) {
	for authority, want := range map[string]string{
		"shop-shadow":           "shop",          // Envoy
		"shop-shadow:8080":      "shop:8080",     // Envoy, before the port
		"shop:8080-shadow":      "shop:8080",     // some versions, behind it
		"shop.local-SHADOW:80":  "shop.local:80", // names have no case
		"[::1]-shadow:80":       "[::1]:80",      // an address
		"[::1]:80-shadow":       "[::1]:80",      //
		"[::1]":                 "[::1]",         //
		"shop":                  "shop",          // the suffix can be off
		"shadow":                "shadow",        // a name
		"-shadow":               "-shadow",       // nothing would be left
		"shop-shadow.local":     "shop-shadow.local",
		"shop-shadow.local:443": "shop-shadow.local:443",
		"":                      "",
	} {
		if got := WithoutShadow(authority); got != want {
			t.Errorf("%q becomes %q, want %q", authority, got, want)
		}
	}
}

func (s *stage) mirror(opts MirrorOptions) string {
	s.t.Helper()
	m, err := NewMirror(s.recorder, opts)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.serve(m)
}

func TestMirrorKeepsRequestsWithoutAnswers(t *testing.T) {
	s := newStage(t, Options{})
	target := s.mirror(MirrorOptions{})
	for _, client := range []*http.Client{{Transport: &http.Transport{}}, h2cClient(t)} {
		r, _ := http.NewRequest("POST", "http://"+target+"/orders?x=1", strings.NewReader(`{"sku":7}`))
		r.Host = "shop-shadow:8080"
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 200 {
			t.Errorf("status %d", response.StatusCode)
		}
		client.CloseIdleConnections()
	}
	all := s.stop()
	if len(all) != 2 {
		t.Fatalf("recorded %d", len(all))
	}
	for _, x := range all {
		if x.Response != nil || x.Failure != traffic.FailureNone || x.Origin.Source != "mirror" || len(x.Incomplete) != 0 ||
			x.Request.URL() != "http://shop:8080/orders?x=1" || string(x.Request.Body.Raw) != `{"sku":7}` {
			t.Errorf("recorded %+v", x)
		}
	}
	if host := all[0].Request.Header.Get("Host"); host != "shop:8080" {
		t.Errorf("recorded Host %q", host)
	}
}

func TestMirrorWireForms(t *testing.T) {
	s := newStage(t, Options{})
	target := s.mirror(MirrorOptions{})
	for _, test := range []struct{ reason, request, answer string }{
		{"chunks, then a second request on the same connection", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"the caller waits for a 100", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"not HTTP", "hello\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"},
	} {
		if answer := exact(t, target, test.request); answer != test.answer {
			t.Errorf("%s: answer %q", test.reason, answer)
		}
	}
	if all := s.stop(); len(all) != 3 || string(all[0].Request.Body.Raw) != "abc" || s.recorder.Counts().Dropped != 1 {
		t.Errorf("recorded %d, counts %v", len(all), s.recorder.Counts())
	}
}

func TestMirrorKeepsRepetitionsOnce(t *testing.T) {
	s := newStage(t, Options{})
	target := s.mirror(MirrorOptions{Mark: "X-Mirrored: yes"})
	for _, test := range []struct{ path, id, mark string }{
		{"/a", "id-1", "yes"},
		{"/a", "id-1", "yes"}, // a repetition
		{"/b", "id-1", "yes"}, // the same chain of calls, another request
		{"/a", "id-2", "yes"},
		{"/a", "", "yes"}, {"/a", "", "yes"}, // nothing says that it is the same
		{"/a", "id-3", ""}, // not mirrored
	} {
		header := http.Header{}
		if test.id != "" {
			header.Set("X-Request-Id", test.id)
		}
		if test.mark != "" {
			header.Set("X-Mirrored", test.mark)
		}
		get(t, http.DefaultClient, "http://"+target+test.path, header)
	}
	http.DefaultClient.CloseIdleConnections()
	if all := s.stop(); len(all) != 5 {
		t.Errorf("recorded %d", len(all))
	}
	if c := s.recorder.Counts(); c.Seen != 7 || c.SampledOut != 2 {
		t.Errorf("counts %+v", c)
	}
}

func TestSampling(t *testing.T) {
	s := newStage(t, Options{Sampling: Sampling{Rate: 0.25, Endpoints: map[string]float64{"GET /health": 0, "GET /all/{id}": 1}}})
	target := s.mirror(MirrorOptions{})
	for i := range 40 {
		get(t, http.DefaultClient, fmt.Sprintf("http://%s/orders/%d", target, i), nil)
	}
	for i := range 5 {
		get(t, http.DefaultClient, "http://"+target+"/health", nil)
		get(t, http.DefaultClient, fmt.Sprintf("http://%s/all/%d", target, i), nil)
	}
	http.DefaultClient.CloseIdleConnections()
	kept := map[string]int{}
	for _, x := range s.stop() {
		kept[strings.Split(x.Request.Target, "/")[1]]++
	}
	if kept["orders"] != 10 || kept["health"] != 0 || kept["all"] != 5 {
		t.Errorf("kept %v", kept)
	}
	if c := s.recorder.Counts(); c.SampledOut != 35 {
		t.Errorf("counts %+v", c)
	}
}

func TestSamplingByHeaderKeepsUsersWhole(t *testing.T) {
	s := &sampler{Sampling: Sampling{Rate: 0.3, Header: "X-User"}}
	kept := map[bool]int{}
	for user := range 2000 {
		r := &traffic.Request{Header: traffic.Header{{Name: "x-user", Value: fmt.Sprintf("user-%d", user)}}}
		first := s.keeps(r)
		kept[first]++
		for range 3 {
			if s.keeps(r) != first {
				t.Fatalf("user %d is torn apart", user)
			}
		}
	}
	if kept[true] < 500 || kept[true] > 700 {
		t.Errorf("kept %d of 2000 users at a rate of 0.3", kept[true])
	}
}

func TestBudget(t *testing.T) {
	s := newStage(t, Options{Budget: Budget{Exchanges: 3}})
	target := s.mirror(MirrorOptions{})
	for range 5 {
		get(t, http.DefaultClient, "http://"+target, nil)
	}
	http.DefaultClient.CloseIdleConnections()
	select {
	case <-s.recorder.Full():
	case <-time.After(5 * time.Second):
		t.Error("the budget is not used up")
	}
	s.stop()
	if c := s.recorder.Counts(); c.Stored != 3 || c.SampledOut != 2 {
		t.Errorf("counts %+v", c)
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	for _, opts := range []Options{
		{BodyLimit: -1}, {QueueBytes: -1}, {Sampling: Sampling{Rate: 1.5}},
		{Sampling: Sampling{Endpoints: map[string]float64{"GET /": -1}}}, {Budget: Budget{Time: -1}},
	} {
		if _, err := NewRecorder(&memory{}, opts); err == nil {
			t.Errorf("%+v was accepted", opts)
		}
	}
	if _, err := NewRecorder(nil, Options{}); err == nil {
		t.Error("a recorder without a sink was accepted")
	}
	if _, err := NewInbound("localhost", nil); err == nil {
		t.Error("an upstream without a port was accepted")
	}
	if _, err := NewMirror(nil, MirrorOptions{Mark: ": x"}); err == nil {
		t.Error("a mark without a name was accepted")
	}
}
