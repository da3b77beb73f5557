package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func newInspect(s Surroundings) *cobra.Command {
	var exchange string
	var bindings bool
	cmd := &cobra.Command{
		Use:   "inspect [SNAPSHOT]",
		Short: "Show what a snapshot holds",
		Long: `Show the endpoints of a snapshot, how often and with which statuses each was
called, how large and how old the recording is, how calls found their lanes, how
many calls only their order tells apart, and what was redacted.

With --exchange, show one exchange, its bodies decoded. With --bindings, show
which values of requests a replay takes from live answers, and which dates follow
the clock; replay.bind pins one, replay.forbid stops one.`,
		Example: `  reprise inspect
  reprise inspect --bindings
  reprise inspect snapshots/shop --exchange 000017`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&exchange, "exchange", "", "id of one exchange to show")
	cmd.Flags().BoolVar(&bindings, "bindings", false, "show what requests take from answers")
	st := addSettings(cmd, oneOf("snapshot", "routes"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := st.loadWith(cmd, s, noInput, neitherChartNorCommand)
		if err != nil {
			return err
		}
		path, err := p.snapshotArgument(s, args)
		if err != nil {
			return badInput(err)
		}
		if bindings {
			return badInput(p.showBindings(cmd.OutOrStdout(), s, path))
		}
		if exchange != "" {
			return badInput(showExchange(cmd.OutOrStdout(), path, exchange))
		}
		opts, err := p.MockOptions()
		if err != nil {
			return badInput(err)
		}
		return badInput(inspect(cmd.OutOrStdout(), path, opts, time.Now()))
	}
	return cmd
}

// oneOf picks keys of the configuration by name.
func oneOf(keys ...string) func(string) bool {
	return func(path string) bool { return slices.Contains(keys, path) }
}

// snapshotArgument is the snapshot that an argument names, or else the
// project's.
func (p *project) snapshotArgument(s Surroundings, args []string) (string, error) {
	if len(args) > 0 {
		return s.abs(args[0]), nil
	}
	return p.findSnapshot(s)
}

// abs roots a path of the command line in the working directory.
func (s Surroundings) abs(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Dir, path)
}

// route is all exchanges of one endpoint.
type route struct {
	name      string
	count     int
	bytes     int64
	statuses  map[string]int
	durations []time.Duration
}

// census is what the exchanges of a snapshot come to.
type census struct {
	inbound, outbound map[string]*route
	lanes             map[traffic.Lane]int // outbound calls
	certainty         map[traffic.Certainty]int
	bytes             int64
}

func (c *census) add(router *traffic.Router, x *traffic.Exchange) {
	routes, name := c.inbound, router.Endpoint(&x.Request)
	if x.Direction == traffic.Outbound {
		routes, name = c.outbound, x.Request.Authority+" "+name
		c.lanes[x.Lane]++
		c.certainty[x.Origin.Certainty]++
	}
	r := routes[name]
	if r == nil {
		r = &route{name: name, statuses: map[string]int{}}
		routes[name] = r
	}
	r.count++
	size := int64(len(x.Request.Body.Raw))
	status := "no answer"
	switch {
	case x.Response != nil:
		size += int64(len(x.Response.Body.Raw))
		status = fmt.Sprint(x.Response.Status)
		r.durations = append(r.durations, x.Duration)
	case x.Failure != traffic.FailureNone:
		status = string(x.Failure)
	}
	r.statuses[status]++
	r.bytes += size
	c.bytes += size
}

func inspect(w io.Writer, path string, opts mock.Options, now time.Time) error {
	reader, err := snapshot.Open(path)
	if err != nil {
		return err
	}
	defer reader.Close()
	c := &census{
		inbound: map[string]*route{}, outbound: map[string]*route{},
		lanes: map[traffic.Lane]int{}, certainty: map[traffic.Certainty]int{},
	}
	var outbound []*traffic.Exchange
	for x, err := range reader.All() {
		if err != nil {
			return err
		}
		c.add(opts.Routes, x)
		if x.Direction == traffic.Outbound {
			outbound = append(outbound, x)
		}
	}
	ambiguity, err := ambiguityOf(outbound, opts)
	if err != nil {
		return err
	}
	m := reader.Manifest()
	disk, err := sizeOf(path)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "snapshot\t%s (%s), %s on disk, %s of bodies\n", m.Name, m.Format, byteSize(disk), byteSize(c.bytes))
	fmt.Fprintf(t, "service\t%s\n", m.Service)
	if !m.RecordedFrom.IsZero() {
		fmt.Fprintf(t, "recorded\t%s, within %s, %s\n",
			m.RecordedFrom.UTC().Format(time.DateTime+" MST"), m.RecordedTo.Sub(m.RecordedFrom).Round(time.Millisecond), age(now.Sub(m.RecordedTo)))
	}
	k := m.Completeness
	fmt.Fprintf(t, "exchanges\t%d inbound, %d outbound; %d seen: %d stored (%d incomplete), %d sampled out, %d dropped\n",
		m.Inbound, m.Outbound, k.Seen, k.Stored, k.Incomplete, k.SampledOut, k.Dropped)
	fmt.Fprintf(t, "lanes\t%s\n", c.laneLine())
	fmt.Fprintf(t, "ambiguity\t%.1f%% of the distinct calls got different answers, so that only their order tells them apart\n", 100*ambiguity)
	fmt.Fprintf(t, "redaction\t%s, key %s\n", cmp.Or(m.Redaction.Version, "none"), cmp.Or(m.Redaction.KeyID, "none"))
	fmt.Fprintf(t, "digest\t%s\n", m.Digest)
	writeRoutes(t, "inbound", c.inbound)
	writeRoutes(t, "outbound", c.outbound)
	if len(m.Redactions) > 0 {
		fmt.Fprintf(t, "\nCOUNT\tREDACTED\tAT\n")
		for _, r := range m.Redactions {
			fmt.Fprintf(t, "%d\t%s\t%s\n", r.Count, r.Rule, r.Path)
		}
	}
	return t.Flush()
}

