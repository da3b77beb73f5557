package replay_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"fortio.org/fortio/fhttp"
	"fortio.org/log"
	vegeta "github.com/tsenart/vegeta/v12/lib"
	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// The benchmarks of this file compare senders against one neutral sink: a
// process of its own, pinned to another core, that answers 256 bytes from an
// event loop and notes when each request arrived. Run them with
//
//	go test -run=^$ -bench='MaxRate|SendError' -benchtime=1x -count=5 ./internal/replay
//
// and read cpu-us/req and the error quantiles; ns/op means nothing here.

// sinkEnv makes the test binary a sink: one that sleeps until something comes, or
// one that is always awake.
const sinkEnv = "REPLAY_BENCH_SINK"

func TestMain(m *testing.M) {
	if os.Getenv(sinkEnv) != "" {
		if err := sink(os.Getenv(sinkEnv) == "awake"); err != nil {
			fmt.Fprintln(os.Stderr, "sink:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func pin(core int) {
	var set unix.CPUSet
	set.Set(core % runtime.NumCPU())
	unix.SchedSetaffinity(0, &set)
}

// stamped reads from sockets what the kernel says the time of.
type stamped struct {
	message unix.Msghdr
	vector  unix.Iovec
	control [64]byte
}

// read also returns when the last of the bytes came, in nanoseconds of the wall
// clock: the time of now where the kernel does not tell.
func (s *stamped) read(fd int, b []byte) (n int, at int64, err error) {
	s.vector.Base = &b[0]
	s.vector.SetLen(len(b))
	s.message = unix.Msghdr{Iov: &s.vector, Iovlen: 1, Control: &s.control[0]}
	s.message.SetControllen(len(s.control))
	got, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.message)), 0)
	if errno != 0 {
		return 0, 0, errno
	}
	if s.message.Controllen >= uint64(unix.CmsgLen(16)) {
		header, data, _, err := unix.ParseOneSocketControlMessage(s.control[:s.message.Controllen])
		if err == nil && header.Type == unix.SCM_TIMESTAMPNS {
			return int(got), int64(binary.NativeEndian.Uint64(data))*1e9 + int64(binary.NativeEndian.Uint64(data[8:])), nil
		}
	}
	return int(got), time.Now().UnixNano(), nil
}

// sink prints its port and serves until its input ends. For each line of input
// it writes the number of arrivals since the last one, and their moments, which are
// those at which the kernel put them before the sink's socket: the sink takes some
// microseconds for each, and by its own clock it would see requests that come closer
// together than that as late as itself. One that is awake looks for arrivals all the
// time, so that no sender has to wake its core.
func sink(awake bool) error {
	runtime.LockOSThread()
	pin(1)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil { // its connections inherit it
		return err
	}
	if err := unix.Listen(fd, 1024); err != nil {
		return err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	fmt.Println(name.(*unix.SockaddrInet4).Port)
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	for _, in := range []int{0, fd} {
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, in, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(in)}); err != nil {
			return err
		}
	}
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 256\r\n\r\n" + strings.Repeat("x", 256))
	arrivals := make([]int64, 0, 1<<20)
	var in stamped
	buf := make([]byte, 64<<10)
	events := make([]unix.EpollEvent, 256)
	patience := -1
	if awake {
		patience = 0
	}
	for {
		n, err := unix.EpollWait(epoll, events, patience)
		if err != nil && err != unix.EINTR {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			switch c := int(event.Fd); c {
			case 0:
				if n, _ := unix.Read(0, buf); n <= 0 {
					return nil
				}
				out := binary.LittleEndian.AppendUint64(nil, uint64(len(arrivals)))
				for _, at := range arrivals {
					out = binary.LittleEndian.AppendUint64(out, uint64(at))
				}
				os.Stdout.Write(out)
				arrivals = arrivals[:0]
			case fd:
				if c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK); err == nil {
					unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
					unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, c, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c)})
				}
			default:
				n, at, err := in.read(c, buf)
				if err == unix.EAGAIN {
					continue
				}
				if n <= 0 {
					unix.Close(c)
					continue
				}
				for range bytes.Count(buf[:n], []byte("\r\n\r\n")) {
					arrivals = append(arrivals, at)
					unix.Write(c, answer)
				}
			}
		}
	}
}

