package fresh

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d|[+-]\d{4})?$`)

// Date is a date or time as it was written.
type Date struct {
	time.Time
	// Bare says that it is a day without a time.
	Bare  bool
	write func(time.Time) string
}

// ReadDate reads a date or time in any of the forms that requests use: RFC 3339
// with any precision and zone, seconds to nanoseconds since 1970, HTTP dates,
// the basic form of ISO 8601, and bare dates.
func ReadDate(text string) (Date, bool) {
	if len(text) < len(time.DateOnly) || len(text) > 40 {
		return Date{}, false
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && text[0] != '-' && text[0] != '+' {
		unit := map[int]time.Duration{10: time.Second, 13: time.Millisecond, 16: time.Microsecond, 19: time.Nanosecond}[len(text)]
		if unit == 0 {
			return Date{}, false
		}
		perSecond := int64(time.Second / unit)
		return Date{
			Time: time.Unix(n/perSecond, n%perSecond*int64(unit)),
			write: func(t time.Time) string {
				return strconv.FormatInt(t.Unix()*perSecond+int64(t.Nanosecond())/int64(unit), 10)
			},
		}, true
	}
	layouts := []string{time.DateOnly, http.TimeFormat, time.RFC1123Z, "20060102T150405Z"}
	if parts := timestamp.FindStringSubmatch(text); parts != nil {
		layout := "2006-01-02" + parts[1] + "15:04:05"
		if parts[2] != "" {
			layout += "." + strings.Repeat("0", len(parts[2])-1)
		}
		switch {
		case parts[3] == "Z":
			layout += "Z"
		case len(parts[3]) == 5:
			layout += "-0700"
		case parts[3] != "":
			layout += "-07:00"
		}
		layouts = []string{layout}
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return Date{t, layout == time.DateOnly, func(t time.Time) string { return t.Format(layout) }}, true
		}
	}
	return Date{}, false
}

// ShiftDate moves a date or time and writes it in its own form. Bare dates move
// by whole days. It reports false for texts that are neither.
func ShiftDate(text string, by time.Duration) (string, bool) {
	d, ok := ReadDate(text)
	if !ok {
		return text, false
	}
	if d.Bare {
		by = by.Round(24 * time.Hour)
	}
	return d.write(d.Add(by)), true
}
