package snapshot

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// exchangeFrame reads a frame of exchanges, front to back. It is not safe for
// concurrent use.
type exchangeFrame struct {
	first      int64    // number of its first body in the file
	bodies     []byte   // one after the other
	ends       []uint32 // where each ends
	checkpoint []byte
	routes     []numbered
	templates  []frameTemplate
	rows       int // 0 once one of them could not be read, as no later one can be

	// The columns as they are at the first row, and as they are at row at.
	firstNumbers, numbers []numbers
	firstTexts, texts     []texts
	firstKinds, kinds     numbers
	at                    int
	fresh                 uint32 // how many bodies of this frame the rows before at have
	spent                 int    // what the rows before at weigh

	values []cellValue // of the row that is read
	text   []byte
}

// slot is one field of a template.
type slot struct {
	field, form int
	number      uint64
	text        string
	column      int // among those of numbers, or of texts
}

type frameTemplate struct {
	slots []slot
	// counts are the numbers of header and trailer fields, of the request and
	// of the response.
	counts [4]int
}

// cellValue is the value of a slot in one row.
type cellValue struct {
	number   uint64
	shared   string
	from, to int // in the text of the row, if to is not 0
}

// maxSpent is the most that the rows of a frame weigh: the writer closes it
// far earlier, unless one exchange is as large as one may be.
const maxSpent = maxEntry + frameWeight

// parseExchangeFrame takes the parts of a frame apart; raw must not change
// afterwards.
func parseExchangeFrame(raw []byte) (*exchangeFrame, error) {
	p := parts{rest: raw[1:], ok: true}
	f := &exchangeFrame{}
	n := p.count(math.MaxInt32)
	lengths, ok := parseNumbers(p.bytes())
	if !ok || n > len(raw) {
		return nil, errFrame
	}
	total := uint64(0)
	f.ends = make([]uint32, n)
	for i := range f.ends {
		v, ok := lengths.next()
		if total += v; !ok || v > maxBody || total > uint64(len(p.rest)) {
			return nil, errFrame
		}
		f.ends[i] = uint32(total)
	}
	f.bodies = p.rest[:total]
	p.rest = p.rest[total:]
	f.checkpoint = p.bytes()
	for range p.count(maxFiles) {
		number, r, err := parseRoute(string(p.bytes()))
		if err != nil || !p.ok {
			return nil, errFrame
		}
		f.routes = append(f.routes, numbered{number, r})
	}
	var columns [][]byte
	for range p.count(min(len(p.rest), frameWeight/fieldWeight+8*maxColumns)) {
		columns = append(columns, p.bytes())
	}
	used := make([]columnUse, len(columns))
	for range p.count(len(p.rest)) {
		t, ok := f.parseTemplate(p.bytes(), columns, used)
		if !ok || !p.ok {
			return nil, errFrame
		}
		f.templates = append(f.templates, t)
	}
	f.rows = p.count(maxRows)
	f.firstKinds, ok = parseNumbers(p.rest)
	if !ok || !p.ok {
		return nil, errFrame
	}
	f.numbers, f.texts = make([]numbers, len(f.firstNumbers)), make([]texts, len(f.firstTexts))
	f.rewind()
	return f, nil
}

// parts reads lengths, and bytes behind their lengths.
type parts struct {
	rest []byte
	ok   bool
}

// count reads a number of things, of which there are at most so many.
func (p *parts) count(limit int) int {
	v, width := binary.Uvarint(p.rest)
	if width <= 0 || v > uint64(limit) {
		p.ok, p.rest = false, nil
		return 0
	}
	p.rest = p.rest[width:]
	return int(v)
}

func (p *parts) bytes() []byte {
	n := p.count(len(p.rest))
	if n > len(p.rest) {
		p.ok, p.rest = false, nil
		return nil
	}
	data := p.rest[:n:n]
	p.rest = p.rest[n:]
	return data
}

// columnUse says as what a column was read.
type columnUse struct {
	form  int // 0 for not yet
	index int
}

