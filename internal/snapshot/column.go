package snapshot

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
)

// A column holds the values that one field has in the exchanges of a frame,
// one after the other, in the form that takes the least room. Each form says
// by its first byte which it is; a reader takes the values in order.

// The forms of a column.
const (
	columnSame   = 's' // numbers or texts: one value, which all have
	columnPlain  = 'p' // numbers: each a varint
	columnDelta  = 'd' // numbers: each the zigzag varint of what it adds to the one before
	columnTable  = 't' // texts: distinct ones, and a column of their positions
	columnText   = 'x' // texts: what all begin and end with, a column of lengths, and what is between
	columnDigits = 'n' // texts: what all begin and end with, a width, and a column of numbers between
)

// errFrame says that a frame is not what its writer would have written.
var errFrame = errorString("damaged frame")

type errorString string

func (e errorString) Error() string { return string(e) }

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func signed(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// appendNumbers writes a column of numbers.
func appendNumbers(dst []byte, list []uint64) []byte {
	same := true
	plain, delta, before := 0, 0, uint64(0)
	for _, v := range list {
		same = same && v == list[0]
		plain += uvarintLen(v)
		delta += uvarintLen(zigzag(int64(v - before)))
		before = v
	}
	switch {
	case len(list) == 0:
		return append(dst, columnPlain)
	case same:
		return binary.AppendUvarint(append(dst, columnSame), list[0])
	case plain <= delta:
		dst = append(dst, columnPlain)
		for _, v := range list {
			dst = binary.AppendUvarint(dst, v)
		}
		return dst
	}
	dst, before = append(dst, columnDelta), 0
	for _, v := range list {
		dst = binary.AppendUvarint(dst, zigzag(int64(v-before)))
		before = v
	}
	return dst
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// numbers reads a column of numbers. It is a value: a copy of it is a cursor
// of its own.
type numbers struct {
	form byte
	rest []byte
	last uint64
}

func parseNumbers(data []byte) (numbers, bool) {
	if len(data) == 0 {
		return numbers{}, false
	}
	n := numbers{form: data[0], rest: data[1:]}
	switch n.form {
	case columnSame:
		v, width := binary.Uvarint(n.rest)
		n.last = v
		return n, width > 0
	case columnPlain, columnDelta:
		return n, true
	}
	return n, false
}

func (n *numbers) next() (uint64, bool) {
	if n.form == columnSame {
		return n.last, true
	}
	var v uint64
	if len(n.rest) > 0 && n.rest[0] < 0x80 {
		v, n.rest = uint64(n.rest[0]), n.rest[1:]
	} else {
		w, width := binary.Uvarint(n.rest)
		if width <= 0 {
			return 0, false
		}
		v, n.rest = w, n.rest[width:]
	}
	if n.form == columnDelta {
		n.last += uint64(signed(v))
		return n.last, true
	}
	return v, true
}

// maxTable is how many distinct texts a table may hold.
const maxTable = 4096

// appendTexts writes a column of texts.
func appendTexts(dst []byte, list []string) []byte {
	index := map[string]uint64{}
	var table []string
	size, tableSize := 0, 0
	positions := make([]uint64, 0, len(list))
	for _, s := range list {
		size += len(s)
		i, ok := index[s]
		if !ok {
			i = uint64(len(table))
			index[s] = i
			table = append(table, s)
			tableSize += len(s) + 1
		}
		positions = append(positions, i)
	}
	switch {
	case len(table) == 0:
		return appendBetween(dst, nil)
	case len(table) == 1:
		return append(append(dst, columnSame), table[0]...)
	case len(table) <= maxTable && len(table) <= len(list)/2:
		dst = binary.AppendUvarint(append(dst, columnTable), uint64(len(table)))
		for _, s := range table {
			dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
		}
		return appendNumbers(dst, positions)
	}
	return appendBetween(dst, list)
}

// appendBetween writes what all texts begin and end with once, and what is
// between them as numbers where that is shorter.
func appendBetween(dst []byte, list []string) []byte {
	prefix, suffix := affixes(list)
	middle := make([]string, len(list))
	for i, s := range list {
		middle[i] = s[len(prefix) : len(s)-len(suffix)]
	}
	form := byte(columnText)
	numbers, width, ok := decimals(middle)
	if ok {
		form = columnDigits
	}
	dst = append(dst, form)
	dst = append(binary.AppendUvarint(dst, uint64(len(prefix))), prefix...)
	dst = append(binary.AppendUvarint(dst, uint64(len(suffix))), suffix...)
	if ok {
		return appendNumbers(binary.AppendUvarint(dst, uint64(width)), numbers)
	}
	lengths := make([]uint64, len(middle))
	for i, s := range middle {
		lengths[i] = uint64(len(s))
	}
	column := appendNumbers(nil, lengths)
	dst = append(binary.AppendUvarint(dst, uint64(len(column))), column...)
	for _, s := range middle {
		dst = append(dst, s...)
	}
	return dst
}

// affixes returns what all texts begin and end with, without overlap.
func affixes(list []string) (prefix, suffix string) {
	if len(list) == 0 {
		return "", ""
	}
	prefix, suffix = list[0], list[0]
	shortest := len(list[0])
	for _, s := range list[1:] {
		n := 0
		for n < min(len(prefix), len(s)) && prefix[n] == s[n] {
			n++
		}
		prefix = prefix[:n]
		n = 0
		for n < min(len(suffix), len(s)) && suffix[len(suffix)-1-n] == s[len(s)-1-n] {
			n++
		}
		suffix = suffix[len(suffix)-n:]
		shortest = min(shortest, len(s))
	}
	if over := len(prefix) + len(suffix) - shortest; over > 0 {
		suffix = suffix[over:]
	}
	return prefix, suffix
}

// decimals reads texts as decimal numbers: of one width, or without leading
// zeros (width 0). It reports whether they can be read so, and are shorter
// than their digits after compression, of which two take about a byte.
func decimals(list []string) (values []uint64, width int, ok bool) {
	if len(list) == 0 {
		return nil, 0, false
	}
	width = len(list[0])
	canonical, digits := true, 0
	values = make([]uint64, len(list))
	for i, s := range list {
		if len(s) == 0 || len(s) > 18 || strings.Trim(s, "0123456789") != "" {
			return nil, 0, false
		}
		if len(s) != width {
			width = 0
		}
		canonical = canonical && (s == "0" || s[0] != '0')
		digits += len(s)
		values[i], _ = strconv.ParseUint(s, 10, 64)
	}
	if canonical {
		width = 0
	} else if width == 0 {
		return nil, 0, false
	}
	return values, width, len(appendNumbers(nil, values)) <= digits*2/5+binary.MaxVarintLen64
}

// texts reads a column of texts. It is a value, as numbers is.
type texts struct {
	form           byte
	same           string
	table          []string
	prefix, suffix []byte
	width          int
	numbers        numbers // positions, lengths or numbers
	rest           []byte
}

func parseTexts(data []byte) (c texts, ok bool) {
	if len(data) == 0 {
		return c, false
	}
	c.form, data = data[0], data[1:]
	cut := func() []byte {
		n, width := binary.Uvarint(data)
		if width <= 0 || n > uint64(len(data)-width) {
			ok = false
			return nil
		}
		part := data[width : width+int(n)]
		data = data[width+int(n):]
		return part
	}
	ok = true
	switch c.form {
	case columnSame:
		c.same = string(data)
		return c, true
	case columnTable:
		n, width := binary.Uvarint(data)
		if width <= 0 || n > maxTable {
			return c, false
		}
		data = data[width:]
		c.table = make([]string, 0, min(n, uint64(len(data))))
		for range n {
			c.table = append(c.table, string(cut()))
		}
	case columnText, columnDigits:
		c.prefix, c.suffix = cut(), cut()
		if c.form == columnDigits {
			n, width := binary.Uvarint(data)
			if width <= 0 || n > 18 {
				return c, false
			}
			c.width, data = int(n), data[width:]
			break
		}
		lengths := cut()
		c.rest, data = data, lengths
	default:
		return c, false
	}
	if !ok {
		return c, false
	}
	c.numbers, ok = parseNumbers(data)
	return c, ok
}

// next returns the next text: one that all exchanges may share, or appended
// to dst.
func (c *texts) next(dst []byte) (out []byte, shared string, isShared, ok bool) {
	if c.form == columnSame {
		return dst, c.same, true, true
	}
	v, ok := c.numbers.next()
	if !ok {
		return dst, "", false, false
	}
	switch c.form {
	case columnTable:
		if v >= uint64(len(c.table)) {
			return dst, "", false, false
		}
		return dst, c.table[v], true, true
	case columnDigits:
		dst = append(dst, c.prefix...)
		if c.width > 0 {
			for limit := powers[c.width-1]; limit > v && limit > 1; limit /= 10 {
				dst = append(dst, '0')
			}
		}
		dst = strconv.AppendUint(dst, v, 10)
		return append(dst, c.suffix...), "", false, true
	}
	if v > uint64(len(c.rest)) {
		return dst, "", false, false
	}
	dst = append(dst, c.prefix...)
	dst = append(dst, c.rest[:v]...)
	c.rest = c.rest[v:]
	return append(dst, c.suffix...), "", false, true
}

// powers of ten, as far as a width goes.
var powers = func() (p [18]uint64) {
	for i := range p {
		p[i] = uint64(math.Pow10(i))
	}
	return p
}()
