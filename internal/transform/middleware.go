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

// Program is another program that changes requests, by the protocol of
// GoReplay's middleware: each message is one line of hexadecimal, which holds a
// header line "<type> <id> <nanoseconds> <latency>" and an HTTP message. The
// program gets requests (type 1), recorded answers (2) and live answers (3), and
// returns requests, changed or not. It is for what rules cannot say.
//
// One program may serve any number of rewriters; it is safe for concurrent use.
type Program struct {
	patience time.Duration
	lines    chan []byte
	closing  sync.Once
	quit     chan struct{} // Close was called
	written  chan struct{} // all that waited at Close was handed over
	done     chan struct{} // the program's output ended

	mu      sync.Mutex
	waiting map[string]chan *traffic.Request
	left    atomic.Int64
}

// Middleware is a [Rewriter] whose requests pass through a program.
type Middleware struct {
	*Rewriter
	program *Program
	prefix  string
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

// NewProgram talks to a program that reads from stdin and writes to stdout. A
// request that the program does not return within patience goes out as the
// rewriter made it. The caller starts and ends the program, and calls Close.
func NewProgram(stdin io.Writer, stdout io.Reader, patience time.Duration) *Program {
	m := &Program{
		patience: patience, lines: make(chan []byte, 256),
		quit: make(chan struct{}), written: make(chan struct{}), done: make(chan struct{}),
		waiting: make(map[string]chan *traffic.Request),
	}
	go m.write(stdin)
	go m.read(stdout)
	return m
}

// Wrap shows the program each request after rw has made it. Prefix goes before
// the ids of exchanges, and must differ between the rewriters of one program:
// the program knows a session only by what it sees.
func (p *Program) Wrap(rw *Rewriter, prefix string) *Middleware {
	return &Middleware{Rewriter: rw, program: p, prefix: prefix}
}

// write hands lines to the program until Close. When the program is gone, it
// drops them, so that nobody waits for room.
func (m *Program) write(stdin io.Writer) {
	defer close(m.written)
	var gone error
	hand := func(line []byte) {
		if gone == nil {
			_, gone = stdin.Write(line)
		}
	}
	for {
		select {
		case line := <-m.lines:
			hand(line)
		case <-m.quit:
			for {
				select {
				case line := <-m.lines:
					hand(line)
				default:
					return
				}
			}
		}
	}
}

// Close hands over what still waits, for as long as a request would wait, and
// then sends nothing more; requests go out unchanged from its call on. It does
// not end the program; its output is read until it ends.
func (m *Program) Close() {
	m.closing.Do(func() { close(m.quit) })
	patience := time.NewTimer(m.patience)
	defer patience.Stop()
	select {
	case <-m.written:
	case <-patience.C:
	}
}

// Left returns how many requests went out unchanged because the program did not
// return them in time or returned what is no request.
func (m *Program) Left() int64 { return m.left.Load() }

// Request returns what the program makes of what the rewriter makes of a
// recorded request.
func (m *Middleware) Request(recorded *traffic.Exchange) *traffic.Request {
	req := m.Rewriter.Request(recorded)
	id := m.prefix + recorded.ID
	changed := m.program.ask(id, message(middlewareRequest, id, recorded.Start, 0, requestText(req)))
	if changed == nil {
		return req
	}
	changed.Scheme, changed.Authority, changed.Proto, changed.Trailer = req.Scheme, req.Authority, req.Proto, req.Trailer
	return changed
}

// WantsAll says that the program wants to see every answer.
func (m *Middleware) WantsAll() bool { return true }

// ask returns the request that the program returns for a message, or nil when
// it returns none in time.
func (m *Program) ask(id string, line []byte) *traffic.Request {
	answer := make(chan *traffic.Request, 1)
	m.mu.Lock()
	m.waiting[id] = answer
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.waiting, id)
		m.mu.Unlock()
	}()
	patience := time.NewTimer(m.patience)
	defer patience.Stop()
	select {
	case m.lines <- line:
		select {
		case changed := <-answer:
			if changed != nil {
				return changed
			}
		case <-patience.C:
		case <-m.done:
		case <-m.quit:
		}
	case <-patience.C:
	case <-m.quit:
	}
	m.left.Add(1)
	return nil
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
		case m.program.lines <- message(x.kind, m.prefix+recorded.ID, x.x.Start, x.x.Duration, responseText(x.x.Response)):
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
func (m *Program) read(stdout io.Reader) {
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
