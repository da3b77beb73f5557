package compare_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// document draws a JSON value of bounded depth.
func document(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		choices := 4
		if depth > 0 {
			choices = 6
		}
		switch rapid.IntRange(0, choices-1).Draw(t, "type") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return float64(rapid.IntRange(-5, 5).Draw(t, "number"))
		case 3:
			return rapid.StringN(0, 3, 8).Draw(t, "string")
		case 4:
			return rapid.SliceOfN(document(depth-1), 0, 5).Draw(t, "array")
		default:
			return rapid.MapOfN(rapid.StringN(0, 2, 4), document(depth-1), 0, 5).Draw(t, "object")
		}
	})
}

func toJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode(t *rapid.T, s string) any {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The comparison agrees with encoding/json on what is equal, and it is
// symmetric: what one direction calls missing the other calls extra.
func TestAgreesWithTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := toJSON(t, document(3).Draw(t, "a")), toJSON(t, document(3).Draw(t, "b"))
		if rapid.Bool().Draw(t, "same") {
			b = a
		}
		forth := compare.Responses(answer(200, a), answer(200, b), compare.Options{})
		back := compare.Responses(answer(200, b), answer(200, a), compare.Options{})
		if equal := reflect.DeepEqual(decode(t, a), decode(t, b)); equal != (len(forth) == 0) {
			t.Fatalf("%s and %s: equal is %v, but the differences are %v", a, b, equal, show(forth))
		}
		if (len(forth) == 0) != (len(back) == 0) {
			t.Fatalf("%s and %s: %v one way, %v the other", a, b, show(forth), show(back))
		}
	})
}

// Every address that a difference has can be read back, and an ignore rule with
// it silences exactly that place.
func TestAddressesCanBePastedBackAsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := answer(200, toJSON(t, document(3).Draw(t, "a"))), answer(200, toJSON(t, document(3).Draw(t, "b")))
		var rules []traffic.Pattern
		for _, d := range compare.Responses(a, b, compare.Options{}) {
			p, err := traffic.ParsePattern(d.Path.String())
			if err != nil {
				t.Fatalf("%s cannot be read back: %v", d.Path, err)
			}
			rules = append(rules, p)
		}
		if left := compare.Responses(a, b, compare.Options{Ignore: rules}); len(left) > 0 {
			t.Fatalf("left after ignoring %v: %v", rules, show(left))
		}
	})
}

// Removing elements from a list of distinct ones is told as exactly that.
func TestLostElementsAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(t, "n")
		lost := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, min(n-1, 3), rapid.ID).Draw(t, "lost")
		gone := map[int]bool{}
		for _, i := range lost {
			gone[i] = true
		}
		var all, left []int
		for i := range n {
			all = append(all, i*7)
			if !gone[i] {
				left = append(left, i*7)
			}
		}
		got := compare.Responses(answer(200, toJSON(t, all)), answer(200, toJSON(t, left)), compare.Options{})
		if len(got) != 1 || got[0].Change != compare.Length {
			t.Fatalf("lost %v of %d: %v", lost, n, show(got))
		}
		for i := range gone {
			if !strings.Contains(got[0].Note, fmt.Sprintf("[%d]", i)) {
				t.Fatalf("the note %q does not name [%d]", got[0].Note, i)
			}
		}
	})
}

func FuzzResponses(f *testing.F) {
	for _, s := range [][3]string{
		{`{"a":[1,2,{"b":null}]}`, `{"a":[2,1,{"b":"x"}]}`, "application/json"},
		{"a=1&b=%zz", "a=2&b", "application/x-www-form-urlencoded"},
		{"{}\n{", "\x1e{}\n", "application/x-ndjson"},
		{"\x1f\x8b\x00", "", "text/html"},
		{strings.Repeat("[", 2000), strings.Repeat("[", 2000) + strings.Repeat("]", 2000), "application/json"},
		{`"\ud800"`, `"\u00zz"`, ""},
		{"1e99999999999999999999", "-", "text/json"},
		{"<a b='1'><!-- --><c/></a>", "<a b=1>", "application/xml"},
		{"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--", "--x", "multipart/form-data; boundary=x"},
		{"event: a\ndata: {}\n\n", "data", "text/event-stream"},
		{"\x08\x96\x01\x12\x07testing", "\x0a\xff\xff\xff\xff\xff", "application/x-protobuf"},
	} {
		f.Add([]byte(s[0]), []byte(s[1]), s[2], "gzip")
	}
	f.Fuzz(func(t *testing.T, a, b []byte, mediaType, coding string) {
		make := func(body []byte, coding string) *traffic.Exchange {
			h := traffic.Header{{Name: "Content-Type", Value: mediaType}, {Name: "Set-Cookie", Value: mediaType}}
			if coding != "" {
				h.Add("Content-Encoding", coding)
			}
			return &traffic.Exchange{
				Request:  traffic.Request{Method: "POST", Target: "/" + mediaType, Header: h, Body: traffic.NewBody(body, h)},
				Response: &traffic.Response{Status: 200, Header: h, Body: traffic.NewBody(body, h)},
			}
		}
		xa, xb := make(a, ""), make(b, "")
		if d := compare.Responses(xa, xa.Clone(), compare.Options{}); len(d) > 0 {
			t.Fatalf("an exchange differs from itself: %v", show(d))
		}
		for _, d := range append(compare.Responses(xa, xb, compare.Options{}), compare.Requests(xa, xb, compare.Options{})...) {
			if _, err := traffic.ParsePath(d.Path.String()); err != nil && strings.ToValidUTF8(mediaType+string(a)+string(b), "") == mediaType+string(a)+string(b) {
				t.Fatalf("%s: %v", d.Path, err)
			}
		}
		compare.Responses(make(a, coding), xb, compare.Options{})
		n := 0
		for range (compare.Reading{}).Values(xa) {
			n++
		}
		if n == 0 {
			t.Fatal("an exchange has at least a status")
		}
	})
}

// Time and memory are bounded: two lists that share nothing are given up, not
// searched for minutes.
func TestLargeUnrelatedListsEnd(t *testing.T) {
	var a, b []string
	for i := range 20000 {
		a = append(a, fmt.Sprintf("%q", fmt.Sprint("left", i)))
		b = append(b, fmt.Sprintf("%q", fmt.Sprint("right", i)))
	}
	done := make(chan []compare.Difference, 1)
	go func() {
		done <- compare.Responses(answer(200, "["+strings.Join(a, ",")+"]"), answer(200, "["+strings.Join(b[1:], ",")+"]"), compare.Options{})
	}()
	select {
	case got := <-done:
		if len(got) != 1 || got[0].Change != compare.Length {
			t.Errorf("got %d differences, want the length alone", len(got))
		}
	case <-time.After(time.Minute):
		t.Fatal("the search for a common subsequence does not end")
	}
}
