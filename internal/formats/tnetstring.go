package formats

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Tnetstrings are "<length>:<data><type>"; mitmproxy adds ";" for text.

// maxTnetDepth bounds how deep values may lie in one another; flows need five.
const maxTnetDepth = 32

var errTnet = errors.New("not a tnetstring")

// tnetLength reads "<length>:". It returns io.EOF when nothing is left.
func tnetLength(r *bufio.Reader) (size, read int64, err error) {
	for {
		c, err := r.ReadByte()
		if err == io.EOF && read > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, read, err
		}
		read++
		switch {
		case c == ':' && read > 1:
			return size, read, nil
		case c < '0' || c > '9' || read > 12:
			return 0, read, fmt.Errorf("%w: a length is expected", errTnet)
		}
		size = size*10 + int64(c-'0')
	}
}

// tnetValue reads data of a type: []byte, string, int64, float64, bool, nil,
// map[string]any or []any.
func tnetValue(data []byte, kind byte, depth int) (any, error) {
	if depth > maxTnetDepth {
		return nil, fmt.Errorf("%w: nested too deep", errTnet)
	}
	switch kind {
	case ',':
		return data, nil
	case ';':
		return string(data), nil
	case '#':
		n, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: not a number", errTnet)
		}
		return n, nil
	case '^':
		f, err := strconv.ParseFloat(string(data), 64)
		if err != nil {
			return nil, fmt.Errorf("%w: not a number", errTnet)
		}
		return f, nil
	case '!':
		return string(data) == "true", nil
	case '~':
		return nil, nil
	case ']', '}':
		return tnetItems(data, kind, depth)
	}
	return nil, fmt.Errorf("%w: unknown type", errTnet)
}

func tnetItems(data []byte, kind byte, depth int) (any, error) {
	var list []any
	for len(data) > 0 {
		item, rest, err := tnetNext(data, depth)
		if err != nil {
			return nil, err
		}
		list, data = append(list, item), rest
	}
	if kind == ']' {
		return list, nil
	}
	if len(list)%2 != 0 {
		return nil, fmt.Errorf("%w: a name without a value", errTnet)
	}
	dict := make(map[string]any, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		switch name := list[i].(type) {
		case string:
			dict[name] = list[i+1]
		case []byte:
			dict[string(name)] = list[i+1]
		default:
			return nil, fmt.Errorf("%w: a name is not text", errTnet)
		}
	}
	return dict, nil
}

func tnetNext(data []byte, depth int) (item any, rest []byte, err error) {
	size := 0
	for i, c := range data {
		if c == ':' && i > 0 {
			end := i + 1 + size
			if end >= len(data) {
				break
			}
			item, err = tnetValue(data[i+1:end], data[end], depth+1)
			return item, data[end+1:], err
		}
		if c < '0' || c > '9' || i > 11 {
			break
		}
		size = size*10 + int(c-'0')
	}
	return nil, nil, fmt.Errorf("%w: a length is expected", errTnet)
}
