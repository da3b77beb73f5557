package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestSameVersion(t *testing.T) {
	tests := []struct{ why, there, here, want string }{
		{"the same", "v1.4.0 go1.26.1", "v1.4.0 go1.26.1", ""},
		{"built by another Go", "v1.4.0 go1.26.0", "v1.4.0 go1.26.1", ""},
		{"older", "v1.3.0 go1.26.0", "v1.4.0 go1.26.1", "the image has a reprise that is v1.3.0 go1.26.0, and this command is v1.4.0 go1.26.1: make it anew with reprise agent-image"},
		{"newer", "v2.0.0 go1.27.0", "v1.4.0 go1.26.1", "v2.0.0 go1.27.0"},
		{"never released", "(devel) go1.26.0", "v1.4.0 go1.26.1", ""},
		{"neither was", "(devel) go1.26.0", "(devel) go1.26.1", ""},
		{"from before versions were told", "", "(devel) go1.26.1", "a reprise that is older than any"},
	}
	for _, tt := range tests {
		at := start(t, func(ctx context.Context, l net.Listener, opts ServerOptions) error {
			opts.Version = tt.there
			return ServeReplay(ctx, l, opts)
		})
		err := SameVersion(t.Context(), at, tt.here)
		var other *VersionError
		if (tt.want != "") != errors.As(err, &other) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.why, err, tt.want)
		}
	}
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }))
	defer stranger.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it is not asked again
	if err := SameVersion(ctx, Endpoint{Addr: stranger.Listener.Addr().String(), Token: NewToken()}, "v1"); err == nil {
		t.Error("whoever answers has the same version")
	}
}