func writeRoutes(w io.Writer, title string, routes map[string]*route) {
	if len(routes) == 0 {
		return
	}
	fmt.Fprintf(w, "\nCOUNT\t%s\tSTATUS\tMEDIAN\tBODIES\n", strings.ToUpper(title))
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		r := routes[name]
		median := "-"
		if n := len(r.durations); n > 0 {
			slices.Sort(r.durations)
			median = r.durations[(n-1)/2].Round(10 * time.Microsecond).String()
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", r.count, name, tally(r.statuses), median, byteSize(r.bytes))
	}
}

// laneLine says how the outbound calls found what caused them.
func (c *census) laneLine() string {
	requests := 0
	for lane := range c.lanes {
		if lane != traffic.LaneBoot && lane != traffic.LaneBackground {
			requests++
		}
	}
	line := fmt.Sprintf("%d requests caused calls; boot %d calls, background %d", requests, c.lanes[traffic.LaneBoot], c.lanes[traffic.LaneBackground])
	found := map[string]int{}
	for by, n := range c.certainty {
		if by != traffic.ByNothing {
			found[string(by)] = n
		}
	}
	if len(found) > 0 {
		line += "; found by " + tally(found)
	}
	return line
}

// ambiguityOf asks the mock, which alone knows when two calls are the same.
func ambiguityOf(outbound []*traffic.Exchange, opts mock.Options) (float64, error) {
	ca, err := authority.New(time.Now())
	if err != nil {
		return 0, err
	}
	m, err := mock.New(outbound, ca, opts)
	if err != nil {
		return 0, err
	}
	return m.Ambiguity(), m.Close()
}

// showExchange writes one exchange for people, with its bodies decoded.
func showExchange(w io.Writer, path, id string) error {
	reader, err := snapshot.Open(path)
	if err != nil {
		return err
	}
	defer reader.Close()
	x, err := reader.Exchange(id)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s %s, lane %s, %s", x.ID, x.Direction, x.Lane, x.Start.UTC().Format(time.RFC3339Nano))
	if x.Response != nil {
		fmt.Fprintf(w, ", %s", x.Duration)
	}
	fmt.Fprintln(w)
	if len(x.Incomplete) > 0 {
		fmt.Fprintf(w, "incomplete: %s\n", strings.Join(x.Incomplete, "; "))
	}
	fmt.Fprintf(w, "\n%s %s %s\n", x.Request.Method, x.Request.URL(), x.Request.Proto)
	writeMessage(w, x.Request.Header, x.Request.Body, x.Request.Trailer)
	if x.Response == nil {
		_, err := fmt.Fprintf(w, "\nno answer: %s\n", cmp.Or(string(x.Failure), "the source carries none"))
		return err
	}
	fmt.Fprintf(w, "\n%d %s\n", x.Response.Status, x.Response.Proto)
	writeMessage(w, x.Response.Header, x.Response.Body, x.Response.Trailer)
	return nil
}

func writeMessage(w io.Writer, header traffic.Header, body traffic.Body, trailer traffic.Header) {
	for _, f := range header {
		fmt.Fprintf(w, "%s: %s\n", f.Name, printable(f.Value))
	}
	plain, err := body.Decoded()
	switch {
	case len(body.Raw) == 0:
	case err != nil:
		fmt.Fprintf(w, "\n(%d bytes that cannot be decoded: %v)\n", len(body.Raw), err)
	case printable(string(plain)) != string(plain):
		fmt.Fprintf(w, "\n(%d bytes that are not text)\n", len(plain))
	default:
		fmt.Fprintf(w, "\n%s\n", strings.TrimRight(string(plain), "\n"))
	}
	for _, f := range trailer {
		fmt.Fprintf(w, "%s: %s\n", f.Name, printable(f.Value))
	}
}

// printable takes out what would move the cursor of a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return r
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// tally writes counts by word, the most frequent first.
func tally(counts map[string]int) string {
	words := slices.Collect(maps.Keys(counts))
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
	for i, word := range words {
		words[i] = fmt.Sprintf("%s (%d)", word, counts[word])
	}
	return strings.Join(words, ", ")
}

func age(d time.Duration) string {
	switch days := int(d.Hours() / 24); {
	case days > 1:
		return fmt.Sprintf("%d days ago", days)
	case days == 1:
		return "1 day ago"
	case d < 0:
		return "in the future"
	}
	return "less than a day ago"
}

func byteSize(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// sizeOf adds up the files of a snapshot of either tier.
func sizeOf(path string) (int64, error) {
	var total int64
	err := filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
