package report_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/reprise-ci/reprise/internal/report"
)

func TestEscaping(t *testing.T) {
	for _, c := range []struct {
		reason     string
		in         string
		code, text string
	}{
		{"plain", "GET /v1/orders", "`GET /v1/orders`", "GET /v1/orders"},
		{"nothing", "", "", ""},
		{"only blanks cannot be a code span", " \t ", "", "   "},
		{"a backtick needs a longer fence", "a`b", "``a`b``", "a\\`b"},
		{"backticks at the ends need blanks", "`a`", "`` `a` ``", "\\`a\\`"},
		{"a pipe would split a table cell", "a|b", "`a¦b`", "a\\|b"},
		{"line breaks are shown", "a\nb\r\nc", "`a⏎b ⏎c`", "a⏎b ⏎c"},
		{"mentions and references are inert", "@a #1", "`@a #1`", "@<!-- -->a #<!-- -->1"},
		{"elements and entities", "<b>&amp;", "`<b>&amp;`", "&lt;b&gt;&amp;amp;"},
		{"links", "https://x.example", "`https://x.example`", "https:<!-- -->//x.example"},
		{"bare domains", "www.x.example", "`www.x.example`", "w<!-- -->ww.x.example"},
		{"bidirectional controls and zero widths go", "a\u202eb\u2066c\u200bd\ufeffe", "`abcde`", "abcde"},
		{"controls go", "a\x00b\x1b[31mc\x7f", "`ab[31mc`", "ab\\[31mc"},
		{"invalid UTF-8 goes", "a\xff\xfeb", "`ab`", "ab"},
		{"the start of a list", "1. one", "`1. one`", "1\\. one"},
	} {
		if got := report.Code(c.in, 0); got != c.code {
			t.Errorf("%s: Code(%q) = %q, want %q", c.reason, c.in, got, c.code)
		}
		if got := report.Text(c.in, 0); got != c.text {
			t.Errorf("%s: Text(%q) = %q, want %q", c.reason, c.in, got, c.text)
		}
	}
}

func TestLineIsNoCommand(t *testing.T) {
	for in, want := range map[string]string{
		"::error::x":            ": :error::x",
		"  \u00a0::error::x":    ": :error::x",
		"\u200b::stop-commands": ": :stop-commands",
		"##[error]x":            "## [error]x",
		"a ##[group]b":          "a ## [group]b",
		"a\n::error::b":         "a⏎::error::b",
		"fine: really::fine":    "fine: really::fine",
		"\x1b]0;title\x07x":     "]0;titlex",
	} {
		if got := report.Line(in, 0); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
}

func seeds(f *testing.F) {
	for _, s := range []string{"", "`", "``` ", "~~~", "|", "\n", "a\n```\n</details>", attack, "::x", "\u202e", "\xff", strings.Repeat("`", 300), strings.Repeat("x", 500)} {
		f.Add(s)
	}
}

func FuzzCode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		got := report.Code(s, 0)
		if got == "" {
			return
		}
		ticks := len(got) - len(strings.TrimLeft(got, "`"))
		if ticks == 0 || 2*ticks >= len(got) || got[len(got)-ticks:] != got[:ticks] {
			t.Fatalf("Code(%q) = %q is no code span", s, got)
		}
		inner := got[ticks : len(got)-ticks]
		if strings.HasPrefix(inner, "`") || strings.HasSuffix(inner, "`") || strings.TrimSpace(inner) == "" {
			t.Fatalf("Code(%q) = %q: its ends are not clear", s, got)
		}
		for _, run := range regexp.MustCompile("`+").FindAllString(inner, -1) {
			if len(run) == ticks {
				t.Fatalf("Code(%q) = %q ends early", s, got)
			}
		}
		if strings.ContainsAny(inner, "|\n\r\x00\x1b\u202e\u2066\u200b") || !utf8.ValidString(got) || utf8.RuneCountInString(inner) > 203 {
			t.Fatalf("Code(%q) = %q", s, got)
		}
	})
}

func FuzzFence(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		got := report.Fence("diff", []string{s, "- " + s})
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		fence, _, found := strings.Cut(lines[0], "diff")
		if !found || len(fence) < 3 || strings.Trim(fence, "`") != "" || lines[len(lines)-1] != fence || !strings.HasSuffix(got, "\n") {
			t.Fatalf("Fence(%q) = %q is no block", s, got)
		}
		if len(lines) > 43 {
			t.Fatalf("Fence(%q) has %d lines", s, len(lines))
		}
		for _, l := range lines[1 : len(lines)-1] {
			if strings.Contains(l, fence) || strings.ContainsAny(l, "\r\x1b\u202e") {
				t.Fatalf("Fence(%q) = %q ends early", s, got)
			}
		}
	})
}

// live is what must not stand in Markdown outside of code: markup, mentions,
// references and links.
var live = regexp.MustCompile(`(?i)<[a-z/]|<!--[^ ]|<!-- [^-]|@[a-z0-9]|#[a-z0-9]|https?://|www\.|(^|[^\\])(\\\\)*([*_[\]|~` + "`" + `])`)

func FuzzText(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		got := report.Text(s, 0)
		if m := live.FindString(got); m != "" {
			t.Fatalf("Text(%q) = %q holds %q", s, got, m)
		}
		if strings.ContainsAny(got, "\n\r\x1b\u202e\u200b") || !utf8.ValidString(got) {
			t.Fatalf("Text(%q) = %q", s, got)
		}
	})
}

func FuzzLine(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		got := report.Line(s, 0)
		if strings.HasPrefix(strings.TrimSpace(got), "::") || strings.Contains(got, "##[") || strings.ContainsAny(got, "\n\r\x1b") {
			t.Fatalf("Line(%q) = %q", s, got)
		}
	})
}

