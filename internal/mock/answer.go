package mock

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// StatusMiss is the status of the answer to a call that nothing recorded
// answers. No server in use sends it.
const StatusMiss = 599

// MissHeader names a miss in the answer to it; its value is the id of the call
// in the journal.
const MissHeader = "X-Reprise-Miss"

// respond answers a decided call and completes its journal entry.
func (m *Mock) respond(w http.ResponseWriter, r *http.Request, rec *record, o outcome, began time.Time) {
	if o.entry == none {
		response := missResponse(rec.x)
		err := m.write(w, r, response, false)
		rec.finish(response, failureOf(err), time.Since(began), time.Since(began))
		return
	}
	recorded := m.index.entries[o.entry].x
	scale := m.scale(rec.x.Match.Pass)
	if recorded.Response == nil {
		m.wait(r.Context(), began, scale, recorded.Duration)
		rec.finish(nil, recorded.Failure, 0, time.Since(began))
		abort(w)
		return
	}
	response := fit(recorded, &rec.x.Request)
	if err := m.wait(r.Context(), began, scale, recorded.FirstByte); err != nil {
		rec.finish(nil, traffic.FailureReset, 0, time.Since(began))
		panic(http.ErrAbortHandler)
	}
	first := time.Since(began)
	headed := m.pace(w, r, response, recorded, scale, began)
	err := m.write(w, r, response, headed)
	rec.finish(response, failureOf(err), first, time.Since(began))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// scale returns by what the recorded latency is multiplied in a pass.
func (m *Mock) scale(pass uint32) float64 {
	if pass < 2 && !m.opts.Latency.EveryPass {
		return 0
	}
	return m.opts.Latency.Scale
}

func (m *Mock) wait(ctx context.Context, began time.Time, scale float64, recorded time.Duration) error {
	if scale == 0 || recorded <= 0 {
		return nil
	}
	return m.waiter.Until(ctx, began.Add(time.Duration(scale*float64(recorded))))
}

// pace sends the head of a response when the recorded one was, and waits until
// its end is due. Differences below a millisecond are not worth two packets:
// both are waited for before the head. It reports whether the head was sent.
func (m *Mock) pace(w http.ResponseWriter, r *http.Request, response *traffic.Response, recorded *traffic.Exchange, scale float64, began time.Time) (headed bool) {
	if scale == 0 || recorded.Duration <= recorded.FirstByte || !sendable(response) {
		return false
	}
	if time.Duration(scale*float64(recorded.Duration-recorded.FirstByte)) >= time.Millisecond {
		m.head(w, r, response)
		http.NewResponseController(w).Flush() // a caller that left shows at the next write
		headed = true
	}
	m.wait(r.Context(), began, scale, recorded.Duration) // as above
	return headed
}

// sendable reports whether a response has a final status.
func sendable(response *traffic.Response) bool {
	return response.Status >= 200 && response.Status <= 999
}

// failureOf says how the end of a response looked to its caller.
func failureOf(err error) traffic.Failure {
	if err != nil {
		return traffic.FailureReset
	}
	return traffic.FailureNone
}

// abort ends a call as the recorded one ended: without an answer.
func abort(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		reset(c)
		return
	}
	panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
}

// reset closes a connection so that its peer sees a reset, where TCP allows.
func reset(c net.Conn) {
	inner := c
	if t, ok := inner.(*tls.Conn); ok {
		inner = t.NetConn()
	}
	if sniffed, ok := inner.(*conn); ok {
		inner = sniffed.Conn
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		tcp.SetLinger(0) // the close below matters more
	}
	inner.Close()
}

// fit returns the recorded response as this caller can read it: as it is,
// unless the caller accepts no coded content and the recorded one did.
func fit(recorded *traffic.Exchange, live *traffic.Request) *traffic.Response {
	response := recorded.Response
	if response.Body.Coding == "" || accepts(live.Header, recorded.Request.Header, response.Body.Coding) {
		return response
	}
	plain, err := response.Body.Decoded()
	if err != nil {
		return response
	}
	fitted := *response
	fitted.Header = response.Header.Clone()
	fitted.Header.Del("Content-Encoding")
	if fitted.Header.Has("Content-Length") && live.Method != http.MethodHead {
		fitted.Header.Set("Content-Length", strconv.Itoa(len(plain)))
	}
	fitted.Body = traffic.Body{Raw: plain, Size: int64(len(plain))}
	return &fitted
}

