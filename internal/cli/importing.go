package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// importFlags are what reprise import takes beside the configuration.
type importFlags struct {
	format    string
	hosts     []string
	direction string
	names     []string
	rules     string
	redactKey string
	strict    bool
	replace   bool
}

func newImport(s Surroundings) *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import FILE... (--snapshot DIR | --rules FILE)",
		Short: "Make a snapshot of what other tools have recorded",
		Long: `Make a snapshot of files, folders or patterns of files that other tools have
recorded. The format of a file is told by its content: GoReplay, HAR, pcap and
pcapng, mitmproxy, Envoy tap, go-vcr, Speedscale, Keploy. --format says it where
the content does not.

WireMock, Hoverfly and mountebank hold rules rather than traffic; --rules writes
them as a file for mock.rules.

A record that cannot be read is listed with its place and counted, and does not
stop the others unless --strict is given.`,
		Example: `  reprise import shop.gor --snapshot snapshots/shop
  reprise import capture.pcap --host 10.1.2.3:8080 --name 10.1.2.9=payments --snapshot shop.rpk
  reprise import wiremock/ --rules mock-rules.yaml`,
		Args: cobra.MinimumNArgs(1),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "", "format of all files, rather than by their content: "+formatList())
	fl.StringArrayVar(&f.hosts, "host", nil, "host[:port] of the service, as requests to it name it: requests to others are outbound (repeat)")
	fl.StringVar(&f.direction, "direction", "", "direction of what neither the format nor --host tells: inbound or outbound")
	fl.StringArrayVar(&f.names, "name", nil, "name of an address in packets: address[:port]=name (repeat)")
	fl.StringVar(&f.rules, "rules", "", "import mock rules, into this file")
	fl.StringVar(&f.redactKey, "redact-key", "", "file with the key of pseudonyms; a new key is drawn and forgotten if empty")
	fl.BoolVar(&f.strict, "strict", false, "stop at the first record that cannot be read")
	fl.BoolVar(&f.replace, "replace", false, "replace the snapshot of that name")
	st := addSettings(cmd, oneOf("snapshot", "service", "routes", "redact.disable"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := st.loadWith(cmd, s, noInput, func(c *config.Config) error {
			if c.Snapshot == "" && f.rules == "" {
				return c.Mistake("snapshot", "missing; name the directory to import into")
			}
			return neitherChartNorCommand(c)
		})
		if err != nil {
			return err
		}
		opts, err := f.options(s)
		if err != nil {
			return badInput(err)
		}
		for i, path := range args {
			args[i] = s.abs(path)
		}
		if f.rules != "" {
			return badInput(importRules(cmd.Context(), s, args, opts, s.abs(f.rules)))
		}
		return badInput(importTraffic(cmd.Context(), s, p, f, args, opts))
	}
	return cmd
}

// formatList names the formats that can be imported.
func formatList() string {
	var names []string
	for _, f := range formats.Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

func (f importFlags) options(s Surroundings) (formats.Options, error) {
	opts := formats.Options{
		Format: formats.Format(f.format), Strict: f.strict,
		Service: f.hosts, Direction: traffic.Direction(f.direction),
		Names: map[string]string{}, Report: s.showIssue,
	}
	for _, pair := range f.names {
		address, name, ok := strings.Cut(pair, "=")
		if !ok || address == "" || name == "" {
			return opts, fmt.Errorf("--name %q: write address[:port]=name", pair)
		}
		opts.Names[address] = name
	}
	return opts, opts.Validate()
}

// showIssue lists what a record lost on its way in.
func (s Surroundings) showIssue(i formats.Issue) {
	if rel, err := filepath.Rel(s.Dir, i.File); err == nil && filepath.IsLocal(rel) {
		i.File = rel
	}
	fmt.Fprintln(s.Stderr, i.Error())
}

func importTraffic(ctx context.Context, s Surroundings, p *project, f importFlags, paths []string, opts formats.Options) (err error) {
	writer, _, err := recordFlags{redactKey: f.redactKey, replace: f.replace}.writer(p)
	if err != nil {
		return err
	}
	stored := false
	defer func() {
		if !stored {
			err = errors.Join(err, writer.Abort())
		}
	}()
	counts, err := formats.Read(ctx, paths, opts, writer.Add)
	fmt.Fprintln(s.Stderr, counts)
	if err != nil {
		return err
	}
	if counts.Imported == 0 {
		return errors.New("nothing could be imported, so no snapshot was written")
	}
	manifest, err := writer.Close()
	if err != nil {
		return err
	}
	stored = true
	fmt.Fprintf(s.Stderr, "%s: %d inbound and %d outbound exchanges\n", p.Snapshot, manifest.Inbound, manifest.Outbound)
	return nil
}

// importRules writes the rules of other mocks as a file of ours. It writes over
// nothing.
func importRules(ctx context.Context, s Surroundings, paths []string, opts formats.Options, target string) error {
	found, counts, err := formats.ReadRules(ctx, paths, opts)
	fmt.Fprintln(s.Stderr, counts)
	if err != nil {
		return err
	}
	rules := make([]mock.Rule, len(found))
	for i, r := range found {
		rules[i] = mock.Rule{
			Name:  r.Name,
			Match: mock.RuleMatch(r.Match),
			Reply: mock.RuleAnswer{Status: r.Answer.Status, Header: r.Answer.Header, Body: r.Answer.Body, Delay: r.Answer.Delay},
		}
	}
	return writeNew(target, func(file *os.File) error { return mock.WriteRules(file, rules) })
}

// writeNew writes a file that was not there, and leaves none behind when that
// fails.
func writeNew(path string, write func(*os.File) error) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(write(file), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
