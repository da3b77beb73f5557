package mock

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
)

// serveEnv makes the test program a mock server, so that the benchmark can pin
// it to a core of its own: "port calls".
const serveEnv = "REPRISE_BENCH_MOCK"

func TestMain(m *testing.M) {
	if port := os.Getenv(floorEnv); port != "" {
		fmt.Fprintln(os.Stderr, serveFloor(port))
		os.Exit(1)
	}
	if spec := os.Getenv(serveEnv); spec != "" {
		if err := serveBench(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveBench(spec string) error {
	var port, calls int
	if _, err := fmt.Sscan(spec, &port, &calls); err != nil {
		return fmt.Errorf("read %s=%q: %w", serveEnv, spec, err)
	}
	ca, err := authority.New(time.Now())
	if err != nil {
		return err
	}
	m, err := New(catalogue(calls, 1), ca, Options{OneLane: true, MaxJournal: 1000})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return m.Serve(ctx, l)
}

// peer is a server that answers GET /items/N?view=full with the same body; N has
// six digits.
type peer struct {
	name  string
	stubs int
	needs []string // files and programs; the peer is left out when one is missing
	args  func(dir string, port int) ([]string, error)
	env   func(port int) []string
	load  func(port int) error // after the start
	slow  bool                 // answers so few calls that it takes longer to count them
}

// BenchmarkThroughput compares this server with others, each on one core with
// wrk on another, by requests a second and by the server's processor time for
// one, which is the better figure on a busy machine. It needs wrk and taskset.
// nginx and Hoverfly are measured where they are installed, mountebank and
// WireMock where REPRISE_PEERS names a directory with their node_modules. The
// floor is what any server pays here: it answers whatever it reads with one
// write of the same bytes, and waits for all its connections at once.
func BenchmarkThroughput(b *testing.B) {
	modules := os.Getenv("REPRISE_PEERS")
	takeTurns(b, readyCalls, 5, ours("reprise", 1e3), floor(), nginx(), hoverfly(), mountebank(modules), wiremock(modules))
}

// BenchmarkFlat compares the server with a million recorded calls with the same
// server that has a hundred.
func BenchmarkFlat(b *testing.B) {
	if testing.Short() {
		b.Skip("-short")
	}
	takeTurns(b, freshCalls, 15, ours("reprise", 1e6), ours("hundred", 1e2))
}

// takeTurns measures the peers one after the other in every round, so that a
// disturbance of the machine meets all of them, and reports the median of the
// rounds of each, and of how many times the first one is faster than each of the
// others in the same round. Those that are missing are skipped.
func takeTurns(b *testing.B, calls string, rounds int, peers ...peer) {
	skipped, failed := map[string]string{}, map[string]error{}
	rates, costs := map[string][]float64{}, map[string][]float64{}
	var running []*runningPeer
	for _, p := range peers {
		if skipped[p.name] = p.missing(); skipped[p.name] != "" {
			continue
		}
		r, err := p.start(b.TempDir(), calls)
		if err != nil {
			failed[p.name] = err // the others have their figures
			continue
		}
		defer r.stop()
		running = append(running, r)
	}
	for round := range rounds + 1 {
		for i := range running {
			r := running[(i+round)%len(running)]
			rate, cost, err := r.measure()
			if err != nil {
				failed[r.name] = err
			}
			if round > 0 { // in the first one, compilers and caches warm up
				rates[r.name], costs[r.name] = append(rates[r.name], rate), append(costs[r.name], cost)
			}
		}
	}
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) {
			if skipped[p.name] != "" {
				b.Skipf("%s is missing", skipped[p.name])
			}
			if failed[p.name] != nil {
				b.Fatal(failed[p.name])
			}
			b.ReportMetric(0, "ns/op") // the length of a run says nothing
			b.ReportMetric(median(rates[p.name]), "req/s")
			b.ReportMetric(median(costs[p.name]), "cpu-µs/req")
			if first := rates[peers[0].name]; failed[peers[0].name] == nil && skipped[peers[0].name] == "" && p.name != peers[0].name {
				times := slices.Clone(first)
				for i := range times {
					times[i] /= rates[p.name][i]
				}
				b.ReportMetric(median(times), "times-slower")
			}
		})
	}
}

