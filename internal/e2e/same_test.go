package e2e

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
	"github.com/reprise-ci/reprise/internal/stats"
)

// probing is how the pods of the example are asked whether they are well.
type probing struct {
	name  string
	chart string // what stands for both probes in the example's chart
}

// The probes of the example's chart, and what is put in their place. A startup
// probe is over once the pod is ready: then nothing asks any more.
const probesOfChart = `          readinessProbe:
            httpGet:
              path: /healthz
              port: http
            periodSeconds: 2
          livenessProbe:
            httpGet:
              path: /healthz
              port: http
            initialDelaySeconds: 5
            periodSeconds: 10
`

var probings = []probing{
	{"over HTTP", probesOfChart},
	{"by a command", `          readinessProbe:
            exec: {command: [/well]}
            periodSeconds: 2
          livenessProbe:
            exec: {command: [/well]}
            initialDelaySeconds: 5
            periodSeconds: 10
`},
	{"not at all", `          startupProbe:
            httpGet:
              path: /healthz
              port: http
            periodSeconds: 2
`},
}

// session is one run of the same image as base, head and control.
type session struct {
	probing string
	block   int
	alarms  []string // findings of latency
	others  []string // all other findings
	rounds  int
	floor   float64
	// Medians over the endpoints: the spread of the rounds' shifts of p50, the
	// widths of the 95 % intervals of both quantiles (as logarithms), and what
	// could have been seen.
	spread, width50, width90, detectable float64
	startupMS                            [3]float64
}

// TestSameImageOnKind runs the same image as base, head and control on one cluster
// until REPRISE_SAME is over, with the example's pods asked over HTTP, by a command,
// and not at all once they are ready: alternating, in random order, so that what
// else the machine does falls on all of them alike. It tells how many findings of
// latency there were, and what a quiet window would gain. make eval-kind runs it.
func TestSameImageOnKind(t *testing.T) {
	if os.Getenv("REPRISE_SAME") == "" {
		t.Skip("an experiment; set REPRISE_SAME to its time, or run make eval-kind")
	}
	needsKind(t)
	lasts, err := time.ParseDuration(os.Getenv("REPRISE_SAME"))
	if err != nil {
		t.Fatal(err)
	}
	g := newGiven(t)
	ref := g.loadShop()
	repositories := make([]string, len(probings))
	for i, p := range probings {
		repositories[i] = probed(t, p)
	}
	var all []session
	longest := time.Duration(0)
	for began, block := time.Now(), 1; time.Since(began)+longest < lasts; block++ {
		blockBegan := time.Now()
		for _, i := range rand.Perm(len(probings)) {
			s, ok := g.session(repositories[i], ref, block)
			if !ok {
				continue
			}
			s.probing, s.block = probings[i].name, block
			all = append(all, s)
			fmt.Printf("%s block %d %-12s %d rounds, spread %4.1f %%  p50 ±%4.1f %%  p90 ±%4.1f %%  detectable %4.1f %%  floor %4.1f %%  start %v ms %q %q\n", time.Now().UTC().Format(time.TimeOnly),
				s.block, s.probing, s.rounds, 100*s.spread, 50*s.width50, 50*s.width90, 100*s.detectable, 100*s.floor, s.startupMS, s.alarms, s.others)
		}
		longest = max(longest, time.Since(blockBegan))
	}
	fmt.Print(sumUp(all))
}

// loadShop builds the example with a program that says that all is well, and loads
// the image into the node.
func (g *given) loadShop() string {
	g.Helper()
	const ref = "reprise.dev/shop:same"
	dir := g.TempDir()
	copyShop(g.T, dir)
	source := filepath.Join(dir, "examples", "shop")
	command(g.T, source, "go", "build", "-trimpath", "-ldflags=-s", "-o", "out/shop", ".")
	well := filepath.Join(dir, "well.go")
	if err := os.WriteFile(well, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		g.Fatal(err)
	}
	command(g.T, dir, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(source, "out", "well"), well)
	if err := os.Remove(filepath.Join(source, ".dockerignore")); err != nil {
		g.Fatal(err)
	}
	edit(g.T, filepath.Join(source, "Dockerfile"), "COPY out/shop /shop\n", "COPY out/shop /shop\nCOPY out/well /well\n")
	command(g.T, source, "docker", "build", "-q", "-t", ref, ".")
	g.Cleanup(func() {
		if text, err := exec.Command("docker", "image", "rm", ref).CombinedOutput(); err != nil {
			g.Errorf("%v\n%s", err, text)
		}
	})
	if err := g.cluster.LoadDockerImages(g.Context(), ref); err != nil {
		g.Fatal(err)
	}
	return ref
}

// probed is a repository whose change is none, with other probes in the chart.
func probed(t *testing.T, p probing) string {
	t.Helper()
	dir := newRepository(t)
	git := func(args ...string) { command(t, dir, "git", args...) }
	git("switch", "-q", "main")
	edit(t, filepath.Join(dir, "examples", "shop", "chart", "templates", "deployment.yaml"), probesOfChart, p.chart)
	git("commit", "-qam", "Probes "+p.name, "--allow-empty")
	git("switch", "-q", "change")
	git("reset", "-q", "--hard", "main")
	git("commit", "-qm", "No change", "--allow-empty")
	return dir
}

