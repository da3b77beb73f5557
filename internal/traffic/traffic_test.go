package traffic_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/reprise-ci/reprise/internal/traffic"
	"pgregory.net/rapid"
)

func TestEndpoint(t *testing.T) {
	router, err := traffic.NewRouter([]string{"/v1/shops/{shop}/items"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ target, want, reason string }{
		{"/", "GET /", "the root"},
		{"/v1/orders?limit=10", "GET /v1/orders", "the query is no part of a route; v1 is a name"},
		{"/v1/orders/42", "GET /v1/orders/{id}", "digits"},
		{"/v1/orders/3f2b8c9a-0d4e-4f6a-9b1c-2d3e4f5a6b7c/summary", "GET /v1/orders/{id}/summary", "a UUID in the middle"},
		{"/v1/orders/ord_8f3k2", "GET /v1/orders/{id}", "a prefixed id"},
		{"/v1/stock/SKU-0042", "GET /v1/stock/{id}", "an article number"},
		{"/v1/catalog", "GET /v1/catalog", "a name"},
		{"/oauth2/token", "GET /oauth2/token", "one digit does not make a value"},
		{"/v1/shops/north/items", "GET /v1/shops/{shop}/items", "a given template wins where nothing looks like an id"},
		{"/v1/shops/north", "GET /v1/shops/north", "a template fits whole paths only"},
	}
	for _, tt := range tests {
		if got := router.Endpoint(&traffic.Request{Method: "GET", Target: tt.target}); got != tt.want {
			t.Errorf("%s: %q is %q, want %q", tt.reason, tt.target, got, tt.want)
		}
	}
	if _, err := traffic.NewRouter([]string{"v1/x"}); err == nil {
		t.Error("NewRouter accepted a route without a slash")
	}
}

func TestSplitAuthority(t *testing.T) {
	tests := []struct{ in, host, port string }{
		{"inventory", "inventory", ""},
		{"inventory:8080", "inventory", "8080"},
		{"[::1]:80", "::1", "80"},
		{"[::1]", "::1", ""},
		{"::1", "::1", ""},
	}
	for _, tt := range tests {
		if host, port := traffic.SplitAuthority(tt.in); host != tt.host || port != tt.port {
			t.Errorf("SplitAuthority(%q) = %q, %q", tt.in, host, port)
		}
	}
}

func TestHeader(t *testing.T) {
	var h traffic.Header
	h.Add("Set-Cookie", "a=1")
	h.Add("X-One", "1")
	h.Add("set-cookie", "b=2")
	if diff := cmp.Diff([]string{"a=1", "b=2"}, h.Values("SET-COOKIE")); diff != "" {
		t.Errorf("values of one name keep their order: %s", diff)
	}
	h.Set("Set-Cookie", "c=3")
	if diff := cmp.Diff(traffic.Header{{"Set-Cookie", "c=3"}, {"X-One", "1"}}, h); diff != "" {
		t.Errorf("Set replaces in place and removes the rest: %s", diff)
	}
	h.Add("Connection", "close, X-One")
	if diff := cmp.Diff(traffic.Header{{"Set-Cookie", "c=3"}}, h.WithoutHopByHop()); diff != "" {
		t.Errorf("fields named by Connection belong to the hop: %s", diff)
	}
}

func TestMarkSurvivesTracers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mark := traffic.Mark{Pass: rapid.Uint32().Draw(t, "pass"), Lane: rapid.Uint64().Draw(t, "lane")}
		value := mark.Traceparent()
		if got, ok := traffic.ParseMark(value); !ok || got != mark {
			t.Fatalf("%q came back as %v, %v", value, got, ok)
		}
		// A tracer on the way keeps the trace id and writes its own span id.
		value = value[:36] + "00f067aa0ba902b7" + value[52:]
		if got, ok := traffic.ParseMark(value); !ok || got != mark {
			t.Fatalf("%q came back as %v, %v", value, got, ok)
		}
	})
	for _, foreign := range []string{"", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-zz-1-2"} {
		if _, ok := traffic.ParseMark(foreign); ok {
			t.Errorf("ParseMark accepted %q", foreign)
		}
	}
}

func TestBodyCodings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := []byte(rapid.String().Draw(t, "plain"))
		coding := rapid.SampledFrom([]string{"", "gzip", "br", "zstd", "deflate", "gzip, br"}).Draw(t, "coding")
		raw, err := traffic.Encode(plain, coding)
		if err != nil {
			t.Fatal(err)
		}
		got, err := traffic.Body{Raw: raw, Coding: coding}.Decoded()
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%s: %d bytes came back as %d, %v", coding, len(plain), len(got), err)
		}
	})
}

func TestDecodedIsBounded(t *testing.T) {
	var bomb bytes.Buffer
	zw := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(zw, zeros{}, traffic.DecodeLimit+1); err != nil {
		t.Fatal(err)
	}
	zw.Close()
	got, err := traffic.Body{Raw: bomb.Bytes(), Coding: "gzip"}.Decoded()
	if !errors.Is(err, traffic.ErrDecodedTooLarge) {
		t.Errorf("a bomb decodes to %d bytes, %v", len(got), err)
	}
	if _, err := (traffic.Body{Raw: []byte("x"), Coding: "rot13"}).Decoded(); err == nil {
		t.Error("an unknown coding decoded without an error")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestCloneSharesNothing(t *testing.T) {
	x := &traffic.Exchange{
		Request:  traffic.Request{Header: traffic.Header{{"A", "1"}}, Body: traffic.Body{Raw: []byte("abc")}},
		Response: &traffic.Response{Status: 200, Header: traffic.Header{{"B", "2"}}, Body: traffic.Body{Raw: []byte("def")}},
		Match:    &traffic.Match{Tier: traffic.TierMiss, Nearest: []traffic.Near{{Record: "out-1"}}},
	}
	c := x.Clone()
	c.Request.Header[0].Value = "changed"
	c.Request.Body.Raw[0] = 'X'
	c.Response.Status = 500
	c.Response.Body.Raw[0] = 'X'
	c.Match.Nearest[0].Record = "changed"
	if x.Request.Header[0].Value != "1" || x.Request.Body.Raw[0] != 'a' || x.Response.Status != 200 ||
		x.Response.Body.Raw[0] != 'd' || x.Match.Nearest[0].Record != "out-1" {
		t.Errorf("a change of the clone reached the original: %+v", x)
	}
}