func ours(name string, calls int) peer {
	return peer{
		name: name, stubs: calls,
		args: func(string, int) ([]string, error) {
			self, err := os.Executable()
			return []string{self}, err
		},
		env: func(port int) []string {
			return []string{fmt.Sprintf("%s=%d %d", serveEnv, port, calls), "GOMAXPROCS=1"}
		},
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func (p *peer) missing() string {
	for _, need := range append([]string{"wrk", "taskset"}, p.needs...) {
		if _, err := exec.LookPath(need); err != nil {
			if _, err := os.Stat(need); err != nil {
				return need
			}
		}
	}
	return ""
}

type runningPeer struct {
	peer
	port   int
	cmd    *exec.Cmd
	script string
}

func (p peer) start(dir, calls string) (*runningPeer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &runningPeer{peer: p, port: port, script: filepath.Join(dir, "wrk.lua")}
	lua := fmt.Sprintf(calls, p.stubs)
	if err := os.WriteFile(r.script, []byte(lua), 0o600); err != nil {
		return nil, err
	}
	args, err := p.args(dir, r.port)
	if err != nil {
		return nil, err
	}
	r.cmd = exec.Command("taskset", append([]string{"-c", "0"}, args...)...)
	if p.env != nil {
		r.cmd.Env = append(os.Environ(), p.env(r.port)...)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		time.Sleep(100 * time.Millisecond)
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.port), time.Second)
		if err != nil {
			continue
		}
		c.Close()
		if p.load != nil && p.load(r.port) != nil {
			continue
		}
		if r.serves() {
			return r, nil
		}
	}
	r.stop()
	return nil, fmt.Errorf("it did not answer as it should within a minute")
}

// The calls that wrk sends come in an order that no cache of the last few could
// serve. Each carries an id that no signature has.
const (
	// readyCalls are made before the load begins: fast servers answer nearly as
	// many as the generator can make.
	readyCalls = `local texts, i = {}, 0
init = function()
  for n = 0, 8191 do
    i = (i * 1664525 + 1013904223) %% 2147483648
    texts[n] = string.format('GET /items/%%06d?view=full HTTP/1.1\r\nHost: dep:8080\r\nX-Request-Id: %%06d\r\n\r\n', i %% %d, n)
  end
end
request = function()
  i = (i + 1) %% 8192
  return texts[i]
end
`
	// freshCalls are made one by one, so that the generator makes as many texts,
	// of the same length, for few recorded calls as for many.
	freshCalls = `local i = 0
request = function()
  i = (i * 1664525 + 1013904223) %% 2147483648
  return string.format('GET /items/%%06d?view=full HTTP/1.1\r\nHost: dep:8080\r\nX-Request-Id: %%06d\r\n\r\n', i %% %d, i %% 1000003)
end
`
)

// freePort returns a port of loopback that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// serves reports whether the peer answers the first call and the last one with
// the body that all of them answer with: who answers something else, or
// nothing, must not be measured.
func (r *runningPeer) serves() bool {
	for _, item := range []int{0, r.stubs - 1} {
		req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/items/%06d?view=full", r.port, item), nil)
		if err != nil {
			return false
		}
		req.Host = "dep:8080"
		resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
		if err != nil {
			return false
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != benchBody() {
			return false
		}
	}
	return true
}

func (r *runningPeer) stop() {
	r.cmd.Process.Signal(os.Interrupt) // if it has ended, Wait says so
	ended := time.AfterFunc(5*time.Second, func() { r.cmd.Process.Kill() })
	r.cmd.Wait()
	ended.Stop()
}

var (
	rateLine  = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	countLine = regexp.MustCompile(`(\d+) requests in`)
	errorLine = regexp.MustCompile(`Non-2xx or 3xx responses: \d+`)
)

// measure runs wrk once and returns requests a second, and microseconds of the
// server's processor time a request: on a busy machine the better figure.
func (r *runningPeer) measure() (rate, cost float64, err error) {
	before, err := processorTime(r.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	duration := "-d1s" // short rounds, since the machine changes its speed within seconds
	if r.slow {
		duration = "-d5s"
	}
	out, err := exec.Command("taskset", "-c", "1", "wrk", "-t1", "-c64", duration, "--timeout", "30s", "-s", r.script, fmt.Sprintf("http://127.0.0.1:%d/", r.port)).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if bad := errorLine.Find(out); bad != nil || strings.Contains(string(out), " 0 requests in") {
		return 0, 0, fmt.Errorf("wrk says: %s", out)
	}
	after, err := processorTime(r.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	if err := r.rest(after); err != nil {
		return 0, 0, err
	}
	m, n := rateLine.FindSubmatch(out), countLine.FindSubmatch(out)
	if m == nil || n == nil {
		return 0, 0, fmt.Errorf("wrk says: %s", out)
	}
	rate, err = strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return 0, 0, err
	}
	count, err := strconv.ParseFloat(string(n[1]), 64)
	return rate, float64((after - before).Microseconds()) / max(count, 1), err
}

// rest waits, at most ten seconds, until a peer works no more on what it was
// asked: on the one core of all, it would slow down who is measured next.
func (r *runningPeer) rest(used time.Duration) error {
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		now, err := processorTime(r.cmd.Process.Pid)
		if err != nil || now-used <= 10*time.Millisecond {
			return err
		}
		used = now
	}
	return nil
}

// processorTime is what a process used so far, as Linux counts it in ticks of
// 10 ms.
func processorTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

func benchBody() string { return string(catalogue(1, 1)[0].Response.Body.Raw) }

func nginx() peer {
	return peer{name: "nginx", stubs: 1000, needs: []string{"nginx"}, args: func(dir string, port int) ([]string, error) {
		conf := fmt.Sprintf("master_process off; daemon off; pid %[1]s/pid; error_log %[1]s/log; events {} http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:%[2]d; location / { default_type application/json; return 200 '%[3]s'; } } }", dir, port, benchBody())
		file := filepath.Join(dir, "nginx.conf")
		return []string{"nginx", "-p", dir, "-c", file}, os.WriteFile(file, []byte(conf), 0o600)
	}}
}

func hoverfly() peer {
	return peer{name: "hoverfly", stubs: 1000, needs: []string{"hoverfly"}, args: func(dir string, port int) ([]string, error) {
		exactly := func(s string) []map[string]string { return []map[string]string{{"matcher": "exact", "value": s}} }
		var pairs []any
		for i := range 1000 {
			pairs = append(pairs, map[string]any{
				"request":  map[string]any{"method": exactly("GET"), "path": exactly(fmt.Sprintf("/items/%06d", i)), "query": map[string]any{"view": exactly("full")}},
				"response": map[string]any{"status": 200, "body": benchBody(), "encodedBody": false, "headers": map[string]any{"Content-Type": []string{"application/json"}}},
			})
		}
		simulation, err := json.Marshal(map[string]any{
			"data": map[string]any{"pairs": pairs, "globalActions": map[string]any{"delays": []any{}, "delaysLogNormal": []any{}}},
			"meta": map[string]any{"schemaVersion": "v5.2"},
		})
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, "simulation.json")
		control, err := freePort()
		if err != nil {
			return nil, err
		}
		return []string{"hoverfly", "-webserver", "-pp", strconv.Itoa(port), "-ap", strconv.Itoa(control), "-import", file, "-no-import-check", "-journal-size", "0", "-log-level", "error"}, os.WriteFile(file, simulation, 0o600)
	}}
}

