package replay

import (
	"bytes"
	"io"
)

// answerParser understands one HTTP/1.1 answer as its bytes arrive. It holds
// no bytes itself, so that it serves a blocking reader and an event loop alike.
type answerParser struct {
	answer answer // complete once parse reports done
	method string
	keep   bool
	limit  int64

	state   parserState
	interim int   // interim answers seen
	seen    int   // bytes of an incomplete head or line that were searched
	remain  int64 // bytes left of a sized body or of a chunk
	trailer int   // bytes of trailer lines
	close   bool  // the connection ends with this answer
	began   bool  // a byte was seen
	stream  stream
	count   eventCount
}

// parserState is what the next byte belongs to.
type parserState uint8

const (
	inHead parserState = iota
	inSized
	inRest // up to the end of the connection
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	inNothing // the answer is complete
)

// head is the beginning of an answer. fields lies in what was parsed.
type head struct {
	status  int
	minor   int   // of the HTTP version: 0 or 1
	length  int64 // Content-Length, -1 for none
	chunked bool
	close   bool // the connection ends with this answer
	fields  []byte
}

// begin prepares for the answer to a request with this method.
func (p *answerParser) begin(method string, keep bool, limit int64, s stream) {
	*p = answerParser{method: method, keep: keep, limit: limit, stream: s}
}

// enough reports that a stream of events gave as many as were recorded.
func (p *answerParser) enough() bool {
	return p.stream.events > 0 && p.count.events >= p.stream.events && p.answer.status != 0
}

// parse takes the bytes that have arrived and returns how many it used. The
// others must be given again, with more behind them. When it reports done, the
// answer is complete and what is left does not belong to it.
func (p *answerParser) parse(b []byte) (used int, done bool, err error) {
	p.began = p.began || len(b) > 0
	for p.state != inNothing {
		n, more, err := p.step(b[used:])
		used += n
		if err != nil {
			return used, false, err
		}
		if more {
			return used, false, nil
		}
	}
	return used, true, nil
}

// step handles one head, line or stretch of body. It reports more when it
// needs bytes that are not there yet.
func (p *answerParser) step(b []byte) (used int, more bool, err error) {
	switch p.state {
	case inHead:
		return p.head(b)
	case inSized, inChunk, inRest:
		if len(b) == 0 {
			return 0, true, nil
		}
		return p.body(b), false, nil
	}
	limit := 4 << 10
	switch p.state {
	case inTrailer:
		limit = maxHead
	case inChunkEnd:
		limit = 16
	}
	i := bytes.IndexByte(b[p.seen:], '\n')
	if i < 0 {
		if p.seen = len(b); p.seen > limit {
			return 0, false, protocolErrorf("a line is longer than %d bytes", limit)
		}
		return 0, true, nil
	}
	used = p.seen + i + 1
	p.seen = 0
	return used, false, p.line(bytes.TrimSuffix(b[:used-1], []byte{'\r'}))
}

// line handles a line between the chunks of a body or after them.
func (p *answerParser) line(line []byte) (err error) {
	switch p.state {
	case inChunkSize:
		p.remain, err = chunkSize(line)
		p.state = inChunk
		if p.remain == 0 {
			p.state = inTrailer
		}
	case inChunkEnd:
		if len(line) > 0 {
			return protocolErrorf("%q follows a chunk", clip(line, 16))
		}
		p.state = inChunkSize
	case inTrailer:
		if len(line) == 0 {
			p.complete(true)
			return nil
		}
		if p.trailer += len(line); p.trailer > maxHead {
			return protocolErrorf("trailers are longer than %d bytes", maxHead)
		}
		name, value, _, err := nextField(line)
		if err != nil {
			return err
		}
		if p.keep {
			p.answer.trailer.Add(string(name), string(value))
		}
	}
	return err
}

// head looks for a whole head and decides what follows it.
func (p *answerParser) head(b []byte) (used int, more bool, err error) {
	end, next := endOfHead(b, p.seen)
	if next == 0 {
		if notHTTP(b) {
			return 0, false, protocolErrorf("it starts with %q", clip(b, 24))
		}
		if len(b) > maxHead {
			return 0, false, protocolErrorf("status line and headers are longer than %d bytes", maxHead)
		}
		p.seen = max(0, len(b)-3)
		return 0, true, nil
	}
	p.seen = 0
	h, err := parseHead(b[:end])
	if err != nil {
		return next, false, err
	}
	if h.status < 200 && h.status != 101 {
		if p.interim++; p.interim > maxInterim {
			return next, false, protocolErrorf("more than %d interim answers", maxInterim)
		}
		return next, false, nil
	}
	p.close = h.close || h.status == 101
	p.answer = answer{status: h.status, proto: "HTTP/1.1", declared: h.length}
	if h.minor == 0 {
		p.answer.proto = "HTTP/1.0"
	}
	if p.keep {
		p.answer.header = fieldsOf(h.fields)
	}
	switch {
	case p.method == "HEAD" || h.status == 204 || h.status == 304 || h.status == 101 || p.method == "CONNECT" && h.status < 300:
		p.complete(true)
	case h.chunked:
		p.state = inChunkSize
	case h.length > 0:
		p.state, p.remain = inSized, h.length
		if p.keep { // a length is a claim: allocate no more for it than has to be
			p.answer.body = make([]byte, 0, min(h.length, firstChunk, p.limit))
		}
	case h.length == 0:
		p.complete(true)
	default:
		p.state, p.remain = inRest, 1<<62
	}
	return next, false, nil
}

// body takes bytes of body and returns how many.
func (p *answerParser) body(b []byte) int {
	n := min(int64(len(b)), p.remain)
	if over := p.answer.size + n - p.limit; over > 0 {
		n -= over
		p.answer.truncated = true
	}
	if p.keep {
		p.answer.body = append(p.answer.body, b[:n]...)
	}
	p.answer.size += n
	p.remain -= n
	if p.stream.events > 0 {
		p.count.add(b[:n])
	}
	switch {
	case p.answer.truncated, p.stream.cut && p.enough():
		p.complete(false)
	case p.remain > 0:
	case p.state == inChunk:
		p.state = inChunkEnd
	default:
		p.complete(true)
	}
	return int(n)
}

// complete ends the answer; delimited says that its end was found within the
// connection, which can then go on.
func (p *answerParser) complete(delimited bool) {
	p.state = inNothing
	p.answer.reusable = delimited && !p.close
}

// ended says what the end of the connection means: the end of the answer when
// it is delimited by that, io.EOF before the first byte, and otherwise that it
// was cut.
func (p *answerParser) ended() error {
	switch {
	case p.state == inRest:
		p.complete(false)
		return nil
	case !p.began:
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// chunkSize reads the hexadecimal size of a chunk and drops its extensions.
func chunkSize(line []byte) (int64, error) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 {
		return 0, protocolErrorf("chunk size %q", clip(line, 32))
	}
	var n int64
	for _, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int64(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int64(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int64(c-'A'+10)
		default:
			return 0, protocolErrorf("chunk size %q", clip(line, 32))
		}
	}
	return n, nil
}