// sessionRounds is how many rounds a session has, unless the machine is so slow that
// its time is over before: its noise is that of fewer rounds and not compared.
const sessionRounds = 16

// session is one run, or false for one that broke. All measure the same number of
// rounds.
func (g *given) session(repository, ref string, seed int) (s session, ok bool) {
	g.Helper()
	out := filepath.Join(g.TempDir(), "out")
	log, code := reprise(g.T, repository, "run", "--config", "examples/shop/reprise.yaml", "--target", "kubernetes",
		"--kubeconfig", g.kubeconfig, "--context", g.context, "--base-ref", "main", "--output-dir", out, "--seed", fmt.Sprint(seed), "--comment", "never",
		"--build-image-context", "", "--build-image-base", ref, "--build-image-head", ref,
		"--latency-pairs", "30", "--latency-min-rounds", fmt.Sprint(sessionRounds), "--latency-max-rounds", fmt.Sprint(sessionRounds), "--latency-budget", "3m")
	f, err := os.Open(filepath.Join(out, "report.json"))
	if err != nil {
		g.Fatalf("%v; exit code %d\n%s", err, code, log)
	}
	defer f.Close()
	d, err := report.ReadJSON(f)
	if err != nil {
		g.Fatalf("%v\n%s", err, log)
	}
	if d.Verdict == analysis.Error || len(d.Endpoints) == 0 {
		g.Logf("left out: verdict %s (%s), %d endpoints", d.Verdict, d.Reason, len(d.Endpoints))
		return session{}, false
	}
	return sessionOf(d), true
}

func sessionOf(d *report.Document) session {
	s := session{rounds: d.Latency.Rounds, floor: d.Latency.NoiseFloor}
	for _, f := range d.Findings {
		if f.Kind == analysis.KindLatency {
			s.alarms = append(s.alarms, f.Endpoint+" "+f.Address)
		} else {
			s.others = append(s.others, f.Endpoint+" "+f.Address)
		}
	}
	for i, r := range d.Resources {
		s.startupMS[i] = r.StartupMS
	}
	var spread, width50, width90, detectable []float64
	for _, e := range d.Endpoints {
		var shifts []float64
		for k := range e.RoundsBaseMS {
			shifts = append(shifts, math.Log(e.RoundsHeadMS[k]/e.RoundsBaseMS[k]))
		}
		spread = append(spread, stats.StdDev(shifts))
		width50 = append(width50, math.Log(e.P50.CI[1]/e.P50.CI[0]))
		width90 = append(width90, math.Log(e.P90.CI[1]/e.P90.CI[0]))
		detectable = append(detectable, e.P50.Detectable)
	}
	s.spread, s.width50, s.width90, s.detectable = stats.Median(spread), stats.Median(width50), stats.Median(width90), stats.Median(detectable)
	return s
}

// sumUp tells how often latency was a finding, and of each way of asking, beside
// not asking at all in the same block, by what factor the noise is larger.
func sumUp(all []session) string {
	var b strings.Builder
	alarmed := 0
	for _, s := range all {
		if len(s.alarms) > 0 {
			alarmed++
		}
	}
	low, high := stats.ClopperPearson(alarmed, len(all), 0.95)
	fmt.Fprintf(&b, "%d of %d sessions of the same image have a finding of latency (%.1f to %.1f %%)\n", alarmed, len(all), 100*low, 100*high)
	quiet := probings[len(probings)-1].name
	for _, p := range probings {
		for _, m := range []struct {
			name string
			of   func(session) float64
		}{
			{"spread of the rounds", func(s session) float64 { return s.spread }},
			{"interval of p50", func(s session) float64 { return s.width50 }},
			{"interval of p90", func(s session) float64 { return s.width90 }},
			{"detectable change", func(s session) float64 { return s.detectable }},
			{"noise floor", func(s session) float64 { return s.floor }},
		} {
			var values, factors []float64
			for _, s := range all {
				if s.probing != p.name || s.rounds < sessionRounds {
					continue
				}
				values = append(values, m.of(s))
				i := slices.IndexFunc(all, func(q session) bool { return q.block == s.block && q.probing == quiet && q.rounds == sessionRounds })
				if i >= 0 && p.name != quiet && m.of(all[i]) > 0 && m.of(s) > 0 {
					factors = append(factors, math.Log(m.of(s)/m.of(all[i])))
				}
			}
			fmt.Fprintf(&b, "probes %-12s %-20s median %5.2f %%", p.name, m.name, 100*stats.Median(values))
			if len(factors) > 0 {
				estimate, ci := stats.HodgesLehmann(factors, 0.95)
				_, _, chance := stats.SignFlip(factors)
				fmt.Fprintf(&b, ", %.2f times that of none (%.2f to %.2f, %d pairs, p %.3f)", math.Exp(estimate), math.Exp(ci.Low), math.Exp(ci.High), len(factors), chance)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}
