package redact_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// A plain "name" is that of a person beside what only people have.
func TestNameBeside(t *testing.T) {
	tests := []struct {
		media, body string
		hidden      bool
		reason      string
	}{
		{"application/json", `{"name":"Jane Doe","email":"jane@corp.com"}`, true, "an e-mail address follows"},
		{"application/json", `{"contact_email":null,"tags":["a"],"name":"Jane Doe"}`, true, "one stands before, and is empty"},
		{"application/json", `[{"id":1,"nested":{"a":[1]},"name":"Jane Doe","dob":"1984-05-17"}]`, true, "a date of birth, past a nested object"},
		{"application/json", `{"name":"Jane Doe","items":[{"email":"jane@corp.com"}]}`, false, "the address belongs to another object"},
		{"application/json", `{"name":"Jane Doe","price":12}`, false, "a thing has a name too"},
		{"application/json", `{"name":"Jane Doe","note":"email"}`, false, "a value is no member"},
		{"application/x-www-form-urlencoded", "name=Jane+Doe&e-mail=jane%40corp.com", true, "a form of a person"},
		{"application/x-www-form-urlencoded", "name=Jane+Doe&page=2", false, "a search"},
	}
	for _, tt := range tests {
		got, _ := apply(t, redactor(t), posted(tt.media, tt.body))
		left := strings.Contains(strings.ReplaceAll(string(got.Request.Body.Raw), "+", " "), "Jane Doe")
		if left == tt.hidden {
			t.Errorf("%s: %s became %s", tt.reason, tt.body, got.Request.Body.Raw)
		}
	}
}

// Digests of a body are those of what took its place, if they were right.
func TestDigestsFollow(t *testing.T) {
	const body = `{"email":"jane@corp.com"}`
	of := func(body string) traffic.Header {
		m, s := md5.Sum([]byte(body)), sha256.Sum256([]byte(body))
		b64 := base64.StdEncoding.EncodeToString
		return traffic.Header{
			{Name: "Content-MD5", Value: b64(m[:])}, {Name: "Digest", Value: "SHA-256=" + b64(s[:]) + ",MD5=" + b64(m[:])},
			{Name: "Content-Digest", Value: "sha-256=:" + b64(s[:]) + ":"}, {Name: "X-Amz-Content-Sha256", Value: hex.EncodeToString(s[:])},
			{Name: "Repr-Digest", Value: "unixsum=12"},
		}
	}
	x := posted("application/json", body)
	x.Request.Header = append(x.Request.Header, of(body)...)
	got, _ := apply(t, redactor(t), x)
	if string(got.Request.Body.Raw) == body {
		t.Fatal("the body stayed as it was")
	}
	for _, want := range of(string(got.Request.Body.Raw)) {
		if value := got.Request.Header.Get(want.Name); value != want.Value {
			t.Errorf("%s: %s, of the body it is %s", want.Name, value, want.Value)
		}
	}
}

// The second look knows it too, and knows what a rule made of such a name.
func TestScanNameBeside(t *testing.T) {
	scanner, err := redact.NewScanner(nil)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		`{"name":"Jane Doe","email":"user-wykk23ujv3@redacted.example"}`:              1,
		`{"name":"Blue Mug","price":12}`:                                              0,
		`{"name":"redacted-f36qmnb4qf2h","email":"user-wykk23ujv3@redacted.example"}`: 0,
	} {
		if got := scanner.Exchange(posted("application/json", body)); len(got) != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}
