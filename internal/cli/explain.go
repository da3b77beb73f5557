package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/snapshot"
)

// journalName is the file of output-dir that holds the calls that a mock took.
const journalName = "mock-calls.rpk"

func newExplain(s Surroundings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain CALL",
		Short: "Say why the mock answered a call as it did, or not at all",
		Long: `Show where a call that the last reprise mock took was looked for, the nearest
recorded calls with the places that differ, and a rule that would answer it. CALL
is the id in the field X-Reprise-Miss of an answer. The mock writes its calls to
output-dir when it ends, redacted.`,
		Example: `  reprise explain mock-1-out-000002`,
		Args:    cobra.ExactArgs(1),
	}
	st := addSettings(cmd, oneOf("snapshot", "routes", "mock.repeat", "mock.rules", "mock.fuzzy", "mock.fuzzy-score", "mock.fuzzy-margin", "output-dir"))
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
	journal, err := snapshot.Open(p.journalPath())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there; reprise mock writes it when it ends", p.journalPath())
	}
	if err != nil {
		return err
	}
	defer journal.Close()
	x, err := journal.Exchange(id)
	if err != nil {
		return err
	}
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
	opts.OneLane = true // as the mock had it
	ca, err := authority.New(time.Now())
	if err != nil {
		return err
	}
	m, err := mock.New(recorded, ca, opts)
	if err != nil {
		return err
	}
	return errors.Join(m.ExplainCall(x).Write(w), m.Close())
}

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
