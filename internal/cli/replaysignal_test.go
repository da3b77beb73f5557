//go:build unix

package cli_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSignalEndsReplay sends a signal in each phase of reprise replay. Each time
// it ends soon, with what was counted until then and the exit code for that. A
// phase is known by what the process says or does.
func TestSignalEndsReplay(t *testing.T) {
	tests := []struct {
		phase  string
		signal os.Signal
		start  func(t *testing.T) *child // returns when the phase is reached
		want   []string                  // of the report
	}{
		{"reading the snapshot", os.Interrupt, whileReading, nil},
		{"reading the snapshot, another signal", syscall.SIGTERM, whileReading, nil},
		{"saying what becomes of tokens", os.Interrupt, func(t *testing.T) *child {
			s := newService(t, 1, true)
			c := startChild(t, nil, "reprise", "replay", s.URL, "--snapshot", filepath.Join(repository(t), "snapshots", "shop"))
			c.awaitLine(t, "tokens in requests")
			return c
		}, nil},
		{"connecting", os.Interrupt, func(t *testing.T) *child {
			c := startChild(t, nil, "reprise", "replay", "http://"+deaf(t), "--snapshot", writeMany(t, 100, time.Millisecond))
			c.awaitLine(t, "recorded timing") // no connection will ever be there
			return c
		}, []string{`requests a second for .*; \d+ not sent`}},
		{"sending", syscall.SIGTERM, func(t *testing.T) *child {
			s := newService(t, 10, false)
			c := startChild(t, nil, "reprise", "replay", s.URL, "--snapshot", writeMany(t, 5000, time.Second), "--rate", "50", "--fail-if", "failures>0")
			c.await(t, s.reached)
			return c
		}, []string{`(?m)^\d+ +all +.*200 \(\d+\)`, `; [1-9]\d{2,3} not sent`}},
		{"waiting for the last answers", os.Interrupt, func(t *testing.T) *child {
			s := newService(t, 3, true)
			c := startChild(t, nil, "reprise", "replay", s.URL, "--snapshot", writeMany(t, 3, 0))
			c.await(t, s.reached)
			return c
		}, []string{`(?m)^3 +all +cancelled \(3\)`, `; 0 not sent`}},
		{"waiting, over HTTP/2", os.Interrupt, func(t *testing.T) *child {
			s := newService(t, 1, true)
			c := startChild(t, nil, "reprise", "replay", s.URL, "--snapshot", writeMany(t, 3, 0), "--max", "--connections", "1", "--http2")
			c.await(t, s.reached)
			return c
		}, []string{`(?m)^1 +all +cancelled \(1\)`, `; 2 not sent`}},
		{"streaming a packed snapshot", os.Interrupt, func(t *testing.T) *child {
			s := newService(t, 50, false)
			c := startChild(t, nil, "reprise", "replay", s.URL, "--snapshot", writeMany(t, 10_001, time.Millisecond), "--rate", "200")
			c.awaitLine(t, "; 10001 exchanges") // and no sessions, which are not known when it is streamed
			c.await(t, s.reached)
			return c
		}, []string{`(?m)^\d+ +all +.*200 \(\d+\)`, `; \d{4} not sent`}},
		{"searching the capacity", os.Interrupt, func(t *testing.T) *child {
			s := newService(t, 101, false) // the first rate takes a hundred
			c := startChild(t, nil, "reprise", "replay", s.URL, "--snapshot", writeMany(t, 10, time.Millisecond), "--capacity", "--fail-if", "p90>1m")
			c.await(t, s.reached)
			return c
		}, []string{`(?m)^50 requests a second: `, `(?m)^capacity: .*the search was ended`}},
	}
	for _, tt := range tests {
		t.Run(tt.phase, func(t *testing.T) {
			t.Parallel()
			c := tt.start(t)
			if err := c.cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			if code := c.end(t); code != 130 {
				t.Errorf("exit code %d, want 130", code)
			}
			for _, pattern := range tt.want {
				if !regexp.MustCompile(pattern).MatchString(c.stdout.String()) {
					t.Errorf("%s is missing", pattern)
				}
			}
			if t.Failed() {
				t.Logf("%s%s", c.stdout.String(), c.said())
			}
		})
	}
}

// whileReading starts a replay of a snapshot that never gives a byte: a pipe
// without a writer. Before it is read, the program in the middle is started.
func whileReading(t *testing.T) *child {
	pipe := filepath.Join(t.TempDir(), "pipe.rpk")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, nil, "reprise", "replay", "http://127.0.0.1:1", "--snapshot", pipe, "--replay-middleware", "echo started >&2; exec cat")
	c.awaitLine(t, "started")
	return c
}

// deaf returns the address of a socket that takes no connection any more: its
// queue is full, and nobody empties it.
func deaf(t *testing.T) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*unix.SockaddrInet4).Port}
	for range 4 {
		filling, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(filling) })
		if err := unix.SetNonblock(filling, true); err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(filling, at); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			t.Fatal(err)
		}
	}
	return address.String()
}

// TestSecondSignalEndsAtOnce: the report of a load that was ended cannot be
// written, because nobody reads it; the second signal does not wait for that.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	full, report, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	defer report.Close()
	fill(t, report)
	s := newService(t, 1, true)
	c := startChild(t, func(cmd *exec.Cmd) { cmd.Stdout = report }, "reprise", "replay", s.URL, "--snapshot", writeMany(t, 1, 0))
	c.await(t, s.reached)
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	c.await(t, s.left) // the first one has ended the load
	// What comes before the first one is wholly dealt with counts as one with it.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	ended := make(chan int, 1)
	go func() { ended <- c.end(t) }()
	for {
		select {
		case code := <-ended:
			status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
			if !ok || !status.Signaled() || status.Signal() != syscall.SIGINT {
				t.Errorf("it ended with code %d, want a signal:\n%s", code, c.said())
			}
			return
		case <-again.C:
			_ = c.cmd.Process.Signal(os.Interrupt) // it may have ended by now
		}
	}
}

// fill writes to a pipe until nothing more goes into it.
func fill(t *testing.T, f *os.File) {
	t.Helper()
	fd := int(f.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	junk := make([]byte, 4096)
	for len(junk) > 0 {
		switch _, err := unix.Write(fd, junk); {
		case errors.Is(err, unix.EAGAIN):
			junk = junk[:len(junk)/2]
		case err != nil:
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}
