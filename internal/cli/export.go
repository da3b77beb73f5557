package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func newExport(s Surroundings) *cobra.Command {
	var format, output string
	cmd := &cobra.Command{
		Use:   "export SNAPSHOT --format gor|har|wiremock",
		Short: "Write a snapshot in the format of another tool",
		Long: `Write a snapshot as a GoReplay file, an HTTP archive or WireMock mappings, to
standard output or to a new file. What the format has no place for is counted on
standard error.`,
		Example: `  reprise export snapshots/shop --format har -o shop.har`,
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&format, "format", "", "gor, har or wiremock")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; standard output if empty")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var write func(io.Writer, *snapshot.Reader, func(formats.Issue)) error
		switch formats.Format(format) {
		case formats.GoReplay:
			write = exportGor
		case formats.HAR:
			write = exportHAR
		case formats.WireMock:
			write = exportWireMock
		default:
			return badInput(fmt.Errorf("--format %q: must be gor, har or wiremock", format))
		}
		reader, err := snapshot.Open(s.abs(args[0]))
		if err != nil {
			return badInput(err)
		}
		defer reader.Close()
		lost := map[string]int{}
		report := func(i formats.Issue) { lost[i.Reason]++ }
		if output == "" {
			err = export(cmd.OutOrStdout(), reader, write, report)
		} else {
			err = badInput(writeNew(s.abs(output), func(file *os.File) error { return export(file, reader, write, report) }))
		}
		for _, reason := range slices.Sorted(maps.Keys(lost)) {
			fmt.Fprintf(s.Stderr, "%d times: %s\n", lost[reason], reason)
		}
		return err
	}
	return cmd
}

func export(w io.Writer, r *snapshot.Reader, write func(io.Writer, *snapshot.Reader, func(formats.Issue)) error, report func(formats.Issue)) error {
	buffered := bufio.NewWriter(w)
	return errors.Join(write(buffered, r, report), buffered.Flush())
}

func exportGor(w io.Writer, r *snapshot.Reader, report func(formats.Issue)) error {
	return addAll(r, formats.NewGorWriter(w, report).Add)
}

func exportHAR(w io.Writer, r *snapshot.Reader, report func(formats.Issue)) error {
	har := formats.NewHARWriter(w, version(), report)
	return errors.Join(addAll(r, har.Add), har.Close())
}

func exportWireMock(w io.Writer, r *snapshot.Reader, report func(formats.Issue)) error {
	return formats.WriteWireMock(w, func() iter.Seq2[*traffic.Exchange, error] { return r.All() }, report)
}

func addAll(r *snapshot.Reader, add func(*traffic.Exchange) error) error {
	for x, err := range r.All() {
		if err != nil {
			return err
		}
		if err := add(x); err != nil {
			return err
		}
	}
	return nil
}
