package github

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/sethvargo/go-githubactions"
)

// SummaryLimit is the most that a step summary may hold: GitHub throws away a
// summary over 1 MiB as a whole.
const SummaryLimit = 900 << 10

// annotationLimit is how many annotations a run makes; GitHub drops those
// beyond ten a step without a word, and nobody reads ten.
const annotationLimit = 5

// Runner is the conversation with the runner of GitHub Actions, or with act:
// commands in the log, files for outputs and the summary. Outside of a runner
// its methods print plain text or do nothing. It is safe for concurrent use.
type Runner struct {
	getenv func(string) string
	action *githubactions.Action
	out    io.Writer
	active bool

	mu          sync.Mutex
	annotations int
	summarized  bool
}

// NewRunner returns a runner that writes its log to out.
func NewRunner(out io.Writer, getenv func(string) string) *Runner {
	w := &steady{w: out}
	return &Runner{
		getenv: getenv, out: w, active: getenv("GITHUB_ACTIONS") == "true",
		action: githubactions.New(githubactions.WithWriter(w), githubactions.WithGetenv(getenv)),
	}
}

// steady serialises writes and swallows errors: the library panics when the
// log cannot be written, and a run must outlive its log.
type steady struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *steady) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.w.Write(p)
	return len(p), nil
}

// Active reports whether a runner listens.
func (r *Runner) Active() bool { return r.active }

var outputName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// SetOutput writes an output of the step. Without a runner it does nothing.
// Values must not come from traffic: whoever reads an output trusts it.
func (r *Runner) SetOutput(name, value string) error {
	if !outputName.MatchString(name) {
		return fmt.Errorf("set output: %q is no name of an output", cut(name))
	}
	path := r.getenv("GITHUB_OUTPUT")
	if path == "" {
		return nil
	}
	text, err := fileCommand(name, value)
	if err != nil {
		return fmt.Errorf("set output %s: %w", name, err)
	}
	if err := appendFile(path, text); err != nil {
		return fmt.Errorf("set output %s: %w", name, err)
	}
	return nil
}

// fileCommand writes name and value in the grammar of GITHUB_OUTPUT. The
// delimiter is random: with a constant one, a value that holds it could set
// other outputs.
func fileCommand(name, value string) (string, error) {
	token, err := randomToken()
	if err != nil {
		return "", err
	}
	delimiter := "reprise_" + token
	value = strings.ReplaceAll(value, "\r", "")
	if strings.Contains(value, "\x00") {
		return "", errors.New("the value holds a NUL")
	}
	if strings.Contains(value, delimiter) {
		return "", errors.New("the value holds the delimiter")
	}
	return name + "<<" + delimiter + "\n" + value + "\n" + delimiter + "\n", nil
}

func randomToken() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a random token: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

func appendFile(path, text string) (err error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.WriteString(f, text)
	return err
}

// ErrSummaryWritten is returned by the second call of [Runner.WriteSummary]:
// several summaries of one step used to overwrite each other.
var ErrSummaryWritten = errors.New("the step summary is written already")

// WriteSummary writes the step summary, once. Without a runner it does
// nothing. Text beyond [SummaryLimit] is cut at a line, with a note; render for
// the limit to avoid that.
func (r *Runner) WriteSummary(markdown string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.summarized {
		return ErrSummaryWritten
	}
	path := r.getenv("GITHUB_STEP_SUMMARY")
	if path == "" {
		return nil
	}
	r.summarized = true
	if len(markdown) > SummaryLimit {
		note := "\n\nThe summary was cut at GitHub's limit.\n"
		markdown = markdown[:SummaryLimit-len(note)]
		markdown = markdown[:strings.LastIndexByte(markdown, '\n')+1] + note
	}
	if err := appendFile(path, markdown); err != nil {
		return fmt.Errorf("write step summary: %w", err)
	}
	return nil
}

// Mask hides values in the log and the summary from now on. Each line of a
// value is hidden on its own; lines of fewer than four characters are left,
// because hiding them would make the log unreadable.
func (r *Runner) Mask(values ...string) {
	if !r.active {
		return
	}
	for _, v := range values {
		for _, line := range lines(v) {
			if utf8.RuneCountInString(line) >= 4 {
				r.action.AddMask(line)
			}
		}
	}
}

// Group opens a log group and returns the function that ends it. Groups do not
// nest.
func (r *Runner) Group(title string) func() {
	title = oneLine(title, 200)
	if !r.active {
		fmt.Fprintln(r.out, title)
		return func() {}
	}
	r.action.Group(title)
	return r.action.EndGroup
}

// Print writes one line of our own to the log.
func (r *Runner) Print(format string, args ...any) {
	fmt.Fprintln(r.out, oneLine(fmt.Sprintf(format, args...), 2000))
}

// Untrusted writes text of others, such as a service's log, so that nothing in
// it is a command to the runner. At most limit bytes from its end are shown.
func (r *Runner) Untrusted(title, text string, limit int) error {
	end := r.Group(title)
	defer end()
	if len(text) > limit {
		text = text[len(text)-limit:]
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
		text = "… (earlier lines are left out)\n" + text
	}
	var b strings.Builder
	token, err := randomToken()
	if err != nil {
		return err
	}
	if r.active {
		fmt.Fprintf(&b, "::stop-commands::%s\n", token)
	}
	for l := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(printable(l) + "\n")
	}
	if r.active {
		fmt.Fprintf(&b, "::%s::\n", token)
	}
	// One write, so that nothing of ours falls between the two commands.
	_, err = io.WriteString(r.out, b.String())
	return err
}

// Level is the weight of an annotation.
type Level string

// The levels of annotations.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning"
	LevelNotice  Level = "notice"
)

// Annotate adds annotations to the run, the first ones first, at most five in
// the life of a runner; the fifth says how many are not shown.
func (r *Runner) Annotate(level Level, title string, messages ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, m := range messages {
		if r.annotations == annotationLimit {
			return
		}
		r.annotations++
		m = oneLine(m, 1000)
		if left := len(messages) - i - 1; left > 0 && r.annotations == annotationLimit {
			m += fmt.Sprintf(" (and %d more in the summary)", left)
		}
		if !r.active {
			fmt.Fprintf(r.out, "%s: %s\n", level, m)
			continue
		}
		a := r.action.WithFieldsMap(map[string]string{"title": oneLine(title, 120)})
		switch level {
		case LevelError:
			a.Errorf("%s", m)
		case LevelWarning:
			a.Warningf("%s", m)
		default:
			a.Noticef("%s", m)
		}
	}
}

// oneLine makes s one printable line of at most limit runes that the runner
// does not take for a command.
func oneLine(s string, limit int) string {
	s = printable(strings.ReplaceAll(s, "\n", "⏎"))
	s = strings.ReplaceAll(s, "##[", "## [")
	if t := strings.TrimSpace(s); strings.HasPrefix(t, "::") {
		s = ": :" + t[2:]
	}
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit]) + "…"
	}
	return s
}

// printable drops control and direction characters from a line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0, r == utf8.RuneError,
			r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, s)
}
