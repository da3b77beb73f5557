package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// encoder appends values to a buffer. Integers are varints, strings and lists
// are preceded by their length, and lists by their length plus one, so that nil
// and empty stay apart.
type encoder struct{ b []byte }

func (e *encoder) uint(v uint64)   { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) int(v int64)     { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) float(v float64) { e.b = binary.BigEndian.AppendUint64(e.b, math.Float64bits(v)) }

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) string(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) bytes(p []byte) {
	e.count(len(p), p == nil)
	e.b = append(e.b, p...)
}

func (e *encoder) count(n int, isNil bool) {
	if isNil {
		e.uint(0)
		return
	}
	e.uint(uint64(n) + 1)
}

// time keeps the instant and the offset of its zone, which is all that a time
// from the wire or a snapshot has.
func (e *encoder) time(t time.Time) {
	_, offset := t.Zone()
	e.int(t.Unix())
	e.uint(uint64(t.Nanosecond()))
	e.int(int64(offset))
}

func (e *encoder) header(h traffic.Header) {
	e.count(len(h), h == nil)
	for _, f := range h {
		e.string(f.Name)
		e.string(f.Value)
	}
}

func (e *encoder) body(b *traffic.Body) {
	e.bytes(b.Raw)
	e.string(b.Coding)
	e.bool(b.Truncated)
	e.int(b.Size)
	e.count(len(b.Times), b.Times == nil)
	for _, at := range b.Times {
		e.int(int64(at))
	}
}

func (e *encoder) request(r *traffic.Request) {
	for _, s := range []string{r.Method, r.Scheme, r.Authority, r.Target, r.Proto} {
		e.string(s)
	}
	e.header(r.Header)
	e.body(&r.Body)
	e.header(r.Trailer)
}

func (e *encoder) response(r *traffic.Response) {
	e.bool(r != nil)
	if r == nil {
		return
	}
	e.int(int64(r.Status))
	e.string(r.Proto)
	e.header(r.Header)
	e.body(&r.Body)
	e.header(r.Trailer)
}

func (e *encoder) path(p traffic.Path) {
	e.uint(uint64(p.Len()))
	for _, s := range p.Steps() {
		e.bool(s.IsIndex)
		e.string(s.Name)
		e.int(int64(s.Index))
	}
}

func (e *encoder) match(m *traffic.Match) {
	e.bool(m != nil)
	if m == nil {
		return
	}
	e.string(string(m.Tier))
	e.string(m.Record)
	e.uint(uint64(m.Pass))
	e.string(m.Reason)
	e.count(len(m.Nearest), m.Nearest == nil)
	for _, n := range m.Nearest {
		e.string(n.Record)
		e.float(n.Score)
		e.count(len(n.Differences), n.Differences == nil)
		for _, d := range n.Differences {
			e.path(d.Path)
			e.string(d.Recorded)
			e.string(d.Live)
		}
	}
}

func (e *encoder) exchange(x *traffic.Exchange) {
	for _, s := range []string{x.ID, string(x.Direction), string(x.Lane), x.Recorded} {
		e.string(s)
	}
	e.time(x.Start)
	e.int(int64(x.FirstByte))
	e.int(int64(x.Duration))
	e.request(&x.Request)
	e.response(x.Response)
	e.string(string(x.Failure))
	e.count(len(x.Incomplete), x.Incomplete == nil)
	for _, s := range x.Incomplete {
		e.string(s)
	}
	e.string(x.Origin.Source)
	e.string(x.Origin.Connection)
	e.string(string(x.Origin.Certainty))
	e.match(x.Match)
}

// errDamaged is the cause of every decoding error.
var errDamaged = errors.New("damaged exchange")

// decoder reads what encoder wrote. After the first error every read returns
// zero values; nothing it allocates is larger than its input.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: bad %s, %d bytes before the end", errDamaged, what, len(d.b))
	}
	d.b = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) float() float64 {
	if len(d.b) < 8 {
		d.fail("number")
		return 0
	}
	v := math.Float64frombits(binary.BigEndian.Uint64(d.b))
	d.b = d.b[8:]
	return v
}

