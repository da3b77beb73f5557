package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/snapshot"
)

func newScan(s Surroundings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scan PATH...",
		Short: "Look for personal data and credentials that redaction left",
		Long: `Look at snapshots, reports and other text with other code than the redactor. It
names places and what seems to be there, never values. Rules of the configuration
with the action keep name places that are not looked at.

Exit codes: 0 nothing was found, 1 something was found, 2 a path cannot be read.`,
		Example: `  reprise scan snapshots/shop out/reprise`,
		Args:    cobra.MinimumNArgs(1),
	}
	st := addSettings(cmd, oneOf())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := st.loadWith(cmd, s, noInput, neitherChartNorCommand)
		if err != nil {
			return err
		}
		scanner, err := redact.NewScanner(p.RedactOptions(nil).Rules)
		if err != nil {
			return badInput(err)
		}
		found := 0
		for _, path := range args {
			n, err := scan(cmd.OutOrStdout(), scanner, s, path)
			found += n
			if err != nil {
				return badInput(err)
			}
		}
		if found > 0 {
			fmt.Fprintf(s.Stderr, "%d places hold what should not be kept; add rules under redact.rules, or allow a place with action: keep\n", found)
			return errSilent(exitGate)
		}
		fmt.Fprintln(s.Stderr, "nothing found")
		return nil
	}
	return cmd
}

// scan looks at a snapshot, or at a file, or at the files of a directory, and
// writes the places it finds.
func scan(w io.Writer, scanner *redact.Scanner, s Surroundings, path string) (int, error) {
	reader, err := snapshot.Open(s.abs(path))
	if err == nil {
		defer reader.Close()
		return scanSnapshot(w, scanner, path, reader)
	}
	// What says that it is a snapshot and is damaged is not read as text.
	if !errors.Is(err, snapshot.ErrNotSnapshot) {
		return 0, err
	}
	found := 0
	err = filepath.WalkDir(s.abs(path), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		leaks, err := scanner.Text(f)
		if err != nil {
			return fmt.Errorf("scan %s: %w", file, err)
		}
		for _, l := range leaks {
			name := file
			if rel, err := filepath.Rel(s.Dir, file); err == nil && filepath.IsLocal(rel) {
				name = rel
			}
			fmt.Fprintf(w, "%s: %s\n", name, l)
		}
		found += len(leaks)
		return nil
	})
	return found, err
}

func scanSnapshot(w io.Writer, scanner *redact.Scanner, path string, reader *snapshot.Reader) (int, error) {
	found := 0
	for leak, err := range scanner.Exchanges(reader.All()) {
		if err != nil {
			return found, err
		}
		found++
		if _, err := fmt.Fprintf(w, "%s: %s\n", path, leak); err != nil {
			return found, err
		}
	}
	return found, nil
}
