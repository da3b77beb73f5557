package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

func newRepro(s Surroundings) *cobra.Command {
	var output, url string
	cmd := &cobra.Command{
		Use:   "repro FINDING",
		Short: "Write the one request that shows a finding as a tiny snapshot",
		Long: `Write the first request that shows a finding of the last report, the calls that it
caused, and the requests whose answers it uses, as a snapshot of its own. Print
the request as a line for curl.`,
		Example: `  reprise repro F2
  reprise run --snapshot repro-F2`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "directory to write; repro-FINDING if empty")
	cmd.Flags().StringVar(&url, "url", "http://127.0.0.1:8080", "where the service is, for curl")
	st := addSettings(cmd, oneOf("snapshot", "routes", "output-dir"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := st.loadWith(cmd, s, noInput, neitherChartNorCommand)
		if err != nil {
			return err
		}
		doc, err := lastReport(p)
		if err != nil {
			return badInput(err)
		}
		f, err := findingOf(doc, args[0])
		if err != nil {
			return badInput(err)
		}
		if f.Example == "" {
			return badInput(fmt.Errorf("%s is about no single request, so none can be written", f.ID))
		}
		if output == "" {
			output = "repro-" + f.ID
		}
		return badInput(repro(cmd.OutOrStdout(), s, p, f.Example, output, url))
	}
	return cmd
}

func repro(w io.Writer, s Surroundings, p *project, example, output, url string) error {
	path, err := p.findSnapshot(s)
	if err != nil {
		return err
	}
	recorded, err := readExchanges(path)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(recorded, func(x *traffic.Exchange) bool { return x.ID == example })
	if at < 0 {
		return fmt.Errorf("%s has no exchange %q; it is not the snapshot of the last report", path, example)
	}
	opts, err := p.Transformation(config.Place{Dir: p.dir, Getenv: s.env, Now: time.Now})
	if err != nil {
		return err
	}
	bindings, err := transform.Learn(recorded, opts)
	if err != nil {
		return err
	}
	lanes := neededLanes(recorded[at].Lane, bindings.Needs)
	if err := writeLanes(path, s.abs(output), recorded, lanes); err != nil {
		return err
	}
	fmt.Fprintf(s.Stderr, "%s: written; try reprise run --snapshot %s\n", output, shellWord(output))
	inbound := slices.IndexFunc(recorded, func(x *traffic.Exchange) bool { return x.ID == string(recorded[at].Lane) })
	if inbound < 0 {
		return nil // a call of the start or the background: nobody asked for it
	}
	_, err = fmt.Fprintln(w, curlLine(recorded[inbound], url))
	return err
}

// neededLanes is a lane and those whose answers it uses, directly or not. What
// the service calls without being asked is always needed.
func neededLanes(lane traffic.Lane, needs func(id string) []string) map[traffic.Lane]bool {
	lanes := map[traffic.Lane]bool{traffic.LaneBoot: true, traffic.LaneBackground: true}
	for todo := []string{string(lane)}; len(todo) > 0; {
		next := todo[0]
		todo = todo[1:]
		if !lanes[traffic.Lane(next)] {
			lanes[traffic.Lane(next)] = true
			todo = append(todo, needs(next)...)
		}
	}
	return lanes
}

// asRedacted stands for the redactor of a snapshot whose exchanges are copied
// as they are.
type asRedacted struct{ info snapshot.RedactionInfo }

func (asRedacted) Redact(*traffic.Exchange) ([]traffic.Redaction, error) { return nil, nil }
func (r asRedacted) Describe() snapshot.RedactionInfo                    { return r.info }

func writeLanes(src, dst string, recorded []*traffic.Exchange, lanes map[traffic.Lane]bool) error {
	reader, err := snapshot.Open(src)
	if err != nil {
		return err
	}
	m := reader.Manifest()
	if err := reader.Close(); err != nil {
		return err
	}
	w, err := snapshot.NewWriter(dst, asRedacted{m.Redaction}, snapshot.Options{Service: m.Service})
	if err != nil {
		return err
	}
	for _, x := range recorded {
		if !lanes[x.Lane] {
			w.SampledOut(1)
			continue
		}
		if err := w.Add(x); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if _, err := w.Close(); err != nil {
		return errors.Join(err, w.Abort())
	}
	return nil
}

// curlLine is a request as a line for a shell.
func curlLine(x *traffic.Exchange, url string) string {
	line := "curl -sS -i -X " + shellWord(x.Request.Method) + " " + shellWord(strings.TrimRight(url, "/")+x.Request.Target)
	for _, f := range x.Request.Header.WithoutHopByHop() {
		if name := strings.ToLower(f.Name); name != "host" && name != "content-length" && name != "traceparent" && name != "tracestate" {
			line += " -H " + shellWord(f.Name+": "+f.Value)
		}
	}
	switch body := x.Request.Body.Raw; {
	case len(body) == 0:
	case utf8.Valid(body) && !slices.Contains(body, 0):
		line += " --data-binary " + shellWord(string(body))
	default:
		line = "echo " + base64.StdEncoding.EncodeToString(body) + " | base64 -d | " + line + " --data-binary @-"
	}
	return line
}

// shellWord quotes a word for a POSIX shell where it must be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,+@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
