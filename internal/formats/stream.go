package formats

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// message is one HTTP/1 message found in a direction of a connection.
type message struct {
	head       *http1.Head
	first      time.Time // of its first byte
	last       time.Time
	from       int64 // offset in its own direction
	heard      int64 // offset in the other direction that its sender had received
	framing    http1.Framing
	keep       http1.Keep
	trailer    traffic.Header
	incomplete []string
	held       int64 // what it adds to held64
}

// held64 counts the bytes that wait in memory for the rest of a message or for
// a missing segment, over all connections.
type held64 struct{ bytes int64 }

const maxHeld = 256 << 20

// add counts n bytes and reports whether there is room for them.
func (h *held64) add(n int64) bool {
	h.bytes += n
	return h.bytes <= maxHeld
}

func (m *message) hole(n int64) {
	m.keep.Size += n
	m.keep.Times.Kind = messages.None // where the next one begins is not known
	m.incomplete = append(m.incomplete, fmt.Sprintf("hole of %d bytes", n))
}

// messageParser finds messages in the bytes of one direction as they come.
// Holes, of which only the length is known, are passed over where the framing
// says what lies behind them; else the message is lost and the search goes on
// at the next piece that starts like one.
type messageParser struct {
	request bool
	limit   int64
	held    *held64 // of all connections
	// begin decides on the framing of a message when its head is there.
	begin func(*message) (http1.Framing, error)
	// end takes a message that is over. lost tells of one whose head is gone.
	end  func(*message)
	lost func(why string)

	state  parseState
	offset int64
	buf    []byte // of the head, or of a line of a chunked body
	m      *message
	left   int64 // of the body or chunk
	at     time.Time
	heard  int64
}

type parseState uint8

const (
	atStart parseState = iota // before a head
	inHead
	inBody
	inChunkLine
	inChunk
	inChunkEnd
	inTrailer
	searching // for something that starts like a message
	tunnel    // no HTTP any more
)

// feed takes the next piece, which came at a time, when its sender had
// received heard bytes of the other direction.
func (p *messageParser) feed(piece []byte, at time.Time, heard int64) {
	p.at, p.heard = at, heard
	if p.state == searching {
		if !startsMessage(piece, p.request) {
			p.offset += int64(len(piece))
			return
		}
		p.state = atStart
	}
	for len(piece) > 0 {
		n := p.step(piece)
		piece = piece[n:]
		p.offset += int64(n)
	}
}

// step takes some of a piece, at least one byte.
func (p *messageParser) step(piece []byte) int {
	switch p.state {
	case atStart:
		if piece[0] == '\r' || piece[0] == '\n' {
			return 1
		}
		p.m = &message{first: p.at, from: p.offset, heard: p.heard, keep: http1.Keep{Limit: p.limit}}
		p.buf, p.state = nil, inHead
		return 0 + p.headBytes(piece)
	case inHead:
		return p.headBytes(piece)
	case inBody, inChunk:
		n := int(min(int64(len(piece)), p.left))
		if !p.held.add(int64(n)) {
			p.m.keep.Limit = int64(len(p.m.keep.Data)) // no more of this one
		}
		p.m.held += int64(n)
		p.m.keep.Add(piece[:n])
		p.left -= int64(n)
		if p.left == 0 {
			p.bodyPart()
		}
		return n
	case inChunkLine, inChunkEnd, inTrailer:
		return p.lineBytes(piece)
	}
	return len(piece)
}

// headBytes adds to the head up to the empty line.
func (p *messageParser) headBytes(piece []byte) int {
	before := len(p.buf)
	p.buf = append(p.buf, piece...)
	end := headEnd(p.buf, max(before-3, 0))
	if end < 0 {
		if len(p.buf) > http1.MaxHeadBytes || !startsMessage(p.buf, p.request) {
			p.loseHead("not an HTTP/1 message")
		}
		return len(piece)
	}
	p.buf = p.buf[:end]
	h, err := http1.ReadHead(bufio.NewReader(bytes.NewReader(p.buf)))
	if err == nil {
		p.m.head = h
		m := p.m
		m.keep.Times.Kind = messages.KindOf(h.Fields)
		m.keep.At = func() time.Duration { return p.at.Sub(m.first) }
		m.framing, err = p.begin(m)
	}
	if err != nil {
		p.loseHead("the head cannot be read")
		return end - before
	}
	p.startBody()
	return end - before
}

// headEnd returns where the head ends, behind the empty line, or -1.
func headEnd(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		if bytes.HasPrefix(b[i+1:], []byte("\r\n")) {
			return i + 3
		}
		if bytes.HasPrefix(b[i+1:], []byte("\n")) {
			return i + 2
		}
	}
	return -1
}

func (p *messageParser) startBody() {
	p.buf = nil
	switch f := p.m.framing; f.Kind {
	case http1.ByLength:
		p.state, p.left = inBody, f.Length
	case http1.ByChunks:
		p.state = inChunkLine
	case http1.ByClose:
		p.state, p.left = inBody, 1<<62
	default:
		p.finish()
	}
}

// bodyPart is reached when a body or a chunk has all its bytes.
func (p *messageParser) bodyPart() {
	if p.state == inChunk {
		p.state = inChunkEnd
		return
	}
	p.finish()
}

func (p *messageParser) finish() {
	p.m.last = p.at
	p.held.bytes -= p.m.held
	m := p.m
	p.m, p.state = nil, atStart
	p.end(m)
}

// breakOff ends a message whose end is lost.
func (p *messageParser) breakOff(why string) {
	p.m.incomplete = append(p.m.incomplete, why)
	p.finish()
	p.state = searching
}

