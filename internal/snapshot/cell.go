package snapshot

import (
	"encoding/binary"
	"fmt"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// A cell is one field of an exchange in a packed snapshot. What exchanges of a
// kind have in common is fixed: it stands in their template, once. What
// differs from one to the next stands in a column.
type cell struct {
	field  int
	form   int
	text   string
	number uint64
}

// The forms of a cell, and the last two bits of its tag in a template.
const (
	fixedNumber = iota
	fixedText
	freeNumber // the value is in a column of numbers
	freeText   // the value is in a column of texts
)

// Fields of an exchange.
const (
	fID = 1 + iota
	fDirection
	fLane
	fRecorded
	fStart   // nanoseconds since 1970 (signed), if 64 bits hold them
	fSeconds // or else seconds since 1970 (signed),
	fNanos   // and nanoseconds
	fFirstByte
	fDuration
	fFailure
	fIncomplete
	fSource
	fConnection
	fCertainty
	fMatch
	fRoute
	fResponse // there is one

	// The fields of the request and of the response begin here; the fields
	// of a message follow.
	fRequestBase  = 32
	fResponseBase = 64
	fEnd          = 96
)

// Fields of a message.
const (
	mMethod = iota
	mScheme
	mAuthority
	mTarget
	mProto
	mStatus
	mHeaderName
	mHeaderValue // of the name before
	mTrailerName
	mTrailerValue
	mBody      // bytes
	mBodyPlace // or which one it is
	mCoding
	mTruncated
	mSize  // if it is not the number of bytes
	mTimes // of messages: varints, each signed what it adds to the one before
)

// inlineBody is the size up to which a body stands in a column of its own.
const inlineBody = 32

// maxColumns is how many fields of a message stand in columns, at most.
const maxColumns = 256

// fieldWeight stands for what a cell takes beside its text, so that a frame
// of many small fields is bounded as well.
const fieldWeight = 16

// cells is an exchange, taken apart.
type cells struct {
	list   []cell
	bodies [][]byte // of the cells mBodyPlace, in order; their number is to be set
	weight int      // of texts and fields, without bodies
	size   int      // of what goes into columns
}

func (c *cells) add(field, form int, text string, number uint64) {
	c.list = append(c.list, cell{field, form, text, number})
	c.weight += fieldWeight + len(text)
	if form == freeNumber || form == freeText {
		c.size += 2 + len(text)
	}
}

// fixed adds a text of the template, unless it is empty.
func (c *cells) fixed(field int, text string) {
	if text != "" {
		c.add(field, fixedText, text, 0)
	}
}

func (c *cells) free(field int, text string) {
	if text != "" {
		c.add(field, freeText, text, 0)
	}
}

func (c *cells) flag(field int, set bool) {
	if set {
		c.add(field, fixedNumber, "", 1)
	}
}

// takeApart makes the cells of an exchange.
func takeApart(x *traffic.Exchange, route int) (*cells, error) {
	c := &cells{list: make([]cell, 0, 16+2*len(x.Request.Header))}
	c.add(fID, freeText, x.ID, 0)
	if y := x.Start.UTC().Year(); y > 1700 && y < 2200 {
		c.add(fStart, freeNumber, "", uint64(x.Start.UnixNano()))
	} else {
		c.add(fSeconds, freeNumber, "", zigzag(x.Start.Unix()))
		c.add(fNanos, freeNumber, "", uint64(x.Start.Nanosecond()))
	}
	c.flag(fDirection, x.Direction == traffic.Outbound)
	if x.Direction == traffic.Outbound || string(x.Lane) != x.ID {
		c.add(fLane, freeText, string(x.Lane), 0)
	}
	c.free(fRecorded, x.Recorded)
	if x.FirstByte != 0 {
		c.add(fFirstByte, freeNumber, "", zigzag(int64(x.FirstByte)))
	}
	if x.Duration != 0 {
		// Little comes after the first byte, as a rule.
		c.add(fDuration, freeNumber, "", zigzag(int64(x.Duration-x.FirstByte)))
	}
	c.fixed(fFailure, string(x.Failure))
	for _, s := range x.Incomplete {
		c.add(fIncomplete, freeText, s, 0)
	}
	c.fixed(fSource, x.Origin.Source)
	c.free(fConnection, x.Origin.Connection)
	c.fixed(fCertainty, string(x.Origin.Certainty))
	c.add(fRoute, fixedNumber, "", uint64(route))
	if x.Match != nil {
		c.add(fMatch, freeText, string(encodeMatch(x.Match)), 0)
	}
	q := &x.Request
	c.fixed(fRequestBase+mMethod, q.Method)
	c.fixed(fRequestBase+mScheme, q.Scheme)
	c.fixed(fRequestBase+mAuthority, q.Authority)
	c.free(fRequestBase+mTarget, q.Target)
	c.fixed(fRequestBase+mProto, q.Proto)
	if err := c.message(fRequestBase, q.Header, q.Trailer, q.Body); err != nil {
		return nil, fmt.Errorf("exchange %s: request: %w", x.ID, err)
	}
	if r := x.Response; r != nil {
		c.add(fResponse, fixedNumber, "", 1)
		c.add(fResponseBase+mStatus, fixedNumber, "", zigzag(int64(r.Status)))
		c.fixed(fResponseBase+mProto, r.Proto)
		if err := c.message(fResponseBase, r.Header, r.Trailer, r.Body); err != nil {
			return nil, fmt.Errorf("exchange %s: response: %w", x.ID, err)
		}
	}
	if c.weight > maxEntry {
		return nil, fmt.Errorf("exchange %s: %w: %d bytes of headers", x.ID, ErrTooLarge, c.weight)
	}
	return c, nil
}

func (c *cells) message(base int, header, trailer traffic.Header, b traffic.Body) error {
	put := c.free
	if len(header)+len(trailer) > maxColumns {
		put = c.fixed // no other exchange has such a template
	}
	for _, f := range header {
		c.add(base+mHeaderName, fixedText, f.Name, 0)
		put(base+mHeaderValue, f.Value)
	}
	for _, f := range trailer {
		c.add(base+mTrailerName, fixedText, f.Name, 0)
		put(base+mTrailerValue, f.Value)
	}
	switch n := len(b.Raw); {
	case n > maxBody:
		return fmt.Errorf("body of %d bytes: %w: at most %d", n, ErrTooLarge, maxBody)
	case n > inlineBody:
		c.add(base+mBodyPlace, freeNumber, "", 0)
		c.bodies = append(c.bodies, b.Raw)
	case n > 0:
		c.add(base+mBody, freeText, string(b.Raw), 0)
	}
	c.fixed(base+mCoding, b.Coding)
	c.flag(base+mTruncated, b.Truncated)
	if b.Size != int64(len(b.Raw)) {
		c.add(base+mSize, freeNumber, "", zigzag(b.Size))
	}
	c.free(base+mTimes, encodeTimes(b.Times))
	return nil
}

// template is the key of all exchanges that differ in their columns alone.
func (c *cells) template() string {
	var dst []byte
	for _, cell := range c.list {
		dst = binary.AppendUvarint(dst, uint64(cell.field)<<2|uint64(cell.form))
		switch cell.form {
		case fixedNumber:
			dst = binary.AppendUvarint(dst, cell.number)
		case fixedText:
			dst = append(binary.AppendUvarint(dst, uint64(len(cell.text))), cell.text...)
		}
	}
	return string(dst)
}
