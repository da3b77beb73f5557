package upstream

import (
	"context"
	"net/http"
)

// The headers of W3C trace context. The shop takes part in no tracing of its
// own: it passes on what it was given.
var traceHeaders = []string{"Traceparent", "Tracestate"}

type traceKey struct{}

// WithTrace returns a context whose calls carry the trace headers of r.
func WithTrace(ctx context.Context, r *http.Request) context.Context {
	trace := http.Header{}
	for _, name := range traceHeaders {
		if values := r.Header.Values(name); len(values) > 0 {
			trace[name] = values
		}
	}
	return context.WithValue(ctx, traceKey{}, trace)
}

func traceOf(ctx context.Context) http.Header {
	trace, _ := ctx.Value(traceKey{}).(http.Header)
	return trace
}
