package compare

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Class is what a value that varies must still be. The zero Class holds every
// value.
type Class struct {
	kind classKind
	// name is the version of a uuid or the layout of a date; prefix is what
	// all tokens begin with; set holds the values of a closed set or the
	// claims of a JWT.
	name, prefix string
	set          []string
	// minLen and maxLen bound the length of text; alphabet is the union of
	// character classes seen.
	minLen, maxLen int
	low, high      float64 // of numbers
	alphabet       alphabet
	negative       bool // some sample was below zero
	empty          bool // some sample was empty
}

type classKind uint8

const (
	classAny classKind = iota
	classUUID
	classULID
	classObjectID
	classJWT
	classTime
	classEpoch
	classSet
	classHex
	classIncreasing
	classInt
	classFloat
	classToken
	classText
)

// ClassOf returns the narrowest class that all samples belong to. Samples come
// in the order in which they were seen. Empty samples are allowed for beside
// the class of the others.
func ClassOf(samples ...string) Class {
	var values []string
	empty := false
	for _, s := range samples {
		if s == "" {
			empty = true
		} else {
			values = append(values, s)
		}
	}
	c := classOf(values)
	c.empty = empty
	return c
}

func classOf(values []string) Class {
	if len(values) == 0 {
		return Class{}
	}
	if c, ok := sharpClass(values); ok {
		return c
	}
	if set, ok := closedSet(values); ok {
		return Class{kind: classSet, set: set}
	}
	c := Class{minLen: len(values[0])}
	hexa, integer, float, token := true, true, true, true
	letters := false
	for _, v := range values {
		c.minLen, c.maxLen = min(c.minLen, len(v)), max(c.maxLen, len(v))
		c.alphabet |= alphabetOf(v)
		hexa = hexa && isHex(v)
		letters = letters || strings.ContainsAny(v, "abcdefABCDEF")
		integer = integer && integerPattern.MatchString(v)
		float = float && floatPattern.MatchString(v)
		token = token && !strings.ContainsAny(v, " \t\n")
		c.negative = c.negative || v[0] == '-'
	}
	if integer || float {
		c.low, c.high = bounds(values)
	}
	switch {
	case integer:
		c.kind = classInt
		if increasing(values) {
			c.kind = classIncreasing
		}
	case float:
		c.kind = classFloat
	case hexa && letters && c.minLen == c.maxLen && c.minLen >= 8:
		c.kind = classHex
	case token:
		c.kind = classToken
		c.prefix = commonPrefix(values)
	default:
		c.kind = classText
	}
	return c
}

// sharpClass finds a class with a grammar of its own.
func sharpClass(values []string) (Class, bool) {
	for _, candidate := range []Class{uuidClass(values), {kind: classULID}, {kind: classObjectID}, jwtClass(values)} {
		if candidate.kind != classAny && candidate.holdsAll(values) {
			return candidate, true
		}
	}
	for _, l := range timeLayouts {
		if c := (Class{kind: classTime, name: l.name}); c.holdsAll(values) {
			return c, true
		}
	}
	for _, unit := range epochUnits {
		if c := (Class{kind: classEpoch, name: unit.name}); c.holdsAll(values) {
			return c, true
		}
	}
	return Class{}, false
}

func (c Class) holdsAll(values []string) bool {
	for _, v := range values {
		if !c.Holds(v) {
			return false
		}
	}
	return true
}

// Holds reports whether a value belongs to the class.
func (c Class) Holds(v string) bool {
	if c.kind == classAny {
		return true
	}
	if v == "" {
		return c.empty
	}
	switch c.kind {
	case classUUID:
		version, ok := uuidVersion(v)
		return ok && (c.name == "" || c.name == version) && alphabetOf(v)&^c.alphabet == 0
	case classULID:
		return ulidPattern.MatchString(v)
	case classObjectID:
		return objectIDPattern.MatchString(v)
	case classJWT:
		claims, ok := jwtClaims(v)
		return ok && slices.Equal(claims, c.set)
	case classTime:
		return layoutHolds(c.name, v)
	case classEpoch:
		return epochHolds(c.name, v)
	case classSet:
		return slices.Contains(c.set, v)
	case classHex:
		return isHex(v) && len(v) == c.minLen
	case classIncreasing:
		return integerPattern.MatchString(v) && (c.negative || v[0] != '-')
	case classInt:
		return integerPattern.MatchString(v) && (c.negative || v[0] != '-') && c.inRange(v)
	case classFloat:
		return floatPattern.MatchString(v) && (c.negative || v[0] != '-') && c.inRange(v)
	case classToken:
		return strings.HasPrefix(v, c.prefix) && !strings.ContainsAny(v, " \t\n") && alphabetOf(v)&^c.alphabet == 0 && c.plausibleLength(v)
	}
	return true
}

// bounds returns the least and the greatest of some numbers.
func bounds(values []string) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			low, high = min(low, n), max(high, n)
		}
	}
	return low, high
}

// rangeSlack is how many times the range that was seen a number may lie beside
// it: far enough for a measurement on a bad day, not for another unit.
const rangeSlack = 3

// inRange reports whether a number is near enough to those seen.
func (c Class) inRange(v string) bool {
	n, err := strconv.ParseFloat(v, 64)
	slack := rangeSlack * max(c.high-c.low, 1)
	return err != nil || n >= c.low-slack && n <= c.high+slack
}

