package mock

import (
	"strconv"
	"strings"
	"time"
)

// classOf returns the class of a value that programs draw or read off a clock
// anew each time, and "" for all other values. Two values of one class may
// stand at the same place of the same call.
func classOf(t token) string {
	switch t.kind {
	case number:
		return epochClass(t.text)
	case text:
		return textClass(t.text)
	}
	return ""
}

const (
	minVolatile = 10 // the shortest volatile value: an epoch in seconds, a date
	maxVolatile = 4096
)

func textClass(s string) string {
	if len(s) < minVolatile || len(s) > maxVolatile {
		return ""
	}
	if c := wholeClass(s); c != "" {
		return c
	}
	// A short word before the value: "Bearer <jwt>", "req-<uuid>", "ch_<opaque>".
	if i := strings.IndexAny(s, "_-: "); i > 0 && i <= 16 && letters(s[:i]) {
		if c := wholeClass(s[i+1:]); c != "" && !strings.HasPrefix(c, "epoch") {
			return s[:i+1] + c
		}
	}
	return ""
}

func letters(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// wholeClass returns the class of a value without a prefix.
func wholeClass(s string) string {
	n := charset(s)
	switch {
	case len(s) == 36 && isUUID(s):
		return "uuid"
	case n.digits == len(s):
		return epochClass(s)
	case n.digits > 0 && isTime(s):
		return "time"
	case len(s) == 26 && s[0] <= '7' && n.upper+n.digits == 26 && n.digits > 0 && !strings.ContainsAny(s, "ILOU"):
		return "ulid"
	case strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2 && n.odd == 0:
		return "jwt"
	case len(s) >= 16 && n.hex == len(s) && n.digits > 0 && n.digits < len(s):
		return "hex" + strconv.Itoa(len(s))
	case len(s) >= 20 && n.odd == 0 && n.lower > 1 && n.upper > 1 && drawn(s):
		return "opaque"
	}
	return ""
}

// drawn reports whether a token looks drawn at random rather than put together
// from words and a version: digits at several places, and a change between
// digits, small and capital letters at nearly every second character.
func drawn(s string) bool {
	kindOf := func(c byte) int {
		switch {
		case c >= '0' && c <= '9':
			return 1
		case c >= 'a' && c <= 'z':
			return 2
		case c >= 'A' && c <= 'Z':
			return 3
		}
		return 4
	}
	runs, changes := 0, 0
	for i := range len(s) {
		k, before := kindOf(s[i]), 0
		if i > 0 {
			before = kindOf(s[i-1])
		}
		if k != before {
			changes++
			if k == 1 {
				runs++
			}
		}
	}
	return runs > 1 && changes*12 >= len(s)*5
}

// counts says how many characters of each kind a value has. Hexadecimal ones
// are counted only where all letters have the same case; odd ones are outside
// of what tokens are made of.
type counts struct{ digits, lower, upper, hex, odd int }

func charset(s string) counts {
	var n counts
	hexUpper := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			n.digits++
		case c >= 'a' && c <= 'z':
			n.lower++
			if c <= 'f' {
				n.hex++
			}
		case c >= 'A' && c <= 'Z':
			n.upper++
			if c <= 'F' {
				hexUpper++
			}
		case strings.IndexByte("-_.~+/=", c) < 0:
			n.odd++
		}
	}
	if n.hex == 0 {
		n.hex = hexUpper
	}
	n.hex += n.digits
	return n
}

func isUUID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// timeLayouts are tried in order. Fractions of a second are accepted by
// time.Parse without being named.
var timeLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700",
	time.DateOnly, "20060102T150405Z", time.RFC1123, time.RFC1123Z,
}

func isTime(s string) bool {
	if len(s) > 40 {
		return false
	}
	dated := len(s) > 5 && s[4] == '-' || len(s) == 16 && s[8] == 'T' || len(s) >= 29 && s[3] == ','
	if !dated {
		return false
	}
	for _, layout := range timeLayouts {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

// The years in which a number is taken for a time.
var (
	epochFrom = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	epochTo   = time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// epochClass recognises seconds, milliseconds, microseconds and nanoseconds
// since 1970, with or without a fraction.
func epochClass(s string) string {
	if i := strings.IndexByte(s, 'e'); i > 0 { // a normalised fraction, as in 17000000005e-1
		power, err := strconv.Atoi(s[i+1:])
		if err != nil || power >= 0 || -power >= i {
			return ""
		}
		s = s[:i+power]
	}
	unit := int64(1)
	switch len(s) {
	case 10:
	case 13:
		unit = 1e3
	case 16:
		unit = 1e6
	case 19:
		unit = 1e9
	default:
		return ""
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n/unit < epochFrom || n/unit >= epochTo {
		return ""
	}
	return "epoch" + strconv.Itoa(len(s))
}