func (f *exchangeFrame) parseTemplate(data []byte, columns [][]byte, used []columnUse) (t frameTemplate, ok bool) {
	p := parts{rest: data, ok: true}
	for p.ok && len(p.rest) > 0 {
		tag := p.count(fEnd<<2 | 3)
		s := slot{field: tag >> 2, form: tag & 3}
		switch s.form {
		case fixedNumber:
			v, width := binary.Uvarint(p.rest)
			if width <= 0 {
				return t, false
			}
			s.number, p.rest = v, p.rest[width:]
		case fixedText:
			s.text = string(p.bytes())
		default:
			i := p.count(len(columns))
			if !p.ok || i >= len(columns) {
				return t, false
			}
			if s.column, ok = f.column(&used[i], s.form, columns[i]); !ok {
				return t, false
			}
		}
		switch s.field {
		case fRequestBase + mHeaderName:
			t.counts[0]++
		case fRequestBase + mTrailerName:
			t.counts[1]++
		case fResponseBase + mHeaderName:
			t.counts[2]++
		case fResponseBase + mTrailerName:
			t.counts[3]++
		}
		t.slots = append(t.slots, s)
	}
	return t, p.ok
}

// column parses a column at its first use; all uses must agree on what it
// holds.
func (f *exchangeFrame) column(use *columnUse, form int, data []byte) (index int, ok bool) {
	if use.form != 0 {
		return use.index, use.form == form
	}
	use.form = form
	if form == freeNumber {
		use.index = len(f.firstNumbers)
		c, ok := parseNumbers(data)
		f.firstNumbers = append(f.firstNumbers, c)
		return use.index, ok
	}
	use.index = len(f.firstTexts)
	c, ok := parseTexts(data)
	f.firstTexts = append(f.firstTexts, c)
	return use.index, ok
}

func (f *exchangeFrame) rewind() {
	copy(f.numbers, f.firstNumbers)
	copy(f.texts, f.firstTexts)
	f.kinds, f.at, f.fresh, f.spent = f.firstKinds, 0, 0, 0
}

// body returns the bytes of body n of this frame.
func (f *exchangeFrame) body(n int) []byte {
	from := uint32(0)
	if n > 0 {
		from = f.ends[n-1]
	}
	return f.bodies[from:f.ends[n]]
}

// advance reads the cells of the row at at, and moves behind it.
func (f *exchangeFrame) advance() (*frameTemplate, bool) {
	kind, ok := f.kinds.next()
	if !ok || kind >= uint64(len(f.templates)) || f.at >= f.rows {
		return nil, false
	}
	t := &f.templates[kind]
	f.values, f.text = f.values[:0], f.text[:0]
	for i := range t.slots {
		s := &t.slots[i]
		v := cellValue{number: s.number, shared: s.text}
		switch s.form {
		case freeNumber:
			if v.number, ok = f.numbers[s.column].next(); !ok {
				return nil, false
			}
			if s.field == fRequestBase+mBodyPlace || s.field == fResponseBase+mBodyPlace {
				v.number = f.place(v.number)
			}
		case freeText:
			v.from = len(f.text)
			var isShared bool
			if f.text, v.shared, isShared, ok = f.texts[s.column].next(f.text); !ok {
				return nil, false
			}
			if !isShared {
				v.to = len(f.text)
			}
		}
		f.values = append(f.values, v)
	}
	f.at++
	f.spent += len(f.text) + fieldWeight*len(t.slots)
	return t, f.spent <= maxSpent
}

// place returns the number of a body, counted from the first one of this frame:
// 0 in the column is the next one of this frame, anything else how far back of
// that one it is.
func (f *exchangeFrame) place(v uint64) uint64 {
	if v == 0 {
		f.fresh++
		return uint64(f.fresh - 1)
	}
	return uint64(f.fresh) - v
}

// bodySource returns the body with this number, counted from the first one of
// a frame, so that those of frames before are negative. The caller may keep
// and change it.
type bodySource interface {
	load(frame *exchangeFrame, number int64) ([]byte, error)
}

// exchange reads the exchange at row n.
func (f *exchangeFrame) exchange(n int, bodies bodySource) (x *traffic.Exchange, route int, err error) {
	if n < f.at {
		f.rewind()
	}
	var t *frameTemplate
	for f.at <= n {
		var ok bool
		if t, ok = f.advance(); !ok {
			f.rows = 0
			return nil, 0, errFrame
		}
	}
	a := newAssembly(t)
	text := string(f.text)
	for i := range t.slots {
		s, v := &t.slots[i], &f.values[i]
		if s.form == fixedText || s.form == freeText {
			if v.to > 0 {
				v.shared = text[v.from:v.to]
			}
			err = a.text(s.field, v.shared)
		} else {
			err = a.number(s.field, v.number, f, bodies)
		}
		if err != nil {
			return nil, 0, err
		}
	}
	return a.finish()
}

// assembly puts an exchange together of its fields.
type assembly struct {
	traffic.Exchange
	response       traffic.Response
	seconds, nanos int64
	split          bool // the start is in seconds and nanos
	lane           bool
	route          int
	sized          [2]bool // the size of a body is given
}

