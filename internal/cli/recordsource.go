package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/capture"
	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// writer starts the snapshot of a recording or an import. The caller ends it.
func (f recordFlags) writer(p *project) (*snapshot.Writer, *traffic.Router, error) {
	redactor, err := f.redactor(p)
	if err != nil {
		return nil, nil, err
	}
	router, err := traffic.NewRouter(p.Routes)
	if err != nil {
		return nil, nil, err
	}
	service := p.Service
	if service == "" {
		service = strings.TrimSuffix(filepath.Base(p.Snapshot), ".rpk")
	}
	opts := snapshot.Options{Service: service, Router: router, Replace: f.replace, FlushAfter: f.flush}
	if f.resume {
		w, err := snapshot.Resume(p.Snapshot, redactor, opts)
		if !errors.Is(err, fs.ErrNotExist) {
			return w, router, err
		}
	}
	w, err := snapshot.NewWriter(p.Snapshot, redactor, opts)
	if errors.Is(err, snapshot.ErrUnfinished) {
		err = fmt.Errorf("%w\nhint: reprise snapshot recover %s", err, p.Snapshot)
	}
	return w, router, err
}

// recorderOptions are the bounds of a recording, which goes on with the numbers
// of what the writer has.
func (f recordFlags) recorderOptions(w *snapshot.Writer, router *traffic.Router) (capture.Options, error) {
	opts := capture.Options{BodyLimit: f.bodyLimit, Lossless: f.lossless, Sampling: f.sampling, Budget: f.budget}
	opts.Inbound, opts.Outbound = w.Last()
	opts.Sampling.Router = router
	opts.Sampling.Endpoints = map[string]float64{}
	for _, pair := range f.rates {
		i := strings.LastIndexByte(pair, '=')
		rate, err := strconv.ParseFloat(pair[i+1:], 64)
		if i <= 0 || err != nil {
			return opts, fmt.Errorf("--sample-endpoint %q: write endpoint=share, such as 'GET /health=0'", pair)
		}
		opts.Sampling.Endpoints[pair[:i]] = rate
	}
	var err error
	if opts.Budget.Bytes, err = parseBytes(f.most); err != nil {
		return opts, fmt.Errorf("--max-size: %w", err)
	}
	return opts, opts.Validate()
}

// limited ends a recording in time.
func (f recordFlags) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.duration > 0 {
		return context.WithTimeout(ctx, f.duration)
	}
	return context.WithCancel(ctx)
}

// runMirror serves a target for traffic mirrors until ctx ends.
func runMirror(ctx context.Context, s Surroundings, f recordFlags, recorder *capture.Recorder) error {
	mirror, err := capture.NewMirror(recorder, f.mark)
	if err != nil {
		return badInput(err)
	}
	l, err := net.Listen("tcp", f.mirror)
	if err != nil {
		return badInput(fmt.Errorf("--mirror: %w", err))
	}
	fmt.Fprintf(s.Stderr, "recording what is mirrored to http://%s\n", l.Addr())
	return mirror.Serve(ctx, l)
}

// recordPackets makes a snapshot of mirrored packets as they come.
func recordPackets(ctx context.Context, s Surroundings, p *project, f recordFlags) (err error) {
	opts, err := importFlags{hosts: f.hosts, names: f.names}.options(s)
	if err != nil {
		return badInput(err)
	}
	opts.Network = f.network
	writer, _, err := f.writer(p)
	if err != nil {
		return badInput(err)
	}
	stored := false
	defer func() {
		if !stored {
			err = errors.Join(err, writer.Abort())
		}
	}()
	live, err := formats.NewLive(opts, writer.Add)
	if err != nil {
		return badInput(err)
	}
	c, err := net.ListenPacket("udp", f.packets)
	if err != nil {
		return badInput(fmt.Errorf("--packets: %w", err))
	}
	fmt.Fprintf(s.Stderr, "recording the packets that are mirrored to udp://%s\n", c.LocalAddr())
	ctx, cancel := f.limited(ctx)
	defer cancel()
	runErr := capture.ServePackets(ctx, c, time.Now, live)
	counts, closeErr := live.Close()
	fmt.Fprintf(s.Stderr, "%d found: %d stored (%d incomplete), %d unreadable; %d damaged packets\n",
		counts.Found, counts.Imported, counts.Incomplete, counts.Unreadable, live.Damaged())
	if counts.Imported == 0 {
		return errors.Join(runErr, closeErr, errors.New("nothing was recorded, so no snapshot was written"))
	}
	writer.Dropped(counts.Unreadable)
	if _, err := writer.Close(); err != nil {
		return errors.Join(runErr, closeErr, err)
	}
	stored = true
	return errors.Join(runErr, closeErr)
}

func newRecordManifest() *cobra.Command {
	var o capture.ManifestOptions
	cmd := &cobra.Command{
		Use:   "manifest --of SERVICE --image IMAGE",
		Short: "Print what records a service in a cluster",
		Long: `Print Kubernetes objects that record a service, each with a comment that says how
to use it. Nothing needs root. The parts are ` + strings.Join(capture.ManifestParts(), ", ") + `.`,
		Example: `  reprise record manifest --of shop --image registry.example/reprise:v1 --part recorder --part istio`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return badInput(err)
			}
			return capture.WriteManifest(cmd.OutOrStdout(), o)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.Service, "of", "", "Kubernetes Service to record")
	fl.StringVar(&o.Namespace, "namespace", "", "its namespace; default if empty")
	fl.IntVar(&o.Port, "port", 0, "port of the Service; 8080 if 0")
	fl.IntVar(&o.PodPort, "pod-port", 0, "port of its pods; that of the Service if 0")
	fl.StringVar(&o.Image, "image", "", "image that holds reprise")
	fl.StringVar(&o.KeySecret, "key-secret", "", "Secret whose key 'key' makes the pseudonyms")
	fl.StringVar(&o.TrustConfigMap, "trust-config-map", "", "ConfigMap whose ca.crt holds further authorities that dependencies are verified by")
	fl.Float64Var(&o.Percent, "percent", 0, "share of the traffic that is mirrored; 100 if 0")
	fl.Uint32Var(&o.Network, "network", 0, "VXLAN network of mirrored packets; 4711 if 0")
	fl.StringArrayVar(&o.Parts, "part", nil, "part to print; all if none (repeat)")
	return cmd
}
