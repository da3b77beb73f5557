package agent

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// TestCallsOutlastTheirConnection puts a forwarding between client and agent
// that cuts connections off.
func TestCallsOutlastTheirConnection(t *testing.T) {
	at := start(t, ServeMock)
	var cuts atomic.Int32 // left
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: at.Addr})
	between := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cuts.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	defer between.Close()
	through := Endpoint{Addr: between.Listener.Addr().String(), Token: at.Token}
	m, _ := loadedMock(t, through, recording())
	free, err := net.Listen("tcp", "127.0.0.1:0") // an address that takes connections
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	for name, tc := range map[string]struct {
		call  func() error
		keeps bool // the failure, because the call may not come twice
	}{
		"begin":    {func() error { m.BeginPass(1); return m.Err() }, false},
		"forget":   {func() error { m.Forget(1); return m.Err() }, false},
		"faults":   {func() error { m.SetFaults(1, nil); return m.Err() }, false},
		"calls":    {func() error { m.Calls(1); return m.Err() }, false},
		"account":  {func() error { return m.Account(1).Err }, false},
		"evidence": {func() error { _, err := m.Evidence(); return err }, false},
		"reach":    {func() error { return m.Reach(t.Context(), free.Addr().String()) }, false},
		"enter":    {func() error { own := NewMock(t.Context(), through); own.Enter(1, "in-0"); return own.Err() }, true},
	} {
		cuts.Store(2)
		if err := tc.call(); (err != nil) != tc.keeps {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHurriedCallsAreNotRepeated asks an agent that is gone.
func TestHurriedCallsAreNotRepeated(t *testing.T) {
	var asked atomic.Int32
	gone := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	}))
	defer gone.Close()
	m := NewMock(t.Context(), Endpoint{Addr: gone.Listener.Addr().String()})
	m.Hurry()
	m.Hurry()
	m.Calls(1)
	if m.Err() == nil || asked.Load() != 1 {
		t.Errorf("asked %d times, %v", asked.Load(), m.Err())
	}
}
