package transform_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// signedBy reports whether an HS256 token was signed with a key.
func signedBy(token, key string) bool {
	signed, signature, ok := cut(token)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(signed))
	return ok && signature == base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func cut(token string) (signed, signature string, ok bool) {
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return "", "", false
	}
	return token[:i], token[i+1:], true
}

// TestClaimsAreBound sends an assertion that names an order of the earlier
// answer: the live one must stand in it, under a valid signature.
func TestClaimsAreBound(t *testing.T) {
	at, err := traffic.ParsePattern("request.body.client_assertion")
	if err != nil {
		t.Fatal(err)
	}
	const form = "Content-Type: application/x-www-form-urlencoded"
	claims := fmt.Sprintf(`{"order_id":"ord_8f3k2a91","nested":{"ref":"ord_8f3k2a91"},"exp":%d}`, epoch.Unix()+600)
	want := fmt.Sprintf(`{"order_id":"ord_zz91k3b7","nested":{"ref":"ord_zz91k3b7"},"exp":%d}`, epoch.Unix()+3600+600)
	tests := []struct {
		why          string
		rules        []transform.JWTRule
		body, header string
		get          func(*traffic.Request) string
		signed       bool
	}{{
		why: "in a header", header: "Authorization: Bearer " + token(claims), signed: true,
		rules: []transform.JWTRule{{Key: "k"}},
		get:   func(r *traffic.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") },
	}, {
		why: "in a form, by its address", header: form, body: "a=1&client_assertion=" + token(claims), signed: true,
		rules: []transform.JWTRule{{At: &at, Key: "k"}},
		get: func(r *traffic.Request) string {
			return strings.TrimPrefix(string(r.Body.Raw), "a=1&client_assertion=")
		},
	}, {
		why: "without a key the token stays whole, since a broken one helps nobody", header: "X-Token: " + token(claims),
		get: func(r *traffic.Request) string { return r.Header.Get("X-Token") },
	}}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			c := new(talk).ask("POST", "/v1/orders", "").answer(`{"id":"ord_8f3k2a91"}`, jsonType).
				ask("POST", "/v1/pay", tt.body, tt.header)
			now := epoch.Add(time.Hour + time.Second) // the second request is a second younger
			opts := transform.Options{JWT: tt.rules, Now: func() time.Time { return now }}
			b, err := transform.Learn(c.exchanges, opts)
			if err != nil {
				t.Fatal(err)
			}
			rw := transform.NewRewriter(b, opts)
			rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `{"id":"ord_zz91k3b7"}`, jsonType)})
			got := tt.get(rw.Request(c.exchanges[1]))
			if !tt.signed {
				if got != token(claims) {
					t.Errorf("token %s", got)
				}
				return
			}
			if diff := cmp.Diff(want, part(t, got, 1)); diff != "" || !signedBy(got, "k") {
				t.Errorf("signature valid: %v; claims (-want +got):\n%s", signedBy(got, "k"), diff)
			}
		})
	}
}

func TestClaimsOfAnswersAreSources(t *testing.T) {
	tok := func(user string) string { return token(`{"sub":"` + user + `","exp":1}`) }
	c := new(talk).ask("POST", "/login", "").answer(`{"token":"`+tok("user-8f3k2a91")+`"}`, jsonType).
		ask("GET", "/users/user-8f3k2a91", "", "Authorization: Bearer "+tok("user-8f3k2a91"))
	b, err := transform.Learn(c.exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rw := transform.NewRewriter(b, transform.Options{})
	rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `{"token":"`+tok("user-zz91k3b7")+`"}`, jsonType)})
	if got := rw.Request(c.exchanges[1]); got.Target != "/users/user-zz91k3b7" || got.Header.Get("Authorization") != "Bearer "+tok("user-zz91k3b7") {
		t.Errorf("%s with %s", got.Target, got.Header.Get("Authorization"))
	}
}

