package mock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// grpcUnimplemented is the status by which a miss answers over gRPC: clients do
// not try again after it, and no working dependency sends it.
const grpcUnimplemented = "12"

// isGRPC reports whether a media type is that of native gRPC.
func isGRPC(media string) bool {
	return media == "application/grpc" || strings.HasPrefix(media, "application/grpc+")
}

// grpcMiss is a miss in the words of gRPC: an answer of trailers only.
func grpcMiss(x *traffic.Exchange) *traffic.Response {
	message := fmt.Sprintf("reprise: no recorded call answers this one (%s): %s", x.ID, x.Match.Reason)
	return &traffic.Response{Status: 200, Proto: "HTTP/2.0", Header: traffic.Header{
		{Name: "Content-Type", Value: "application/grpc"}, {Name: "Grpc-Status", Value: grpcUnimplemented},
		{Name: "Grpc-Message", Value: percent(message)}, {Name: MissHeader, Value: x.ID},
	}}
}

// percent encodes a message for grpc-message.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// inflow is a request body that arrives while the answer is under way.
type inflow struct {
	mu    sync.Mutex
	data  []byte
	ended bool
	err   error
	news  chan struct{} // holds one token when something arrived
}

// flow reads body to its end, or to the limit, in a goroutine.
func flow(body io.Reader, limit int64) *inflow {
	in := &inflow{news: make(chan struct{}, 1)}
	go func() {
		buffer := make([]byte, 16<<10)
		for done := false; !done; {
			n, err := body.Read(buffer)
			in.mu.Lock()
			in.data = append(in.data, buffer[:n]...)
			if err == nil && int64(len(in.data)) > limit {
				err = tooLarge(limit)
			}
			if done = err != nil; done {
				if in.ended = true; err != io.EOF {
					in.err = err
				}
			}
			in.mu.Unlock()
			select {
			case in.news <- struct{}{}:
			default:
			}
		}
	}()
	return in
}

// so returns what arrived so far. The caller must not change it.
func (in *inflow) so() (data []byte, ended bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.data[:len(in.data):len(in.data)], in.ended, in.err
}

// wait returns when something arrived. It reports waits when nothing did for
// the time of a stall.
func (in *inflow) wait(ctx context.Context, stall time.Duration) (waits bool, err error) {
	timer := time.NewTimer(stall)
	defer timer.Stop()
	select {
	case <-in.news:
		return false, nil
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// serveGRPC serves a call of gRPC. Most are answered when the request has
// ended. A client that stops in the middle of its stream waits for an answer
// to what it has sent: then the recorded call that began with the same message
// is played.
func (h *http2Call) serveGRPC(start time.Time) error {
	in := flow(h.r.Body, h.mock.opts.MaxBody)
	req := h.head()
	tried := false
	for {
		data, ended, err := in.so()
		if err != nil {
			return err
		}
		if ended {
			req.Body = traffic.NewBody(data, req.Header)
			req.Trailer = traffic.HeaderFrom(h.r.Trailer)
			rec, o := h.mock.decide(req, arrival{connection: h.conn.id, start: start})
			return h.mock.respond(h, rec, o, start)
		}
		waits, err := in.wait(h.r.Context(), stall)
		if err != nil {
			return err
		}
		if first, _, ok := nextGRPC(data); ok && waits && !tried {
			tried = true
			opening := *req
			opening.Body = traffic.NewBody(bytes.Clone(first.frame), req.Header)
			if c := h.mock.index.newOpening(&opening); c != nil {
				rec, o := h.mock.decideCall(c, arrival{connection: h.conn.id, start: start})
				return h.converse(rec, o, in, start)
			}
		}
	}
}

// converse plays a recorded stream against a live one.
func (h *http2Call) converse(rec *record, o outcome, in *inflow, began time.Time) (err error) {
	if o.entry == none {
		return h.mock.respond(h, rec, o, began)
	}
	recorded := h.mock.index.response(o.entry)
	if recorded == nil {
		return h.mock.respond(h, rec, o, began)
	}
	request, took := h.mock.index.request(o.entry), h.mock.index.times(o.entry)
	asked, _ := splitGRPC(request.Body.Raw)
	pieces := piecesOf(recorded)
	if len(recorded.Body.Raw) == 0 {
		pieces = nil
	}
	play := newScript(len(asked), pieces, request.Body, recorded.Body, took, o.tempo)
	defer func() {
		data, _, _ := in.so()
		rec.heard(data)
		rec.finish(recorded, failureOf(err), h.mock.since(began), h.mock.since(began))
	}()
	if err := h.begin(&rec.x.Request, recorded); err != nil {
		return err
	}
	if err := h.flush(); err != nil {
		return err
	}
	for waits := false; ; {
		data, ended, err := in.so()
		if err != nil {
			return err
		}
		said, _ := splitGRPC(data)
		pieces := play.due(len(said), waits)
		if ended {
			pieces = append(pieces, play.rest()...)
		}
		if err := h.say(pieces); err != nil {
			return err
		}
		if ended || play.sent == len(play.pieces) && len(said) >= play.client {
			return h.conclude(recorded, took, began)
		}
		if waits, err = in.wait(h.r.Context(), play.patience()); err != nil {
			return err
		}
	}
}

// conclude ends a conversation as it ended when it was recorded. Where it broke
// off, it was the client, as a rule, that had heard enough: it gets the time to
// say so again.
func (h *http2Call) conclude(recorded *traffic.Response, took times, began time.Time) error {
	if !brokeOff(recorded) {
		return h.end(recorded)
	}
	h.mock.wait(h.r.Context(), began, patience(took.last))
	return errAborted
}

func (h *http2Call) say(lines []line) error {
	for _, l := range lines {
		if l.pause > 0 {
			if err := h.flush(); err != nil {
				return err
			}
		}
		if err := h.mock.wait(h.r.Context(), h.mock.opts.Now(), l.pause); err != nil {
			return err
		}
		if err := h.write(l.text); err != nil {
			return err
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return h.flush()
}
