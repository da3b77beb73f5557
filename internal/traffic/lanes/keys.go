// Package lanes knows by what an outbound call shows to which inbound request
// it belongs: ids that are passed on, and values that come from somewhere.
package lanes

import (
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Keys returns what a request carries to say which trace or request it
// belongs to, the surest first: W3C trace context, B3 in both forms, the ids
// of Jaeger, AWS and Google, request ids, and the members of baggage. Keys of
// different headers that hold the same trace id are equal, since tracers
// translate between them.
func Keys(h traffic.Header) []string {
	var keys []string
	add := func(kind, value string) {
		if value = strings.TrimSpace(value); value != "" && len(value) <= 512 {
			keys = append(keys, kind+strings.ToLower(value))
		}
	}
	trace := func(id string) {
		if id = strings.TrimSpace(id); isTraceID(id) {
			add("trace:", strings.Repeat("0", 32-len(id))+id)
		}
	}
	if parts := strings.Split(h.Get("Traceparent"), "-"); len(parts) >= 4 && len(strings.TrimSpace(parts[0])) == 2 {
		trace(parts[1])
	}
	if id, _, ok := strings.Cut(h.Get("B3"), "-"); ok {
		trace(id)
	}
	trace(h.Get("X-B3-TraceId"))
	if id, _, ok := strings.Cut(h.Get("Uber-Trace-Id"), ":"); ok {
		trace(id)
	}
	for part := range strings.SplitSeq(h.Get("X-Amzn-Trace-Id"), ";") {
		if root, ok := strings.CutPrefix(strings.TrimSpace(part), "Root="); ok {
			add("amzn:", root)
		}
	}
	if id, _, ok := strings.Cut(h.Get("X-Cloud-Trace-Context"), "/"); ok {
		trace(id)
	}
	for _, name := range []string{"X-Request-Id", "X-Correlation-Id", "Request-Id"} {
		add("request:", h.Get(name))
	}
	for _, v := range h.Values("Baggage") {
		for member := range strings.SplitSeq(v, ",") {
			member, _, _ = strings.Cut(member, ";") // properties may change on the way
			add("baggage:", member)
		}
	}
	return keys
}

// isTraceID accepts 1 to 32 hexadecimal digits that are not all zero.
func isTraceID(id string) bool {
	if id == "" || len(id) > 32 || strings.Trim(id, "0") == "" {
		return false
	}
	return strings.Trim(strings.ToLower(id), "0123456789abcdef") == ""
}
