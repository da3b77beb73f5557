package traffic_test

import (
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic"
	"pgregory.net/rapid"
)

func TestPathGrammar(t *testing.T) {
	tests := []struct {
		text   string
		path   traffic.Path
		reason string
	}{
		{"", traffic.Path{}, "the whole exchange"},
		{"response.status", traffic.At("response", "status"), "a plain place"},
		{"response.header.Content-Type", traffic.At("response", "header", "Content-Type"), "header names need no quotes"},
		{"response.body.items[3].price", traffic.At("response", "body", "items").Elem(3).Child("price"), "a list index"},
		{"response.body[0][1]", traffic.At("response", "body").Elem(0).Elem(1), "a list of lists at the top"},
		{`response.body["a.b"]`, traffic.At("response", "body", "a.b"), "a dot in a name needs quotes"},
		{`response.body[""]`, traffic.At("response", "body", ""), "the empty name is a legal JSON key"},
		{`response.body["*"].x`, traffic.At("response", "body", "*", "x"), "a literal star is not a wildcard"},
		{`response.body["say \"hi\"\n"]`, traffic.At("response", "body", "say \"hi\"\n"), "quotes and control characters"},
		{"response.body.größe", traffic.At("response", "body", "größe"), "letters of any script need no quotes"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			if got := tt.path.String(); got != tt.text {
				t.Errorf("%s: String() = %q, want %q", tt.reason, got, tt.text)
			}
			got, err := traffic.ParsePath(tt.text)
			if err != nil {
				t.Fatalf("%s: %v", tt.reason, err)
			}
			if got.String() != tt.path.String() {
				t.Errorf("%s: ParsePath gives %q", tt.reason, got)
			}
		})
	}
}

func TestPatternRefuses(t *testing.T) {
	tests := []struct{ text, reason string }{
		{".a", "a leading dot"},
		{"a..b", "an empty name without quotes"},
		{"a.", "a trailing dot"},
		{"a[", "an open bracket"},
		{"a[x]", "an unquoted name in brackets"},
		{"a[-1]", "a negative index"},
		{"a[01]", "an index with a leading zero would have two spellings"},
		{`a["b]`, "an open quote"},
		{"a[0]b", "a name must follow a dot"},
		{"a.b*", "a star inside a name"},
	}
	for _, tt := range tests {
		if p, err := traffic.ParsePattern(tt.text); err == nil {
			t.Errorf("%s: ParsePattern(%q) = %q, want an error", tt.reason, tt.text, p)
		}
	}
	if _, err := traffic.ParsePath("a[]"); err == nil {
		t.Error("ParsePath accepted a wildcard")
	}
}

func TestPatternMatches(t *testing.T) {
	tests := []struct {
		pattern, path   string
		matches, covers bool
		reason          string
	}{
		{"response.body.items[].price", "response.body.items[3].price", true, true, "any index"},
		{"response.body.items[].price", "response.body.items.price", false, false, "an index is not optional"},
		{"response.body.items[0]", "response.body.items[1]", false, false, "a fixed index"},
		{"response.body.*", "response.body.total", true, true, "any one name"},
		{"response.body.*", "response.body.a.b", false, true, "a star is one step, but what lies below is covered"},
		{"response.**.id", "response.body.items[0].id", true, true, "any depth"},
		{"response.**.id", "response.id", true, true, "any depth may be none"},
		{"**", "response.status", true, true, "everything"},
		{"response.header.etag", "response.header.ETag", true, true, "header names without regard to case"},
		{"response.body.etag", "response.body.ETag", false, false, "body names with regard to case"},
		{"response.body", "response.body.total", false, true, "a whole part covers its members"},
		{"response.body.total", "response.body", false, false, "a member does not cover the whole"},
	}
	for _, tt := range tests {
		pattern, err := traffic.ParsePattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		path, err := traffic.ParsePath(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := pattern.Matches(path); got != tt.matches {
			t.Errorf("%s: %q matches %q = %v", tt.reason, tt.pattern, tt.path, got)
		}
		if got := pattern.Covers(path); got != tt.covers {
			t.Errorf("%s: %q covers %q = %v", tt.reason, tt.pattern, tt.path, got)
		}
	}
}

// Whatever the names, a path that is printed can be pasted back, and it is
// matched by its own pattern.
func TestPathRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := traffic.At(rapid.SampledFrom([]string{"request", "response"}).Draw(t, "side"))
		for range rapid.IntRange(0, 6).Draw(t, "depth") {
			if rapid.Bool().Draw(t, "list") {
				path = path.Elem(rapid.IntRange(0, 1<<20).Draw(t, "index"))
			} else {
				path = path.Child(rapid.String().Draw(t, "name"))
			}
		}
		again, err := traffic.ParsePath(path.String())
		if err != nil {
			t.Fatalf("cannot read back %q: %v", path, err)
		}
		if again.String() != path.String() || again.Len() != path.Len() || !again.Within(path) {
			t.Fatalf("%q came back as %q", path, again)
		}
		if !path.Pattern().Matches(path) {
			t.Fatalf("pattern %q does not match %q", path.Pattern(), path)
		}
		pattern, err := traffic.ParsePattern(path.Pattern().String())
		if err != nil || !pattern.Matches(path) {
			t.Fatalf("pattern %q read back (%v) does not match", path.Pattern(), err)
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{"", "response.body[0].a", `a["\u0000"]`, "**.*[]", "a[9999999999999999999]", "\xff.\xfe"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := traffic.ParsePattern(s)
		if err != nil {
			return
		}
		again, err := traffic.ParsePattern(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q printed as %q, read back as %q, %v", s, p, again, err)
		}
	})
}
