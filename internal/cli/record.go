package cli

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/capture"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/process"
	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/workdir"
)

// recordFlags are what reprise record takes beside the configuration.
type recordFlags struct {
	listen    string
	upstream  string
	outbound  string
	resolve   []string
	trust     []string
	caCert    string
	caKey     string
	caOut     string
	redactKey string
	duration  time.Duration
	lossless  bool
	replace   bool
	resume    bool
	bodyLimit int64
	flush     time.Duration

	mirror  string
	mark    capture.MirrorOptions
	packets string
	network uint32
	hosts   []string
	names   []string

	sampling capture.Sampling
	rates    []string
	budget   capture.Budget
	most     string
}

func newRecord(s Surroundings) *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use:   "record --snapshot DIR",
		Short: "Record live traffic into a snapshot",
		Long: `Record what a service is asked and what it asks of its dependencies.

Callers are sent to --listen instead of the service. The service reaches its
dependencies through the proxy at --outbound (HTTP_PROXY and HTTPS_PROXY), and
trusts the certificate authority that --ca-out writes. Without --upstream, the
service is started here by process.command of the configuration, with all of
that set.

With --mirror, a target for traffic mirrors takes the place of both proxies, and
with --packets a receiver of mirrored packets (VXLAN or GENEVE).

Personal data and credentials are replaced before anything is written. Stop with
Ctrl-C: what has been recorded is then complete, and the last line says how much
was seen, stored and dropped.`,
		Example: `  reprise record --snapshot snapshots/shop --listen 127.0.0.1:8080 --upstream 127.0.0.1:8081 --outbound 127.0.0.1:3128 --ca-out ca.pem
  reprise record --config examples/shop/reprise.yaml --for 5m
  reprise record --snapshot snapshots/shop --mirror :8080 --sample 0.1
  reprise record manifest --of shop --image registry.example/reprise:v1 | kubectl apply -f -`,
		Args: cobra.NoArgs,
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address that takes the place of the service")
	fl.StringVar(&f.upstream, "upstream", "", "address of the running service; started by process.command if empty")
	fl.StringVar(&f.outbound, "outbound", "127.0.0.1:0", "address of the proxy for calls to dependencies")
	fl.StringArrayVar(&f.resolve, "resolve", nil, "where a dependency really is: host[:port]=address[:port] (repeat)")
	fl.StringArrayVar(&f.trust, "trust", nil, "PEM file of a further authority that dependencies are verified by (repeat)")
	fl.StringVar(&f.caCert, "ca-cert", "", "PEM file of the authority to intercept TLS with; one is made if empty")
	fl.StringVar(&f.caKey, "ca-key", "", "PEM file of its key")
	fl.StringVar(&f.caOut, "ca-out", "", "write the certificate of the authority there, for the service to trust")
	fl.StringVar(&f.redactKey, "redact-key", "", "file with the key of pseudonyms; a new key is drawn and forgotten if empty, so that pseudonyms of two recordings differ")
	fl.DurationVar(&f.duration, "for", 0, "stop after this time; on Ctrl-C if 0")
	fl.BoolVar(&f.lossless, "lossless", false, "slow the traffic down rather than drop an exchange")
	fl.BoolVar(&f.replace, "replace", false, "replace the snapshot of that name")
	fl.BoolVar(&f.resume, "resume", false, "go on with a recording of that name that was cut off, if there is one; needs --redact-key")
	fl.Int64Var(&f.bodyLimit, "body-limit", 0, "bytes kept of each body; 8 MiB if 0")
	fl.DurationVar(&f.flush, "flush-after", 2*time.Second, "write what was recorded to the disk after this time, so that it outlives the recorder")
	fl.StringVar(&f.mirror, "mirror", "", "address of a target for traffic mirrors, instead of the proxies")
	fl.StringVar(&f.mark.Mark, "mirror-mark", "", "header that marks mirrored requests, as Name or 'Name: value'; others are not kept")
	fl.BoolVar(&f.mark.KeepShadow, "keep-shadow", false, "leave -shadow in mirrored host names")
	fl.StringVar(&f.packets, "packets", "", "UDP address for mirrored packets, instead of the proxies")
	fl.Uint32Var(&f.network, "network", 0, "the only VXLAN network whose packets are read; all if 0")
	fl.StringArrayVar(&f.hosts, "host", nil, "host[:port] of the service in packets: requests to others are outbound (repeat)")
	fl.StringArrayVar(&f.names, "name", nil, "name of an address in packets: address[:port]=name (repeat)")
	fl.Float64Var(&f.sampling.Rate, "sample", 0, "share of the requests to keep, with all that they cause; all if 0")
	fl.StringVar(&f.sampling.Header, "sample-by", "", "choose by this header, so that the requests of a user stay together")
	fl.StringArrayVar(&f.rates, "sample-endpoint", nil, "another share for one endpoint: 'GET /health=0' (repeat)")
	fl.Int64Var(&f.budget.Exchanges, "max-exchanges", 0, "end after this many exchanges")
	fl.StringVar(&f.most, "max-size", "", "end after this many bytes, such as 500MiB")
	st := addSettings(cmd, func(path string) bool {
		return path == "snapshot" || path == "service" || path == "routes" || path == "redact.disable" || strings.HasPrefix(path, "process.")
	})
	cmd.AddCommand(newRecordManifest())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p, err := st.loadWith(cmd, s, noInput, func(c *config.Config) error {
			c.Target, c.Chart = config.TargetProcess, ""
			if f.upstream != "" || f.mirror != "" || f.packets != "" {
				c.Process.Command = "(running)" // nothing is started
			}
			if c.Snapshot == "" {
				return c.Mistake("snapshot", "missing; name the directory to record into")
			}
			return nil
		})
		if err != nil {
			return err
		}
		switch {
		case f.mirror != "" && f.packets != "", (f.mirror != "" || f.packets != "") && f.upstream != "":
			return badInput(errors.New("--upstream, --mirror and --packets are different sources; give one"))
		case f.resume && f.redactKey == "":
			return badInput(errors.New("--resume: the pseudonyms must stay those of before; give their key with --redact-key"))
		case f.resume && f.packets != "":
			return badInput(errors.New("--resume goes on with recordings of proxies and mirrors, not of packets"))
		case f.packets != "":
			return recordPackets(cmd.Context(), s, p, f)
		}
		return record(cmd.Context(), s, p, f)
	}
	return cmd
}

