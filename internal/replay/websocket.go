package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// overWebSocket reports whether an exchange became a WebSocket.
func overWebSocket(x *traffic.Exchange) bool {
	return x.Response != nil && x.Response.Status == http.StatusSwitchingProtocols && strings.EqualFold(x.Request.Header.Get("Upgrade"), "websocket")
}

// How long a conversation waits for what may not come: for the messages that
// the recorded server had sent by then, and for more than it sent in all.
const (
	wsPatience = time.Second
	wsLinger   = 50 * time.Millisecond
)

// webSocket holds a recorded conversation with t: the messages of the client in
// their turns, at a pace: 1 keeps the recorded distances. The answer ends with as many messages as were recorded,
// and a moment later, so that one too many is seen.
func (e *Engine) webSocket(ctx context.Context, t Target, recorded *traffic.Exchange, out *traffic.Request, rw Rewriter, pace float64) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	said, err := messagesOf(out.Body.Raw)
	if err != nil {
		return o, &requestError{err.Error()}
	}
	heard, err := messagesOf(recorded.Response.Body.Raw)
	if err != nil {
		return o, &requestError{err.Error()}
	}
	o.sent = time.Now()
	c, err := e.dialWebSocket(ctx, t, recorded, out, &o)
	if err != nil || c == nil {
		o.last = time.Now()
		return o, err
	}
	defer c.CloseNow()
	c.SetReadLimit(e.opts.MaxBody)
	talk := &conversation{engine: e, turns: e.turns(len(said), len(heard), recorded, pace), conn: c, wanted: len(heard), came: make(chan wsMessage, 64), limit: e.opts.MaxBody}
	if binds, ok := rw.(talker); ok {
		if len(recorded.Request.Body.Times) < len(said) { // else the turns tell
			talk.awaits = func(n int, said []byte) int { return binds.Awaits(recorded, n, said) }
		}
		talk.bind = func(n int, said []byte) []byte { return binds.Message(recorded, n, said, talk.texts) }
	}
	go talk.listen(ctx)
	err = talk.hold(ctx, said)
	o.last, o.answer.body, o.answer.size = talk.last, talk.body, int64(len(talk.body))
	o.answer.truncated = talk.truncated
	if o.last.IsZero() {
		o.last = time.Now()
	}
	if err != nil {
		return o, fmt.Errorf("%s at %s: WebSocket: %w", t.Arm, t.Addr, err)
	}
	c.Close(websocket.StatusNormalClosure, "")
	return o, nil
}

// dialWebSocket asks for the change of protocol. The connection is nil without
// an error when the server answered something else, which is then the answer.
func (e *Engine) dialWebSocket(ctx context.Context, t Target, recorded *traffic.Exchange, out *traffic.Request, o *outcome) (*websocket.Conn, error) {
	header := make(http.Header)
	for _, f := range out.Header {
		if !strings.EqualFold(f.Name, "Host") && !strings.EqualFold(f.Name, "Content-Length") && (len(f.Name) < 14 || !strings.EqualFold(f.Name[:14], "Sec-WebSocket-")) {
			header.Add(f.Name, f.Value)
		}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return e.dialRaw(ctx, t, "http/1.1") }
	transport := &http.Transport{DialContext: dial, DialTLSContext: dial, DisableCompression: true}
	defer transport.CloseIdleConnections()
	opts := &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader: header, Host: out.Authority, CompressionMode: websocket.CompressionDisabled,
	}
	for _, line := range recorded.Request.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			opts.Subprotocols = append(opts.Subprotocols, strings.TrimSpace(name))
		}
	}
	c, resp, err := websocket.Dial(ctx, out.Scheme+"://"+t.Addr+out.Target, opts)
	if resp != nil {
		o.first = time.Now()
		o.answer.status, o.answer.proto, o.answer.header = resp.StatusCode, "HTTP/1.1", traffic.HeaderFrom(resp.Header)
	}
	if err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", t.Arm, t.Addr, err)
	}
	return c, nil
}

// conversation is one WebSocket under way.
type conversation struct {
	engine *Engine
	turns  []messages.Turn
	conn   *websocket.Conn
	wanted int            // messages of the recorded server
	came   chan wsMessage // closed when no more come
	limit  int64
	err    error // why, once came is closed

	// bind, if not nil, puts live values into the n-th message of the client.
	bind func(n int, said []byte) []byte
	// awaits, if not nil, tells how many messages of the server the n-th message
	// of the client has values from.
	awaits func(n int, said []byte) int
	texts  [][]byte // what came; nil for what is no text

	got       int
	body      []byte // frames of what came
	last      time.Time
	truncated bool
}

func (c *conversation) listen(ctx context.Context) {
	defer close(c.came)
	for {
		kind, data, err := c.conn.Read(ctx)
		if err != nil {
			c.err = err
			return
		}
		select {
		case c.came <- wsMessage{kind, data}:
		case <-ctx.Done():
			c.err = ctx.Err()
			return
		}
	}
}

// hold says what the recorded client said and hears what the server answers.
func (c *conversation) hold(ctx context.Context, said []wsMessage) error {
	for k, m := range said {
		after := c.turns[k].After
		if c.awaits != nil && m.kind == websocket.MessageText {
			after = max(after, c.awaits(k, m.data))
		}
		ended, err := c.hear(ctx, after, wsPatience)
		if ended || err != nil {
			return err // the server closed, as its answer shows
		}
		if err := c.engine.pause(ctx, c.turns[k].Pause); err != nil {
			return err
		}
		if c.bind != nil && m.kind == websocket.MessageText {
			m.data = c.bind(k, m.data)
		}
		if err := c.conn.Write(ctx, m.kind, m.data); err != nil {
			if ended, _ := c.hear(ctx, c.wanted, wsLinger); ended {
				return nil
			}
			return err
		}
	}
	if ended, err := c.hear(ctx, c.wanted, 0); ended || err != nil {
		return err
	}
	_, err := c.hear(ctx, c.wanted+1, wsLinger)
	return err
}

// hear takes messages until n have come in all, or patience is over, which is
// no error; 0 is patience to the end of ctx, which is one. It reports the end of
// the conversation.
func (c *conversation) hear(ctx context.Context, n int, patience time.Duration) (ended bool, err error) {
	var over <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		over = timer.C
	}
	for c.got < n && !c.truncated {
		select {
		case m, ok := <-c.came:
			if !ok {
				return true, c.end(ctx)
			}
			c.got++
			c.hears(m)
			c.last = time.Now()
			if c.body = appendFrame(c.body, m); int64(len(c.body)) > c.limit {
				c.body, c.truncated = c.body[:c.limit], true
			}
		case <-over:
			return false, nil
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
	return c.truncated, nil
}

// hears keeps a message for the rewriter.
func (c *conversation) hears(m wsMessage) {
	if c.bind == nil {
		return
	}
	if m.kind != websocket.MessageText {
		m.data = nil
	}
	c.texts = append(c.texts, m.data)
}

// talker is a rewriter that also puts live values of a conversation into what
// its client says later in it.
type talker interface {
	Awaits(recorded *traffic.Exchange, n int, said []byte) int
	Message(recorded *traffic.Exchange, n int, said []byte, live [][]byte) []byte
}

// end returns why a conversation ended, unless the server closed it.
func (c *conversation) end(ctx context.Context) error {
	var closed websocket.CloseError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(c.err, &closed):
		return nil
	}
	return c.err
}
