package formats

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/http1"
)

// conn is one TCP connection.
type conn struct {
	as     *assembler
	key    connKey
	number int
	last   time.Time
	sides  [2]side // of key.a and key.b
	// What was found, by role.
	requests []*message // without an answer so far; without a head when it is lost
	holes    bool       // some message is lost, of either side
	lostLast bool       // the last response is
	reset    bool
	foreign  bool    // neither HTTP/1 nor HTTP/2, reported
	h2       *h2Conn // when it is HTTP/2
	// backlog is what the server sent after bytes of the client that have not
	// come yet: a response is read when its request is known.
	backlog      []event
	backlogBytes int
}

// event is a piece or a hole of the server's side.
type event struct {
	from  int64 // offset
	data  []byte
	hole  int64
	at    time.Time
	heard int64
}

// side is what one end sends.
type side struct {
	half
	addr   netip.AddrPort
	parser *messageParser // nil until the first bytes show the role
	opened bool           // its SYN was seen
}

// over reports whether a new SYN starts another connection.
func (c *conn) over(s *segment) bool {
	side := &c.sides[c.index(s.from)]
	return side.started && s.seq+1 != side.first
}

func (c *conn) index(from netip.AddrPort) int {
	if from == c.key.a {
		return 0
	}
	return 1
}

func (c *conn) take(s *segment) {
	i := c.index(s.from)
	heard := int64(0)
	if s.ackd {
		heard = c.sides[1-i].offset(s.ack)
	}
	c.sides[i].opened = c.sides[i].opened || s.syn
	c.sides[1-i].acked = max(c.sides[1-i].acked, heard)
	c.sides[i].add(s, heard)
	c.reset = c.reset || s.rst
	for j := range c.sides {
		side := &c.sides[j]
		for len(side.waiting) > 0 && s.at.Sub(side.waiting[0].at) > patience && side.acked > side.offset(side.waiting[0].seq) {
			side.skip()
		}
	}
	c.catchUp(s.at, false)
}

// piece takes bytes of one side in order.
func (c *conn) piece(i int, e event) {
	if c.foreign {
		return
	}
	if c.holdsBack(i, e.heard) {
		e.data = slices.Clone(e.data)
		c.backlog = append(c.backlog, e)
		c.backlogBytes += len(e.data)
		c.as.held.add(int64(len(e.data)))
		return
	}
	c.read(i, e)
}

func (c *conn) read(i int, e event) {
	side := &c.sides[i]
	if c.h2 == nil && side.parser == nil && !c.recognise(i, e) {
		return
	}
	if c.h2 != nil {
		c.h2.feed(i, e.data, e.at)
		return
	}
	side.parser.feed(e.data, e.at, e.heard)
}

// holdsBack reports whether what a side sends must wait for the other one.
func (c *conn) holdsBack(i int, heard int64) bool {
	if len(c.backlog) > 0 && i == c.answering() {
		return true
	}
	client := &c.sides[1-i]
	return i == c.answering() && client.started && client.delivered() < heard
}

// answering is the side of the server.
func (c *conn) answering() int {
	if c.h2 != nil {
		return 1 - c.h2.client
	}
	for i := range c.sides {
		if p := c.sides[i].parser; p != nil && p.request {
			return 1 - i
		} else if p != nil {
			return i
		}
	}
	return 1 - c.opener()
}

// catchUp reads the backlog as far as the client's bytes have come, or have not
// for longer than patience asks. force does not wait for them.
func (c *conn) catchUp(now time.Time, force bool) {
	i := c.answering()
	client := &c.sides[1-i]
	for len(c.backlog) > 0 {
		e := c.backlog[0]
		if client.delivered() < e.heard {
			if !force && now.Sub(e.at) <= patience && c.backlogBytes <= maxBacklog && c.as.held.bytes <= maxHeld {
				return
			}
			client.skipTo(e.heard)
		}
		c.backlog = c.backlog[1:]
		c.backlogBytes -= len(e.data)
		c.as.held.bytes -= int64(len(e.data))
		if e.hole > 0 {
			c.miss(i, e)
		} else {
			c.read(i, e)
		}
	}
}

