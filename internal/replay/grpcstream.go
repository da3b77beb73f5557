package replay

import (
	"context"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// grpcMessages cuts a body into its messages, each with its head. What is left
// of one that was cut off is a part of the last.
func grpcMessages(raw []byte) [][]byte {
	var all [][]byte
	for len(raw) > 0 {
		n := uint64(len(raw))
		if len(raw) >= 5 {
			n = min(n, 5+uint64(binary.BigEndian.Uint32(raw[1:])))
		}
		all, raw = append(all, raw[:n]), raw[n:]
	}
	return all
}

// grpcStream is a gRPC call under way whose client says several messages: each in
// its turn. It is the body of the request, and counts what comes as the answer.
type grpcStream struct {
	engine *Engine
	ctx    context.Context
	said   [][]byte
	turns  []messages.Turn // of each, and of the end
	next   int             // of said
	rest   []byte          // of the message that is being read
	// bind puts live values of the answer so far into a message; nil binds none.
	bind func(n int, said []byte, live [][]byte) []byte

	mu     sync.Mutex
	came   messages.Times
	answer []byte        // all of it so far, where bind needs it
	news   chan struct{} // holds one token when something came
}

// streamOf returns the stream that a call has to be sent as, or nil when its
// messages can go out at once.
func (e *Engine) streamOf(ctx context.Context, recorded *traffic.Exchange, out *traffic.Request, rw Rewriter, pace float64) *grpcStream {
	if recorded.Response == nil || len(recorded.Request.Body.Times) == 0 || !strings.HasPrefix(traffic.MediaType(out.Header), "application/grpc") {
		return nil
	}
	said := grpcMessages(out.Body.Raw)
	turns := e.turns(len(said), len(grpcMessages(recorded.Response.Body.Raw)), recorded, pace)
	if len(said) < 2 && turns[len(said)].After == 0 {
		return nil
	}
	s := &grpcStream{
		engine: e, ctx: ctx, said: said, turns: turns, came: messages.Times{Kind: messages.GRPC}, news: make(chan struct{}, 1),
	}
	if binds, ok := rw.(talker); ok {
		s.bind = func(n int, said []byte, live [][]byte) []byte { return binds.Message(recorded, n, said, live) }
	}
	return s
}

// Read implements io.Reader: it gives each message when its turn has come, and
// the end likewise.
func (s *grpcStream) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.next > len(s.said) {
			return 0, io.EOF
		}
		if err := s.await(s.turns[s.next]); err != nil {
			return 0, err
		}
		s.next++
		if s.next > len(s.said) {
			return 0, io.EOF
		}
		if s.rest = s.said[s.next-1]; s.bind != nil {
			s.rest = s.bind(s.next-1, s.rest, s.live())
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// await returns when a turn has come, or when the server says less than it did.
func (s *grpcStream) await(t messages.Turn) error {
	patience := time.NewTimer(wsPatience)
	defer patience.Stop()
	for s.heard() < t.After {
		select {
		case <-s.news:
		case <-patience.C:
			return s.engine.pause(s.ctx, t.Pause)
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	return s.engine.pause(s.ctx, t.Pause)
}

func (s *grpcStream) heard() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.came.List())
}

// live returns the messages of the answer that have come as a whole.
func (s *grpcStream) live() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := grpcMessages(s.answer)
	return all[:min(len(all), len(s.came.List()))]
}

// hear notes what comes of the answer.
func (s *grpcStream) hear(answer io.Reader) io.Reader { return io.TeeReader(answer, (*ear)(s)) }

// ear is the side of a stream that hears.
type ear grpcStream

func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	e.came.Add(p, 0)
	if e.bind != nil {
		e.answer = append(e.answer, p...) // no more than the limit of a body
	}
	e.mu.Unlock()
	select {
	case e.news <- struct{}{}:
	default:
	}
	return len(p), nil
}
