package redact_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// The labelled corpus: values of each kind that must go, and look-alikes that
// must stay, each in the places where traffic has them. It is made from a
// fixed seed, so that every run judges the same.

// sample is one value at one place.
type sample struct {
	detector string // empty for a look-alike of like
	like     string
	key      string // name of the field; the place is free text if empty
	value    string
	context  string // free text around %s
}

type maker struct{ *rand.Rand }

func (m maker) pick(list ...string) string { return list[m.IntN(len(list))] }

// chars replaces d by a digit, a by a small and A by a capital letter, h by a
// hexadecimal digit, w by any letter or digit; others stay.
func (m maker) chars(pattern string) string {
	out := []byte(pattern)
	for i, c := range out {
		switch c {
		case 'd':
			out[i] = byte('0' + m.IntN(10))
		case 'a':
			out[i] = byte('a' + m.IntN(26))
		case 'A':
			out[i] = byte('A' + m.IntN(26))
		case 'h':
			out[i] = "0123456789abcdef"[m.IntN(16)]
		case 'w':
			out[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"[m.IntN(62)]
		}
	}
	return string(out)
}

func (m maker) token(n int) string { return m.chars(strings.Repeat("w", n)) }

func (m maker) digits(n int) string { return m.chars(strings.Repeat("d", n)) }

// card makes a number with a right check digit.
func (m maker) card() string {
	prefix, length := "4", 16
	switch m.IntN(5) {
	case 1:
		prefix = fmt.Sprint(51 + m.IntN(5))
	case 2:
		prefix, length = m.pick("34", "37"), 15
	case 3:
		prefix = "6011"
	case 4:
		prefix = m.pick("3528", "3589")
	}
	body := prefix + m.digits(length-len(prefix)-1)
	for d := range 10 {
		if full := body + fmt.Sprint(d); luhnWithin(full) {
			body = full
			break
		}
	}
	switch {
	case length == 16 && m.IntN(3) == 0:
		return body[:4] + " " + body[4:8] + " " + body[8:12] + " " + body[12:]
	case length == 16 && m.IntN(3) == 0:
		return body[:4] + "-" + body[4:8] + "-" + body[8:12] + "-" + body[12:]
	}
	return body
}

func (m maker) iban() string {
	country := m.pick("DEdddddddddddddddddd", "FRddddddddddddddddddddddd", "GBAAAAdddddddddddddd", "NLAAAAdddddddddd", "ESdddddddddddddddddddd", "ATdddddddddddddddd")
	body := m.chars(strings.ReplaceAll(country[2:], "a", "a"))
	for check := 2; check <= 98; check++ {
		if full := fmt.Sprintf("%s%02d%s", country[:2], check, body); mod97(full) {
			if m.IntN(2) == 0 {
				return full
			}
			var groups []string
			for i := 0; i < len(full); i += 4 {
				groups = append(groups, full[i:min(i+4, len(full))])
			}
			return strings.Join(groups, " ")
		}
	}
	panic("no check digits fit")
}

func (m maker) email() string {
	first, last := m.pick("jane", "omar", "li", "sofia", "tomasz", "ana-maria", "j"), m.pick("doe", "haddad", "wei", "rossi", "nowak", "o'neil", "smith2")
	local := m.pick(first+"."+last, first+last, first+"_"+last, first+"+news", first+m.digits(2), last, strings.ToUpper(first)+"."+last)
	return local + "@" + m.pick("corp.com", "mail.test-company.de", "uni.ac.uk", "sub.domain.org", "xn--bcher-kva.ch", "firma.io", "example.com")
}

func (m maker) phone() (key, value string) {
	switch m.IntN(6) {
	case 0:
		return "", "+" + m.pick("49", "33", "44", "34", "48") + m.pick(" ", "") + m.chars("1dd") + m.pick(" ", "", "-") + m.chars("ddddddd")
	case 1:
		return "", m.chars("(2dd) 3dd-dddd")
	case 2:
		return "", m.chars("+1-4dd-5dd-dddd")
	case 3:
		return m.pick("phone", "mobile", "telephone", "contact_phone", "phoneNumber"), m.chars("01dd-ddddddd")
	case 4:
		return m.pick("phone", "msisdn", "fax"), m.chars("491ddddddddd")
	}
	return "", m.chars("+1415ddddddd")
}

func (m maker) publicIP() string {
	if m.IntN(3) == 0 {
		return "2a02:" + m.chars("1hhh:hhhh:1hhh::1hhh")
	}
	return fmt.Sprintf("%d.%d.%d.%d", []int{5, 8, 31, 46, 80, 93, 185, 217}[m.IntN(8)], m.IntN(256), m.IntN(256), 1+m.IntN(254))
}

func (m maker) jwt() string {
	claims := fmt.Sprintf(`{"sub":"u-%s","exp":%d,"email":"%s"}`, m.digits(6), 1893456000+m.IntN(1e6), m.email())
	token := jwt(claims)
	return token[:strings.LastIndexByte(token, '.')+1] + m.token(43)
}

func (m maker) secretToken() string {
	switch m.IntN(7) {
	case 0:
		return "AKIA" + m.chars("AAAAAAdAAAAAdAAA")
	case 1:
		return "ghp_" + m.token(36)
	case 2:
		return "sk_live_" + m.token(24)
	case 3:
		return "xoxb-" + m.digits(12) + "-" + m.digits(12) + "-" + m.token(24)
	case 4:
		return "AIza" + m.token(35)
	case 5:
		return "glpat-" + m.token(20)
	}
	return "SG." + m.token(22) + "." + m.token(43)
}

// positives makes n values of each kind.
func (m maker) positives(n int) (list []sample) {
	add := func(detector, key, value string) {
		s := sample{detector: detector, key: key, value: value}
		if key == "" {
			s.context = m.pick("%s", "%s", "please use %s today", "(%s)", "value: %s", "%s, thanks", "<b>%s</b>")
		}
		list = append(list, s)
	}
	for range n {
		add(redact.DetectEmail, "", m.email())
		add(redact.DetectCard, "", m.card())
		add(redact.DetectIBAN, "", m.iban())
		key, phone := m.phone()
		add(redact.DetectPhone, key, phone)
		add(redact.DetectIP, "", m.publicIP())
		add(redact.DetectJWT, "", m.jwt())
		add(redact.DetectToken, "", m.secretToken())
		add(redact.DetectNationalID, m.pick("", "ssn"), fmt.Sprintf("%03d-%02d-%04d", 100+m.IntN(500), 1+m.IntN(99), 1+m.IntN(9999)))
		add(redact.DetectCredential, m.pick("password", "api_key", "clientSecret", "access_token", "session_id", "refreshToken", "x-api-key", "db_password"), m.pick(m.token(24), m.chars("hunterd!"), m.chars("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh"), "correct horse "+m.chars("aaaaa")))
		add(redact.DetectName, m.pick("first_name", "lastName", "full_name", "cardholder", "customer_name"), m.pick("Jane", "Omar", "Zoë", "Wei", "Anna-Lena")+m.pick("", " Doe", " van Dyk", " Müller"))
		add(redact.DetectBirth, m.pick("dob", "date_of_birth", "birthDate"), fmt.Sprintf("19%02d-%02d-%02d", m.IntN(100), 2+m.IntN(11), 2+m.IntN(26)))
		add(redact.DetectAddress, m.pick("street", "address_line1", "street_address"), fmt.Sprintf("%d %s", 1+m.IntN(300), m.pick("Main St", "Hauptstraße", "Rue de Rivoli")))
	}
	return list
}

// lookAlikes makes n rounds of values that are nobody's.
func (m maker) lookAlikes(n int) (list []sample) {
	add := func(like, key, value string) {
		list = append(list, sample{like: like, key: key, value: value, context: m.pick("%s", "%s", "see %s there", "[%s]")})
	}
	invalid := func(make func() string, change int) string {
		out := []byte(make())
		for i := len(out) - change; i >= 0; i-- {
			if out[i] >= '0' && out[i] <= '9' {
				out[i] = '0' + (out[i]-'0'+1)%10 // one wrong digit: no check holds
				return string(out)
			}
		}
		return string(out)
	}
	for range n {
		add(redact.DetectCard, m.pick("order_id", "tracking", "id"), invalid(func() string { return strings.NewReplacer(" ", "", "-", "").Replace(m.card()) }, 1))
		add(redact.DetectCard, "ts", fmt.Sprintf("17%s", m.digits(m.pickInt(11, 14, 17))))
		add(redact.DetectCard, "ean", m.chars("400dddddddddd"))
		add(redact.DetectIBAN, "reference", invalid(m.iban, 1))
		add(redact.DetectIBAN, "part", m.chars("XXddAAAAdddd"))
		add(redact.DetectPhone, "order", m.chars("ORD-ddd-ddd-dddd-A"))
		add(redact.DetectPhone, "at", fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02d+01:00", 1+m.IntN(12), 1+m.IntN(28), m.IntN(24), m.IntN(60), m.IntN(60)))
		add(redact.DetectPhone, "id", m.digits(10))
		add(redact.DetectPhone, "isbn", m.chars("978-3-16-dddddd-d"))
		add(redact.DetectPhone, "sku", m.chars("SKU-dddd-ddddd"))
		add(redact.DetectIP, "version", fmt.Sprintf("%d.%d.%d.%d", 1+m.IntN(20), m.IntN(20), m.IntN(300), m.IntN(99)))
		add(redact.DetectIP, "agent", fmt.Sprintf("Mozilla/5.0 Chrome/%d.0.%d.%d Safari/537.36", 90+m.IntN(50), m.IntN(9999), m.IntN(200)))
		add(redact.DetectIP, "node", m.pick("10", "192.168", "172.16")+m.pick(".0.1", ".3.77", ".200.9")[:4])
		add(redact.DetectIP, "time", fmt.Sprintf("%02d:%02d:%02d", m.IntN(24), m.IntN(60), m.IntN(60)))
		add(redact.DetectEmail, "package", m.pick("lodash", "react", "left-pad")+"@"+m.chars("d.dd.d"))
		add(redact.DetectEmail, "image", m.pick("logo", "hero", "icon")+"@"+m.pick("2x", "3x")+m.pick(".png", ".jpg", ".svg"))
		add(redact.DetectEmail, "remote", "git@github.com:acme/"+m.chars("aaaaaa")+".git")
		add(redact.DetectEmail, "user", m.chars("aaaa")+"@"+m.pick("localhost", "internal", "db"))
		add(redact.DetectEmail, "handle", "@"+m.chars("aaaaaaa"))
		add(redact.DetectJWT, "cursor", "eyJ"+m.token(30))
		add(redact.DetectJWT, "cursor", "eyJ"+m.token(20)+"."+m.token(20)+"."+m.token(20))
		add(redact.DetectToken, "uuid", m.chars("hhhhhhhh-hhhh-4hhh-ahhh-hhhhhhhhhhhh"))
		add(redact.DetectToken, "etag", m.chars("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh"))
		add(redact.DetectToken, "trace", m.chars("00-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-01"))
		add(redact.DetectToken, "slug", m.pick("sk-", "key-", "npm_", "ghp_")+m.chars("aaaaaa"))
		add(redact.DetectNationalID, "range", m.chars("ddd-dd-ddd"))
		add(redact.DetectNationalID, "part", m.chars("A-ddd-dd-dddd"))
		add(redact.DetectCredential, m.pick("token_type", "max_tokens", "next_page_token", "password_policy", "secretary", "author", "keyboard", "session_count", "passenger_count"), m.pick("Bearer", m.digits(3), m.token(12)))
		add(redact.DetectName, m.pick("name", "product_name", "file_name", "hostname", "event_name"), m.pick("Blue Mug", "orders.csv", "checkout", "web-1"))
		add(redact.DetectBirth, m.pick("created", "updated_at", "birthstone", "date"), fmt.Sprintf("20%02d-%02d-%02d", m.IntN(27), 1+m.IntN(12), 1+m.IntN(28)))
		add(redact.DetectAddress, m.pick("streetwear", "ip_range", "address_id", "city", "email_address_verified"), m.pick("hoodie", "internal", "Berlin", "a-17", "yes"))
	}
	return list
}

func (m maker) pickInt(list ...int) int { return list[m.IntN(len(list))] }

// carry puts a sample into an exchange, in a form that fits, and says how to
// get the text back that it stood in.
func (s sample) carry(m maker) (x *traffic.Exchange, back func(*traffic.Exchange) string) {
	key, text := s.key, s.value
	if key == "" {
		key = m.pick("note", "text", "comment", "data")
	}
	if s.detector == "" || s.key == "" {
		text = strings.Replace(s.context, "%s", s.value, 1)
	}
	switch m.IntN(4) {
	case 0: // query
		x = posted("text/plain", "")
		x.Request.Target = "/search?" + url.Values{key: {text}}.Encode()
		return x, func(x *traffic.Exchange) string { return x.Request.Query().Get(key) }
	case 1: // form
		x = posted("application/x-www-form-urlencoded", "a=1&"+url.Values{key: {text}}.Encode())
		return x, func(x *traffic.Exchange) string {
			v, _ := url.ParseQuery(string(x.Request.Body.Raw))
			return v.Get(key)
		}
	case 2: // JSON, nested
		body, _ := json.Marshal(map[string]any{"items": []any{map[string]string{key: text}}})
		x = posted("application/json", string(body))
		return x, func(x *traffic.Exchange) string {
			var v struct{ Items []map[string]string }
			_ = json.Unmarshal(x.Request.Body.Raw, &v)
			return v.Items[0][key]
		}
	}
	body, _ := json.Marshal(map[string]string{key: text})
	x = posted("application/json", string(body))
	return x, func(x *traffic.Exchange) string {
		var v map[string]string
		_ = json.Unmarshal(x.Request.Body.Raw, &v)
		return v[key]
	}
}

type score struct{ positives, found, scanned, lookAlikes, wrong int }

// TestCorpus holds each detector to its recall and precision, and the scanner
// to finding what was not redacted and nothing in what was.
func TestCorpus(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(1, 2))}
	scanner, err := redact.NewScanner(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := redactor(t)
	scores := map[string]*score{}
	for _, d := range redact.Detectors() {
		scores[d] = &score{}
	}
	shown := 0
	show := func(format string, args ...any) {
		if shown++; shown <= 40 {
			t.Logf(format, args...)
		}
	}
	positives, lookAlikes := m.positives(250), m.lookAlikes(350)
	if len(positives) < 2000 || len(lookAlikes) < 10_000 {
		t.Fatalf("the corpus has %d positives and %d look-alikes", len(positives), len(lookAlikes))
	}
	for _, s := range positives {
		x, back := s.carry(m)
		before := len(scanner.Exchange(x)) > 0
		got, _ := apply(t, r, x)
		sc := scores[s.detector]
		sc.positives++
		if before {
			sc.scanned++
		}
		if text := back(got); !strings.Contains(text, s.value) && text != "" {
			sc.found++
		} else {
			show("missed %s: %s=%q", s.detector, s.key, text)
		}
		if left := scanner.Exchange(got); len(left) > 0 && !strings.Contains(back(got), s.value) {
			t.Errorf("the scanner finds %v in a redacted %s: %q", left, s.detector, back(got))
		}
	}
	for _, s := range lookAlikes {
		x, back := s.carry(m)
		want := back(x)
		got, counts := apply(t, r, x)
		scores[s.like].lookAlikes++
		if text := back(got); text != want {
			for _, c := range counts {
				if sc := scores[c.Rule]; sc != nil {
					sc.wrong++
				}
			}
			show("wrong by %v: %s=%q became %q", counts, s.key, want, text)
		}
	}
	t.Logf("%-12s %9s %7s %8s %11s %6s %10s", "detector", "positives", "recall", "scanner", "look-alikes", "wrong", "precision")
	for _, d := range redact.Detectors() {
		s := scores[d]
		recall, precision := float64(s.found)/float64(s.positives), float64(s.found)/float64(s.found+s.wrong)
		t.Logf("%-12s %9d %6.2f%% %7.2f%% %11d %6d %9.2f%%", d, s.positives, 100*recall, 100*float64(s.scanned)/float64(s.positives), s.lookAlikes, s.wrong, 100*precision)
		if recall < 0.99 {
			t.Errorf("%s: recall %.4f, at least 0.99", d, recall)
		}
		if precision < 0.97 {
			t.Errorf("%s: precision %.4f, at least 0.97", d, precision)
		}
	}
}
