package transform

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d|[+-]\d{4})?$`)

// shiftDate moves a date or time, in whatever form it is written, and writes it
// in the same form. Bare dates move by whole days. It reports false for texts
// that are neither.
func shiftDate(text string, by time.Duration) (string, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && text[0] != '-' && text[0] != '+' {
		unit := map[int]time.Duration{10: time.Second, 13: time.Millisecond, 16: time.Microsecond, 19: time.Nanosecond}[len(text)]
		if unit == 0 {
			return text, false
		}
		return strconv.FormatInt(n+int64(by/unit), 10), true
	}
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
		t, err := time.Parse(layout, text)
		return t.Add(by).Format(layout), err == nil
	}
	for _, layout := range []string{time.DateOnly, http.TimeFormat, time.RFC1123Z, "20060102T150405Z"} {
		if t, err := time.Parse(layout, text); err == nil {
			move := by
			if layout == time.DateOnly {
				move = by.Round(24 * time.Hour)
			}
			return t.Add(move).Format(layout), true
		}
	}
	return text, false
}
