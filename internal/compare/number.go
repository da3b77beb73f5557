package compare

import (
	"bytes"
	"strconv"
)

// decimal is a number in the form sign 0.digits x 10^exp, with neither leading
// nor trailing zeros among the digits. Equal values have equal decimals, so
// that 1, 1.0 and 1e0 are one, and 9007199254740993 is not 9007199254740992.
type decimal struct {
	negative bool
	digits   string
	exp      int64
}

// parseDecimal reads a number of the JSON grammar. It reports false when the
// exponent does not fit; such numbers are compared as text.
func parseDecimal(lexeme []byte) (decimal, bool) {
	var d decimal
	if len(lexeme) > 0 && lexeme[0] == '-' {
		d.negative = true
		lexeme = lexeme[1:]
	}
	mantissa := lexeme
	if i := bytes.IndexAny(lexeme, "eE"); i >= 0 {
		exp, err := strconv.ParseInt(string(bytes.TrimPrefix(lexeme[i+1:], []byte("+"))), 10, 32)
		if err != nil {
			return decimal{}, false
		}
		d.exp, mantissa = exp, lexeme[:i]
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	d.exp += int64(len(whole))
	digits := make([]byte, 0, len(whole)+len(fraction))
	digits = append(append(digits, whole...), fraction...)
	trimmed := bytes.TrimLeft(digits, "0")
	d.exp -= int64(len(digits) - len(trimmed))
	d.digits = string(bytes.TrimRight(trimmed, "0"))
	if d.digits == "" {
		return decimal{}, true // zero has no sign and no scale
	}
	return d, true
}

// sameNumber compares two numbers by value, without going through floats.
func sameNumber(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if plainInteger(a) && plainInteger(b) {
		return false // one spelling each
	}
	da, okA := parseDecimal(a)
	db, okB := parseDecimal(b)
	return okA && okB && da == db
}

// plainInteger reports whether a number is written without sign, point or
// exponent, so that there is no second way to write it.
func plainInteger(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