func (d *decoder) bool() bool {
	if len(d.b) == 0 || d.b[0] > 1 {
		d.fail("flag")
		return false
	}
	v := d.b[0] == 1
	d.b = d.b[1:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("length")
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) string() string { return string(d.take(d.uint())) }

func (d *decoder) bytes() []byte {
	n, isNil := d.count()
	if isNil {
		return nil
	}
	return d.take(uint64(n))
}

// count refuses numbers of elements that cannot fit into what is left, each
// taking a byte at least.
func (d *decoder) count() (n int, isNil bool) {
	v := d.uint()
	if v == 0 {
		return 0, true
	}
	if v-1 > uint64(len(d.b)) {
		d.fail("length")
		return 0, true
	}
	return int(v - 1), false
}

func (d *decoder) time() time.Time {
	sec, nsec, offset := d.int(), d.uint(), d.int()
	if nsec >= uint64(time.Second) || offset < -86400 || offset > 86400 {
		d.fail("time")
		return time.Time{}
	}
	t := time.Unix(sec, int64(nsec)).UTC()
	if offset != 0 {
		t = t.In(time.FixedZone("", int(offset)))
	}
	return t
}

func (d *decoder) header() traffic.Header {
	n, isNil := d.count()
	if isNil {
		return nil
	}
	h := make(traffic.Header, 0, min(n, 64))
	for range n {
		h.Add(d.string(), d.string())
	}
	return h
}

func (d *decoder) body() traffic.Body {
	b := traffic.Body{Raw: d.bytes(), Coding: d.string(), Truncated: d.bool(), Size: d.int()}
	if n, isNil := d.count(); !isNil {
		b.Times = make([]time.Duration, 0, min(n, 64))
		for range n {
			b.Times = append(b.Times, time.Duration(d.int()))
		}
	}
	return b
}

func (d *decoder) request() traffic.Request {
	return traffic.Request{
		Method: d.string(), Scheme: d.string(), Authority: d.string(), Target: d.string(), Proto: d.string(),
		Header: d.header(), Body: d.body(), Trailer: d.header(),
	}
}

func (d *decoder) response() *traffic.Response {
	if !d.bool() {
		return nil
	}
	return &traffic.Response{Status: int(d.int()), Proto: d.string(), Header: d.header(), Body: d.body(), Trailer: d.header()}
}

func (d *decoder) path() traffic.Path {
	var p traffic.Path
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail("length")
		return p
	}
	for range n {
		isIndex, name, index := d.bool(), d.string(), d.int()
		if isIndex {
			p = p.Elem(int(index))
		} else {
			p = p.Child(name)
		}
		if d.err != nil {
			break
		}
	}
	return p
}

func (d *decoder) match() *traffic.Match {
	if !d.bool() {
		return nil
	}
	m := &traffic.Match{Tier: traffic.Tier(d.string()), Record: d.string(), Pass: uint32(d.uint()), Reason: d.string()}
	n, isNil := d.count()
	if isNil {
		return m
	}
	m.Nearest = make([]traffic.Near, 0, min(n, 16))
	for range n {
		near := traffic.Near{Record: d.string(), Score: d.float()}
		if n, isNil := d.count(); !isNil {
			near.Differences = make([]traffic.Disagreement, 0, min(n, 16))
			for range n {
				near.Differences = append(near.Differences, traffic.Disagreement{Path: d.path(), Recorded: d.string(), Live: d.string()})
				if d.err != nil {
					return nil
				}
			}
		}
		m.Nearest = append(m.Nearest, near)
		if d.err != nil {
			return nil
		}
	}
	return m
}

func (d *decoder) exchange() *traffic.Exchange {
	x := &traffic.Exchange{
		ID: d.string(), Direction: traffic.Direction(d.string()), Lane: traffic.Lane(d.string()), Recorded: d.string(),
		Start: d.time(), FirstByte: time.Duration(d.int()), Duration: time.Duration(d.int()),
		Request: d.request(), Response: d.response(), Failure: traffic.Failure(d.string()),
	}
	if n, isNil := d.count(); !isNil {
		x.Incomplete = make([]string, 0, min(n, 16))
		for range n {
			x.Incomplete = append(x.Incomplete, d.string())
		}
	}
	x.Origin = traffic.Origin{Source: d.string(), Connection: d.string(), Certainty: traffic.Certainty(d.string())}
	x.Match = d.match()
	if d.err == nil && len(d.b) > 0 {
		d.fail("end")
	}
	return x
}
