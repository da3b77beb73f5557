package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// fault is a change of the service and what must be found of it.
type fault struct {
	name   string
	faults miniature.Faults
	// Where it must be found: kind, and the address or the call. Any of the
	// changes will do.
	kind    analysis.Kind
	at      string
	changes []analysis.Change
}

// found reports whether a finding tells of the fault.
func (f fault) found(x analysis.Finding) bool {
	return x.Cause == analysis.CauseHead && x.Kind == f.kind && slices.Contains(f.changes, x.Change) &&
		(x.Address == f.at || strings.HasPrefix(x.Call+" "+x.Address, f.at))
}

// onBody changes the JSON body of one endpoint.
func onBody(endpoint string, change func(map[string]any)) miniature.Faults {
	return miniature.Faults{Body: func(e string, b map[string]any) {
		if e == endpoint && b["error"] == nil {
			change(b)
		}
	}}
}

func set(name string, v any) func(map[string]any) {
	return func(b map[string]any) { b[name] = v }
}

// onAnswer changes the whole answer of one endpoint.
func onAnswer(endpoint string, change func(*traffic.Response)) miniature.Faults {
	return miniature.Faults{Answer: func(e string, r *traffic.Response) {
		if e == endpoint {
			change(r)
		}
	}}
}

// onCall changes the JSON body of calls to a path.
func onCall(path string, change func(map[string]any)) miniature.Faults {
	return miniature.Faults{Call: func(q *traffic.Request) {
		var v map[string]any
		if !strings.Contains(q.Target, path) || json.Unmarshal(q.Body.Raw, &v) != nil {
			return
		}
		change(v)
		q.Body.Raw, _ = json.Marshal(v)
	}}
}

func first(b map[string]any, list string) map[string]any {
	return b[list].([]any)[0].(map[string]any)
}

const (
	charges = "POST api.payments.example/v1/charges"
	stock   = "GET inventory/v1/stock/{id}"
	reserve = "PUT inventory/v1/reservations/{id}"
)

