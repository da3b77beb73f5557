package snapshot_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// benchExchanges is how many exchanges a benchmark loads: 10^5 unless
// REPRISE_BENCH_EXCHANGES says otherwise.
func benchExchanges(b *testing.B) int {
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

// BenchmarkLoad reads all exchanges of a packed snapshot, and the same
// exchanges as JSON lines with encoding/json. The metrics are exchanges for
// each second of processor time, which other work on the machine disturbs less
// than the clock, the heap in use at the end, and the bytes on disk.
func BenchmarkLoad(b *testing.B) {
	n := benchExchanges(b)
	dir := b.TempDir()
	packed, lines := filepath.Join(dir, "s.rpk"), filepath.Join(dir, "s.jsonl")
	list := many(n)
	write(b, packed, list)
	out, err := os.Create(lines)
	if err != nil {
		b.Fatal(err)
	}
	buf := bufio.NewWriterSize(out, 1<<20)
	enc := json.NewEncoder(buf)
	for _, x := range list {
		if err := enc.Encode(x); err != nil {
			b.Fatal(err)
		}
	}
	if err := buf.Flush(); err != nil {
		b.Fatal(err)
	}
	out.Close()
	list = nil
	plain, err := os.ReadFile(lines)
	if err != nil {
		b.Fatal(err)
	}
	zenc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		b.Fatal(err)
	}
	zipped := len(zenc.EncodeAll(plain, nil))
	plain = nil
	measure := func(b *testing.B, path string, load func(b *testing.B, path string) int) {
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		before := cpuSeconds(b)
		for b.Loop() {
			if got := load(b, path); got != n {
				b.Fatalf("%d exchanges of %d", got, n)
			}
		}
		b.ReportMetric(float64(n)*float64(b.N)/(cpuSeconds(b)-before), "exchanges/cpu-s")
		b.ReportMetric(float64(info.Size())/float64(n), "disk-B/exchange")
	}
	b.Run("packed", func(b *testing.B) {
		measure(b, packed, func(b *testing.B, path string) (got int) {
			r, err := snapshot.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			var mem runtime.MemStats
			for _, err := range r.All() {
				if err != nil {
					b.Fatal(err)
				}
				if got++; got == n {
					runtime.ReadMemStats(&mem)
				}
			}
			b.ReportMetric(float64(mem.HeapAlloc)/1e6, "heap-MB")
			return got
		})
	})
	b.Run("json-lines", func(b *testing.B) {
		measure(b, lines, func(b *testing.B, path string) (got int) {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			dec := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
			for dec.More() {
				var x traffic.Exchange
				if err := dec.Decode(&x); err != nil {
					b.Fatal(err)
				}
				got++
			}
			b.ReportMetric(float64(zipped)/float64(n), "zstd-B/exchange")
			return got
		})
	})
	b.Run("packed-first", func(b *testing.B) { // the time to the first exchange
		for b.Loop() {
			r, err := snapshot.Open(packed)
			if err != nil {
				b.Fatal(err)
			}
			for _, err := range r.All() {
				if err != nil {
					b.Fatal(err)
				}
				break
			}
			r.Close()
		}
	})
}
