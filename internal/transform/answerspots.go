package transform

import (
	"bytes"
	"net/url"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// answerSpots visits the values of an answer that a client could send back.
// Types, which may be nil, are those of protobuf messages.
func answerSpots(types *protobuf.Types, x *traffic.Exchange, visit func(spot)) {
	if x.Response == nil {
		return
	}
	w := answerWalk{collection: collectionOf(&x.Request), visit: visit}
	w.output = types.Output(x.Request.Path(), x.Response.Header.Get("Content-Type"))
	w.headers(x.Response.Header)
	body := x.Response.Body
	if len(body.Raw) == 0 || len(body.Raw) > maxBody {
		return
	}
	if becameWebSocket(x) {
		w.conversation(body.Raw)
		return
	}
	plain, err := body.Decoded()
	if err != nil || len(plain) > maxBody {
		return
	}
	w.body(plain, traffic.MediaType(x.Response.Header))
}

type answerWalk struct {
	collection string
	output     protoreflect.MessageDescriptor // of protobuf messages; may be nil
	visit      func(spot)
	stream     bool // messages are those of a stream of gRPC
}

func (w *answerWalk) give(s spot) {
	if s.value == "" {
		return
	}
	if s.collection == "" {
		s.collection = w.collection
	}
	w.visit(s)
	if t, ok := fresh.ParseToken(s.value); ok {
		claimSpots(t.Claims, s.path, func(_ leaf, claim spot) {
			claim.collection = s.collection
			w.visit(claim)
		})
	}
}

// answerPlumbing are headers of answers that no client sends back.
var answerPlumbing = []string{
	"Date", "Server", "Cache-Control", "Content-Length", "Content-Type", "Content-Encoding", "Content-Security-Policy", "Vary",
	"Connection", "Keep-Alive", "Transfer-Encoding", "Expires", "Age", "Via", "Strict-Transport-Security", "Traceparent", "Trailer",
}

func (w *answerWalk) headers(header traffic.Header) {
next:
	for _, f := range header {
		for _, p := range answerPlumbing {
			if strings.EqualFold(p, f.Name) {
				continue next
			}
		}
		path := traffic.At("response", "header", f.Name)
		switch strings.ToLower(f.Name) {
		case "set-cookie":
			pair, _, _ := strings.Cut(f.Value, ";")
			if name, value, ok := strings.Cut(pair, "="); ok {
				name = strings.TrimSpace(name)
				w.give(spot{path: traffic.At("response", "cookie", name), key: name, value: strings.TrimSpace(value)})
			}
		case "etag":
			w.give(spot{path: path, key: f.Name, value: entityTag(f.Value)})
		case "location", "content-location":
			w.give(spot{path: path, key: f.Name, value: f.Value})
			w.url(f.Value, path)
		case "link": // <https://…?cursor=…>; rel="next", …
			for i, link := range strings.Split(f.Value, ",") {
				address, _, _ := strings.Cut(link, ">")
				w.url(strings.Trim(address, " <"), path.Elem(i))
			}
		default:
			w.give(spot{path: path, key: f.Name, value: f.Value})
		}
	}
}

// url visits the path segments, query values and fragment values of a URL.
func (w *answerWalk) url(text string, base traffic.Path) {
	u, err := url.Parse(text)
	if err != nil {
		return
	}
	before := ""
	for i, raw := range strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/") {
		if value, err := url.PathUnescape(raw); err == nil {
			w.give(spot{path: base.Child("path").Elem(i), key: before, segment: true, value: value})
			before = value
		}
	}
	w.pairs(u.RawQuery, base.Child("query"))
	if strings.Contains(u.Fragment, "=") {
		w.pairs(u.EscapedFragment(), base.Child("fragment"))
	}
}

func (w *answerWalk) pairs(raw string, base traffic.Path) {
	for pair := range strings.SplitSeq(raw, "&") {
		rawKey, rawValue, _ := strings.Cut(pair, "=")
		key, errKey := url.QueryUnescape(rawKey)
		value, errValue := url.QueryUnescape(rawValue)
		if errKey == nil && errValue == nil {
			w.give(spot{path: base.Child(key), key: key, value: value})
		}
	}
}

func (w *answerWalk) body(plain []byte, mediaType string) {
	w.plain(plain, mediaType, traffic.At("response", "body"))
}

// proto visits the values of protobuf messages, whose numbers begin with first.
func (w *answerWalk) proto(first int) protoWalk {
	return protoWalk{first: first, value: func(s spot) (string, bool) {
		w.give(s)
		return "", false
	}}
}

// plain visits the values of a decoded body, or of one message in it.
func (w *answerWalk) plain(plain []byte, mediaType string, base traffic.Path) {
	if kind := protoBodyOf(mediaType); kind != noProto {
		w.proto(0).body(plain, kind, w.output, spot{path: base})
		return
	}
	switch {
	case mediaType == "text/html" || mediaType == "application/xhtml+xml":
		w.html(plain, base)
		return
	case mediaType == "application/x-www-form-urlencoded":
		w.pairs(string(plain), base)
		return
	case mediaType == "text/event-stream":
		w.events(plain, base)
		return
	case traffic.IsJSON(mediaType) || mediaType == "" || mediaType == "text/plain":
		isJSON := jsonLeaves(plain, base, func(l leaf) {
			s := spot{path: l.path, key: l.key, parent: l.parent, value: l.text(plain), number: l.number}
			w.give(s)
			if !l.number && strings.Contains(s.value, "/") && (strings.HasPrefix(s.value, "/") || strings.Contains(s.value, "://")) {
				w.url(s.value, l.path.Child("url"))
			}
		})
		if isJSON {
			return
		}
	}
	if len(plain) <= 8<<10 && utf8.Valid(plain) {
		w.give(spot{path: base, key: "token", value: strings.TrimSpace(string(plain))})
	}
}

// html visits hidden form fields and meta tags, where pages keep the tokens
// that the next form must send, and the query values of links and form actions.
func (w *answerWalk) html(plain []byte, base traffic.Path) {
	z := html.NewTokenizer(bytes.NewReader(plain))
	links := 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			return
		case html.StartTagToken, html.SelfClosingTagToken:
		default:
			continue
		}
		token := z.Token()
		attribute := make(map[string]string, len(token.Attr))
		for _, a := range token.Attr {
			attribute[a.Key] = a.Val
		}
		switch token.Data {
		case "input":
			w.give(spot{path: base.Child("input").Child(attribute["name"]), key: attribute["name"], value: attribute["value"]})
		case "meta":
			w.give(spot{path: base.Child("meta").Child(attribute["name"]), key: attribute["name"], value: attribute["content"]})
		case "a", "form":
			w.url(attribute["href"]+attribute["action"], base.Child("link").Elem(links))
			links++
		}
	}
}

// events visits the data and the ids of server-sent events; a client that
// comes back sends the last id.
func (w *answerWalk) events(plain []byte, base traffic.Path) {
	n := 0
	for line := range strings.Lines(string(plain)) {
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		event := base.Child("events").Elem(n)
		switch {
		case line == "":
			n++
		case field == "id":
			w.give(spot{path: event.Child("id"), key: "Last-Event-ID", value: value})
		case field == "data":
			jsonLeaves([]byte(value), event.Child("data"), func(l leaf) {
				w.give(spot{path: l.path, key: l.key, parent: l.parent, value: l.text([]byte(value)), number: l.number})
			})
		}
	}
}
