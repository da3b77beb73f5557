package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/command"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/report"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func newAccept(s Surroundings) *cobra.Command {
	var because, expires string
	var broad, prune bool
	cmd := &cobra.Command{
		Use:   "accept (FINDING... --because REASON | --prune)",
		Short: "Agree to changes of the last report, so that they do not fail the check",
		Long: `Write findings of the last report to ` + config.AcceptFileName + ` beside the configuration,
with the reason, the date and the author that git knows. Commit that file with the
change: later runs show such findings, folded, and do not fail.

With --prune, take out of that file what the last report says to match nothing
any more, or to have expired.`,
		Example: `  reprise accept F2 --because "prices are texts from v2 on" --expires 30d
  reprise accept F1 F3 --because "every answer has the new header" --broad
  reprise accept --prune`,
	}
	cmd.Flags().StringVar(&because, "because", "", "the reason")
	cmd.Flags().StringVar(&expires, "expires", "", "when it ends: after days (30d), or a date (2027-01-31); never if empty")
	cmd.Flags().BoolVar(&broad, "broad", false, "accept it on every endpoint")
	cmd.Flags().BoolVar(&prune, "prune", false, "take out what the last report says to have lapsed")
	st := addSettings(cmd, oneOf("output-dir"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if prune == (len(args) > 0) {
			return badInput(errors.New("name findings, such as F1, or --prune"))
		}
		p, err := st.loadWith(cmd, s, noInput, neitherChartNorCommand)
		if err != nil {
			return err
		}
		if prune {
			return badInput(pruneAccepts(s, p))
		}
		if strings.TrimSpace(because) == "" {
			return badInput(errors.New("--because is missing; say why the change is right"))
		}
		today := time.Now().UTC().Truncate(24 * time.Hour)
		until, err := expiry(expires, today)
		if err != nil {
			return badInput(err)
		}
		doc, err := lastReport(p)
		if err != nil {
			return badInput(err)
		}
		accept := analysis.Accept{
			Reason: because, Author: gitAuthor(cmd.Context(), s, p.dir), Date: today, Expires: until, Broad: broad,
		}
		for _, id := range args {
			f, err := findingOf(doc, id)
			if err == nil {
				err = acceptFinding(s, p, accept, f)
			}
			if err != nil {
				return badInput(err)
			}
		}
		return nil
	}
	return cmd
}

// acceptFinding writes one finding into the file.
func acceptFinding(s Surroundings, p *project, a analysis.Accept, f *analysis.Finding) error {
	if f.Cause != analysis.CauseHead {
		return fmt.Errorf("%s has the cause %q and not %q, so there is nothing to accept", f.ID, f.Cause, analysis.CauseHead)
	}
	if f.Accepted != nil {
		return fmt.Errorf("%s is accepted already: %s", f.ID, f.Accepted.Reason)
	}
	a.Kind, a.Change, a.Endpoint, a.Call = f.Kind, f.Change, f.Endpoint, f.Call
	if a.Broad || a.Endpoint == "" {
		a.Endpoint = "*"
	}
	if f.Address != "" {
		address, err := traffic.ParsePattern(f.Address)
		if err != nil {
			return fmt.Errorf("%s: address %s: %w", f.ID, f.Address, err)
		}
		a.Address = address
	}
	if err := a.Validate(); err != nil {
		return err
	}
	if err := config.AddAccept(p.dir, a); err != nil {
		return err
	}
	fmt.Fprintf(s.Stderr, "%s: %s %s %s %s is accepted\n", config.AcceptFileName, f.ID, a.Endpoint, f.Address, f.Change)
	return nil
}

// pruneAccepts takes out what the last run found to have lapsed.
func pruneAccepts(s Surroundings, p *project) error {
	doc, err := lastReport(p)
	if err != nil {
		return err
	}
	n, err := config.PruneAccepts(p.dir, doc.Lapsed)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Stderr, "%s: %d of %d lapsed acceptances removed\n", config.AcceptFileName, n, len(doc.Lapsed))
	return nil
}

// lastReport reads the report of the last run.
func lastReport(p *project) (*report.Document, error) {
	dir := p.OutputDir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(p.dir, dir)
	}
	file, err := os.Open(filepath.Join(dir, "report.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s has no report.json; run reprise run first, or name another --output-dir", dir)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return report.ReadJSON(file)
}

func findingOf(doc *report.Document, id string) (*analysis.Finding, error) {
	for i := range doc.Findings {
		if strings.EqualFold(doc.Findings[i].ID, id) {
			return &doc.Findings[i], nil
		}
	}
	return nil, fmt.Errorf("the last report has no finding %q; it has %d, from F1 on", id, len(doc.Findings))
}

// expiry reads "30d" or a date.
func expiry(text string, today time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 10000 {
			return today.AddDate(0, 0, n), nil
		}
	}
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("--expires %q: write a number of days (30d) or a date (2027-01-31)", text)
}

// gitAuthor is who git would name as the author of a commit; empty if it does
// not know.
func gitAuthor(ctx context.Context, s Surroundings, dir string) string {
	out, err := command.Output(ctx, command.Command{Argv: []string{"git", "-C", dir, "var", "GIT_AUTHOR_IDENT"}, Env: s.Environ})
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(string(out), " <")
	return strings.TrimSpace(name)
}
