package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// processorTime writes what a pass took; 0 is what was not measured.
func processorTime(s float64) string {
	if s == 0 {
		return "its processor time was not measured in time"
	}
	return fmt.Sprintf("%.1f s of processor time", s)
}

// startup writes how long a service took to become ready. A cluster knows whole
// seconds only.
func startup(ms float64) string {
	if ms == 0 {
		return "less than 1 s"
	}
	return millis(ms)
}

// millis writes a duration in milliseconds with its unit.
func millis(ms float64) string {
	switch {
	case math.IsNaN(ms) || math.IsInf(ms, 0) || ms < 0:
		return "–"
	case ms == 0:
		return "–"
	case ms < 0.01:
		return fmt.Sprintf("%.0f µs", ms*1000)
	case ms < 1:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10000:
		return thousands(int(math.Round(ms))) + " ms"
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}

// seconds writes the length of a stage.
func seconds(s float64) string {
	switch {
	case math.IsNaN(s) || math.IsInf(s, 0) || s < 0:
		return "–"
	case s < 0.05:
		return "0 s"
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	}
	return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
}

// measured reports whether a ratio is one: zero stands for "not measured".
func measured(ratio float64) bool {
	return ratio > 0 && !math.IsInf(ratio, 0) && !math.IsNaN(ratio)
}

// change writes a ratio as a signed share: 1.25 is "+25 %".
func change(ratio float64) string {
	if !measured(ratio) {
		return "–"
	}
	return signed((ratio - 1) * 100)
}

func signed(percent float64) string {
	a := math.Abs(percent)
	text := fmt.Sprintf("%.1f", a)
	if a >= 9.95 {
		text = thousands(int(math.Round(a)))
	}
	switch {
	case strings.Trim(text, "0.") == "":
		return "0 %"
	case percent < 0:
		return "−" + text + " %"
	}
	return "+" + text + " %"
}

// interval writes a confidence interval of ratios. One of no width comes from
// a single round and says nothing.
func interval(ci [2]float64) string {
	if !measured(ci[0]) || !measured(ci[1]) || ci[0] == ci[1] {
		return "–"
	}
	low, high := change(ci[0]), change(ci[1])
	return strings.TrimSuffix(low, " %") + " … " + high
}

// share writes a part of one as per cent.
func share(x float64) string {
	switch p := x * 100; {
	case math.IsNaN(p) || math.IsInf(p, 0):
		return "–"
	case p > 0 && p < 0.1:
		return "under 0.1 %"
	case p >= 10 || p == math.Trunc(p):
		return thousands(int(math.Round(p))) + " %"
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// size writes a number of bytes.
func size(bytes int64) string {
	switch {
	case bytes < 1<<10:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	case bytes < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// thousands groups the digits of n.
func thousands(n int) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	if strings.HasSuffix(noun, "s") || strings.HasSuffix(noun, "sh") {
		return noun + "es"
	}
	return noun + "s"
}

func count(n int, noun string) string { return thousands(n) + " " + plural(n, noun) }

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return thousands(n) + " times"
}
