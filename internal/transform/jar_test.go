package transform_test

import (
	"slices"
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

func TestCookieJar(t *testing.T) {
	const sid, live = "sid=recorded-0001-aaaa", "sid=live-00000001-bbbb"
	tests := []struct {
		why    string
		answer []string // live Set-Cookie lines; the recorded answer sets only sid
		send   string   // recorded Cookie of the next request
		target string
		want   string
	}{
		{"the value that the live answer set", []string{live}, "a=1; " + sid, "/", "a=1; " + live},
		{"a cookie that only the live service sets", []string{live, "xsrf=t1; Path=/"}, sid, "/", live + "; xsrf=t1"},
		{"not below its path", []string{live, "xsrf=t1; Path=/admin"}, sid, "/administrators", live},
		{"below its path", []string{live, "xsrf=t1; Path=/admin"}, sid, "/admin/x", live + "; xsrf=t1"},
		{"a cookie that the live service takes back", []string{live, "theme=; Max-Age=0"}, sid + "; theme=dark", "/", live},
		{"a cookie that the client had before and the live service changes", []string{live, "theme=light"}, "theme=dark; " + sid, "/", "theme=light; " + live},
		{"all taken back", []string{"sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}, sid, "/", ""},
		{"another browser", []string{live, "xsrf=t1"}, "sid=somebody-else-0002", "/", "sid=somebody-else-0002"},
		{"no cookie set", nil, sid, "/", sid},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			c := new(talk).ask("POST", "/login", "").answer("", "Set-Cookie: "+sid+"; HttpOnly").
				ask("GET", tt.target, "", "Cookie: "+tt.send)
			b, err := transform.Learn(c.exchanges, transform.Options{})
			if err != nil {
				t.Fatal(err)
			}
			rw := transform.NewRewriter(b, transform.Options{})
			var header []string
			for _, line := range tt.answer {
				header = append(header, "Set-Cookie: "+line)
			}
			rw.Observe(c.exchanges[0], &traffic.Exchange{Response: answer(200, "", header...)})
			got := rw.Request(c.exchanges[1])
			if cookie := got.Header.Get("Cookie"); cookie != tt.want || tt.want == "" && got.Header.Has("Cookie") {
				t.Errorf("Cookie: %q, want %q", cookie, tt.want)
			}
			if c.exchanges[1].Request.Header.Get("Cookie") != tt.send {
				t.Error("the recorded request was changed")
			}
		})
	}
}

func TestCookiesAreNeeded(t *testing.T) {
	// The same short cookie again and again: no value to bind, but the answer
	// that sets it must come first, and be kept.
	c := new(talk).ask("GET", "/", "").answer("", "Set-Cookie: sid=recorded-0001-aaaa", "Set-Cookie: n=1").
		ask("GET", "/", "", "Cookie: sid=recorded-0001-aaaa; n=1").answer("", "Set-Cookie: n=2").
		ask("GET", "/", "", "Cookie: sid=recorded-0001-aaaa; n=2")
	b, err := transform.Learn(c.exchanges, transform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Needs("x2"); !slices.Equal(got, []string{"x0", "x1"}) {
		t.Errorf("x2 needs %v", got)
	}
}