// faults are the seeded ones.
func faults() []fault {
	const response, outbound = analysis.KindResponse, analysis.KindOutbound
	of := func(c ...analysis.Change) []analysis.Change { return c }
	counter := 0
	return []fault{
		{"number becomes a string", onBody("get", func(b map[string]any) { b["total"] = fmt.Sprint(b["total"]) }), response, "response.body.total", of(analysis.ChangeType)},
		{"string becomes a number", onBody("get", set("currency", 978)), response, "response.body.currency", of(analysis.ChangeType)},
		{"list becomes an object", onBody("get", func(b map[string]any) { b["items"] = map[string]any{"0": b["items"]} }), response, "response.body.items", of(analysis.ChangeType)},
		{"value becomes null", onBody("create", set("currency", nil)), response, "response.body.currency", of(analysis.ChangeType)},
		{"id becomes a number", onBody("list", func(b map[string]any) {
			for i := range b["orders"].([]any) {
				b["orders"].([]any)[i].(map[string]any)["id"] = i
			}
		}), response, "response.body.orders[].id", of(analysis.ChangeType)},
		{"field missing", onBody("get", func(b map[string]any) { delete(b, "currency") }), response, "response.body.currency", of(analysis.ChangeMissing)},
		{"noisy field missing", onBody("get", func(b map[string]any) { delete(b, "took_us") }), response, "response.body.took_us", of(analysis.ChangeMissing)},
		{"field missing deep in a list", onBody("products", func(b map[string]any) { delete(first(b, "products"), "price") }), response, "response.body.products[].price", of(analysis.ChangeMissing)},
		{"field added", onBody("get", set("internal", true)), response, "response.body.internal", of(analysis.ChangeExtra)},
		{"field added deep in a list", onBody("products", func(b map[string]any) { first(b, "products")["cost"] = 1 }), response, "response.body.products[].cost", of(analysis.ChangeExtra)},
		{"off by one", onBody("get", func(b map[string]any) { b["total"] = b["total"].(int64) + 1 }), response, "response.body.total", of(analysis.ChangeValue)},
		{"sign", onBody("get", func(b map[string]any) { b["total"] = -b["total"].(int64) }), response, "response.body.total", of(analysis.ChangeValue)},
		{"unit", onBody("get", func(b map[string]any) { b["total"] = b["total"].(int64) / 100 }), response, "response.body.total", of(analysis.ChangeValue)},
		{"precision", onBody("products", func(b map[string]any) { first(b, "products")["price"] = 100.00000001 }), response, "response.body.products[].price", of(analysis.ChangeValue)},
		{"last element lost", onBody("products", func(b map[string]any) { b["products"] = b["products"].([]any)[:19] }), response, "response.body.products", of(analysis.ChangeLength)},
		{"first element lost", onBody("products", func(b map[string]any) { b["products"] = b["products"].([]any)[1:] }), response, "response.body.products", of(analysis.ChangeLength)},
		{"element doubled", onBody("products", func(b map[string]any) { l := b["products"].([]any); b["products"] = append(l, l[0]) }), response, "response.body.products", of(analysis.ChangeLength)},
		{"list emptied", onBody("products", set("products", []any{})), response, "response.body.products", of(analysis.ChangeLength)},
		{"list reversed", onBody("products", func(b map[string]any) { slices.Reverse(b["products"].([]any)) }), response, "response.body.products", of(analysis.ChangeOrder)},
		{"two elements swapped", onBody("products", func(b map[string]any) { l := b["products"].([]any); l[3], l[4] = l[4], l[3] }), response, "response.body.products", of(analysis.ChangeOrder)},
		{"trailing space", onBody("get", set("currency", "EUR ")), response, "response.body.currency", of(analysis.ChangeValue)},
		{"case", onBody("get", set("currency", "eur")), response, "response.body.currency", of(analysis.ChangeValue)},
		{"encoding", onBody("get", set("currency", "EUR\u00c3\u00a9")), response, "response.body.currency", of(analysis.ChangeValue)},
		{"state", onBody("get", set("state", "pending")), response, "response.body.state", of(analysis.ChangeValue)},
		{"count", onBody("list", func(b map[string]any) { b["count"] = b["count"].(int) + 1 }), response, "response.body.count", of(analysis.ChangeValue)},
		{"noisy number negative", onBody("get", set("took_us", -5)), response, "response.body.took_us", of(analysis.ChangeClass)},
		{"noisy number of another form", onBody("get", set("took_us", 1.5)), response, "response.body.took_us", of(analysis.ChangeClass, analysis.ChangeValue)},
		{"local time", miniature.Faults{Created: func(t time.Time) string { return t.In(time.FixedZone("CET", 3600)).Format(time.RFC3339Nano) }}, response, "response.body.created_at", of(analysis.ChangeClass)},
		{"an hour off", miniature.Faults{Created: func(t time.Time) string { return t.Add(time.Hour).UTC().Format(time.RFC3339Nano) }}, response, "response.body.created_at", of(analysis.ChangeClass)},
		{"a day off", miniature.Faults{Created: func(t time.Time) string { return t.AddDate(0, 0, -1).UTC().Format(time.RFC3339Nano) }}, response, "response.body.created_at", of(analysis.ChangeClass)},
		{"constant time", miniature.Faults{Created: func(time.Time) string { return "0001-01-01T00:00:00Z" }}, response, "response.body.created_at", of(analysis.ChangeClass)},
		{"time as a date", miniature.Faults{Created: func(t time.Time) string { return t.Format(time.DateOnly) }}, response, "response.body.created_at", of(analysis.ChangeClass)},
		{"constant id", miniature.Faults{ID: func() string { return "5c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11" }}, response, "response.body.id", of(analysis.ChangeClass)},
		{"empty id", onBody("create", set("id", "")), response, "response.body.id", of(analysis.ChangeClass)},
		{"sequential id", miniature.Faults{ID: func() string { counter++; return fmt.Sprint(counter) }}, response, "response.body.id", of(analysis.ChangeClass)},
		{"id in capitals", onBody("create", func(b map[string]any) { b["id"] = strings.ToUpper(b["id"].(string)) }), response, "response.body.id", of(analysis.ChangeClass)},
		{"header lost", onAnswer("get", func(r *traffic.Response) { r.Header.Del("X-Request-Id") }), response, "response.header.X-Request-Id", of(analysis.ChangeMissing)},
		{"header changed", onAnswer("products", func(r *traffic.Response) { r.Header.Set("Content-Type", "text/json") }), response, "response.header.Content-Type", of(analysis.ChangeValue)},
		{"header added", onAnswer("get", func(r *traffic.Response) { r.Header.Add("X-Debug", "1") }), response, "response.header.X-Debug", of(analysis.ChangeExtra)},
		{"header constant", onAnswer("get", func(r *traffic.Response) { r.Header.Set("X-Request-Id", "5c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11") }), response, "response.header.X-Request-Id", of(analysis.ChangeClass)},
		{"cookie flag", onAnswer("get", func(r *traffic.Response) {
			r.Header.Set("Set-Cookie", strings.Replace(r.Header.Get("Set-Cookie"), "; HttpOnly", "", 1))
		}), response, "response.cookie.sid.httponly", of(analysis.ChangeMissing)},
		{"cookie path", onAnswer("get", func(r *traffic.Response) {
			r.Header.Set("Set-Cookie", strings.Replace(r.Header.Get("Set-Cookie"), "Path=/", "Path=/v1", 1))
		}), response, "response.cookie.sid.path", of(analysis.ChangeValue)},
		{"cookie constant", onAnswer("get", func(r *traffic.Response) {
			r.Header.Set("Set-Cookie", "sid=5c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11; Path=/; HttpOnly")
		}), response, "response.cookie.sid", of(analysis.ChangeClass)},
		{"status", onAnswer("get", func(r *traffic.Response) { r.Status = 203 }), response, "response.status", of(analysis.ChangeStatus)},
		{"error on one input", miniature.Faults{Fails: func(sku string) bool { return sku == "SKU-004" }}, response, "response.status", of(analysis.ChangeStatus)},
		{"error swallowed", onAnswer("create", func(r *traffic.Response) { r.Status = 200 }), response, "response.status", of(analysis.ChangeStatus)},
		{"body lost", onAnswer("products", func(r *traffic.Response) { r.Body = traffic.NewBody(nil, r.Header) }), response, "response.body", of(analysis.ChangeMissing)},
		{"body cut short", onAnswer("products", func(r *traffic.Response) { r.Body = traffic.NewBody(r.Body.Raw[:100], r.Header) }), response, "response.body", of(analysis.ChangeType)},
		{"lost call", miniature.Faults{LostCall: true}, outbound, charges, of(analysis.ChangeMissingCall)},
		{"repeated call", miniature.Faults{NPlusOne: 3}, outbound, stock, of(analysis.ChangeRepeatedCall)},
		{"batch undone", miniature.Faults{Batch: true}, outbound, stock, of(analysis.ChangeRepeatedCall)},
		{"new host", miniature.Faults{NewHost: true}, outbound, "POST fraud.example/v1/score", of(analysis.ChangeNewCall)},
		{"changed amount", miniature.Faults{Amount: 100}, outbound, charges, of(analysis.ChangeChangedCall)},
		{"argument lost", onCall("reservations", func(v map[string]any) { delete(v, "quantity") }), outbound, reserve, of(analysis.ChangeChangedCall)},
		{"argument of another type", onCall("reservations", func(v map[string]any) { v["quantity"] = fmt.Sprint(v["quantity"]) }), outbound, reserve, of(analysis.ChangeChangedCall)},
		{"constant id in a call", onCall("charges", func(v map[string]any) { v["order_id"] = "5c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11" }), outbound, charges, of(analysis.ChangeClass, analysis.ChangeChangedCall)},
		{"writes in another order", miniature.Faults{Reorder: true}, outbound, charges, of(analysis.ChangeReordered)},
		{"crash", miniature.Faults{CrashAt: 20}, analysis.KindCrash, "response", of(analysis.ChangeCrash)},
	}
}

