package github

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sethvargo/go-githubactions"
)

// Kind is the form of an input's value.
type Kind int

// The kinds of inputs.
const (
	KindText     Kind = iota
	KindLines         // a list, one a line; becomes a flag for each
	KindWords         // a list of known words, separated by commas or lines; becomes a flag for each
	KindWord          // one of Words
	KindNumber        // a whole number that is not negative
	KindDuration      // 90s, 15m
)

// Input is one input of the action and the flag of the same name.
type Input struct {
	Name  string
	Kind  Kind
	Words []string
}

// Inputs are the inputs that become flags of reprise run, in the order of
// action.yml. Those that are no flags (mode, report, github-token,
// working-directory, binary, download-url) are not among them.
func Inputs() []Input {
	return []Input{
		{Name: "config"},
		{Name: "service"},
		{Name: "snapshot"},
		{Name: "target", Kind: KindWord, Words: []string{"kind", "kubernetes", "process"}},
		{Name: "base-ref"},
		{Name: "fail-on", Kind: KindWords, Words: []string{"response", "outbound", "crash", "fragility", "latency", "resource", "inconclusive", "assisted", "never"}},
		{Name: "thresholds", Kind: KindLines},
		{Name: "routes", Kind: KindLines},
		{Name: "chart"},
		{Name: "chart-service"},
		{Name: "values", Kind: KindLines},
		{Name: "set", Kind: KindLines},
		{Name: "node-image"},
		{Name: "kubeconfig"},
		{Name: "context"},
		{Name: "agent-image"},
		{Name: "latency-budget", Kind: KindDuration},
		{Name: "latency-max-rounds", Kind: KindNumber},
		{Name: "replay-speed"},
		{Name: "replay-copies", Kind: KindNumber},
		{Name: "replay-budget", Kind: KindDuration},
		{Name: "latency-load"},
		{Name: "timeout", Kind: KindDuration},
		{Name: "output-dir"},
		{Name: "keep", Kind: KindWord, Words: []string{"never", "on-failure", "always"}},
		{Name: "seed", Kind: KindNumber},
		{Name: "comment", Kind: KindWord, Words: []string{"auto", "always", "on-failure", "never"}},
		{Name: "comment-key"},
	}
}

// Given is one input that was given, its values parsed apart.
type Given struct {
	Name   string
	Values []string // one, or for lists any number of them
}

// ReadInputs reads the inputs from the environment, where action.yml puts them
// by hand: a composite action gets no INPUT_ variables from GitHub's runner. An
// empty input is one that was not given. The error joins all mistakes, each
// naming its input and the remedy.
func ReadInputs(getenv func(string) string, inputs []Input) ([]Given, error) {
	// Some shells drop names with a hyphen from the environment, so an
	// underscore is read too.
	action := githubactions.New(githubactions.WithGetenv(func(name string) string {
		if v := getenv(name); v != "" || !strings.HasPrefix(name, "INPUT_") {
			return v
		}
		return getenv(strings.ReplaceAll(name, "-", "_"))
	}))
	var given []Given
	var mistakes []error
	for _, in := range inputs {
		text := action.GetInput(in.Name)
		if text == "" {
			continue
		}
		values, err := in.parse(text)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("input %s: %w", in.Name, err))
			continue
		}
		if len(values) > 0 {
			given = append(given, Given{in.Name, values})
		}
	}
	return given, errors.Join(mistakes...)
}

// Token returns the token for the API, or "": the one of the action's input, or
// the one that the workflow's environment holds. Neither may reach the service,
// its build or its chart.
func Token(getenv func(string) string) string {
	for _, name := range []string{"REPRISE_GITHUB_TOKEN", "GITHUB_TOKEN"} {
		if t := strings.TrimSpace(getenv(name)); t != "" {
			return t
		}
	}
	return ""
}

// Flags writes given inputs as arguments for reprise run.
func Flags(given []Given) []string {
	var args []string
	for _, g := range given {
		for _, v := range g.Values {
			args = append(args, "--"+g.Name+"="+v)
		}
	}
	return args
}

func (in Input) parse(text string) ([]string, error) {
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }); i >= 0 {
		return nil, errors.New("holds a control character; remove it")
	}
	if in.Kind == KindLines {
		return lines(text), nil
	}
	if in.Kind == KindWords {
		words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
		for _, w := range words {
			if err := in.known(w); err != nil {
				return nil, err
			}
		}
		return words, nil
	}
	if strings.ContainsAny(text, "\n\r") {
		return nil, errors.New("has more than one line; give one value")
	}
	switch in.Kind {
	case KindWord:
		if err := in.known(text); err != nil {
			return nil, err
		}
	case KindNumber:
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a whole number, as in 12", cut(text))
		}
	case KindDuration:
		if d, err := time.ParseDuration(text); err != nil || d <= 0 {
			return nil, fmt.Errorf("%q is not a duration, as in 90s or 15m", cut(text))
		}
	}
	return []string{text}, nil
}

// known reports a word that is none of the input's, with the nearest one.
func (in Input) known(word string) error {
	if slices.Contains(in.Words, word) {
		return nil
	}
	err := fmt.Sprintf("%q is not one of %s", cut(word), strings.Join(in.Words, ", "))
	if near := nearest(word, in.Words); near != "" {
		err += fmt.Sprintf("; did you mean %q?", near)
	}
	return errors.New(err)
}

func lines(text string) []string {
	var out []string
	for l := range strings.SplitSeq(text, "\n") {
		if l = strings.TrimSpace(l); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// cut keeps error messages short.
func cut(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// nearest returns the word with the fewest edits from s, or "" when none is
// near enough to be meant.
func nearest(s string, words []string) string {
	best, at := "", 1+len([]rune(s))/3
	for _, w := range words {
		if d := edits(strings.ToLower(s), w); d <= at {
			best, at = w, d-1
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 100 {
		return len(x)
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		diagonal := row[0]
		row[0] = i + 1
		for j := range y {
			cost := diagonal
			if x[i] != y[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
