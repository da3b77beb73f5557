package redact_test

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

var _ snapshot.Redactor = (*redact.Redactor)(nil)

var key = []byte("a key of a test, of 32 bytes.....")

func redactor(t testing.TB, rules ...redact.Rule) *redact.Redactor {
	t.Helper()
	r, err := redact.New(redact.Options{Key: key, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pattern(t testing.TB, s string) traffic.Pattern {
	t.Helper()
	p, err := traffic.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func posted(contentType, body string) *traffic.Exchange {
	h := traffic.Header{{Name: "Content-Type", Value: contentType}}
	return &traffic.Exchange{
		ID: "1", Direction: traffic.Inbound, Lane: "1", Start: time.Unix(1, 0).UTC(),
		Request: traffic.Request{Method: "POST", Scheme: "http", Authority: "shop.example", Target: "/", Proto: "HTTP/1.1", Header: h, Body: traffic.NewBody([]byte(body), h)},
	}
}

func apply(t testing.TB, r *redact.Redactor, x *traffic.Exchange) (*traffic.Exchange, []traffic.Redaction) {
	t.Helper()
	c := x.Clone()
	counts, err := r.Redact(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, counts
}

func jwt(claims string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT","kid":"k1"}`)) + "." + enc.EncodeToString([]byte(claims)) + "." + enc.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
}

// Pseudonyms keep the form of what they stand for.
func TestForms(t *testing.T) {
	tests := []struct {
		key, value string
		form       string // a regular expression for the pseudonym
		check      func(string) bool
		reason     string
	}{
		{"contact", "Jane.Doe@corp.com", `^user-[a-z2-7]{10}@redacted\.example$`, nil, "an e-mail address at a domain that cannot exist"},
		{"note", "card 4111 1111 1111 1111 ok", `^card 4000 00\d\d \d{4} \d{4} ok$`, luhnWithin, "a card keeps scheme, length, groups and check digit"},
		{"pan", "378282246310005", `^378282\d{9}$`, luhnWithin, "15 digits of American Express"},
		{"iban", "DE89 3704 0044 0532 0130 00", `^DE\d\d 0000 \d{4} \d{4} \d{4} \d\d$`, mod97, "check digits are right"},
		{"iban", "GB82WEST12345698765432", `^GB\d\dXXXX\d{14}$`, mod97, "letters stay letters"},
		{"text", "call +49 170 1234567 now", `^call \+49 99\d \d{7} now$`, nil, "country code and groups stay"},
		{"text", "(415) 555-2671", `^\([2-9]9\d\) [2-9]\d\d-\d{4}$`, nil, "an area code that is never given out"},
		{"mobile", "0171-2345678", `^099\d-\d{7}$`, nil, "a national number by its key"},
		{"ssn", "123-45-6789", `^9\d\d-1\d-\d{4}$`, nil, "a number that is never given out"},
		{"ip", "8.8.4.4", `^24\d\.|^25[0-4]\.`, isIP, "a reserved address"},
		{"ip", "2a00:1450:4001:81b::200e", `^2001:db8:`, isIP, "a documentation address"},
		{"first_name", "Jane", `^[A-Z][a-z]{5}qx$`, nil, "a word for a word"},
		{"fullName", "JANE van der Doe-Smith", `^[A-Z]{6}QX [a-z]{6}qx [a-z]{6}qx [A-Z][a-z]{5}qx-[A-Z][a-z]{5}qx$`, nil, "case stays"},
		{"password", "hunter2", `^redacted-[a-z2-7]{12}$`, nil, "too short for its own form"},
		{"pin", "1234", `^0000$`, nil, "too short to be told apart"},
		{"api_key", "sk_live_51H8xkFJ2eZvKYlo2C0aBcDeF", `^[a-z]{2}_[a-z]{4}_[0-9A-Za-z]{25}$`, nil, "same classes, no known prefix"},
		{"sessionId", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", `^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`, nil, "a UUID stays one"},
		{"text", "key AKIAIOSFODNN7EXAMPLE.", `^key [A-Z]{12}\d[A-Z]{7}\.$`, nil, "a token by its shape"},
		{"url", "postgres://app:hunter2@db.internal:5432/shop", `^postgres://app:redacted-[a-z2-7]{12}@db\.internal:5432/shop$`, nil, "a password in a URL"},
		{"date_of_birth", "1984-05-17", `^1984-01-01$`, nil, "the year stays"},
		{"nested", `{"email":"jane@corp.com"}`, `^\{"email":"user-`, func(s string) bool { return json.Valid([]byte(s)) }, "JSON within a JSON string"},
	}
	r := redactor(t)
	for _, tt := range tests {
		t.Run(tt.key+"/"+tt.value, func(t *testing.T) {
			body, err := json.Marshal(map[string]string{tt.key: tt.value})
			if err != nil {
				t.Fatal(err)
			}
			x, counts := apply(t, r, posted("application/json", string(body)))
			var got map[string]string
			if err := json.Unmarshal(x.Request.Body.Raw, &got); err != nil {
				t.Fatalf("%s: %v", x.Request.Body.Raw, err)
			}
			made := got[tt.key]
			if !regexp.MustCompile(tt.form).MatchString(made) || made == tt.value {
				t.Errorf("%s: %q became %q, want %s", tt.reason, tt.value, made, tt.form)
			}
			if tt.check != nil && !tt.check(made) {
				t.Errorf("%s: %q is not valid", tt.reason, made)
			}
			if len(counts) != 1 || counts[0].Count != 1 {
				t.Errorf("counted %v, want one value at one place", counts)
			}
			again, counts := apply(t, r, x)
			if diff := cmp.Diff(x.Request.Body.Raw, again.Request.Body.Raw); diff != "" || len(counts) > 0 {
				t.Errorf("a second redaction changes %v:\n%s", counts, diff)
			}
		})
	}
}

func luhnWithin(s string) bool {
	sum, n := 0, 0
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] < '0' || s[i] > '9' {
			continue
		}
		d := int(s[i] - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum, n = sum+d, n+1
	}
	return sum%10 == 0
}

func mod97(s string) bool {
	s = strings.ReplaceAll(s, " ", "")
	n := 0
	for _, c := range s[4:] + s[:4] {
		if c >= 'A' {
			n = (n*100 + int(c-'A') + 10) % 97
		} else {
			n = (n*10 + int(c-'0')) % 97
		}
	}
	return n == 1
}

func isIP(s string) bool { _, err := netip.ParseAddr(s); return err == nil }

// What traffic is matched by must survive, whatever it looks like.
func TestLookAlikesStay(t *testing.T) {
	bodies := []string{
		`{"id":"ord_8f3k2","sku":"SKU-0042","ean":"4006381333931","amount":1999.00,"big":12345678901234567890}`,
		`{"uuid":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","at":"2026-03-01T12:00:00.123456789+01:00","ms":1767225600123,"ns":1767225600123456789}`,
		`{"order":"ORD-415-555-2671-A","serial":"202603010001","ref":"2026-03-01-0001","trace":"4bf92f3577b34da6a3ce929d0e0e4736"}`,
		`{"version":"1.2.3.4","agent":"Mozilla/5.0 Chrome/120.0.0.0","host":"10.0.0.7","local":"127.0.0.1:8080","net":"192.168.1.1"}`,
		`{"git":"git@github.com:acme/shop.git","npm":"lodash@4.17.21","image":"logo@2x.png","digest":"shop@sha256:0f1e"}`,
		`{"name":"Blue mug","city":"Paris","token_type":"Bearer","max_tokens":512,"next_page_token":"abcdefghijklmnop1","currency_token":"EUR"}`,
		`{"quantity":3,"price":10.50,"total":4111111111111112,"ratio":1e400,"dims":"120x80x15","isbn":"978-3-16-148410-0"}`,
		`{"hash":"d41d8cd98f00b204e9800998ecf8427e","phone":null,"password":"","email":""}`,
		`{"time":"12:34:56","window":"09:00-17:00","mac":"cafe","pad":"a::b","range":"1-2"}`,
	}
	r := redactor(t)
	for _, body := range bodies {
		x, counts := apply(t, r, posted("application/json", body))
		if got := string(x.Request.Body.Raw); got != body {
			t.Errorf("changed by %v:\n got %s\nwant %s", counts, got, body)
		}
	}
}

// Bytes that are not part of a redacted value stay as they were.
func TestJSONIsEditedInPlace(t *testing.T) {
	const body = "{ \"b\" : 1.50,\n\t\"a\":[1e2, -0.0,\"\\u0041\"],\"email\" :  \"jane\\u0040corp.com\",\"a\":null }\r\n"
	x, _ := apply(t, redactor(t), posted("application/json", body))
	front, rest, ok := strings.Cut(string(x.Request.Body.Raw), `"user-`)
	_, back, _ := strings.Cut(rest, `"`)
	wantFront, wantBack, _ := strings.Cut(body, `"jane\u0040corp.com"`)
	if !ok || front != wantFront || back != wantBack {
		t.Errorf("got %s", x.Request.Body.Raw)
	}
}

// One value has one pseudonym, wherever and however it is written.
func TestSameValueSamePseudonym(t *testing.T) {
	const address, session = "jane.doe@corp.com", "s3ss10n-abcdef0123456789"
	token := jwt(`{"sub":"u-17","email":"jane.doe@corp.com","exp":1893456000,"scope":"orders"}`)
	gz := func(s string) traffic.Body {
		raw, err := traffic.Encode([]byte(s), "gzip")
		if err != nil {
			t.Fatal(err)
		}
		return traffic.Body{Raw: raw, Coding: "gzip", Size: int64(len(raw))}
	}
	in := &traffic.Exchange{
		ID: "1", Direction: traffic.Inbound, Lane: "1",
		Request: traffic.Request{
			Method: "GET", Target: "/users/jane.doe@corp.com/orders?email=jane.doe%40corp.com&x=1",
			Header: traffic.Header{{Name: "Authorization", Value: "Bearer " + token}, {Name: "Cookie", Value: "lang=de; sid=" + session}, {Name: "X-User", Value: "Jane.Doe@corp.com"}},
		},
		Response: &traffic.Response{Status: 200, Header: traffic.Header{{Name: "Set-Cookie", Value: "sid=" + session + "; Path=/; HttpOnly"}}, Body: gz(`{"user":{"email":"` + address + `","session_id":"` + session + `"}}`)},
	}
	out := posted("application/x-www-form-urlencoded", "mail=jane.doe%40corp.com&access_token="+token+"&q=a+b")
	out.Direction = traffic.Outbound
	r := redactor(t)
	a, _ := apply(t, r, in)
	b, _ := apply(t, redactor(t), out)
	mail := r.Text(address)
	path, query, _ := strings.Cut(a.Request.Target, "?")
	if path != "/users/"+mail+"/orders" || query != "email="+strings.Replace(mail, "@", "%40", 1)+"&x=1" {
		t.Errorf("target %s, want the address as %s", a.Request.Target, mail)
	}
	if got := a.Request.Header.Get("X-User"); got != mail {
		t.Errorf("header %s, want %s", got, mail)
	}
	cookie := strings.TrimPrefix(a.Request.Header.Get("Cookie"), "lang=de; sid=")
	if cookie == session || a.Response.Header.Get("Set-Cookie") != "sid="+cookie+"; Path=/; HttpOnly" {
		t.Errorf("Cookie has %s, Set-Cookie %s", cookie, a.Response.Header.Get("Set-Cookie"))
	}
	plain, err := a.Response.Body.Decoded()
	if err != nil || string(plain) != `{"user":{"email":"`+mail+`","session_id":"`+cookie+`"}}` {
		t.Errorf("gzip body %s, %v", plain, err)
	}
	bearer := strings.TrimPrefix(a.Request.Header.Get("Authorization"), "Bearer ")
	if want := "mail=" + strings.Replace(mail, "@", "%40", 1) + "&access_token=" + bearer + "&q=a+b"; string(b.Request.Body.Raw) != want {
		t.Errorf("form %s, want %s", b.Request.Body.Raw, want)
	}
	parts := strings.Split(bearer, ".")
	claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if want := `{"sub":"u-17","email":"` + mail + `","exp":1893456000,"scope":"orders"}`; string(claims) != want {
		t.Errorf("claims %s, want %s", claims, want)
	}
	if old := strings.Split(token, "."); parts[0] != old[0] || parts[2] == old[2] || len(parts[2]) != len(old[2]) {
		t.Errorf("token %s: want the same header and another signature of the same length", bearer)
	}
	again, counts := apply(t, r, a)
	if diff := cmp.Diff(a, again); diff != "" || len(counts) > 0 {
		t.Errorf("a second redaction changes %v:\n%s", counts, diff)
	}
}

func TestRules(t *testing.T) {
	const body = `{"nick":"kitty","ref":{"id":77,"mail":"jane@corp.com"},"list":[{"code":"abc"},{"code":"def"}],"secret":"stay"}`
	r := redactor(t,
		redact.Rule{Name: "nick", Path: pattern(t, "request.body.nick")},
		redact.Rule{Path: pattern(t, "request.body.list[].code"), Action: redact.Remove},
		redact.Rule{Path: pattern(t, "request.body.ref.mail"), Action: redact.Keep},
		redact.Rule{Name: "ids", Path: pattern(t, "**.ref")},
		redact.Rule{Path: pattern(t, "request.body.secret"), Action: redact.Keep},
	)
	x, counts := apply(t, r, posted("application/json", body))
	form := regexp.MustCompile(`^\{"nick":"redacted-[a-z2-7]{12}","ref":\{"id":1\d{8},"mail":"jane@corp.com"\},"list":\[\{"code":"\[removed\]"\},\{"code":"\[removed\]"\}\],"secret":"stay"\}$`)
	if !form.Match(x.Request.Body.Raw) {
		t.Errorf("got %s", x.Request.Body.Raw)
	}
	var got []string
	for _, c := range counts {
		got = append(got, c.Rule+" "+c.Path.String()+" "+string(rune('0'+c.Count)))
	}
	want := []string{"nick request.body.nick 1", "ids request.body.ref.id 1", "rule request.body.list[].code 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if _, again := apply(t, r, x); len(again) > 0 {
		t.Errorf("a second redaction changes %v", again)
	}
}

// A body that nobody can look into is not kept.
func TestUndecodableBodyIsRemoved(t *testing.T) {
	x := posted("application/json", `{"email":"jane@corp.com"}`)
	x.Request.Body.Coding = "gzip"
	x.Request.Header.Add("Content-Encoding", "gzip")
	got, counts := apply(t, redactor(t), x)
	if len(got.Request.Body.Raw) > 0 || len(got.Incomplete) != 1 || len(counts) != 1 {
		t.Errorf("body %q, incomplete %v, counts %v", got.Request.Body.Raw, got.Incomplete, counts)
	}
}

// The beginning of a body is redacted as far as it goes.
func TestTruncatedBodies(t *testing.T) {
	whole := `{"email":"jane@corp.com","password":"correct horse battery staple","more":"` + strings.Repeat("x", 2000) + `"}`
	zipped, err := traffic.Encode([]byte(whole), "gzip")
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{20, 40, 55, 70, 500} {
		x := posted("application/json", whole[:cut])
		x.Request.Body.Truncated, x.Request.Body.Size = true, int64(len(whole))
		got, _ := apply(t, redactor(t), x)
		if s := string(got.Request.Body.Raw); strings.Contains(s, "jane@corp") || strings.Contains(s, "corre") || got.Request.Body.Size != int64(len(whole)) {
			t.Errorf("cut at %d: %s", cut, s)
		}
	}
	x := posted("application/json", "")
	x.Request.Body = traffic.Body{Raw: zipped[:len(zipped)-12], Coding: "gzip", Truncated: true, Size: int64(len(zipped))}
	got, _ := apply(t, redactor(t), x)
	plain, _ := got.Request.Body.Decoded()
	if s := string(plain); strings.Contains(s, "jane@corp") || strings.Contains(s, "horse") {
		t.Errorf("gzip: %s", s)
	}
}

func TestContentLengthFollows(t *testing.T) {
	x := posted("application/json", `{"email":"jane@corp.com"}`)
	x.Request.Header.Add("content-length", "25")
	got, _ := apply(t, redactor(t), x)
	if n := got.Request.Header.Get("Content-Length"); n != "44" || got.Request.Body.Size != 44 {
		t.Errorf("Content-Length %s, size %d for %s", n, got.Request.Body.Size, got.Request.Body.Raw)
	}
}

// Other keys give other pseudonyms, and the name of a key does not give it
// away.
func TestKeys(t *testing.T) {
	other, err := redact.New(redact.Options{Key: []byte("another key, of 30 bytes......")})
	if err != nil {
		t.Fatal(err)
	}
	r := redactor(t)
	if a, b := r.Text("jane@corp.com"), other.Text("jane@corp.com"); a == b {
		t.Errorf("two keys give %s", a)
	}
	if a := other.Text(r.Text("jane@corp.com")); a != r.Text("jane@corp.com") {
		t.Errorf("a pseudonym of another key was redacted again to %s", a)
	}
	if a, b := r.Describe(), other.Describe(); a.KeyID == b.KeyID || len(a.KeyID) != 8 || a.Version != redact.Version {
		t.Errorf("%+v, %+v", a, b)
	}
	bad := []redact.Options{
		{},
		{Key: []byte("short")},
		{Key: key, Disable: []string{"emails"}},
		{Key: key, Rules: []redact.Rule{{}}},
		{Key: key, Rules: []redact.Rule{{Path: pattern(t, "request.body"), Action: "hide"}}},
	}
	for _, o := range bad {
		if _, err := redact.New(o); err == nil {
			t.Errorf("New(%+v) was accepted", o)
		}
	}
}

// A value that one field's name gives away is known where it has no name: in
// the path of the next request, and in the same exchange before its field.
func TestValuesAreKnownByTheirFields(t *testing.T) {
	r := redactor(t)
	first := posted("application/json", `{"reset_token":"q7Zk20xPfa","mobile":"0171-23456789","id":"ord_8f3k2"}`)
	first.Request.Target = "/before/q7Zk20xPfa"
	a, _ := apply(t, r, first)
	var fields map[string]string
	if err := json.Unmarshal(a.Request.Body.Raw, &fields); err != nil {
		t.Fatal(err)
	}
	second := posted("application/json", `{"echo":"q7Zk20xPfa","number":"0171-23456789","id":"ord_8f3k2"}`)
	second.Request.Target = "/reset/q7Zk20xPfa?t=q7Zk20xPfa"
	b, _ := apply(t, r, second)
	token := fields["reset_token"]
	if token == "q7Zk20xPfa" || a.Request.Target != "/before/"+token || b.Request.Target != "/reset/"+token+"?t="+token {
		t.Errorf("token %s, targets %s and %s", token, a.Request.Target, b.Request.Target)
	}
	if want := `{"echo":"` + token + `","number":"` + fields["mobile"] + `","id":"ord_8f3k2"}`; string(b.Request.Body.Raw) != want {
		t.Errorf("body %s, want %s", b.Request.Body.Raw, want)
	}
}
