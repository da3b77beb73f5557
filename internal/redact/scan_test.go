package redact_test

import (
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func scanner(t testing.TB, rules ...redact.Rule) *redact.Scanner {
	t.Helper()
	s, err := redact.NewScanner(rules)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func messy() *traffic.Exchange {
	x := posted("application/json", `{"customer":{"name":"Jane Doe","email":"jane@corp.com","phone":"0171 2345678"},"card":"4111111111111111","note":"call +49 170 1234567","dapi":"dapi0123456789abcdef0123456789abcdef"}`)
	x.Request.Target = "/users/jane@corp.com?api_key=abcdef0123456789abcd"
	x.Request.Header = append(x.Request.Header, traffic.Field{Name: "Authorization", Value: "Basic amFuZTpodW50ZXIy"}, traffic.Field{Name: "Cookie", Value: "lang=de; sid=abcdef"})
	raw, err := traffic.Encode([]byte(`<p>from 8.8.8.8, DE89 3704 0044 0532 0130 00</p>`), "gzip")
	if err != nil {
		panic(err)
	}
	x.Response = &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Set-Cookie", Value: "sid=abcdef; Path=/"}}, Body: traffic.Body{Raw: raw, Coding: "gzip", Size: int64(len(raw))}}
	return x
}

// The scanner names the place of everything that is left, and never a value.
func TestScanFindsWhatIsLeft(t *testing.T) {
	got := map[string]bool{}
	for _, l := range scanner(t).Exchange(messy()) {
		got[l.Path.String()+" "+l.Detector] = true
		for _, secret := range []string{"jane@", "Jane", "4111", "hunter", "8.8.8", "abcdef"} {
			if strings.Contains(l.String(), secret) {
				t.Errorf("a leak gives its value away: %s", l)
			}
		}
	}
	for _, want := range []string{
		"request.path[1] email", "request.query.api_key credential", "request.header.Authorization credential", "request.cookie.sid credential", "response.cookie.sid credential",
		"request.body.customer.name name", "request.body.customer.email email", "request.body.customer.phone phone", "request.body.card card", "request.body.note phone",
		"response.body ip", "response.body iban", "request.body.dapi gitleaks:databricks-api-token",
	} {
		if !got[want] {
			t.Errorf("not found: %s in %v", want, got)
		}
		delete(got, want)
	}
	if len(got) > 0 {
		t.Errorf("found besides: %v", got)
	}
}

func TestScanOfRedacted(t *testing.T) {
	x, _ := apply(t, redactor(t), messy())
	if got, want := scanner(t).Exchange(x), "exchange 1: request.body.dapi: gitleaks:databricks-api-token"; len(got) != 1 || got[0].String() != want {
		t.Errorf("got %v, want only what the redactor has no rule for: %s", got, want)
	}
	if got := scanner(t, redact.Rule{Path: pattern(t, "request.body.dapi"), Action: redact.Keep}).Exchange(x); len(got) > 0 {
		t.Errorf("a place that a rule keeps was scanned: %v", got)
	}
}

func TestScanText(t *testing.T) {
	text := "# Report\n\n`GET /v1/orders/17` changed\nuser: jane@corp.com\n" + strings.Repeat("x", 2<<20) + "\n| 4111 1111 1111 1111 |\nuser-abcdefghij@redacted.example\n"
	leaks, err := scanner(t).Text(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range leaks {
		got = append(got, l.Detector)
	}
	if diff := cmp.Diff([]string{"email", "card"}, got); diff != "" || leaks[0].Line != 4 {
		t.Errorf("%v: %s", leaks, diff)
	}
}

func TestScanStreams(t *testing.T) {
	var all iter.Seq2[*traffic.Exchange, error] = func(yield func(*traffic.Exchange, error) bool) {
		for range 3 {
			if !yield(messy(), nil) {
				return
			}
		}
	}
	n := 0
	for _, err := range scanner(t).Exchanges(all) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 20 {
			break
		}
	}
	if n != 20 {
		t.Errorf("%d leaks before the caller had enough, want 20", n)
	}
}
