package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/timing"
)

// service is what one arm of a trial does.
type service struct {
	work     int // steps of the first endpoint
	overhead int // steps that take as long as a request without work
	truth    truth
	waits    bool // one endpoint also waits, in whatever arm
}

// serve is one arm: a server whose endpoints do a fixed amount of work each,
// more of it for the one that is slow. It prints its address and lives until
// its standard input ends.
func (s service) serve() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var waiter timing.Waiter
	defer waiter.Close()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, wait := s.work, time.Duration(0)
		i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/v1/e"))
		if err == nil {
			n += s.work * i / 4
		}
		if s.waits && i == waitingPlace {
			wait = waitingTime
		}
		if s.truth.Everywhere || r.Method+" "+r.URL.Path == s.truth.Slow {
			// Slower is what the client waits for, not the work alone.
			n += int(float64(n+s.overhead) * (max(1, s.truth.Factor) - 1))
			wait += s.truth.Add
		}
		if wait > 0 {
			_ = waiter.Sleep(r.Context(), wait)
		}
		sum := spin(n)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"sum":"%x"}`, sum[:4])
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Close()
	}()
	fmt.Println(l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// spin is work that cannot be optimised away.
func spin(n int) [32]byte {
	var sum [32]byte
	for range n {
		sum = sha256.Sum256(sum[:])
	}
	return sum
}

// calibrate returns how many steps of spin take about d on this machine.
func calibrate(d time.Duration) int {
	const probe = 20000
	best := time.Hour
	for range 5 {
		start := time.Now()
		spin(probe)
		best = min(best, time.Since(start))
	}
	return max(1, int(float64(probe)*float64(d)/float64(best)))
}

// arm is a running child process.
type arm struct {
	cmd   *exec.Cmd
	stdin io.Closer
	addr  string
}

func startArm(ctx context.Context, s service) (*arm, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(s.truth)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", "-work", strconv.Itoa(s.work), "-overhead", strconv.Itoa(s.overhead), "-waits="+strconv.FormatBool(s.waits), "-truth", string(spec))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an arm: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	a := &arm{cmd, stdin, strings.TrimSpace(line)}
	if err != nil {
		a.stop()
		return nil, fmt.Errorf("an arm gave no address: %w", err)
	}
	return a, nil
}

func (a *arm) stop() {
	a.stdin.Close()
	_ = a.cmd.Wait() // it ends with its input; how is of no interest
}
