package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func newMock(s Surroundings) *cobra.Command {
	var listen []string
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "mock",
		Short: "Serve the recorded dependencies of a snapshot on their own",
		Long: `Stand in for the dependencies of a service, for local development. Each address
takes plain HTTP, TLS (for any name, signed by the authority that --ca-out
writes), HTTP/2 and the requests of a forward proxy, so that either
HTTP_PROXY=http://ADDRESS or a changed base URL leads there. Nothing is ever
passed on: a call that was not recorded is answered with status 599 and the
recorded calls that come nearest. At the end the calls are written to output-dir,
for reprise explain.`,
		Example: `  reprise mock --snapshot snapshots/shop --listen 127.0.0.1:3128 --ca-out ca.pem`,
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringArrayVar(&listen, "listen", []string{"127.0.0.1:3128"}, "address to serve on (repeat)")
	cmd.Flags().StringVar(&f.caCert, "ca-cert", "", "PEM file of the authority to sign with; one is made if empty")
	cmd.Flags().StringVar(&f.caKey, "ca-key", "", "PEM file of its key")
	cmd.Flags().StringVar(&f.caOut, "ca-out", "", "write the certificate of the authority there")
	st := addSettings(cmd, func(path string) bool {
		return path == "snapshot" || path == "routes" || strings.HasPrefix(path, "mock.") || path == "output-dir"
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := st.loadWith(cmd, s, noInput, neitherChartNorCommand)
		if err != nil {
			return err
		}
		return serveMock(cmd.Context(), s, p, listen, f)
	}
	return cmd
}

// serveMock runs until ctx ends, which is how it ends well.
func serveMock(ctx context.Context, s Surroundings, p *project, listen []string, f recordFlags) error {
	path, err := p.findSnapshot(s)
	if err != nil {
		return badInput(err)
	}
	recorded, err := readExchanges(path)
	if err != nil {
		return badInput(err)
	}
	ca, err := recordingAuthority(f)
	if err != nil {
		return badInput(err)
	}
	opts, err := p.MockOptions()
	if err != nil {
		return badInput(err)
	}
	if opts.Issuer, err = fresh.NewIssuer(recorded, p.Mock.Issuers...); err != nil {
		return badInput(err)
	}
	opts.OneLane = true // nobody marks the lanes here
	m, err := mock.New(recorded, ca, opts)
	if err != nil {
		return badInput(err)
	}
	m.BeginPass(1)
	group, serving := errgroup.WithContext(ctx)
	for _, address := range listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return badInput(fmt.Errorf("--listen: %w", err))
		}
		fmt.Fprintf(s.Stderr, "serving on %s\n", l.Addr())
		group.Go(func() error { return m.Serve(serving, l) })
	}
	group.Go(func() error { showCounters(serving, s, m); return nil })
	err = errors.Join(group.Wait(), writeJournal(s, p, m), m.Close())
	fmt.Fprintln(s.Stderr, counters(m))
	for _, name := range m.UnusedRules() {
		fmt.Fprintf(s.Stderr, "mock.rules: %s answered no call\n", name)
	}
	return err
}

// showCounters keeps a live line on a terminal, and prints a line a minute
// elsewhere, when something has changed.
func showCounters(ctx context.Context, s Surroundings, m *mock.Mock) {
	every, end := time.Minute, "\n"
	if s.Terminal {
		every, end = 500*time.Millisecond, "\r"
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if line := counters(m); line != last {
				fmt.Fprint(s.Stderr, line, end)
				last = line
			}
		}
	}
}

func counters(m *mock.Mock) string {
	a := m.Account(1)
	return fmt.Sprintf("%d calls: %d matched, %d again, %d missed; %d recorded calls unused", a.Live, a.Matched, a.Extra, a.Missed, a.Unused)
}

// readExchanges reads a whole snapshot.
func readExchanges(path string) ([]*traffic.Exchange, error) {
	reader, err := snapshot.Open(path)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	var all []*traffic.Exchange
	for x, err := range reader.All() {
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}
