package snapshot

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// row is an exchange that waits for its frame.
type row struct {
	id    string
	start time.Time
	flags uint8
	cells *cells
	sums  [][16]byte // of its bodies
}

// The flags of a row.
const (
	rowOutbound = 1 << iota
	rowIncomplete
)

func newRow(x *traffic.Exchange, c *cells) *row {
	r := &row{id: x.ID, start: x.Start, cells: c}
	if x.Direction == traffic.Outbound {
		r.flags |= rowOutbound
	}
	if len(x.Incomplete) > 0 {
		r.flags |= rowIncomplete
	}
	return r
}

func (r *row) entry() entry {
	return entry{r.start.Unix(), uint32(r.start.Nanosecond()), r.flags}
}

func compareRows(a, b *row) int {
	if c := a.start.Compare(b.start); c != 0 {
		return c
	}
	return strings.Compare(a.id, b.id)
}

// numbered is a route with its number.
type numbered struct {
	number int
	route
}

// frameParts is the content of a frame of exchanges.
type frameParts struct {
	routes     []numbered
	checkpoint []byte
	bodies     [][]byte // those that no frame before has
	rows       []*row
}

// columnKey is the place of a field in the exchanges of one template, or in
// all exchanges where template is shared.
type columnKey struct{ template, field, nth int }

// shared templates: columns of values that go on from one exchange to the
// next, whatever their template is.
const (
	sharedInbound = -1 - iota
	sharedOutbound
	sharedAll
)

// columnSet collects the columns of a frame.
type columnSet struct {
	index   map[columnKey]int
	numbers [][]uint64 // of a column of numbers
	texts   [][]string // or of texts
	isText  []bool
}

func (s *columnSet) column(key columnKey, text bool) int {
	i, ok := s.index[key]
	if !ok {
		i = len(s.numbers)
		s.index[key] = i
		s.numbers, s.texts, s.isText = append(s.numbers, nil), append(s.texts, nil), append(s.isText, text)
	}
	return i
}

// encode writes the frame. Places of bodies must be set in the cells.
func (p *frameParts) encode() []byte {
	dst := []byte{frameExchanges}
	part := func(data []byte) { dst = append(binary.AppendUvarint(dst, uint64(len(data))), data...) }

	lengths := make([]uint64, len(p.bodies))
	for i, b := range p.bodies {
		lengths[i] = uint64(len(b))
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.bodies)))
	part(appendNumbers(nil, lengths))
	for _, b := range p.bodies {
		dst = append(dst, b...)
	}
	part(p.checkpoint)
	dst = binary.AppendUvarint(dst, uint64(len(p.routes)))
	for _, r := range p.routes {
		part(appendRoute(nil, r.number, r.route))
	}

	templates := map[string]int{}
	var order []string
	var definitions [][]cell
	set := &columnSet{index: map[columnKey]int{}}
	kinds := make([]uint64, len(p.rows))
	var columns [][]int // of each template's free cells
	for i, r := range p.rows {
		key := r.cells.template()
		t, ok := templates[key]
		if !ok {
			t = len(order)
			templates[key] = t
			order = append(order, key)
			definitions = append(definitions, r.cells.list)
			columns = append(columns, set.columnsOf(t, r))
		}
		kinds[i] = uint64(t)
		free := 0
		for _, c := range r.cells.list {
			switch c.form {
			case freeNumber:
				n := &set.numbers[columns[t][free]]
				*n = append(*n, c.number)
				free++
			case freeText:
				s := &set.texts[columns[t][free]]
				*s = append(*s, c.text)
				free++
			}
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(set.numbers)))
	for i, text := range set.isText {
		if text {
			part(appendTexts(nil, set.texts[i]))
		} else {
			part(appendNumbers(nil, set.numbers[i]))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(definitions)))
	for i, list := range definitions {
		part(appendTemplate(nil, list, columns[i]))
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.rows)))
	return appendNumbers(dst, kinds)
}

// columnsOf chooses the columns for a new template.
func (s *columnSet) columnsOf(template int, r *row) (list []int) {
	seen := map[int]int{}
	for _, c := range r.cells.list {
		if c.form != freeNumber && c.form != freeText {
			continue
		}
		key := columnKey{template, c.field, seen[c.field]}
		seen[c.field]++
		switch c.field {
		case fID:
			key.template = sharedInbound
			if r.flags&rowOutbound != 0 {
				key.template = sharedOutbound
			}
		case fStart, fSeconds, fNanos:
			key.template = sharedAll
		}
		list = append(list, s.column(key, c.form == freeText))
	}
	return list
}

// appendTemplate writes a template: fields with their values, or with the
// numbers of their columns.
func appendTemplate(dst []byte, list []cell, columns []int) []byte {
	for _, c := range list {
		dst = binary.AppendUvarint(dst, uint64(c.field)<<2|uint64(c.form))
		switch c.form {
		case fixedNumber:
			dst = binary.AppendUvarint(dst, c.number)
		case fixedText:
			dst = append(binary.AppendUvarint(dst, uint64(len(c.text))), c.text...)
		default:
			dst = binary.AppendUvarint(dst, uint64(columns[0]))
			columns = columns[1:]
		}
	}
	return dst
}