// plainMarkdown removes fenced blocks and code spans, and gives back each line
// of what is left.
func plainMarkdown(t *testing.T, md string) []string {
	t.Helper()
	var out []string
	fence := ""
	for line := range strings.SplitSeq(md, "\n") {
		trimmed := strings.TrimLeft(line, "`")
		ticks := line[:len(line)-len(trimmed)]
		switch {
		case fence != "":
			if line == fence {
				fence = ""
			}
			continue
		case len(ticks) >= 3 && !strings.Contains(trimmed, "`"):
			fence = ticks
			continue
		}
		var b strings.Builder
		for i := 0; i < len(line); {
			if line[i] == '\\' && i+1 < len(line) {
				b.WriteString(line[i : i+2])
				i += 2
				continue
			}
			if line[i] != '`' {
				b.WriteByte(line[i])
				i++
				continue
			}
			n := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
			end := closing(line[i+n:], n)
			if end < 0 {
				t.Fatalf("a code span does not end: %q", line)
			}
			i += n + end + n
		}
		out = append(out, b.String())
	}
	if fence != "" {
		t.Fatal("a fenced block does not end")
	}
	return out
}

func closing(s string, ticks int) int {
	for i := 0; i < len(s); {
		if s[i] != '`' {
			i++
			continue
		}
		n := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		if n == ticks {
			return i
		}
		i += n
	}
	return -1
}

// own is the markup that the report itself writes.
var own = regexp.MustCompile(`<details><summary>[^<]*</summary>|</details>|</?sub>|<!-- -->|\*\*|\[Log of this run\]\(https://github\.com/acme/shop/actions/runs/8123\)|^> \[![A-Z]+\]$|^#{3,4} `)

var liveMarkup = regexp.MustCompile(`(?i)<|@[a-z0-9]|#[a-z0-9]|https?://|www\.|[^\\](!\[|\]\()`)

func TestMarkdownHoldsNoLiveTraffic(t *testing.T) {
	for _, s := range samples() {
		md := string(render(t, renderers(s)[".md"]))
		if strings.Count(md, "<details>") < 1 && s.name != "empty" {
			t.Errorf("%s: no folded part", s.name)
		}
		open := 0
		columns := 0
		for _, line := range plainMarkdown(t, md) {
			open += strings.Count(line, "<details>") - strings.Count(line, "</details>")
			if open < 0 || open > 1 {
				t.Fatalf("%s: folded parts do not balance at %q", s.name, line)
			}
			cells := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|")
			if strings.HasPrefix(line, "|") {
				if columns != 0 && cells != columns {
					t.Errorf("%s: a row has %d bars, its table %d: %q", s.name, cells, columns, line)
				}
				columns = cells
			} else {
				columns = 0
			}
			if m := liveMarkup.FindString(own.ReplaceAllString(line, "\x01")); m != "" {
				t.Errorf("%s: live %q in %q", s.name, m, line)
			}
		}
		if open != 0 {
			t.Errorf("%s: a folded part does not end", s.name)
		}
	}
}

func TestHTMLIsSelfContainedAndInert(t *testing.T) {
	for _, s := range samples() {
		html := string(render(t, renderers(s)[".html"]))
		markup := withoutText(html)
		for _, bad := range []string{"<script", "<img", "<iframe", "javascript:", "src=", "@import", "url(", "\u202e", "\x1b", "<!-- reprise"} {
			if strings.Contains(markup, bad) {
				t.Errorf("%s: the page holds %q", s.name, bad)
			}
		}
		if n := strings.Count(html, "href="); n > 1 {
			t.Errorf("%s: %d links", s.name, n)
		}
		if !strings.Contains(html, "default-src 'none'") {
			t.Errorf("%s: no content security policy", s.name)
		}
	}
}

var (
	tag    = regexp.MustCompile(`<[^>]*>`)
	spoken = regexp.MustCompile(`(aria-label|title)="[^"]*"`)
)

// withoutText keeps the tags of a page and drops what stands between them and
// in its attributes that are read aloud.
func withoutText(html string) string {
	return spoken.ReplaceAllString(strings.Join(tag.FindAllString(html, -1), ""), "")
}

func TestTerminalIsInert(t *testing.T) {
	for _, s := range samples() {
		for _, width := range []int{60, 100, 140} {
			var b bytes.Buffer
			if err := report.WriteTerminal(&b, s.doc, report.TerminalOptions{Width: width, Files: []string{attack}}); err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(b.String(), "\n") {
				if strings.ContainsAny(line, "\x1b\r\u202e") || strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
					t.Errorf("%s: the terminal is given %q", s.name, line)
				}
			}
		}
		var b bytes.Buffer
		if err := report.WriteTerminal(&b, s.doc, report.TerminalOptions{Color: true}); err != nil {
			t.Fatal(err)
		}
		if rest := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(b.String(), ""); strings.Contains(rest, "\x1b") {
			t.Errorf("%s: an escape sequence that is no colour", s.name)
		}
	}
}

func TestJUnitIsWellFormed(t *testing.T) {
	for _, s := range samples() {
		data := render(t, s.doc.WriteJUnit)
		dec := xml.NewDecoder(bytes.NewReader(data))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
		}
		if broke := strings.Contains(string(data), "<error"); broke != (s.doc.Verdict == "error") {
			t.Errorf("%s: a case with an error: %v, verdict %s", s.name, broke, s.doc.Verdict)
		}
		if s.doc.Verdict == "error" && strings.Contains(string(data), "<failure") {
			t.Errorf("%s: a run that broke looks like a regression", s.name)
		}
	}
}
