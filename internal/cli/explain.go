package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/pipeline"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// journalName is the file of output-dir that holds the calls that a mock took.
const journalName = "mock-calls.rpk"

func newExplain(s Surroundings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain CALL",
		Short: "Say why the mock answered a call as it did, or not at all",
		Long: `Show where a call of the last reprise run or reprise mock was looked for, what
answered it, or else the nearest recorded calls with the places that differ, what
base did in its place, and a rule that would answer it. CALL is the id in
the report, or in the field X-Reprise-Miss of an answer. Both commands keep their
calls in output-dir, redacted.`,
		Example: `  reprise explain head-1-out-000017
  reprise explain mock-1-out-000002`,
		Args: cobra.ExactArgs(1),
	}
	st := addSettings(cmd, oneOf("snapshot", "routes", "mock.repeat", "mock.rules", "mock.descriptors", "mock.fuzzy", "mock.fuzzy-score", "mock.fuzzy-margin", "output-dir"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := st.loadWith(cmd, s, noInput, neitherChartNorCommand)
		if err != nil {
			return err
		}
		return badInput(explain(cmd.OutOrStdout(), s, p, args[0]))
	}
	return cmd
}

func explain(w io.Writer, s Surroundings, p *project, id string) error {
	kept, command := p.callsPath(), "reprise run"
	ofMock := strings.HasPrefix(id, mockArm+"-")
	if ofMock {
		kept, command = p.journalPath(), "reprise mock"
	}
	calls, err := readExchanges(kept)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there; %s writes it when it ends", kept, command)
	}
	if err != nil {
		return err
	}
	at := slices.IndexFunc(calls, func(x *traffic.Exchange) bool { return x.ID == id })
	if at < 0 {
		return fmt.Errorf("%s holds no call %q; its ids are those of the report, such as %s", kept, id, calls[0].ID)
	}
	x := calls[at]
	path, err := p.findSnapshot(s)
	if err != nil {
		return err
	}
	recorded, err := readExchanges(path)
	if err != nil {
		return err
	}
	opts, err := p.MockOptions()
	if err != nil {
		return err
	}
	opts.OneLane = ofMock // as the mock had it
	ca, err := authority.New(time.Now())
	if err != nil {
		return err
	}
	m, err := mock.New(recorded, ca, opts)
	if err != nil {
		return err
	}
	explanation := m.ExplainCall(x)
	explanation.Beside(inPlaceOf(x, calls))
	return errors.Join(explanation.Write(w), m.Close())
}

// mockArm begins the ids of the calls that reprise mock took.
const mockArm = "mock"

// inPlaceOf returns the calls that base made in the same pass as head made x.
func inPlaceOf(x *traffic.Exchange, calls []*traffic.Exchange) []*traffic.Exchange {
	var base []*traffic.Exchange
	if strings.HasPrefix(x.ID, string(pipeline.Base)+"-") {
		return nil
	}
	for _, b := range calls {
		if strings.HasPrefix(b.ID, string(pipeline.Base)+"-") && b.Match != nil && x.Match != nil && b.Match.Pass == x.Match.Pass {
			base = append(base, b)
		}
	}
	return base
}

func (p *project) callsPath() string { return filepath.Join(p.OutputDir, config.CallsFile) }

func (p *project) journalPath() string { return filepath.Join(p.OutputDir, journalName) }

// writeJournal keeps the calls that a mock took, for reprise explain. A mock
// that nobody called leaves the calls of the last one.
func writeJournal(s Surroundings, p *project, m *mock.Mock) error {
	calls := m.Calls(1)
	if len(calls) == 0 {
		return nil
	}
	redactor, err := recordFlags{}.redactor(p)
	if err != nil {
		return err
	}
	w, err := snapshot.NewWriter(p.journalPath(), redactor, snapshot.Options{Service: p.Service, Replace: true})
	if err != nil {
		return err
	}
	for _, x := range calls {
		if err := w.Add(x); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if _, err := w.Close(); err != nil {
		return errors.Join(err, w.Abort())
	}
	fmt.Fprintf(s.Stderr, "%s: %d calls; reprise explain ID says how one was answered\n", p.journalPath(), len(calls))
	return nil
}