func newAssembly(t *frameTemplate) *assembly {
	a := &assembly{}
	a.Direction = traffic.Inbound
	fields := make(traffic.Header, t.counts[0]+t.counts[1]+t.counts[2]+t.counts[3])
	for i, h := range []*traffic.Header{&a.Request.Header, &a.Request.Trailer, &a.response.Header, &a.response.Trailer} {
		if n := t.counts[i]; n > 0 {
			*h, fields = fields[:0:n], fields[n:]
		}
	}
	return a
}

func (a *assembly) text(field int, s string) (err error) {
	switch field {
	case fID:
		a.ID = s
	case fLane:
		a.Lane, a.lane = traffic.Lane(s), true
	case fRecorded:
		a.Recorded = s
	case fFailure:
		a.Failure = traffic.Failure(s)
	case fIncomplete:
		a.Incomplete = append(a.Incomplete, s)
	case fSource:
		a.Origin.Source = s
	case fConnection:
		a.Origin.Connection = s
	case fCertainty:
		a.Origin.Certainty = traffic.Certainty(s)
	case fMatch:
		a.Match, err = decodeMatch(s)
	case fRequestBase + mMethod:
		a.Request.Method = s
	case fRequestBase + mScheme:
		a.Request.Scheme = s
	case fRequestBase + mAuthority:
		a.Request.Authority = s
	case fRequestBase + mTarget:
		a.Request.Target = s
	case fRequestBase + mProto:
		a.Request.Proto = s
	case fResponseBase + mProto:
		a.response.Proto = s
	default:
		if field >= fResponseBase {
			err = messageText(field-fResponseBase, s, &a.response.Header, &a.response.Trailer, &a.response.Body)
		} else if field >= fRequestBase {
			err = messageText(field-fRequestBase, s, &a.Request.Header, &a.Request.Trailer, &a.Request.Body)
		}
	}
	return err
}

func messageText(field int, s string, header, trailer *traffic.Header, b *traffic.Body) error {
	switch field {
	case mHeaderName:
		*header = append(*header, traffic.Field{Name: s})
	case mHeaderValue:
		if n := len(*header); n > 0 {
			(*header)[n-1].Value = s
		}
	case mTrailerName:
		*trailer = append(*trailer, traffic.Field{Name: s})
	case mTrailerValue:
		if n := len(*trailer); n > 0 {
			(*trailer)[n-1].Value = s
		}
	case mBody:
		b.Raw = []byte(s)
	case mCoding:
		b.Coding = s
	case mTimes:
		return decodeTimes(s, b)
	}
	return nil
}

func (a *assembly) number(field int, v uint64, f *exchangeFrame, bodies bodySource) error {
	switch field {
	case fDirection:
		a.Direction = traffic.Outbound
	case fStart:
		a.Start = time.Unix(0, int64(v)).UTC()
	case fSeconds:
		a.seconds, a.split = signed(v), true
	case fNanos:
		a.nanos = int64(v)
	case fFirstByte:
		a.FirstByte = time.Duration(signed(v))
	case fDuration:
		a.Duration = a.FirstByte + time.Duration(signed(v))
	case fRoute:
		a.route = int(min(v, maxFiles))
	case fResponse:
		a.Response = &a.response
	case fResponseBase + mStatus:
		a.response.Status = int(signed(v))
	default:
		b, side := &a.Request.Body, 0
		if field >= fResponseBase {
			b, side, field = &a.response.Body, 1, field-fResponseBase
		} else {
			field -= fRequestBase
		}
		switch field {
		case mBodyPlace:
			raw, err := bodies.load(f, int64(v))
			if err != nil {
				return err
			}
			b.Raw = raw
		case mTruncated:
			b.Truncated = true
		case mSize:
			b.Size, a.sized[side] = signed(v), true
		}
	}
	return nil
}

func (a *assembly) finish() (x *traffic.Exchange, route int, err error) {
	if a.split {
		if a.nanos < 0 || a.nanos > 999999999 {
			return nil, 0, errFrame
		}
		a.Start = time.Unix(a.seconds, a.nanos).UTC()
	}
	if !a.lane && a.Direction == traffic.Inbound {
		a.Lane = traffic.Lane(a.ID)
	}
	for i, b := range []*traffic.Body{&a.Request.Body, &a.response.Body} {
		if !a.sized[i] {
			b.Size = int64(len(b.Raw))
		}
	}
	if err := checkStorable(&a.Exchange); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errFrame, err)
	}
	return &a.Exchange, a.route, nil
}