// harmless are changes that must not be reported.
func harmless() []fault {
	answer := func(name string, change func(r *traffic.Response)) fault {
		return fault{name: name, faults: miniature.Faults{Answer: func(_ string, r *traffic.Response) { change(r) }}}
	}
	rewrite := func(name string, change func([]byte) []byte) fault {
		return answer(name, func(r *traffic.Response) {
			r.Body = traffic.NewBody(change(r.Body.Raw), r.Header)
			r.Header.Set("Content-Length", fmt.Sprint(len(r.Body.Raw)))
		})
	}
	header := func(name, value string) func(r *traffic.Response) {
		return func(r *traffic.Response) { r.Header.Set(name, value) }
	}
	call := func(name string, change func(q *traffic.Request)) fault {
		return fault{name: name, faults: miniature.Faults{Call: change}}
	}
	return []fault{
		{name: "nothing"},
		rewrite("indented JSON", func(b []byte) []byte {
			var out bytes.Buffer
			if json.Indent(&out, b, "", "  ") != nil {
				return b
			}
			return out.Bytes()
		}),
		rewrite("newline at the end", func(b []byte) []byte { return append(slices.Clone(b), '\n') }),
		rewrite("keys in another order", reverseKeys),
		rewrite("numbers in another spelling", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"quantity":1}`), []byte(`"quantity":1.0}`)) }),
		rewrite("strings in another spelling", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("EUR"), []byte(`\u0045UR`)) }),
		rewrite("escaped slashes", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("/"), []byte(`\/`)) }),
		answer("headers in another order", func(r *traffic.Response) { slices.Reverse(r.Header) }),
		answer("header names in small letters", func(r *traffic.Response) {
			for i := range r.Header {
				r.Header[i].Name = strings.ToLower(r.Header[i].Name)
			}
		}),
		answer("no announced length", func(r *traffic.Response) { r.Header.Del("Content-Length") }),
		answer("chunked", func(r *traffic.Response) {
			r.Header.Del("Content-Length")
			r.Header.Add("Transfer-Encoding", "chunked")
		}),
		answer("connection closed", header("Connection", "close")),
		answer("kept alive", header("Keep-Alive", "timeout=5")),
		answer("a clock that is seconds off", header("Date", "Mon, 23 Nov 2026 08:00:59 GMT")),
		answer("media type in capitals", header("Content-Type", "Application/JSON")),
		answer("spaces in a header", func(r *traffic.Response) {
			for i := range r.Header {
				r.Header[i].Value += " "
			}
		}),
		answer("cookie attributes in another order", func(r *traffic.Response) {
			name, _, _ := strings.Cut(r.Header.Get("Set-Cookie"), ";")
			r.Header.Set("Set-Cookie", name+"; httponly; path=/")
		}),
		answer("HTTP/2", func(r *traffic.Response) { r.Proto = "HTTP/2.0" }),
		call("another client library", func(q *traffic.Request) { q.Header.Set("User-Agent", "new/2") }),
		call("call headers in another order", func(q *traffic.Request) { slices.Reverse(q.Header) }),
		call("accepted codings", func(q *traffic.Request) { q.Header.Set("Accept-Encoding", "br") }),
		call("more tracing", func(q *traffic.Request) { q.Header.Add("tracestate", "a=b") }),
		call("call body in another spelling", func(q *traffic.Request) { q.Body.Raw = reverseKeys(q.Body.Raw) }),
	}
}

// reverseKeys writes a JSON document with the members of its top object in the
// opposite order.
func reverseKeys(b []byte) []byte {
	var v map[string]json.RawMessage
	if json.Unmarshal(b, &v) != nil {
		return b
	}
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Reverse(names)
	out := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, fmt.Sprintf("%q", name)...), ':'), v[name]...)
	}
	return append(out, '}')
}