// sinkProcess is a running sink.
type sinkProcess struct {
	addr string
	in   io.WriteCloser
	out  *bufio.Reader
}

// startSink starts a sink that ends with the benchmark; kind is "asleep" or
// "awake".
func startSink(b *testing.B, kind string) *sinkProcess {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkEnv+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); cmd.Wait() })
	s := &sinkProcess{in: in, out: bufio.NewReaderSize(out, 1<<20)}
	line, err := s.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	s.addr = "127.0.0.1:" + strings.TrimSpace(line)
	return s
}

// arrivals returns the moments of all requests since the last call.
func (s *sinkProcess) arrivals(b *testing.B) []int64 {
	b.Helper()
	if _, err := s.in.Write([]byte("\n")); err != nil {
		b.Fatal(err)
	}
	var word [8]byte
	read := func() uint64 {
		if _, err := io.ReadFull(s.out, word[:]); err != nil {
			b.Fatal(err)
		}
		return binary.LittleEndian.Uint64(word[:])
	}
	at := make([]int64, read())
	for i := range at {
		at[i] = int64(read())
	}
	return at
}

// cpuTime is what this process used so far, and the processes that it waited
// for.
func cpuTime() time.Duration {
	var sum int64
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		unix.Getrusage(who, &u)
		sum += u.Utime.Nano() + u.Stime.Nano()
	}
	return time.Duration(sum)
}

// sender sends requests to addr: rate a second for d, or as fast as it can on
// connections when rate is 0.
type sender struct {
	name string
	send func(b *testing.B, addr string, rate, connections int, d time.Duration)
}

var senders = []sender{{"reprise", sendReprise}, {"vegeta", sendVegeta}, {"nethttp", sendNetHTTP}, {"fortio", sendFortio}, {"wrk", sendWrk}}

func sendReprise(b *testing.B, addr string, rate, connections int, d time.Duration) {
	var exchanges []*traffic.Exchange
	for i := range 64 {
		exchanges = append(exchanges, recorded(i, "GET", "/", "User-Agent", "bench", "Accept", "*/*"))
	}
	e := newEngine(b, exchanges...)
	p, err := e.Plan(replay.Load{Rate: float64(rate), Max: rate == 0, Budget: d, Connections: connections})
	if err != nil {
		b.Fatal(err)
	}
	r, err := e.Drive(context.Background(), replay.Target{Arm: "base", Addr: addr}, p)
	if err != nil {
		b.Fatal(err)
	}
	if slices.ContainsFunc(r.Samples, func(s replay.Sample) bool { return s.Status != 200 }) {
		b.Fatalf("not all answers have status 200: %v", r.Errors)
	}
}

func sendVegeta(b *testing.B, addr string, rate, connections int, d time.Duration) {
	attacker := vegeta.NewAttacker(vegeta.Workers(uint64(connections)), vegeta.MaxWorkers(uint64(connections)), vegeta.Connections(connections))
	targeter := vegeta.NewStaticTargeter(vegeta.Target{Method: "GET", URL: "http://" + addr + "/"})
	for res := range attacker.Attack(targeter, vegeta.Rate{Freq: rate, Per: time.Second}, d, "bench") {
		if res.Code != 200 {
			b.Fatal(res.Error)
		}
	}
}

// sendFortio is fortio load -stdclient.
func sendFortio(b *testing.B, addr string, rate, connections int, d time.Duration) {
	log.SetLogLevelQuiet(log.Error)
	opts := &fhttp.HTTPRunnerOptions{HTTPOptions: fhttp.HTTPOptions{URL: "http://" + addr + "/", DisableFastClient: true}}
	opts.QPS, opts.Duration, opts.NumThreads, opts.Out = float64(rate), d, connections, io.Discard
	if rate == 0 {
		opts.QPS = -1 // as fast as it can
	}
	opts.HTTPOptions.Init(opts.URL)
	result, err := fhttp.RunHTTPTest(opts)
	if err != nil {
		b.Fatal(err)
	}
	if n := result.RetCodes[http.StatusOK]; n != result.DurationHistogram.Count {
		b.Fatalf("%d of %d answers have status 200", n, result.DurationHistogram.Count)
	}
}

