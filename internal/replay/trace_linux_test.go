package replay_test

import (
	"context"
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

	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// BenchmarkTrace replays a recording of GoReplay at its own speed and at ten
// times it, with both programs, each on one core, and compares the gaps between
// requests at the sink with the recorded ones: KS is their Kolmogorov-Smirnov
// distance, length-off-% by how much the whole took too long or too short. Beside
// them stands a bare loop, which tells what this machine allows. The
// recording is a minute of random arrivals, or the file that REPRISE_BENCH_TRACE
// names. It takes more than two minutes and is run by
//
//	go test -run=^$ -bench=Trace -benchtime=1x -timeout=1h ./internal/replay
func BenchmarkTrace(b *testing.B) {
	tr := newTrace(b)
	players := []struct {
		name string
		play func(b *testing.B, sink *sinkProcess, tr *trace, speed int) []int64
	}{{"reprise", playReprise}, {"bare-loop", playBare}, {"goreplay", playGoReplay}}
	for _, speed := range []int{1, 10} {
		for _, p := range players {
			b.Run(fmt.Sprintf("%dx/%s", speed, p.name), func(b *testing.B) {
				sink := startSink(b, "awake")
				for range b.N {
					sink.arrivals(b)
					var arrived []int64
					onOneCore(b, func() { arrived = p.play(b, sink, tr, speed) })
					tr.compare(b, arrived, speed)
				}
			})
		}
	}
}

// trace is a recording: its file, and what our own reader makes of it.
type trace struct {
	path      string
	exchanges []*traffic.Exchange
}

func newTrace(b *testing.B) *trace {
	b.Helper()
	tr := &trace{path: os.Getenv("REPRISE_BENCH_TRACE")}
	if tr.path == "" {
		tr.path = filepath.Join(b.TempDir(), "trace.gor")
		if err := writeArrivals(tr.path, time.Minute, 5*time.Millisecond); err != nil {
			b.Fatal(err)
		}
	}
	_, err := formats.Read(b.Context(), []string{tr.path}, formats.Options{Format: formats.GoReplay, Strict: true}, func(x *traffic.Exchange) error {
		tr.exchanges = append(tr.exchanges, x)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	slices.SortStableFunc(tr.exchanges, func(x, y *traffic.Exchange) int { return x.Start.Compare(y.Start) })
	if len(tr.exchanges) < 2 {
		b.Fatalf("%s holds %d requests", tr.path, len(tr.exchanges))
	}
	return tr
}

// writeArrivals writes requests that come at random, each on a connection of its
// own, with mean gaps: the same ones each time.
func writeArrivals(path string, length, gap time.Duration) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := formats.NewGorWriter(file, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	moment := time.Duration(0)
	for i := 0; moment < length; i++ {
		x := at(recorded(i, "GET", "/", "User-Agent", "bench", "Accept", "*/*"), moment)
		x.Origin.Connection, x.Response = fmt.Sprint("c", i), nil
		if err := w.Add(x); err != nil {
			return err
		}
		moment += time.Duration(rng.ExpFloat64() * float64(gap))
	}
	return file.Close()
}

// length is that of the whole at a speed.
func (tr *trace) length(speed int) time.Duration {
	return tr.exchanges[len(tr.exchanges)-1].Start.Sub(tr.exchanges[0].Start) / time.Duration(speed)
}

// compare reports how the arrivals differ from the recording at a speed.
func (tr *trace) compare(b *testing.B, arrived []int64, speed int) {
	b.Helper()
	if len(arrived) < 2 {
		b.Fatalf("%d of %d requests arrived", len(arrived), len(tr.exchanges))
	}
	slices.Sort(arrived)
	var planned, seen []float64
	for i := 1; i < len(tr.exchanges); i++ {
		planned = append(planned, tr.exchanges[i].Start.Sub(tr.exchanges[i-1].Start).Seconds()/float64(speed))
	}
	for i := 1; i < len(arrived); i++ {
		seen = append(seen, float64(arrived[i]-arrived[i-1])/1e9)
	}
	took := float64(arrived[len(arrived)-1] - arrived[0])
	b.ReportMetric(kolmogorov(planned, seen), "KS")
	b.ReportMetric(100*math.Abs(took/float64(tr.length(speed))-1), "length-off-%")
	b.ReportMetric(float64(len(tr.exchanges)-len(arrived)), "missing")
}

func playReprise(b *testing.B, sink *sinkProcess, tr *trace, speed int) []int64 {
	e := newEngine(b, tr.exchanges...)
	p, err := e.Plan(replay.Load{Speed: float64(speed)})
	if err != nil {
		b.Fatal(err)
	}
	r, err := e.Drive(context.Background(), replay.Target{Arm: "base", Addr: sink.addr}, p)
	if err != nil {
		b.Fatal(err)
	}
	if slices.ContainsFunc(r.Samples, func(s replay.Sample) bool { return s.Status != 200 }) {
		b.Fatalf("not all answers have status 200: %v", r.Errors)
	}
	return sink.arrivals(b)
}

// playGoReplay lets GoReplay have all of the recording in memory before it
// begins, without which it sends no more than about a thousand requests a
// second. It does not end by itself.
func playGoReplay(b *testing.B, sink *sinkProcess, tr *trace, speed int) []int64 {
	program := ""
	for _, name := range []string{"gor", "goreplay"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		b.Skip("gor is not installed (go install github.com/buger/goreplay@v1.3.2, with libpcap-dev)")
	}
	input := tr.path
	if speed != 1 {
		input = fmt.Sprintf("%s|%d%%", tr.path, 100*speed)
	}
	var said strings.Builder
	cmd := exec.Command(program, "--input-file", input, "--input-file-read-depth", fmt.Sprint(len(tr.exchanges)+1), "--output-http", "http://"+sink.addr)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	end := time.Now().Add(3*tr.length(speed) + 10*time.Second) // what is missing then is reported
	time.Sleep(tr.length(speed) + time.Second)
	var arrived []int64
	for quiet := 0; len(arrived) < len(tr.exchanges) && quiet < 5 && time.Now().Before(end); {
		more := sink.arrivals(b)
		arrived = append(arrived, more...)
		if quiet++; len(more) > 0 {
			quiet = 0
		}
		time.Sleep(time.Second)
	}
	if len(arrived) == 0 {
		b.Fatalf("nothing came from GoReplay: %s", &said)
	}
	return arrived
}

// kolmogorov returns the largest distance between two empirical distributions.
func kolmogorov(a, b []float64) float64 {
	slices.Sort(a)
	slices.Sort(b)
	most, i, j := 0.0, 0, 0
	for i < len(a) && j < len(b) {
		if a[i] <= b[j] {
			i++
		} else {
			j++
		}
		most = max(most, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return most
}