func TestPartsAreBound(t *testing.T) {
	body := func(id string) string {
		return strings.ReplaceAll("preamble\n--XyZ\nContent-Disposition: form-data; name=\"order_id\"\n\n"+id+
			"\n--XyZ\nContent-Disposition: form-data; name=meta\nContent-Type: application/json\n\n{ \"order\" : \""+id+"\" }"+
			"\n--XyZ\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\nContent-Type: application/octet-stream\n\n\xff\x00--XyZa\n"+
			"\n--XyZ\nContent-Disposition: form-data; name=\"b\"\nContent-Transfer-Encoding: base64\n\nord_8f3k2a91"+
			"\n--XyZ--\nepilogue", "\n", "\r\n")
	}
	c := new(talk).ask("POST", "/v1/orders", "").answer(`{"id":"ord_8f3k2a91"}`, jsonType).
		ask("POST", "/v1/upload", body("ord_8f3k2a91"), "Content-Type: multipart/form-data; boundary=XyZ")
	b, err := transform.Learn(c.exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rw := transform.NewRewriter(b, transform.Options{})
	rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, `{"id":"ord_zz91k3b7xyz"}`, jsonType)})
	if diff := cmp.Diff(body("ord_zz91k3b7xyz"), string(rw.Request(c.exchanges[1]).Body.Raw)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestEventsAreSources(t *testing.T) {
	events := func(id, order string) string {
		return ": hello\n\nid: " + id + "\nevent: order\ndata: {\"order\":{\"id\":\"" + order + "\"}}\n\n"
	}
	const stream = "Content-Type: text/event-stream"
	c := new(talk).ask("GET", "/events", "").answer(events("evt-11112222", "ord_8f3k2a91"), stream).
		ask("GET", "/orders/ord_8f3k2a91", "", "Last-Event-ID: evt-11112222")
	b, err := transform.Learn(c.exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rw := transform.NewRewriter(b, transform.Options{})
	rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, events("evt-33334444", "ord_zz91k3b7"), stream)})
	if got := rw.Request(c.exchanges[1]); got.Target != "/orders/ord_zz91k3b7" || got.Header.Get("Last-Event-ID") != "evt-33334444" {
		t.Errorf("%s after %s", got.Target, got.Header.Get("Last-Event-ID"))
	}
}

// TestDatesThatFollowTheClock replays a year later, to the hour.
func TestDatesThatFollowTheClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	tests := []struct {
		why        string
		give, want []string // targets, one request a second, or an hour where hourly
		hourly     bool
	}{{
		why:  "now, in RFC 3339 and in milliseconds",
		give: []string{"/x?at=2025-11-23T08:00:00.250Z&ms=1763884800250"}, want: []string{"/x?at=2026-11-23T08:00:00.250Z&ms=1795420800250"},
	}, {
		why:  "today and tomorrow",
		give: []string{"/x?from=2025-11-23&to=2025-11-24"}, want: []string{"/x?from=2026-11-23&to=2026-11-24"},
	}, {
		why:  "a birthday and a concert stay",
		give: []string{"/x?born=1990-02-03&on=2026-05-01T20:00:00Z", "/x?born=1971-12-24&on=2026-05-01T20:00:00Z"},
		want: []string{"/x?born=1990-02-03&on=2026-05-01T20:00:00Z", "/x?born=1971-12-24&on=2026-05-01T20:00:00Z"},
	}, {
		why: "a week ago, always at the same distance", hourly: true,
		give: []string{"/x?since=2025-11-16T08:00:00Z", "/x?since=2025-11-16T09:00:03Z", "/x?since=2025-11-16T10:00:01Z"},
		want: []string{"/x?since=2026-11-16T08:00:00Z", "/x?since=2026-11-16T09:00:03Z", "/x?since=2026-11-16T10:00:01Z"},
	}, {
		why: "two sightings far from now prove nothing", hourly: true,
		give: []string{"/x?since=2025-11-16T08:00:00Z", "/x?since=2025-11-16T09:00:03Z"},
		want: []string{"/x?since=2025-11-16T08:00:00Z", "/x?since=2025-11-16T09:00:03Z"},
	}, {
		why:  "one that is far from now spoils the place",
		give: []string{"/x?at=2025-11-23T08:00:00Z", "/x?at=2019-01-01T00:00:00Z"}, want: []string{"/x?at=2025-11-23T08:00:00Z", "/x?at=2019-01-01T00:00:00Z"},
	}}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			c := new(talk)
			for i, target := range tt.give {
				c.ask("GET", target, "")
				if tt.hourly {
					c.exchanges[i].Start = epoch.Add(time.Duration(i) * time.Hour)
				}
			}
			for i, x := range c.exchanges {
				opts := transform.Options{Now: func() time.Time { return x.Start.Add(year) }}
				b, err := transform.Learn(c.exchanges, opts)
				if err != nil {
					t.Fatal(err)
				}
				rw := transform.NewRewriter(b, opts)
				if got := rw.Request(x).Target; got != tt.want[i] {
					t.Errorf("got %s, want %s", got, tt.want[i])
				}
				if moved := rw.Moved(x.ID); (len(moved) > 0) != (tt.give[i] != tt.want[i]) || len(moved) != len(b.Learned())/len(tt.give) {
					t.Errorf("the mock hears of %v, the list of %v", moved, b.Learned())
				}
			}
		})
	}
	t.Run("a forbidden place stays", func(t *testing.T) {
		c := new(talk).ask("GET", "/x?at=2025-11-23T08:00:00Z", "")
		place, err := traffic.ParsePattern("request.query.at")
		if err != nil {
			t.Fatal(err)
		}
		b, err := transform.Learn(c.exchanges, transform.Options{Forbid: []traffic.Pattern{place}})
		if err != nil || len(b.Learned()) != 0 {
			t.Errorf("learned %v, %v", b.Learned(), err)
		}
	})
}
