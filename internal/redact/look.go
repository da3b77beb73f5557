package redact

// The classes of bytes that tell which detectors can find something in a text.
const (
	hasDigit = 1 << iota // must be 1: digits are counted by adding it
	hasAt                // @, or % which may stand before 40
	hasDot
	hasColon
	hasMark // _ or -, which tokens have
	hasUpper
	hasAssign // =
	hasStop   // a quote or backslash, which a JSON string cannot hold as it is
)

var classes = func() (table [256]uint8) {
	for c := range 256 {
		switch b := byte(c); {
		case b >= '0' && b <= '9':
			table[c] = hasDigit
		case b >= 'A' && b <= 'Z':
			table[c] = hasUpper
		case b == '@' || b == '%':
			table[c] = hasAt
		case b == '.':
			table[c] = hasDot
		case b == ':':
			table[c] = hasColon
		case b == '_' || b == '-':
			table[c] = hasMark
		case b == '=':
			table[c] = hasAssign
		case b == '"' || b == '\\':
			table[c] = hasStop
		}
	}
	return table
}()

// features is what one look at a text tells.
type features struct {
	flags  uint8
	digits int
	// version says that the field is about a version, so that four numbers
	// with dots are no address.
	version bool
}

func (f features) has(flags uint8) bool { return f.flags&flags != 0 }

func look(s string) features {
	var f features
	for i := range len(s) {
		k := classes[s[i]]
		f.flags |= k
		f.digits += int(k & hasDigit)
	}
	return f
}

// lookString is look for the JSON string whose first character stands at
// pos. end is the position of its closing quote; escaped says that it holds a
// backslash, and that the features are not complete.
func lookString(in string, pos int) (end int, f features, escaped, ok bool) {
	for i := pos; i < len(in); i++ {
		k := classes[in[i]]
		if k&hasStop != 0 {
			if in[i] == '"' {
				return i, f, escaped, true
			}
			escaped = true
			i++
			continue
		}
		f.flags |= k
		f.digits += int(k & hasDigit)
	}
	return len(in), f, escaped, false
}