// recognise finds the role of a side by its first bytes. Of connections that
// were open before the capture began, it waits for a start of a message.
func (c *conn) recognise(i int, e event) bool {
	side := &c.sides[i]
	data, what := e.data, ""
	switch {
	case strings.HasPrefix(string(data[:min(len(data), 14)]), "PRI * HTTP/2.0"):
		c.h2 = newH2(c, i)
		return true
	case e.from == 0 && isH2Settings(data):
		c.h2 = newH2(c, 1-i)
		return true
	case len(data) > 2 && data[0] == 22 && data[1] == 3:
		what = "TLS"
	case len(data) >= 4 && startsMessage(data, true):
		c.parse(side, true, e.from)
		return true
	case len(data) >= 4 && startsMessage(data, false):
		c.parse(side, false, e.from)
		return true
	case side.opened && e.from == 0:
		what = "another protocol"
	}
	if what != "" {
		c.foreign = true
		c.as.failed(c.as.note(c.as.place(), "connection %d carries %s and is left out", c.number, what))
	}
	return false
}

func (c *conn) parse(side *side, request bool, from int64) {
	p := &messageParser{request: request, limit: c.as.opts.MaxRecord, held: &c.as.held, offset: from}
	if request {
		p.begin = func(m *message) (http1.Framing, error) {
			if _, _, _, err := m.head.RequestLine(); err != nil {
				return http1.Framing{}, err
			}
			return http1.RequestFraming(m.head.Fields)
		}
		p.end = func(m *message) { c.requests = append(c.requests, m) }
		p.lost = func(why string) {
			c.holes = true
			c.requests = append(c.requests, &message{from: side.parser.offset - 1})
			c.as.failed(c.as.lose(c.as.place(), "a request of connection %d: %s", c.number, why))
		}
	} else {
		p.begin = c.beginResponse
		p.end = c.response
		p.lost = func(why string) {
			c.holes, c.lostLast = true, true
			c.as.failed(c.as.note(c.as.place(), "a response of connection %d: %s", c.number, why))
		}
	}
	side.parser = p
}

// hole takes missing bytes of one side in order.
func (c *conn) hole(i int, e event) {
	if len(c.backlog) > 0 && i == c.answering() {
		last := c.backlog[len(c.backlog)-1]
		e.at, e.heard = last.at, last.heard
		c.backlog = append(c.backlog, e)
		return
	}
	c.miss(i, e)
}

func (c *conn) miss(i int, e event) {
	side := &c.sides[i]
	if c.foreign || c.h2 == nil && side.parser == nil && !side.opened {
		return
	}
	if c.h2 != nil {
		c.h2.hole(i, e.hole)
		return
	}
	if side.parser == nil { // the first message is missing
		c.parse(side, i != c.answering(), e.from)
	}
	side.parser.hole(e.hole)
}

// opener guesses the client: the end with the higher port.
func (c *conn) opener() int {
	if c.sides[0].addr.Port() > c.sides[1].addr.Port() {
		return 0
	}
	return 1
}

// beginResponse finds the request that a response answers, which decides how
// its body ends.
func (c *conn) beginResponse(m *message) (http1.Framing, error) {
	_, status, err := m.head.StatusLine()
	if err != nil {
		return http1.Framing{}, err
	}
	method := ""
	if q := c.answered(m); q != nil && q.head != nil {
		method, _, _, _ = q.head.RequestLine()
	}
	return http1.ResponseFraming(method, status, m.head.Fields)
}

