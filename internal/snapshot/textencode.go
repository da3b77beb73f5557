package snapshot

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// The marks that start the lines of a route file.
const (
	entryPrefix    = "### "
	requestPrefix  = ">"
	responsePrefix = "<"
	trailerMark    = "+"
)

var validID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$`)

// checkStorable reports what no snapshot can hold.
func checkStorable(x *traffic.Exchange) error {
	if !validID.MatchString(x.ID) {
		return fmt.Errorf("exchange id %q: must be 1 to 200 letters, digits, dots, dashes and underscores, and not start with a dot or dash", x.ID)
	}
	if x.Direction != traffic.Inbound && x.Direction != traffic.Outbound {
		return fmt.Errorf("exchange %s: direction %q must be inbound or outbound", x.ID, x.Direction)
	}
	if y := x.Start.UTC().Year(); y < 1 || y > 9999 {
		return fmt.Errorf("exchange %s: its start is in the year %d", x.ID, y)
	}
	return nil
}

// appendExchange writes one exchange as an entry of a route file.
func appendExchange(dst []byte, x *traffic.Exchange, inline int, store blobStore) ([]byte, error) {
	dst = append(dst, entryPrefix+x.ID+" "+x.Start.UTC().Format(time.RFC3339Nano)+"\n"...)
	put := func(key, value string) { dst = append(dst, key+": "+line(value)+"\n"...) }
	maybe := func(key, value string) {
		if value != "" {
			put(key, value)
		}
	}
	span := func(key string, d time.Duration) {
		if d != 0 {
			put(key, d.String())
		}
	}
	if own := x.Direction == traffic.Inbound && string(x.Lane) == x.ID; !own {
		put("lane", string(x.Lane))
	}
	maybe("recorded", x.Recorded)
	span("first-byte", x.FirstByte)
	span("duration", x.Duration)
	maybe("failure", string(x.Failure))
	for _, phrase := range x.Incomplete {
		put("incomplete", phrase)
	}
	maybe("source", x.Origin.Source)
	maybe("connection", x.Origin.Connection)
	maybe("certainty", string(x.Origin.Certainty))
	dst = appendMatch(dst, x.Match)

	dst = append(dst, '\n')
	dst = append(dst, requestPrefix+" "+requestLine(&x.Request)+"\n"...)
	dst, err := appendMessage(dst, requestPrefix, x.Request.Header, x.Request.Trailer, x.Request.Body, inline, store)
	if err != nil {
		return dst, fmt.Errorf("exchange %s: request: %w", x.ID, err)
	}
	if r := x.Response; r != nil {
		dst = append(dst, '\n')
		dst = append(dst, responsePrefix+" "+strconv.Itoa(r.Status)+" "+token(r.Proto)+"\n"...)
		if dst, err = appendMessage(dst, responsePrefix, r.Header, r.Trailer, r.Body, inline, store); err != nil {
			return dst, fmt.Errorf("exchange %s: response: %w", x.ID, err)
		}
	}
	if len(dst) > maxEntry {
		return dst, fmt.Errorf("exchange %s: %w: %d bytes of headers and text", x.ID, ErrTooLarge, len(dst))
	}
	return dst, nil
}

func appendMessage(dst []byte, mark string, header, trailer traffic.Header, body traffic.Body, inline int, store blobStore) ([]byte, error) {
	for _, f := range header {
		dst = append(dst, mark+" "+field(f)+"\n"...)
	}
	dst, err := appendBody(dst, body, header, inline, store)
	if err != nil {
		return dst, err
	}
	for _, f := range trailer {
		dst = append(dst, mark+trailerMark+" "+field(f)+"\n"...)
	}
	return dst, nil
}

// requestLine writes "GET http://host/path HTTP/1.1" where that can be taken
// apart again, and the five parts one by one where not.
func requestLine(r *traffic.Request) string {
	if plainURL(r) {
		return token(r.Method) + " " + r.URL() + " " + token(r.Proto)
	}
	parts := []string{r.Method, r.Scheme, r.Authority, r.Target, r.Proto}
	for i, p := range parts {
		parts[i] = token(p)
	}
	return strings.Join(parts, " ")
}

func plainURL(r *traffic.Request) bool {
	return r.Scheme != "" && !strings.ContainsAny(r.Scheme, ":/\" ") &&
		r.Authority != "" && !strings.ContainsAny(r.Authority, "/\" ") &&
		strings.HasPrefix(r.Target, "/") && !strings.ContainsAny(r.Target, "\" ") && isClean(r.URL())
}

func parseRequestLine(s string, r *traffic.Request) error {
	// A plain URL may hold "=" and must not be quoted, so tokens serve both.
	parts, err := tokens(s)
	if err != nil {
		return err
	}
	switch len(parts) {
	case 3:
		scheme, rest, ok := strings.Cut(parts[1], "://")
		slash := strings.IndexByte(rest, '/')
		if !ok || scheme == "" || slash <= 0 {
			return errors.New("the request line needs a URL such as http://host/path")
		}
		r.Method, r.Scheme, r.Authority, r.Target, r.Proto = parts[0], scheme, rest[:slash], rest[slash:], parts[2]
	case 5:
		r.Method, r.Scheme, r.Authority, r.Target, r.Proto = parts[0], parts[1], parts[2], parts[3], parts[4]
	default:
		return errors.New("a request line is: method, URL, protocol")
	}
	return nil
}

// field writes one header line as "Name: value".
func field(f traffic.Field) string {
	name := f.Name
	if name == "" || strings.ContainsAny(name, ": \"+") || !isClean(name) {
		name = strconv.Quote(name)
	}
	if f.Value == "" {
		return name + ":"
	}
	return name + ": " + line(f.Value)
}

func parseField(s string) (traffic.Field, error) {
	var f traffic.Field
	rest := ""
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return f, errors.New("a quoted header name does not end")
		}
		f.Name, _ = strconv.Unquote(quoted)
		rest = s[len(quoted):]
		if rest == "" || rest[0] != ':' {
			return f, errors.New("a header line is: name, colon, value")
		}
		rest = rest[1:]
	} else {
		var ok bool
		if f.Name, rest, ok = strings.Cut(s, ":"); !ok || f.Name == "" {
			return f, errors.New("a header line is: name, colon, value")
		}
	}
	if rest == "" {
		return f, nil
	}
	if rest[0] != ' ' {
		return f, errors.New("a space must follow the colon of a header")
	}
	var err error
	f.Value, err = parseLine(rest[1:])
	return f, err
}
