package transform_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

func TestDatesMoveInTheirForm(t *testing.T) {
	patterns := []traffic.Pattern{}
	for _, p := range []string{"request.query.at", "request.header.X-At", "request.body.when"} {
		pattern, err := traffic.ParsePattern(p)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, pattern)
	}
	opts := transform.Options{Shift: patterns, Now: func() time.Time { return epoch.Add(36*time.Hour + 30*time.Second) }}
	tests := []struct{ give, want string }{
		{"2025-11-23T08:00:00Z", "2025-11-24T20:00:30Z"},
		{"2025-11-23T08:00:00.120+02:00", "2025-11-24T20:00:30.120+02:00"},
		{"2025-11-23 08:00:00", "2025-11-24 20:00:30"},
		{"2025-11-23T08:00:00+0000", "2025-11-24T20:00:30+0000"},
		{"2025-11-23", "2025-11-25"}, // a day and a half is two days
		{"1763884800", "1764014430"},
		{"1763884800123", "1764014430123"},
		{"1763884800123456", "1764014430123456"},
		{"Sun, 23 Nov 2025 08:00:00 GMT", "Mon, 24 Nov 2025 20:00:30 GMT"},
		{"20251123T080000Z", "20251124T200030Z"},
		{"tomorrow", "tomorrow"},
		{"42", "42"},
		{"2025-13-45T08:00:00Z", "2025-13-45T08:00:00Z"},
	}
	for _, tt := range tests {
		c := new(talk).ask("POST", "/?other=1763884800", fmt.Sprintf(`{"when":%q,"else":%q}`, tt.give, tt.give), jsonType, "X-At: "+tt.give)
		got := transform.NewRewriter(nil, opts).Request(c.exchanges[0])
		if header := got.Header.Get("X-At"); header != tt.want {
			t.Errorf("%s became %s, want %s", tt.give, header, tt.want)
		}
		if want := fmt.Sprintf(`{"when":%q,"else":%q}`, tt.want, tt.give); string(got.Body.Raw) != want || got.Target != "/?other=1763884800" {
			t.Errorf("body %s, target %s", got.Body.Raw, got.Target)
		}
	}
}

func TestSignaturesAreComputedAnew(t *testing.T) {
	mac := func(text string) []byte {
		m := hmac.New(sha256.New, []byte("k"))
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	value := "new"
	tests := []struct {
		why  string
		give transform.SignRule
		want string
	}{
		{"over the body", transform.SignRule{Scheme: "hmac-sha256", Key: "k", Header: "X-Sig", Prefix: "sha256="}, "sha256=" + hex.EncodeToString(mac("body"))},
		{"over parts, changed headers included", transform.SignRule{Scheme: "hmac-sha256", Key: "k", Header: "X-Sig", Encoding: "base64", Over: "{method}:{path}?{query}|{header:x-at}|{body-sha256}"},
			base64.StdEncoding.EncodeToString(mac("POST:/p?q=1|new|230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"))},
		{"not picked", transform.SignRule{Scheme: "hmac-sha256", Key: "k", Header: "X-Sig", When: &transform.Filter{Method: "GET"}}, "old"},
	}
	for _, tt := range tests {
		opts := transform.Options{Sign: []transform.SignRule{tt.give}, Headers: []transform.HeaderRule{{Name: "X-At", Set: &value}}}
		if err := opts.Validate(); err != nil {
			t.Fatal(err)
		}
		c := new(talk).ask("POST", "/p?q=1", "body", "X-At: old", "X-Sig: old")
		got := transform.NewRewriter(nil, opts).Request(c.exchanges[0])
		if diff := cmp.Diff(lines([]string{"X-At: new", "X-Sig: " + tt.want}), got.Header); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.why, diff)
		}
		if c.exchanges[0].Request.Header.Get("X-Sig") != "old" {
			t.Error("the recorded request was changed")
		}
	}
}

// The vectors are those of the test suite for Signature Version 4 that AWS
// publishes.
func TestSigV4(t *testing.T) {
	tests := []struct{ why, target, signature string }{
		{"get-vanilla", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", "/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	}
	opts := transform.Options{
		Sign: []transform.SignRule{{Scheme: "sigv4", Key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", AccessKey: "AKIDEXAMPLE"}},
		Now:  func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) },
	}
	if err := opts.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		c := new(talk).ask("GET", tt.target, "", "X-Amz-Date: 20140101T000000Z",
			"Authorization: AWS4-HMAC-SHA256 Credential=OLD/20140101/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=old")
		c.exchanges[0].Request.Authority = "example.amazonaws.com"
		got := transform.NewRewriter(nil, opts).Request(c.exchanges[0]).Header.Get("Authorization")
		want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + tt.signature
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.why, got, want)
		}
	}
	c := new(talk).ask("GET", "/", "", "Authorization: Bearer x")
	if got := transform.NewRewriter(nil, opts).Request(c.exchanges[0]).Header.Get("Authorization"); got != "Bearer x" {
		t.Errorf("a request that was not signed so: %s", got)
	}
}

func TestSignRulesAreChecked(t *testing.T) {
	tests := []struct {
		give transform.SignRule
		want string
	}{
		{transform.SignRule{Scheme: "hmac-md5", Key: "k", Header: "X"}, `sign[0]: scheme "hmac-md5" must be hmac-sha1, hmac-sha256, hmac-sha512 or sigv4`},
		{transform.SignRule{Scheme: "hmac-sha1", Header: "X"}, "sign[0]: key is missing"},
		{transform.SignRule{Scheme: "hmac-sha1", Key: "k"}, "sign[0]: header is missing; name the one that holds the signature"},
		{transform.SignRule{Scheme: "hmac-sha1", Key: "k", Header: "X", Over: "{boody}"}, "sign[0]: over: {boody} is unknown"},
		{transform.SignRule{Scheme: "hmac-sha1", Key: "k", Header: "X", Over: "{body"}, "sign[0]: over: {body} is unknown"},
		{transform.SignRule{Scheme: "sigv4", Key: "k", Over: "{body}"}, "sign[0]: sigv4 lays down header, over, encoding and prefix itself"},
		{transform.SignRule{Scheme: "hmac-sha1", Key: "k", Header: "X", Encoding: "b64"}, `sign[0]: encoding "b64" must be hex or base64`},
	}
	for _, tt := range tests {
		if err := (transform.Options{Sign: []transform.SignRule{tt.give}}).Validate(); err == nil || err.Error() != tt.want {
			t.Errorf("got %v\nwant %s", err, tt.want)
		}
	}
	if err := (transform.Options{Sample: 1.5}).Validate(); err == nil {
		t.Error("a sample above 1 is no error")
	}
}

func TestSampleKeepsWholeSessions(t *testing.T) {
	c := new(talk)
	for i := range 400 {
		c.ask("GET", "/", "", fmt.Sprintf("Authorization: Bearer user-%d", i%100))
	}
	kept, err := transform.Options{Sample: 0.3}.Select(c.exchanges)
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for _, x := range kept {
		count[strings.TrimPrefix(x.Request.Header.Get("Authorization"), "Bearer ")]++
	}
	for user, n := range count {
		if n != 4 {
			t.Errorf("%d of 4 requests of %s", n, user)
		}
	}
	if len(count) < 15 || len(count) > 45 {
		t.Errorf("%d of 100 sessions at a share of 0.3", len(count))
	}
	again, err := transform.Options{Sample: 0.3}.Select(c.exchanges)
	if err != nil || len(again) != len(kept) {
		t.Errorf("another sample the second time: %d and %d, %v", len(kept), len(again), err)
	}
}