// noInput is the action's inputs for commands that are not run by it.
func noInput(string) string { return "" }

// record runs until ctx ends or the time is up. That is how a recording ends
// well, so neither is an error.
func record(ctx context.Context, s Surroundings, p *project, f recordFlags) (err error) {
	writer, router, err := f.writer(p)
	if err != nil {
		return badInput(err)
	}
	stored := false
	defer func() {
		if !stored {
			err = errors.Join(err, writer.Abort())
		}
	}()
	opts, err := f.recorderOptions(writer, router)
	if err != nil {
		return badInput(err)
	}
	recorder, err := capture.NewRecorder(writer, opts)
	if err != nil {
		return badInput(err)
	}
	ctx, cancel := f.limited(ctx)
	defer cancel()
	go func() {
		select {
		case <-recorder.Full():
			cancel() // the budget is used up
		case <-ctx.Done():
		}
	}()
	var runErr error
	if f.mirror != "" {
		runErr = runMirror(ctx, s, f, recorder)
	} else {
		runErr = runProxies(ctx, s, p, f, recorder)
	}

	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	closeErr := recorder.Close(closing)
	counts := recorder.Counts()
	if counts.Stored == 0 {
		return errors.Join(runErr, closeErr, errors.New("nothing was recorded, so no snapshot was written"))
	}
	manifest, err := writer.Close()
	if err != nil {
		return errors.Join(runErr, closeErr, err)
	}
	stored = true
	fmt.Fprintf(s.Stderr, "%s: %d inbound and %d outbound exchanges; %s\n", p.Snapshot, manifest.Inbound, manifest.Outbound, completeness(manifest.Completeness))
	return errors.Join(runErr, closeErr)
}

// completeness is the line of a manifest that accounts for what was seen.
func completeness(k snapshot.Completeness) string {
	return fmt.Sprintf("%d seen: %d stored (%d incomplete), %d sampled out, %d dropped", k.Seen, k.Stored, k.Incomplete, k.SampledOut, k.Dropped)
}

// runProxies makes both proxies and runs them.
func runProxies(ctx context.Context, s Surroundings, p *project, f recordFlags, recorder *capture.Recorder) error {
	ca, err := recordingAuthority(f)
	if err != nil {
		return badInput(err)
	}
	outboundOptions, err := f.outboundOptions()
	if err != nil {
		return badInput(err)
	}
	outbound, err := capture.NewOutbound(ca, recorder, outboundOptions)
	if err != nil {
		return badInput(err)
	}
	return runRecording(ctx, s, p, f, ca, recorder, outbound)
}

