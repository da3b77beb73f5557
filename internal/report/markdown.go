package report

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// Budgets of a Markdown report in bytes. A comment may have 65,536 characters
// and is refused as a whole beyond that; counting bytes with a margin is safe
// whatever a character is. A step summary over 1 MiB is thrown away.
const (
	CommentBudget = 60_000
	SummaryBudget = 900 << 10
)

// MarkdownOptions shape [Document.WriteMarkdown].
type MarkdownOptions struct {
	// Budget is the most bytes to write; 0 means [CommentBudget]. At least
	// 8,000 are always used.
	Budget int
	// RunURL links to the run; left out when it is not an http(s) URL.
	RunURL string
	// Artifacts says where the full report is, e.g. "artifact `reprise-1`" or
	// a directory; shown as code.
	Artifacts string
	// Notes are sentences to show above the footer, e.g. why there is no
	// comment.
	Notes []string
}

// minBudget holds the parts that are never dropped, at their largest.
const minBudget = 8_000

// WriteMarkdown writes the report as GitHub Markdown: the verdict as a heading,
// what was compared, a scorecard, what changed, and folded details. When that
// exceeds the budget, the least valuable sections lose their last rows first,
// and a line says what was left out.
func (d *Document) WriteMarkdown(w io.Writer, opts MarkdownOptions) error {
	budget := opts.Budget
	if budget <= 0 {
		budget = CommentBudget
	}
	head := d.markdownHead()
	foot := d.markdownFoot(opts)
	sections := d.markdownSections()
	left := fit(sections, max(budget, minBudget)-len(head)-len(foot)-leftOutRoom)

	var b bytes.Buffer
	b.WriteString(head)
	for _, s := range sections {
		b.WriteString(s.render())
	}
	if left != "" {
		b.WriteString("\n" + left + "\n")
	}
	b.WriteString(foot)
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write Markdown report: %w", err)
	}
	return nil
}

// section is a part of the report that may be shortened.
type section struct {
	name  string // what is left out, in words: "endpoints"
	value int    // sections of lower value are shortened first
	head  string // before the items
	items []string
	foot  string // after the items
	keep  int    // items shown; the section disappears at 0
}

func (s *section) render() string {
	if s.keep == 0 {
		return ""
	}
	return "\n" + s.head + strings.Join(s.items[:s.keep], "") + s.foot
}

// leftOutRoom is kept free for the line that says what was left out.
const leftOutRoom = 700

// fit sets keep in each section so that all of them together have at most room
// bytes, and returns the line that says what was left out.
func fit(sections []*section, room int) string {
	total := 0
	for _, s := range sections {
		s.keep = len(s.items)
		total += len(s.render())
	}
	for total > room {
		var least *section
		for _, s := range sections {
			if s.keep > 0 && (least == nil || s.value < least.value) {
				least = s
			}
		}
		if least == nil {
			break
		}
		for least.keep > 0 && total > room {
			least.keep--
			total -= len(least.items[least.keep])
		}
		if least.keep == 0 {
			total = total - len(least.head) - len(least.foot) - 1
		}
	}
	var left []string
	for _, s := range sections {
		if n := len(s.items) - s.keep; n > 0 {
			left = append(left, fmt.Sprintf("%s of %s %s", thousands(n), thousands(len(s.items)), s.name))
		}
	}
	if len(left) == 0 {
		return ""
	}
	return "> [!NOTE]\n> Left out to stay within GitHub's limit: " + strings.Join(left, ", ") + ". The files of the report hold everything."
}

// table builds the head of a Markdown table; align holds one of l, r for each
// column.
func table(align string, columns ...string) string {
	var b strings.Builder
	b.WriteString(row(columns...))
	b.WriteByte('|')
	for _, a := range align {
		if a == 'r' {
			b.WriteString("--:|")
		} else {
			b.WriteString(":--|")
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// row builds one line of a table. Cells must be escaped already.
func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// details folds content under a summary, which must be escaped already.
func details(summary string) (head, foot string) {
	return "<details><summary>" + summary + "</summary>\n\n", "\n</details>\n"
}

// link returns a Markdown link when target is a plain http(s) URL, else text.
func link(text, target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.ContainsAny(target, "()<>[]\\`\"' \t\r\n") || len(target) > 500 || visible(target, 500) != target {
		return text
	}
	return "[" + text + "](" + target + ")"
}