// accepts reports whether a caller takes a content coding. A caller that does
// not say takes what it took when it was recorded.
func accepts(live, recorded traffic.Header, coding string) bool {
	if !live.Has("Accept-Encoding") {
		return !recorded.Has("Accept-Encoding")
	}
	offered := map[string]bool{}
	for _, value := range live.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(value, ",") {
			name, q, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(item, " ", "")), ";")
			offered[name] = strings.Trim(strings.TrimPrefix(q, "q="), "0.") != "" || q == ""
		}
	}
	for c := range strings.SplitSeq(coding, ",") {
		c = strings.TrimPrefix(strings.TrimSpace(c), "x-")
		ok, named := offered[c]
		if !named {
			ok = offered["*"]
		}
		if !ok {
			return false
		}
	}
	return true
}

// head writes status and header fields. Fields that belong to a connection
// are left to this one; Date and Content-Type are as recorded or absent.
func (m *Mock) head(w http.ResponseWriter, r *http.Request, response *traffic.Response) {
	h := w.Header()
	for _, f := range response.Header.WithoutHopByHop() {
		if strings.HasPrefix(f.Name, ":") {
			continue
		}
		h.Add(f.Name, f.Value)
	}
	for _, name := range []string{"Date", "Content-Type"} {
		if len(h.Values(name)) == 0 {
			h[name] = nil
		}
	}
	bodiless := r.Method == http.MethodHead || response.Status == http.StatusNotModified
	if h.Get("Content-Length") != "" && !bodiless { // redaction may have changed the length
		h.Set("Content-Length", strconv.Itoa(len(response.Body.Raw)))
	}
	if len(response.Trailer) > 0 && r.ProtoMajor < 2 {
		h.Del("Content-Length") // trailers need chunks
		for _, name := range response.Trailer.Names() {
			h.Add("Trailer", name)
		}
	}
	w.WriteHeader(response.Status)
}

// write sends a response, from its body on if the head was sent already. The
// error says that the caller did not get it.
func (m *Mock) write(w http.ResponseWriter, r *http.Request, response *traffic.Response, headed bool) error {
	if !sendable(response) {
		response = plainResponse(http.StatusBadGateway, fmt.Sprintf("the recorded status %d cannot be sent\n", response.Status))
	}
	if !headed {
		m.head(w, r, response)
	}
	if r.Method != http.MethodHead && response.Status != http.StatusNoContent && response.Status != http.StatusNotModified {
		if chunked := !response.Header.Has("Content-Length") || len(response.Trailer) > 0; chunked {
			// Sending the head first keeps the server from adding a length.
			if err := http.NewResponseController(w).Flush(); err != nil {
				return fmt.Errorf("write the answer: %w", err)
			}
		}
		if _, err := w.Write(response.Body.Raw); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	}
	for _, f := range response.Trailer {
		if r.ProtoMajor >= 2 {
			w.Header().Add(http.TrailerPrefix+f.Name, f.Value)
		} else {
			w.Header().Add(f.Name, f.Value)
		}
	}
	return nil
}

// missResponse explains a miss to whoever reads the answer.
func missResponse(x *traffic.Exchange) *traffic.Response {
	body, err := json.Marshal(map[string]string{
		"error":  "reprise: no recorded call answers this one",
		"miss":   x.ID,
		"call":   x.Request.Method + " " + x.Request.URL(),
		"lane":   string(x.Lane),
		"reason": x.Match.Reason,
		"hint":   "run: reprise explain " + x.ID,
	})
	if err != nil { // maps of strings always encode
		body = []byte("{}")
	}
	response := plainResponse(StatusMiss, string(body)+"\n")
	response.Header.Set("Content-Type", "application/json")
	response.Header.Add(MissHeader, x.ID)
	return response
}

func plainResponse(status int, body string) *traffic.Response {
	return &traffic.Response{
		Status: status, Proto: "HTTP/1.1",
		Header: traffic.Header{{Name: "Content-Type", Value: "text/plain; charset=utf-8"}, {Name: "Content-Length", Value: strconv.Itoa(len(body))}},
		Body:   traffic.Body{Raw: []byte(body), Size: int64(len(body))},
	}
}
