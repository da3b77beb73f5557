package replay_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

type unredacted struct{}

func (unredacted) Redact(*traffic.Exchange) ([]traffic.Redaction, error) { return nil, nil }
func (unredacted) Describe() snapshot.RedactionInfo {
	return snapshot.RedactionInfo{Version: "none", KeyID: "none"}
}

// visits makes n exchanges: fifty visitors at a time, each of whom signs in and
// sends nine requests with the token that it was given, one of them with a body.
func visits(n int, visit func(*traffic.Exchange) error) error {
	const atOnce, each = 50, 10
	for i := range n {
		visitor, step := i/(atOnce*each)*atOnce+i%atOnce, i%(atOnce*each)/atOnce
		id := fmt.Sprintf("%08d", i)
		token := fmt.Sprintf("tok-%016x", uint64(visitor+1)*0x9e3779b97f4a7c15)
		x := &traffic.Exchange{
			ID: id, Lane: traffic.Lane(id), Direction: traffic.Inbound, Start: epoch.Add(time.Duration(i) * 50 * time.Microsecond),
			FirstByte: time.Millisecond, Duration: 1500 * time.Microsecond, Origin: traffic.Origin{Connection: fmt.Sprintf("c%d", visitor)},
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: fmt.Sprintf("/v1/orders/%d?page=%d", i%5000, step), Proto: "HTTP/1.1"},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1", Header: traffic.Header{{Name: "Content-Type", Value: "application/json"}}},
		}
		answer := fmt.Sprintf(`{"id":%d,"status":"shipped","items":[{"sku":"SKU-%04d","quantity":%d,"price":10.5}],"note":"please leave it with the neighbour"}`, i%5000, i%97, i%7)
		switch step {
		case 0:
			x.Request.Method, x.Request.Target = "POST", "/v1/login"
			answer = fmt.Sprintf(`{"access_token":%q,"expires_in":3600}`, token)
		case 5:
			x.Request.Method, x.Request.Target = "POST", "/v1/orders"
			x.Request.Header.Add("Content-Type", "application/json")
			x.Request.Body = traffic.NewBody(fmt.Appendf(nil, `{"sku":"SKU-%04d","quantity":%d}`, i%97, i%7), x.Request.Header)
			fallthrough
		default:
			x.Request.Header.Add("Authorization", "Bearer "+token)
		}
		x.Response.Body = traffic.NewBody([]byte(answer), x.Response.Header)
		if err := visit(x); err != nil {
			return err
		}
	}
	return nil
}

// packed writes n visits to a packed snapshot.
func packed(b *testing.B, dir string, n int) string {
	b.Helper()
	path := filepath.Join(dir, fmt.Sprintf("%d.rpk", n))
	w, err := snapshot.NewWriter(path, unredacted{}, snapshot.Options{Service: "shop", Now: func() time.Time { return epoch }})
	if err != nil {
		b.Fatal(err)
	}
	if err := visits(n, func(x *traffic.Exchange) error { return w.Add(x) }); err != nil {
		b.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkMemory replays packed snapshots of different sizes with the command,
// as fast as it can, and reports the most memory that it had resident.
// "reprise" is the largest: 10^6 exchanges, unless REPRISE_BENCH_EXCHANGES says
// otherwise.
func BenchmarkMemory(b *testing.B) {
	dir := b.TempDir()
	command := filepath.Join(dir, "reprise")
	if out, err := exec.Command("go", "build", "-o", command, "github.com/reprise-ci/reprise/cmd/reprise").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	largest, err := strconv.Atoi(os.Getenv("REPRISE_BENCH_EXCHANGES"))
	if err != nil {
		largest = 1_000_000
	}
	for _, size := range []struct {
		name string
		n    int
	}{{"ten-thousand", 10_000}, {"hundred-thousand", 100_000}, {"reprise", largest}} {
		b.Run(size.name, func(b *testing.B) {
			path := packed(b, dir, size.n)
			defer os.Remove(path)
			sink := startSink(b, "asleep")
			for range b.N {
				cmd := exec.Command(command, "replay", "http://"+sink.addr, "--snapshot", path, "--max", "--connections", "16", "--fail-if", "failures>0")
				cmd.Dir = dir
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				most := mostResident(cmd.Process.Pid)
				if err := cmd.Wait(); err != nil {
					b.Fatalf("%v: %s", err, &out)
				}
				if !strings.Contains(out.String(), fmt.Sprintf("%d requests", size.n)) {
					b.Fatalf("%s", &out)
				}
				b.Logf("%s", &out)
				b.ReportMetric(<-most/1024, "resident-MB")
				b.ReportMetric(float64(cmd.ProcessState.UserTime().Microseconds()+cmd.ProcessState.SystemTime().Microseconds())/float64(size.n), "cpu-us/req")
				sink.arrivals(b)
			}
		})
	}
}

// mostResident follows a process until it ends and then gives the most memory it
// had resident, in KiB. (What wait4 tells includes the memory of this process, as
// it was when the other was forked from it.)
func mostResident(pid int) <-chan float64 {
	told := make(chan float64, 1)
	go func() {
		most := 0.0
		for {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, after, ok := strings.Cut(string(status), "VmHWM:")
			if err != nil || !ok { // it ended
				told <- most
				return
			}
			if value := strings.Fields(after); len(value) > 0 {
				if kib, err := strconv.ParseFloat(value[0], 64); err == nil {
					most = max(most, kib)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return told
}
