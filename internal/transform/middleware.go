package transform

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Middleware lets another program change requests, by the protocol of
// GoReplay's middleware: each message is one line of hexadecimal, which holds a
// header line "<type> <id> <nanoseconds> <latency>" and an HTTP message. The
// program gets requests (type 1), recorded answers (2) and live answers (3), and
// returns requests, changed or not. It is for what rules cannot say.
//
// The program sees a request after the rewriter that Middleware wraps. One
// Middleware serves one arm; it is safe for concurrent use.
type Middleware struct {
	*Rewriter
	patience time.Duration
	lines    chan []byte
	closing  sync.Once
	quit     chan struct{} // Close was called
	done     chan struct{} // the program's output ended

	mu      sync.Mutex
	waiting map[string]chan *traffic.Request
	left    atomic.Int64
}

// The types of messages.
const (
	middlewareRequest  = '1'
	middlewareRecorded = '2'
	middlewareLive     = '3'
)

// maxLine bounds one line of a program: twice the largest body that is looked
// into, in hexadecimal.
const maxLine = 4*maxBody + 1<<20

// NewMiddleware wraps rw by a program that reads from stdin and writes to
// stdout. A request that the program does not return within patience goes out
// as rw made it. The caller starts and ends the program, and calls Close.
func NewMiddleware(rw *Rewriter, stdin io.Writer, stdout io.Reader, patience time.Duration) *Middleware {
	m := &Middleware{
		Rewriter: rw, patience: patience, lines: make(chan []byte, 256),
		quit: make(chan struct{}), done: make(chan struct{}),
		waiting: make(map[string]chan *traffic.Request),
	}
	go m.write(stdin)
	go m.read(stdout)
	return m
}

// write hands lines to the program until Close. When the program is gone, it
// drops them, so that nobody waits for room.
func (m *Middleware) write(stdin io.Writer) {
	var gone error
	for {
		select {
		case line := <-m.lines:
			if gone == nil {
				_, gone = stdin.Write(line)
			}
		case <-m.quit:
			return
		}
	}
}

// Close sends nothing more; requests go out unchanged from then on. It does not end the program; its output is read
// until it ends.
func (m *Middleware) Close() { m.closing.Do(func() { close(m.quit) }) }

// Left returns how many requests went out unchanged because the program did not
// return them in time or returned what is no request.
func (m *Middleware) Left() int64 { return m.left.Load() }

// Request returns what the program makes of what the rewriter makes of a
// recorded request.
func (m *Middleware) Request(recorded *traffic.Exchange) *traffic.Request {
	req := m.Rewriter.Request(recorded)
	answer := make(chan *traffic.Request, 1)
	m.mu.Lock()
	m.waiting[recorded.ID] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.waiting, recorded.ID)
		m.mu.Unlock()
	}()
	patience := time.NewTimer(m.patience)
	defer patience.Stop()
	select {
	case m.lines <- message(middlewareRequest, recorded.ID, recorded.Start, 0, requestText(req)):
	case <-patience.C:
		m.left.Add(1)
		return req
	case <-m.quit:
		m.left.Add(1)
		return req
	}
	select {
	case changed := <-answer:
		if changed != nil {
			changed.Scheme, changed.Authority, changed.Proto, changed.Trailer = req.Scheme, req.Authority, req.Proto, req.Trailer
			return changed
		}
	case <-patience.C:
	case <-m.done:
	case <-m.quit:
	}
	m.left.Add(1)
	return req
}

// Observe shows both answers to the program, too.
func (m *Middleware) Observe(recorded, live *traffic.Exchange) []traffic.Binding {
	for _, x := range []struct {
		kind byte
		x    *traffic.Exchange
	}{{middlewareRecorded, recorded}, {middlewareLive, live}} {
		if x.x.Response == nil {
			continue
		}
		select {
		case m.lines <- message(x.kind, recorded.ID, x.x.Start, x.x.Duration, responseText(x.x.Response)):
		default: // answers are for information: a slow program misses some
		}
	}
	return m.Rewriter.Observe(recorded, live)
}

func message(kind byte, id string, at time.Time, latency time.Duration, text []byte) []byte {
	head := fmt.Appendf(nil, "%c %s %d %d\n", kind, id, at.UnixNano(), latency.Nanoseconds())
	return append(hex.AppendEncode(nil, append(head, text...)), '\n')
}

func requestText(req *traffic.Request) []byte {
	out := fmt.Appendf(nil, "%s %s HTTP/1.1\r\n", req.Method, req.Target)
	if !req.Header.Has("Host") {
		out = fmt.Appendf(out, "Host: %s\r\n", req.Authority)
	}
	return appendMessage(out, req.Header, req.Body.Raw)
}

func responseText(resp *traffic.Response) []byte {
	return appendMessage(fmt.Appendf(nil, "HTTP/1.1 %d \r\n", resp.Status), resp.Header, resp.Body.Raw)
}

// appendMessage writes fields and body, framed by its length.
func appendMessage(out []byte, header traffic.Header, body []byte) []byte {
	sized := false
	for _, f := range header {
		switch {
		case strings.EqualFold(f.Name, "Transfer-Encoding"):
			continue
		case strings.EqualFold(f.Name, "Content-Length"):
			sized, f.Value = true, strconv.Itoa(len(body))
		}
		out = append(out, f.Name+": "+f.Value+"\r\n"...)
	}
	if !sized && len(body) > 0 {
		out = fmt.Appendf(out, "Content-Length: %d\r\n", len(body))
	}
	return append(append(out, '\r', '\n'), body...)
}

// read takes the lines of the program until its output ends.
func (m *Middleware) read(stdout io.Reader) {
	defer close(m.done)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		data, err := hex.DecodeString(strings.TrimSpace(lines.Text()))
		if err != nil {
			continue // a program may talk; what it says is not for us
		}
		head, text, _ := bytes.Cut(data, []byte{'\n'})
		fields := strings.Fields(string(head))
		if len(fields) < 2 || fields[0] != string(middlewareRequest) {
			continue
		}
		req, err := parseRequestText(text)
		if err != nil {
			req = nil
		}
		m.mu.Lock()
		if answer, ok := m.waiting[fields[1]]; ok {
			delete(m.waiting, fields[1])
			answer <- req
		}
		m.mu.Unlock()
	}
}

func parseRequestText(text []byte) (*traffic.Request, error) {
	head, body, ok := bytes.Cut(text, []byte("\r\n\r\n"))
	if !ok {
		return nil, errors.New("the headers do not end")
	}
	start, rest, _ := strings.Cut(string(head), "\r\n")
	parts := strings.Split(start, " ")
	if len(parts) != 3 {
		return nil, fmt.Errorf("request line %q", start)
	}
	req := &traffic.Request{Method: parts[0], Target: parts[1]}
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if line == "" {
			continue
		}
		if !ok || name == "" {
			return nil, fmt.Errorf("header line %q", line)
		}
		req.Header.Add(name, strings.TrimSpace(value))
	}
	req.Body = traffic.NewBody(bytes.Clone(body), req.Header)
	return req, nil
}