// Fraction returns how many digits a time or a number has after the point, and
// whether the class is one of those.
func (c Class) Fraction(v string) (digits int, ok bool) {
	if c.kind != classTime && c.kind != classFloat {
		return 0, false
	}
	_, after, _ := strings.Cut(v, ".")
	for digits < len(after) && after[digits] >= '0' && after[digits] <= '9' {
		digits++
	}
	return digits, true
}

// plausibleLength allows a token as much variation beyond the lengths seen as
// was seen, and a tenth at least where lengths vary at all.
func (c Class) plausibleLength(v string) bool {
	slack := 0
	if c.maxLen > c.minLen {
		slack = max(c.maxLen-c.minLen, c.maxLen/10, 2)
	}
	return len(v) >= c.minLen-slack && len(v) <= c.maxLen+slack
}

// Sharp reports whether the class has a grammar of its own, so that a value of
// it can hardly belong by chance: identifiers, times and signed tokens do,
// numbers and words do not.
func (c Class) Sharp() bool { return c.kind >= classUUID && c.kind <= classEpoch || c.kind == classHex }

// Identifies reports whether values of the class are made to be unique, so that
// one that repeats is suspicious.
func (c Class) Identifies() bool {
	switch c.kind {
	case classUUID, classULID, classObjectID, classHex:
		return true
	case classToken:
		return c.minLen >= 6 && c.alphabet&digit != 0
	}
	return false
}

// IsTime reports whether the class is one of points in time.
func (c Class) IsTime() bool { return c.kind == classTime || c.kind == classEpoch }

// String names the class: "uuid-v4", "time-rfc3339", "epoch-ms", "jwt(exp,sub)",
// "one of a, b", "hex(32)", "integer", "token(ord_…)".
func (c Class) String() string {
	s := c.describe()
	if c.empty {
		s += " or empty"
	}
	return s
}

func (c Class) describe() string {
	switch c.kind {
	case classUUID:
		if c.name == "" {
			return "uuid"
		}
		return "uuid-v" + c.name
	case classULID:
		return "ulid"
	case classObjectID:
		return "object id"
	case classJWT:
		return "jwt(" + strings.Join(c.set, ",") + ")"
	case classTime:
		return "time-" + c.name
	case classEpoch:
		return "epoch-" + c.name
	case classSet:
		return "one of " + shorten(strings.Join(c.set, ", "), 120)
	case classHex:
		return fmt.Sprintf("hex(%d)", c.minLen)
	case classIncreasing:
		return "increasing integer"
	case classInt:
		return "integer"
	case classFloat:
		return "number"
	case classToken:
		if c.prefix != "" {
			return "token(" + c.prefix + "…)"
		}
		return "token"
	case classText:
		return "text"
	}
	return "any"
}

// closedSet reports the distinct values when it is plausible that there are no
// others: at least eight samples, each value seen twice or more, and four
// samples for each value on average.
func closedSet(values []string) ([]string, bool) {
	if len(values) < 8 {
		return nil, false
	}
	counts := make(map[string]int)
	for _, v := range values {
		if counts[v]++; len(counts)*4 > len(values) {
			return nil, false
		}
	}
	set := make([]string, 0, len(counts))
	for v, n := range counts {
		if n < 2 {
			return nil, false
		}
		set = append(set, v)
	}
	slices.Sort(set)
	return set, true
}

func increasing(values []string) bool {
	if len(values) < 3 {
		return false
	}
	last := new(big.Int)
	for i, v := range values {
		if len(v) > 40 {
			return false
		}
		n, ok := new(big.Int).SetString(strings.TrimPrefix(v, "+"), 10)
		if !ok || i > 0 && n.Cmp(last) <= 0 {
			return false
		}
		last = n
	}
	return true
}

var (
	integerPattern  = regexp.MustCompile(`^-?[0-9]+$`)
	floatPattern    = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	ulidPattern     = regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	objectIDPattern = regexp.MustCompile(`^[0-9a-f]{24}$`)
)

func isHex(v string) bool {
	for i := range len(v) {
		if !isHexDigit(v[i]) {
			return false
		}
	}
	return len(v)%2 == 0
}

// alphabet is a set of character classes.
type alphabet uint8

const (
	lower alphabet = 1 << iota
	upper
	digit
	punctuation
	other
)

func alphabetOf(v string) alphabet {
	var a alphabet
	for i := range len(v) {
		switch c := v[i]; {
		case c >= 'a' && c <= 'z':
			a |= lower
		case c >= 'A' && c <= 'Z':
			a |= upper
		case c >= '0' && c <= '9':
			a |= digit
		case c > ' ' && c < 0x7f:
			a |= punctuation
		default:
			a |= other
		}
	}
	return a
}

// commonPrefix returns what all tokens begin with, up to and with the last
// separator in it: "ord_" of ord_81f and ord_82c.
func commonPrefix(values []string) string {
	if len(values) < 2 {
		return ""
	}
	p := values[0]
	for _, v := range values[1:] {
		n := 0
		for n < len(p) && n < len(v) && p[n] == v[n] {
			n++
		}
		p = p[:n]
	}
	return p[:strings.LastIndexAny(p, "_-:./")+1]
}