// runRecording serves both proxies, and the service if it is to be started,
// until ctx ends.
func runRecording(ctx context.Context, s Surroundings, p *project, f recordFlags, ca *authority.Authority, recorder *capture.Recorder, outbound *capture.Outbound) error {
	listenOut, err := net.Listen("tcp", f.outbound)
	if err != nil {
		return badInput(fmt.Errorf("--outbound: %w", err))
	}
	listenIn, err := net.Listen("tcp", f.listen)
	if err != nil {
		listenOut.Close()
		return badInput(fmt.Errorf("--listen: %w", err))
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	group, serving := errgroup.WithContext(serving)
	group.Go(func() error { return outbound.Serve(serving, listenOut) })

	upstream := f.upstream
	if upstream == "" {
		service, remove, err := startRecorded(ctx, s, p, ca, listenOut.Addr().String())
		if err != nil {
			stop()
			listenIn.Close()
			return errors.Join(err, group.Wait())
		}
		defer remove()
		upstream = service.Addr()
		group.Go(func() error {
			select {
			case <-service.Exited():
				return fmt.Errorf("the service ended while it was recorded: %w", service.Stop())
			case <-serving.Done():
				return nil
			}
		})
	}
	inbound, err := capture.NewInbound(upstream, recorder)
	if err != nil {
		stop()
		listenIn.Close()
		return errors.Join(badInput(err), group.Wait())
	}
	group.Go(func() error { return inbound.Serve(serving, listenIn) })
	fmt.Fprintf(s.Stderr, "recording http://%s -> %s, calls to dependencies through http://%s\n", listenIn.Addr(), upstream, listenOut.Addr())
	err = group.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// startRecorded starts the service with the recorder as its way out.
func startRecorded(ctx context.Context, s Surroundings, p *project, ca *authority.Authority, proxy string) (*process.Instance, func(), error) {
	dir, err := workdir.New(tempDir(s))
	if err != nil {
		return nil, nil, err
	}
	caFile := dir.Path("authority.pem")
	if err := os.WriteFile(caFile, ca.CertPEM(), 0o644); err != nil {
		return nil, nil, errors.Join(err, dir.Remove())
	}
	service, err := process.Start(ctx, p.ProcessOptions(), process.Place{
		Project: p.dir, Mock: proxy, CAFile: caFile, Environ: s.Environ, Log: s.Stderr,
	}, func(pgid int) error { return dir.NoteProcess(workdir.Group, pgid) })
	if err != nil {
		return nil, nil, errors.Join(err, dir.Remove())
	}
	return service, func() {
		_ = service.Stop() // that it ended is what was wanted
		_ = dir.Remove()   // cleanup removes what could not be removed now
	}, nil
}

// recordingAuthority reads the authority to intercept with, or makes one.
func recordingAuthority(f recordFlags) (*authority.Authority, error) {
	var ca *authority.Authority
	if f.caCert != "" || f.caKey != "" {
		cert, err := os.ReadFile(f.caCert)
		if err != nil {
			return nil, fmt.Errorf("--ca-cert: %w", err)
		}
		key, err := os.ReadFile(f.caKey)
		if err != nil {
			return nil, fmt.Errorf("--ca-key: %w", err)
		}
		if ca, err = authority.Parse(cert, key); err != nil {
			return nil, fmt.Errorf("--ca-cert: %w", err)
		}
	} else {
		var err error
		if ca, err = authority.New(time.Now()); err != nil {
			return nil, err
		}
	}
	if f.caOut != "" {
		if err := os.WriteFile(f.caOut, ca.CertPEM(), 0o644); err != nil {
			return nil, fmt.Errorf("--ca-out: %w", err)
		}
	}
	return ca, nil
}

// redactor makes the redactor with the key of the file, or with a key that
// nobody will ever know.
func (f recordFlags) redactor(p *project) (*redact.Redactor, error) {
	key := make([]byte, 32)
	if f.redactKey != "" {
		var err error
		if key, err = os.ReadFile(f.redactKey); err != nil {
			return nil, fmt.Errorf("--redact-key: %w", err)
		}
	} else if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("draw a key for pseudonyms: %w", err)
	}
	return redact.New(p.RedactOptions(key))
}

func (f recordFlags) outboundOptions() (capture.OutboundOptions, error) {
	opts := capture.OutboundOptions{Resolve: map[string]string{}}
	for _, pair := range f.resolve {
		name, address, ok := strings.Cut(pair, "=")
		if !ok || name == "" || address == "" {
			return opts, fmt.Errorf("--resolve %q: write host[:port]=address[:port]", pair)
		}
		opts.Resolve[strings.ToLower(name)] = address
	}
	for _, file := range f.trust {
		data, err := os.ReadFile(file)
		if err != nil {
			return opts, fmt.Errorf("--trust: %w", err)
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return opts, fmt.Errorf("--trust %s: %w", file, err)
			}
			opts.ExtraRoots = append(opts.ExtraRoots, cert)
		}
	}
	return opts, nil
}