// sendWrk runs wrk, which is written in C, as a process of its own.
func sendWrk(b *testing.B, addr string, rate, connections int, d time.Duration) {
	if rate != 0 {
		b.Skip("wrk has no schedule")
	}
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("wrk is not installed (apt-get install wrk)")
	}
	out, err := exec.Command(wrk, "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", int(d.Seconds())), "http://"+addr+"/").CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("Socket errors")) || bytes.Contains(out, []byte("Non-2xx")) {
		b.Fatalf("wrk: %v: %s", err, out)
	}
}

func sendNetHTTP(b *testing.B, addr string, rate, connections int, d time.Duration) {
	if rate != 0 {
		b.Skip("net/http has no schedule")
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}
	defer client.CloseIdleConnections()
	end := time.Now().Add(d)
	var failed atomic.Int64
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for time.Now().Before(end) {
				resp, err := client.Get("http://" + addr + "/")
				if err != nil {
					failed.Add(1)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	group.Wait()
	if failed.Load() > 0 {
		b.Fatal("requests failed")
	}
}

// onOneCore keeps all threads of this process on core 0 while it runs send.
func onOneCore(b *testing.B, send func()) {
	b.Helper()
	set := func(core int) {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			b.Fatal(err)
		}
		for _, task := range tasks {
			var cores unix.CPUSet
			if core >= 0 {
				cores.Set(core)
			} else {
				for i := range runtime.NumCPU() {
					cores.Set(i)
				}
			}
			var tid int
			fmt.Sscan(task.Name(), &tid)
			unix.SchedSetaffinity(tid, &cores)
		}
	}
	before := runtime.GOMAXPROCS(1)
	set(0)
	defer func() { set(-1); runtime.GOMAXPROCS(before) }()
	send()
}

// BenchmarkMaxRate measures the CPU that one request costs its sender.
func BenchmarkMaxRate(b *testing.B) {
	for _, s := range senders {
		b.Run(s.name, func(b *testing.B) {
			sink := startSink(b, "asleep")
			for range b.N {
				sink.arrivals(b)
				var cpu, wall time.Duration
				onOneCore(b, func() {
					began, used := time.Now(), cpuTime()
					s.send(b, sink.addr, 0, 16, time.Second)
					wall, cpu = time.Since(began), cpuTime()-used
				})
				n := len(sink.arrivals(b))
				b.ReportMetric(float64(cpu.Microseconds())/float64(n), "cpu-us/req")
				b.ReportMetric(float64(n)/wall.Seconds(), "req/s")
			}
		})
	}
}

// BenchmarkSendError measures at the sink how late requests come, against the
// schedule that fits the arrivals best from below.
func BenchmarkSendError(b *testing.B) {
	for _, rate := range []int{1000, 5000, 10000} {
		for _, s := range senders[:2] {
			b.Run(fmt.Sprintf("%d/%s", rate, s.name), func(b *testing.B) {
				sink := startSink(b, "awake")
				for range b.N {
					sink.arrivals(b)
					var cpu, wall time.Duration
					onOneCore(b, func() {
						began, used := time.Now(), cpuTime()
						s.send(b, sink.addr, rate, 64, 2*time.Second)
						wall, cpu = time.Since(began), cpuTime()-used
					})
					at := sink.arrivals(b)
					slices.Sort(at)
					late := make(replay.Times, len(at))
					for i, t := range at {
						late[i] = time.Duration(t - int64(float64(i)/float64(rate)*1e9))
					}
					earliest := slices.Min(late)
					for i := range late {
						late[i] -= earliest
					}
					slices.Sort(late)
					for _, q := range []float64{0.5, 0.9, 0.99} {
						b.ReportMetric(float64(late.Quantile(q).Nanoseconds())/1e3, fmt.Sprintf("p%g-us", q*100))
					}
					b.ReportMetric(100*cpu.Seconds()/wall.Seconds(), "cpu-%")
					b.ReportMetric(float64(len(at)), "requests")
				}
			})
		}
	}
}
