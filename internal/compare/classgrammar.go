package compare

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var uuidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-([0-9a-fA-F])[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// uuidVersion returns the version digit of a UUID (RFC 9562).
func uuidVersion(v string) (string, bool) {
	m := uuidPattern.FindStringSubmatch(v)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// uuidClass is the class of UUIDs, with the version where all have one, and in
// the spelling that was seen.
func uuidClass(values []string) Class {
	c := Class{kind: classUUID}
	for i, v := range values {
		version, ok := uuidVersion(v)
		if !ok {
			return Class{}
		}
		c.alphabet |= alphabetOf(v) | digit
		if i == 0 {
			c.name = version
		} else if c.name != version {
			c.name = ""
		}
	}
	if c.alphabet&(lower|upper) == 0 {
		c.alphabet |= lower | upper // only digits so far; either spelling may come
	}
	return c
}

// jwtClass is the class of JSON web tokens with the same claims.
func jwtClass(values []string) Class {
	claims, ok := jwtClaims(values[0])
	if !ok {
		return Class{}
	}
	return Class{kind: classJWT, set: claims}
}

// jwtClaims returns the sorted names of the claims of a JSON web token (RFC
// 7519), and those claims that say who it is about or for with their values:
// iss, aud, scope and the algorithm are expected to stay.
func jwtClaims(v string) ([]string, bool) {
	parts := strings.Split(v, ".")
	if len(parts) != 3 || !strings.HasPrefix(v, "ey") || len(v) > 1<<16 {
		return nil, false
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims map[string]json.RawMessage
	for i, target := range []any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(raw, target) != nil {
			return nil, false
		}
	}
	names := []string{"alg=" + header.Algorithm}
	for name, value := range claims {
		switch name {
		case "iss", "aud", "scope":
			name += "=" + string(value)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, true
}

// timeLayouts are the dates that are told apart, the strictest first. The zone
// is part of the form: a service that begins to write local time leaves its
// class.
var timeLayouts = []struct {
	name    string
	layout  string
	pattern *regexp.Regexp
}{
	{"rfc3339", time.RFC3339Nano, regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$`)},
	{"rfc3339-offset", time.RFC3339Nano, regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?[-+]\d\d:\d\d$`)},
	{"iso8601", "2006-01-02T15:04:05.999999999Z0700", regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?[-+]\d{4}$`)},
	{"local", "2006-01-02T15:04:05.999999999", regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?$`)},
	{"sql", "2006-01-02 15:04:05.999999999", regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})?$`)},
	{"date", time.DateOnly, regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)},
	{"http", time.RFC1123, regexp.MustCompile(`^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [A-Z]{1,4}$`)},
	{"rfc1123z", time.RFC1123Z, regexp.MustCompile(`^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [-+]\d{4}$`)},
	{"rfc850", time.RFC850, regexp.MustCompile(`^[A-Z][a-z]+day, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d [A-Z]{1,4}$`)},
	{"ansic", time.ANSIC, regexp.MustCompile(`^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$`)},
	{"time", "15:04:05.999999999", regexp.MustCompile(`^\d\d:\d\d:\d\d(\.\d{1,9})?$`)},
}

func layoutHolds(name, v string) bool {
	_, ok := parseLayout(name, v)
	return ok
}

func parseLayout(name, v string) (time.Time, bool) {
	for _, l := range timeLayouts {
		if l.name == name {
			if !l.pattern.MatchString(v) {
				return time.Time{}, false
			}
			t, err := time.Parse(l.layout, v)
			return t, err == nil
		}
	}
	return time.Time{}, false
}

// epochUnits are the units of Unix time, each with the number of digits that
// values from September 2001 to November 2286 have.
var epochUnits = []struct {
	name   string
	digits int
	unit   time.Duration
}{
	{"s", 10, time.Second}, {"ms", 13, time.Millisecond}, {"us", 16, time.Microsecond}, {"ns", 19, time.Nanosecond},
}

// epochLimit is the end of the plausible years, 2100.
const epochLimit = 4102444800

func epochHolds(name, v string) bool {
	_, ok := parseEpoch(name, v)
	return ok
}

func parseEpoch(name, v string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(v, ".")
	for _, u := range epochUnits {
		if u.name != name || len(whole) != u.digits || len(fraction) > 9 || !digitsOnly(whole) || !digitsOnly(fraction) {
			continue
		}
		n, err := strconv.ParseInt(whole, 10, 64)
		perSecond := int64(time.Second / u.unit)
		if err != nil || n/perSecond > epochLimit {
			return time.Time{}, false
		}
		return time.Unix(n/perSecond, n%perSecond*int64(u.unit)).UTC(), true
	}
	return time.Time{}, false
}

func digitsOnly(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Time reads a value of the class as a point in time. It reports false for
// classes that are none, for times of day without a date, and for values
// outside of the class.
func (c Class) Time(v string) (time.Time, bool) {
	switch {
	case c.kind == classTime && c.name != "time":
		return parseLayout(c.name, v)
	case c.kind == classEpoch:
		return parseEpoch(c.name, v)
	}
	return time.Time{}, false
}