func (p *messageParser) loseHead(why string) {
	p.m, p.buf, p.state = nil, nil, searching
	p.lost(why)
}

func (p *messageParser) lineBytes(piece []byte) int {
	i := bytes.IndexByte(piece, '\n')
	n := i + 1
	if i < 0 {
		n = len(piece)
	}
	p.buf = append(p.buf, piece[:n]...)
	if len(p.buf) > 64<<10 {
		p.breakOff("chunks cannot be read")
		return n
	}
	if i < 0 {
		return n
	}
	line := strings.TrimRight(string(p.buf), "\r\n")
	switch p.state {
	case inChunkEnd:
		p.buf, p.state = nil, inChunkLine
		if line != "" {
			p.breakOff("chunks cannot be read")
		}
	case inChunkLine:
		p.buf = nil
		digits, _, _ := strings.Cut(line, ";")
		size, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 62)
		switch {
		case err != nil:
			p.breakOff("chunks cannot be read")
		case size == 0:
			p.state = inTrailer
		default:
			p.state, p.left = inChunk, int64(size)
		}
	case inTrailer: // kept in buf until the empty line
		text := string(p.buf)
		if text == "\r\n" || text == "\n" || strings.HasSuffix(text, "\n\r\n") || strings.HasSuffix(text, "\n\n") {
			p.buf = nil
			p.m.trailer, _ = http1.ParseFields(text)
			p.finish()
		}
	}
	return n
}

// hole takes n bytes that are not there.
func (p *messageParser) hole(n int64) {
	p.offset += n
	switch p.state {
	case inBody, inChunk:
		take := min(n, p.left)
		p.m.hole(take)
		p.left -= take
		if p.left == 0 {
			p.bodyPart()
			if n > take {
				p.offset -= n - take
				p.hole(n - take)
			}
		}
	case inChunkLine, inChunkEnd, inTrailer:
		p.m.hole(n)
		p.breakOff("chunks cannot be read")
	case inHead:
		p.loseHead(fmt.Sprintf("hole of %d bytes in its head", n))
	case atStart:
		p.state = searching
		p.lost(fmt.Sprintf("hole of %d bytes where it was", n))
	}
}

// close ends what is open; ended says that the connection did, as against the
// capture.
func (p *messageParser) close(ended bool) {
	why := "the capture ended within it"
	if ended {
		why = "the connection ended within it"
	}
	switch p.state {
	case inHead:
		p.loseHead(why)
	case inBody:
		if p.m.framing.Kind == http1.ByClose && ended {
			p.finish()
			break
		}
		p.breakOff(why)
	case inChunk, inChunkLine, inChunkEnd, inTrailer:
		p.breakOff(why)
	}
	p.state = searching
}

// startsMessage reports whether a piece looks like the start of a request or
// of a response, as far as it goes.
func startsMessage(piece []byte, request bool) bool {
	if !request {
		const start = "HTTP/1."
		n := min(len(piece), len(start))
		return string(piece[:n]) == start[:n]
	}
	for i, c := range piece {
		switch {
		case c == ' ':
			return i > 0 && len(piece) > i+1 && (piece[i+1] == '/' || piece[i+1] == '*' || piece[i+1] == 'h') || len(piece) == i+1
		case (c < 'A' || c > 'Z') && c != '-' && c != '_' || i > 20:
			return false
		}
	}
	return true
}

// later moves times that count from the start of a message to those that count
// from the start of its exchange.
func later(times []time.Duration, by time.Duration) {
	for i := range times {
		times[i] = max(times[i]+by, 0)
	}
}

// toExchange makes an exchange of a request and what answers it, which may be
// nil.
func toExchange(q, a *message) (*traffic.Exchange, error) {
	method, target, proto, err := q.head.RequestLine()
	if err != nil {
		return nil, err
	}
	_, target = http1.OriginForm(target)
	x := &traffic.Exchange{Start: q.first, Request: traffic.Request{
		Method: method, Scheme: "http", Authority: strings.ToLower(q.head.Fields.Get("Host")), Target: target, Proto: proto,
		Header: q.head.Fields.WithoutHopByHop(), Body: q.keep.Body(q.head.Fields), Trailer: q.trailer,
	}}
	if b := x.Request.Body; b.Truncated && len(q.incomplete) == 0 {
		q.incomplete = append(q.incomplete, fmt.Sprintf("body truncated after %d of %d bytes", len(b.Raw), b.Size))
	}
	for _, why := range q.incomplete {
		x.Incomplete = append(x.Incomplete, "request: "+why)
		x.Request.Body.Truncated = true
	}
	if a == nil {
		return x, nil
	}
	proto, status, err := a.head.StatusLine()
	if err != nil {
		return nil, err
	}
	x.Response = &traffic.Response{
		Status: status, Proto: proto, Header: a.head.Fields.WithoutHopByHop(), Body: a.keep.Body(a.head.Fields), Trailer: a.trailer,
	}
	if b := x.Response.Body; b.Truncated && len(a.incomplete) == 0 {
		a.incomplete = append(a.incomplete, fmt.Sprintf("body truncated after %d of %d bytes", len(b.Raw), b.Size))
	}
	for _, why := range a.incomplete {
		x.Incomplete = append(x.Incomplete, "response: "+why)
		x.Response.Body.Truncated = true
	}
	later(x.Response.Body.Times, a.first.Sub(q.first))
	x.FirstByte = max(a.first.Sub(q.first), 0)
	x.Duration = max(a.last.Sub(q.first), x.FirstByte)
	return x, nil
}
