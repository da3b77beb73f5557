package transform

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// SignRule computes the signature of a request again, after all other changes.
type SignRule struct {
	// Scheme is hmac-sha1, hmac-sha256, hmac-sha512 or sigv4.
	Scheme string `yaml:"scheme" json:"scheme"`
	// Key is the shared secret; for sigv4 the secret access key.
	Key string `yaml:"key" json:"-"`
	// Header holds the signature; for sigv4 it is Authorization.
	Header string `yaml:"header" json:"header,omitempty"`
	// Over is the text that is signed, in which {method}, {path}, {query},
	// {target}, {host}, {body}, {body-sha256} and {header:NAME} stand for parts
	// of the request. Default {body}. Not for sigv4.
	Over string `yaml:"over" json:"over,omitempty"`
	// Encoding is hex or base64. Default hex.
	Encoding string `yaml:"encoding" json:"encoding,omitempty"`
	// Prefix stands before the signature, as in "sha256=".
	Prefix string `yaml:"prefix" json:"prefix,omitempty"`
	// AccessKey replaces the access key id of sigv4; empty keeps the recorded one.
	AccessKey string  `yaml:"access-key" json:"access_key,omitempty"`
	When      *Filter `yaml:"when" json:"when,omitempty"`
}

func (r SignRule) validate() error {
	if r.Key == "" {
		return errors.New("key is missing")
	}
	if r.When != nil {
		if _, err := r.When.compile(nil); err != nil {
			return fmt.Errorf("when%w", err)
		}
	}
	if r.Scheme == "sigv4" {
		if r.Over != "" || r.Encoding != "" || r.Prefix != "" || r.Header != "" && !strings.EqualFold(r.Header, "Authorization") {
			return errors.New("sigv4 lays down header, over, encoding and prefix itself")
		}
		return nil
	}
	switch {
	case r.hash() == nil:
		return fmt.Errorf("scheme %q must be hmac-sha1, hmac-sha256, hmac-sha512 or sigv4", r.Scheme)
	case r.Header == "":
		return errors.New("header is missing; name the one that holds the signature")
	case r.Encoding != "" && r.Encoding != "hex" && r.Encoding != "base64":
		return fmt.Errorf("encoding %q must be hex or base64", r.Encoding)
	case strings.ContainsAny(r.Prefix, "\r\n"):
		return errors.New("prefix holds a line break")
	}
	for rest := r.Over; ; {
		_, after, ok := strings.Cut(rest, "{")
		if !ok {
			return nil
		}
		name, tail, closed := strings.Cut(after, "}")
		if _, known := placeholder(name, &traffic.Request{}, nil); !closed || !known {
			return fmt.Errorf("over: {%s} is unknown", name)
		}
		rest = tail
	}
}

func (r SignRule) hash() func() hash.Hash {
	return map[string]func() hash.Hash{"hmac-sha1": sha1.New, "hmac-sha256": sha256.New, "hmac-sha512": sha512.New}[r.Scheme]
}

func placeholder(name string, req *traffic.Request, body []byte) (string, bool) {
	if header, ok := strings.CutPrefix(name, "header:"); ok {
		return req.Header.Get(header), header != ""
	}
	switch name {
	case "method":
		return req.Method, true
	case "path":
		return req.Path(), true
	case "query":
		return req.RawQuery(), true
	case "target":
		return req.Target, true
	case "host":
		return req.Authority, true
	case "body":
		return string(body), true
	case "body-sha256":
		return hexSum(body), true
	}
	return "", false
}

func hexSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// sign applies the rule to a request of its own, whose header it may change.
func (r SignRule) sign(req *traffic.Request, now time.Time) {
	if r.Scheme == "sigv4" {
		r.sigV4(req, now)
		return
	}
	over := r.Over
	if over == "" {
		over = "{body}"
	}
	var text strings.Builder
	for {
		before, after, ok := strings.Cut(over, "{")
		text.WriteString(before)
		if !ok {
			break
		}
		name, rest, _ := strings.Cut(after, "}")
		value, _ := placeholder(name, req, req.Body.Raw)
		text.WriteString(value)
		over = rest
	}
	mac := hmac.New(r.hash(), []byte(r.Key))
	mac.Write([]byte(text.String()))
	signature := hex.EncodeToString(mac.Sum(nil))
	if r.Encoding == "base64" {
		signature = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	req.Header.Set(r.Header, r.Prefix+signature)
}

// sigV4 signs with AWS Signature Version 4 where the recorded request was so
// signed, over the same headers. The host is the recorded one: the replay must
// keep it.
func (r SignRule) sigV4(req *traffic.Request, now time.Time) {
	scheme, parameters, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if scheme != "AWS4-HMAC-SHA256" {
		return
	}
	field := make(map[string]string)
	for p := range strings.SplitSeq(parameters, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		field[name] = value
	}
	scope := strings.Split(field["Credential"], "/")
	if len(scope) != 5 {
		return
	}
	if r.AccessKey != "" {
		scope[0] = r.AccessKey
	}
	stamp := now.UTC().Format("20060102T150405Z")
	scope[1] = stamp[:8]
	req.Header.Set("X-Amz-Date", stamp)
	payload := req.Header.Get("X-Amz-Content-Sha256")
	if payload != "UNSIGNED-PAYLOAD" {
		hashed := hexSum(req.Body.Raw)
		if payload != "" {
			req.Header.Set("X-Amz-Content-Sha256", hashed)
		}
		payload = hashed
	}
	signed := strings.Split(field["SignedHeaders"], ";")
	var canonical strings.Builder
	canonical.WriteString(req.Method + "\n" + canonicalPath(req.Path(), scope[3]) + "\n" + canonicalQuery(req.RawQuery()) + "\n")
	for _, name := range signed {
		value := strings.Join(req.Header.Values(name), ",")
		if name == "host" {
			value = req.Authority
		}
		canonical.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	canonical.WriteString("\n" + field["SignedHeaders"] + "\n" + payload)

	key := []byte("AWS4" + r.Key)
	for _, part := range scope[1:] {
		key = mac256(key, part)
	}
	credentialScope := strings.Join(scope[1:], "/")
	signature := hex.EncodeToString(mac256(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+credentialScope+"\n"+hexSum([]byte(canonical.String()))))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+scope[0]+"/"+credentialScope+
		", SignedHeaders="+field["SignedHeaders"]+", Signature="+signature)
}

func mac256(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// canonicalPath escapes a path as the scheme demands: once more than on the
// wire, but not for S3.
func canonicalPath(path, service string) string {
	if service == "s3" {
		return path
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = awsEscape(s)
	}
	return strings.Join(segments, "/")
}

func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		if plain, err := url.PathUnescape(key); err == nil { // a plus is a plus here
			key = plain
		}
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		pairs[i] = awsEscape(key) + "=" + awsEscape(value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// awsEscape escapes all but the unreserved characters of RFC 3986.
func awsEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
