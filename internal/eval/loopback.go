package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/replay"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// serve is one arm: a server whose endpoints do a fixed amount of work each,
// more of it for the one that is slow. It prints its address and lives until
// its standard input ends.
func serve(work int, slow string, factor float64) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := work
		if i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/v1/e")); err == nil {
			n += work * i / 4
		}
		if r.Method+" "+r.URL.Path == slow {
			n = int(float64(n) * factor)
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

func startArm(ctx context.Context, work int, slow string, factor float64) (*arm, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-serve", "-work", strconv.Itoa(work), "-slow", slow, "-factor", strconv.FormatFloat(factor, 'f', -1, 64))
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

// asRecorded sends every request as it is.
type asRecorded struct{}

func (asRecorded) Request(x *traffic.Exchange) *traffic.Request               { return &x.Request }
func (asRecorded) Observe(recorded, live *traffic.Exchange) []traffic.Binding { return nil }
func (asRecorded) Needs(string) []string                                      { return nil }

// loopback measures three fresh processes, started in random order, with
// reprise's own engine: paired rounds until they are decided, then requests to
// one arm after the other.
func loopback(ctx context.Context, seed uint64, p plan, factor float64, work int) (session, error) {
	rng := rand.New(rand.NewPCG(seed, 2))
	s := session{slow: endpointName(rng.IntN(p.endpoints)), factor: factor, before: map[string][]float64{}, after: map[string][]float64{}}
	arms := make([]*arm, 3) // base, control, head
	for _, i := range rng.Perm(3) {
		f := 1.0
		if i == 2 {
			f = factor
		}
		a, err := startArm(ctx, work, s.slow, f)
		if err != nil {
			return s, err
		}
		defer a.stop()
		arms[i] = a
	}
	var recorded []*traffic.Exchange
	for e := range p.endpoints {
		method, path, _ := strings.Cut(endpointName(e), " ")
		recorded = append(recorded, &traffic.Exchange{
			ID: fmt.Sprintf("in-%02d", e), Direction: traffic.Inbound, Lane: traffic.Lane(fmt.Sprintf("in-%02d", e)), Start: time.Unix(int64(e), 0),
			Request: traffic.Request{Method: method, Scheme: "http", Authority: "shop", Target: path, Proto: "HTTP/1.1"},
		})
	}
	engine, err := replay.New(recorded, replay.Options{})
	if err != nil {
		return s, err
	}
	to := func(i int) replay.Target {
		return replay.Target{Arm: []string{"base", "control", "head"}[i], Addr: arms[i].addr}
	}
	var pass atomic.Uint32
	round := func(a, b, pairs int, least time.Duration) (replay.Round, error) {
		return engine.Round(ctx, to(a), to(b), asRecorded{}, asRecorded{}, pass.Add(1), int64(rng.Uint64()>>1), replay.RoundOptions{
			PairsPerEndpoint: pairs, MinDuration: least, MaxDuration: 20 * time.Second,
		})
	}
	for range 2 { // warm-up, of which nothing is kept
		for _, i := range []int{1, 2} {
			if _, err := round(0, i, 10, 50*time.Millisecond); err != nil {
				return s, err
			}
		}
	}
	requests := 0
	err = s.measure(p, func(number int) (analysis.Round, error) {
		main, err := round(0, 2, p.pairs, p.round)
		if err != nil {
			return analysis.Round{}, err
		}
		control, err := round(0, 1, max(10, p.pairs/4), p.round/4)
		if err != nil {
			return analysis.Round{}, err
		}
		requests += len(main.Pairs)
		return analysis.Round{Number: number, HeadVsBase: pairsOf(main), ControlVsBase: pairsOf(control), SendLag: main.SendLag}, nil
	})
	if err != nil {
		return s, err
	}
	for _, one := range []struct {
		arm int
		to  map[string][]float64
	}{{0, s.before}, {2, s.after}} {
		r, err := round(one.arm, one.arm, max(10, requests/p.endpoints/p.sequential), 0)
		if err != nil {
			return s, err
		}
		for _, p := range r.Pairs {
			one.to[p.Endpoint] = append(one.to[p.Endpoint], ms(p.A), ms(p.B))
		}
	}
	return s, nil
}

func pairsOf(r replay.Round) []analysis.Pair {
	out := make([]analysis.Pair, len(r.Pairs))
	for i, p := range r.Pairs {
		out[i] = analysis.Pair{Recorded: p.Recorded, Endpoint: p.Endpoint, A: p.A, B: p.B}
	}
	return out
}
