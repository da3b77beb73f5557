package replay_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// playBare is as exact as a thread on this machine can be: it never sleeps, sends
// the same bytes each time, and looks for answers only when nothing is due soon.
// What its distance is above zero is the time that a write takes, which keeps two
// requests apart, and what else runs on the core.
func playBare(b *testing.B, sink *sinkProcess, tr *trace, speed int) []int64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const soon = 30 * time.Microsecond
	conns := bareConns(b, sink.addr)
	request := fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n"+
		"traceparent: 00-72657072000000010000000000000001-0000000000000001-01\r\n\r\n", sink.addr)
	buf := make([]byte, 4<<10)
	answered := 0
	start := time.Now()
	for sent, x := range tr.exchanges {
		at := x.Start.Sub(tr.exchanges[0].Start) / time.Duration(speed)
		for answered < sent && (at-time.Since(start) > soon || sent-answered == len(conns)) {
			if n, err := unix.Read(conns[answered%len(conns)], buf); n > 0 {
				answered++
			} else if err != unix.EAGAIN && err != unix.EINTR {
				b.Fatalf("read answer %d: %d bytes, %v", answered, n, err)
			}
		}
		for time.Since(start) < at {
		}
		if n, err := unix.Write(conns[sent%len(conns)], request); n != len(request) {
			b.Fatalf("send request %d: %d bytes, %v", sent, n, err)
		}
	}
	var arrived []int64
	for end := time.Now().Add(5 * time.Second); len(arrived) < len(tr.exchanges) && time.Now().Before(end); {
		arrived = append(arrived, sink.arrivals(b)...)
	}
	return arrived
}

// bareConns opens connections that are closed with the benchmark.
func bareConns(b *testing.B, addr string) (conns [64]int) {
	b.Helper()
	target, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		b.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: target.Port, Addr: [4]byte(target.IP.To4())}
	for i := range conns {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, to); err != nil {
			b.Fatal(err)
		}
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		if err := unix.SetNonblock(fd, true); err != nil {
			b.Fatal(err)
		}
		conns[i] = fd
	}
	return conns
}