// answered returns the request that a response answers, which may be one whose
// head is lost, or nil. Answers come in the order of requests. Where messages
// are missing, the acknowledgement tells which one was meant: the last that the
// server had received; the requests before it got answers that are lost.
func (c *conn) answered(m *message) *message {
	if len(c.requests) == 0 {
		return nil
	}
	if !c.holes {
		return c.requests[0]
	}
	n := 0
	for n < len(c.requests) && c.requests[n].from < m.heard {
		n++
	}
	if n == 0 {
		return nil
	}
	for _, q := range c.requests[:n-1] {
		c.leave(q, "its response is lost", traffic.FailureNone)
	}
	c.requests = c.requests[n-1:]
	return c.requests[0]
}

func (c *conn) response(m *message) {
	_, status, _ := m.head.StatusLine()
	if status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	c.lostLast = false
	q := c.answered(m)
	if q == nil {
		c.as.failed(c.as.lose(c.as.place(), "a response of connection %d without its request", c.number))
		return
	}
	c.requests = c.requests[1:]
	if q.head == nil {
		return // it was counted when its head was lost
	}
	c.emit(q, m, "", traffic.FailureNone)
	method, _, _, _ := q.head.RequestLine()
	if status == http.StatusSwitchingProtocols || method == http.MethodConnect && status < 300 {
		for i := range c.sides {
			if p := c.sides[i].parser; p != nil {
				p.state = tunnel
			}
		}
	}
}

// leave hands on a request without an answer, unless it is lost itself.
func (c *conn) leave(q *message, why string, failure traffic.Failure) {
	if q.head != nil {
		c.emit(q, nil, why, failure)
	}
}

// emit hands on a request with its answer, or with why there is none: a phrase
// for what is missing, or a failure.
func (c *conn) emit(q, a *message, why string, failure traffic.Failure) {
	x, err := toExchange(q, a)
	if err != nil {
		c.as.failed(c.as.lose(c.as.place(), "an exchange of connection %d: %v", c.number, err))
		return
	}
	c.hand(x, why, failure)
}

// hand completes an exchange by what the connection knows and hands it on.
func (c *conn) hand(x *traffic.Exchange, why string, failure traffic.Failure) {
	server := c.server()
	if x.Request.Authority == "" || isAddress(x.Request.Host()) {
		if name, ok := c.as.name(server); ok {
			x.Request.Authority = name
		} else if x.Request.Authority == "" {
			x.Request.Authority = server.String()
		}
	}
	x.Origin = traffic.Origin{Source: string(Packets), Connection: "c" + itoa(c.number)}
	x.Direction = c.as.direction(x, server)
	x.Failure = failure
	if why != "" {
		x.Incomplete = append(x.Incomplete, why)
	}
	c.as.failed(c.as.emit(x))
}

// server is the end that answers.
func (c *conn) server() netip.AddrPort {
	if c.h2 != nil {
		return c.sides[1-c.h2.client].addr
	}
	for i := range c.sides {
		if p := c.sides[i].parser; p != nil && p.request {
			return c.sides[1-i].addr
		}
	}
	return c.sides[1-c.opener()].addr
}

// close ends a connection: what is missing will not come any more. The client's
// side goes first, so that answers find their requests.
func (c *conn) close() {
	server := c.answering()
	for _, i := range []int{1 - server, server} {
		side := &c.sides[i]
		side.flush()
		if i == server {
			c.catchUp(c.last, true)
		}
		if p := side.parser; p != nil && !c.foreign && i == server {
			p.close(side.ended || c.reset)
		}
	}
	if p := c.sides[1-server].parser; p != nil && !c.foreign {
		p.close(c.sides[1-server].ended || c.reset)
	}
	if c.h2 != nil {
		c.h2.close()
	}
	mirror := !c.sides[server].seen // only one direction was captured
	for _, q := range slices.Clone(c.requests) {
		switch {
		case mirror:
			c.leave(q, "", traffic.FailureNone)
		case c.lostLast:
			c.leave(q, "its response is lost", traffic.FailureNone)
		case c.reset || c.sides[0].ended || c.sides[1].ended:
			c.leave(q, "", traffic.FailureReset)
		default:
			c.leave(q, "the capture ended before its response", traffic.FailureNone)
		}
	}
	c.requests = nil
}