func mountebank(modules string) peer {
	mb := filepath.Join(modules, "node_modules", ".bin", "mb")
	return peer{name: "mountebank", stubs: 1000, slow: true, needs: []string{"node", mb}, args: func(dir string, port int) ([]string, error) {
		var stubs []any
		for i := range 1000 {
			stubs = append(stubs, map[string]any{
				"predicates": []any{map[string]any{"equals": map[string]any{"method": "GET", "path": fmt.Sprintf("/items/%06d", i), "query": map[string]string{"view": "full"}}}},
				"responses":  []any{map[string]any{"is": map[string]any{"headers": map[string]string{"Content-Type": "application/json", "Connection": "keep-alive"}, "body": benchBody()}}},
			})
		}
		config, err := json.Marshal(map[string]any{"imposters": []any{map[string]any{"port": port, "protocol": "http", "stubs": stubs}}})
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, "mb.json")
		control, err := freePort() // once it was that of the stubs, by chance
		if err != nil {
			return nil, err
		}
		return []string{mb, "start", "--port", strconv.Itoa(control), "--configfile", file, "--nologfile", "--loglevel", "error", "--pidfile", filepath.Join(dir, "mb.pid")}, os.WriteFile(file, config, 0o600)
	}}
}

func wiremock(modules string) peer {
	jars, _ := filepath.Glob(filepath.Join(modules, "node_modules", "wiremock", "build", "wiremock-standalone-*.jar"))
	jar := "wiremock-standalone.jar"
	if len(jars) > 0 {
		jar = jars[0]
	}
	return peer{
		name: "wiremock", stubs: 1000, slow: true, needs: []string{"java", jar},
		args: func(dir string, port int) ([]string, error) {
			return []string{"java", "-jar", jar, "--port", strconv.Itoa(port), "--no-request-journal", "--root-dir", dir, "--disable-banner"}, nil
		},
		load: func(port int) error {
			var mappings []any
			for i := range 1000 {
				mappings = append(mappings, map[string]any{
					"request":  map[string]any{"method": "GET", "url": fmt.Sprintf("/items/%06d?view=full", i)},
					"response": map[string]any{"status": 200, "body": benchBody(), "headers": map[string]string{"Content-Type": "application/json"}},
				})
			}
			data, err := json.Marshal(map[string]any{"mappings": mappings})
			if err != nil {
				return err
			}
			resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/__admin/mappings/import", port), "application/json", strings.NewReader(string(data)))
			if err != nil {
				return err
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("import: %s", resp.Status)
			}
			return nil
		},
	}
}
