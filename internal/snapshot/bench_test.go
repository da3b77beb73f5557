package snapshot_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// benchExchanges is how many exchanges a benchmark loads: 10^5 unless
// REPRISE_BENCH_EXCHANGES says otherwise.
func benchExchanges() int {
	n, err := strconv.Atoi(os.Getenv("REPRISE_BENCH_EXCHANGES"))
	if err != nil {
		return 100_000
	}
	return n
}

func cpuSeconds(b *testing.B) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// heap is what is in use, in MB.
func heap() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// prepare writes n exchanges to a packed snapshot and to JSON lines, one by
// one.
func prepare(b *testing.B, n int) (packed, lines string) {
	b.Helper()
	dir := b.TempDir()
	packed, lines = filepath.Join(dir, "s.rpk"), filepath.Join(dir, "s.jsonl")
	w, err := snapshot.NewWriter(packed, keep{}, snapshot.Options{Service: "shop", Now: clock})
	if err != nil {
		b.Fatal(err)
	}
	writeFile(b, lines, func(out io.Writer) error {
		enc := json.NewEncoder(out)
		for i := range n {
			x := synthetic(i)
			if err := w.Add(x); err != nil {
				return err
			}
			if err := enc.Encode(lineOf(x)); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return packed, lines
}

// readPacked reads exchanges until visit says to stop.
func readPacked(b *testing.B, path string, visit func(*traffic.Exchange) bool) {
	r, err := snapshot.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for x, err := range r.All() {
		if err != nil {
			b.Fatal(err)
		}
		if !visit(x) {
			return
		}
	}
}

// readLines does the same with encoding/json.
func readLines(b *testing.B, path string, visit func(*traffic.Exchange) bool) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	dec := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	for dec.More() {
		var l line
		if err := dec.Decode(&l); err != nil {
			b.Fatal(err)
		}
		if !visit(l.exchange()) {
			return
		}
	}
}

// BenchmarkLoad reads all exchanges of a recording. The metrics are exchanges
// for each second of processor time, which other work on the machine disturbs
// less than the clock, the most heap in use on the way, and the time from
// opening the file to the first exchange.
func BenchmarkLoad(b *testing.B) {
	n := benchExchanges()
	packed, lines := prepare(b, n)
	measure := func(path string, read func(*testing.B, string, func(*traffic.Exchange) bool)) func(*testing.B) {
		return func(b *testing.B) {
			runtime.GC()
			most, before := 0.0, cpuSeconds(b)
			for b.Loop() {
				got := 0
				read(b, path, func(*traffic.Exchange) bool {
					if got++; got%(n/10) == 0 {
						most = max(most, heap())
					}
					return true
				})
				if got != n {
					b.Fatalf("%d exchanges of %d", got, n)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/(cpuSeconds(b)-before), "exchanges/cpu-s")
			b.ReportMetric(most, "heap-MB")
			first := time.Now()
			read(b, path, func(*traffic.Exchange) bool { return false })
			b.ReportMetric(float64(time.Since(first).Microseconds())/1e3, "first-ms")
		}
	}
	b.Run("reprise", measure(packed, readPacked))
	b.Run("json-lines", measure(lines, readLines))
}

// BenchmarkSize tells the bytes of an exchange on disk, beside JSON lines in
// one stream of zstd at the level that packed snapshots are written with and
// at the one below (-7 and -3 of the command, about), and beside a HAR in
// gzip.
func BenchmarkSize(b *testing.B) {
	n := min(benchExchanges(), 20_000)
	for name, list := range map[string][]*traffic.Exchange{"synthetic": many(n), "shop": varied(b, n)} {
		b.Run(name, func(b *testing.B) {
			for who, size := range sizes(b, list) {
				b.Run(who, func(b *testing.B) {
					for b.Loop() {
					}
					b.ReportMetric(size, "B/exchange")
				})
			}
		})
	}
}

// BenchmarkRecord is what it costs to keep an exchange of the example.
func BenchmarkRecord(b *testing.B) {
	list := varied(b, 5_000)
	b.Run("reprise", func(b *testing.B) {
		before, n := cpuSeconds(b), 0
		for b.Loop() {
			write(b, filepath.Join(b.TempDir(), "s.rpk"), list)
			n += len(list)
		}
		b.ReportMetric((cpuSeconds(b)-before)*1e6/float64(n), "cpu-µs/exchange")
	})
	b.Run("json-lines", func(b *testing.B) {
		before, n := cpuSeconds(b), 0
		for b.Loop() {
			path := filepath.Join(b.TempDir(), "s.jsonl")
			writeLines(b, path, list)
			squeezed(b, path, zstdAt(zstd.SpeedDefault))
			n += len(list)
		}
		b.ReportMetric((cpuSeconds(b)-before)*1e6/float64(n), "cpu-µs/exchange")
	})
}
