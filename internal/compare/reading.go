package compare

import (
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
	"github.com/reprise-ci/reprise/internal/traffic/sql"
)

// Reading says how exchanges are read where they do not say it themselves. The
// zero value knows nothing but the exchanges.
type Reading struct {
	// SQL are the places of requests whose texts are SQL, whatever they look
	// like. What surely is SQL is read as such anywhere in a request.
	SQL []traffic.Pattern
	// Types are those of protobuf messages, by which their fields have names. It
	// may be nil.
	Types *protobuf.Types
}

// call returns the request of an exchange.
func (r *Reading) call(x *traffic.Exchange) message {
	q := &x.Request
	return message{q.Header, q.Body, q.Trailer, r.Types.Input(q.Path(), q.Header.Get("Content-Type"))}
}

// answer returns the response of an exchange that has one.
func (r *Reading) answer(x *traffic.Exchange) message {
	a := x.Response
	return message{a.Header, a.Body, a.Trailer, r.Types.Output(x.Request.Path(), a.Header.Get("Content-Type"))}
}

// statement reads a text at a place of a request as SQL.
func (r *Reading) statement(text string, path func() traffic.Path) (*sql.Statement, bool) {
	if !sql.Begins(text) {
		return nil, false
	}
	if s, ok := sql.Read(text, false); ok {
		return s, true
	}
	if len(r.SQL) == 0 {
		return nil, false
	}
	p := path()
	if !slices.ContainsFunc(r.SQL, func(rule traffic.Pattern) bool { return rule.Covers(p) }) {
		return nil, false
	}
	return sql.Read(text, true)
}

// whole reads the body of a request as SQL.
func (r *Reading) whole(p payload, header traffic.Header, path func() traffic.Path) (*sql.Statement, bool) {
	if p.format != formatText {
		return nil, false
	}
	if sql.IsMedia(traffic.MediaType(header)) {
		return sql.Read(string(p.plain), true)
	}
	return r.statement(string(p.plain), path)
}

// Statements returns the SQL that a request carries, in the order of its places.
func (r Reading) Statements(x *traffic.Exchange) []*sql.Statement {
	if x == nil || x.Request.RawQuery() == "" && len(x.Request.Body.Raw) == 0 {
		return nil
	}
	var out []*sql.Statement
	v := valuer{
		yield: func(traffic.Path, string) bool { return true }, root: traffic.At("request"), reading: &r,
		found: func(s *sql.Statement) { out = append(out, s) },
	}
	_ = v.members("query", formMembers(x.Request.RawQuery())) && v.body(r.call(x))
	return out
}

// texts compares two texts that differ: as SQL where both are, in a request.
func (c *comparer) texts(a, b string) {
	if c.request {
		if sa, ok := c.opts.Reading.statement(a, c.path); ok {
			if sb, ok := c.opts.Reading.statement(b, c.path); ok {
				c.statements(sa, sb)
				return
			}
		}
	}
	c.emit(Value, a, b)
}

// statements compares two statements: by what they ask, and where that is the
// same, by the values that they ask with.
func (c *comparer) statements(a, b *sql.Statement) {
	if a.Fingerprint != b.Fingerprint {
		c.at("statement", func() { c.emit(Value, a.Fingerprint, b.Fingerprint) })
		return
	}
	ta, okA := parseTree(a.Values)
	tb, okB := parseTree(b.Values)
	if okA && okB {
		c.at("values", func() { c.trees(ta, tb) })
	}
}

// statement yields what a statement consists of.
func (v valuer) statement(s *sql.Statement, p traffic.Path) bool {
	if v.found != nil {
		v.found(s)
	}
	if !v.yield(p.Child("statement"), s.Fingerprint) {
		return false
	}
	t, ok := parseTree(s.Values)
	return !ok || v.node(t, 0, p.Child("values"))
}

// text yields a text: of a request, as SQL where it is.
func (v valuer) text(p traffic.Path, text string) bool {
	if v.reading != nil {
		if s, ok := v.reading.statement(text, func() traffic.Path { return p }); ok {
			return v.statement(s, p)
		}
	}
	return v.yield(p, text)
}

// Asks is the fingerprint of all statements together, and "" without any.
func Asks(statements []*sql.Statement) string {
	texts := make([]string, len(statements))
	for i, s := range statements {
		texts[i] = s.Fingerprint
	}
	return strings.Join(texts, "; ")
}
