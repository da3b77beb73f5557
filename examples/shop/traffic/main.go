// Command traffic behaves like the customers and the staff of the shop for a
// little while: a fixed number of sessions, the same for the same seed. It is
// what the snapshot of the example is recorded from.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

func run(out io.Writer) error {
	base := flag.String("url", "http://127.0.0.1:8080", "`URL` of the shop")
	host := flag.String("host", "shop.example.com", "`name` that callers know the shop by")
	key := flag.String("token-key", os.Getenv("TOKEN_KEY"), "the `key` that customers' tokens are signed with")
	sessions := flag.Int("sessions", 64, "`number` of sessions")
	parallel := flag.Int("parallel", 3, "`number` of sessions at the same time")
	seed := flag.Uint64("seed", 1, "`seed` of everything that is random here")
	pause := flag.Duration("pause", 5*time.Millisecond, "`time` between two requests of a session")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var (
		mu     sync.Mutex
		seen   = make(map[string]int)
		first  error
		queue  = make(chan int)
		worker sync.WaitGroup
	)
	for range *parallel {
		worker.Go(func() {
			for n := range queue {
				s := &session{
					base:   *base,
					host:   *host,
					key:    []byte(*key),
					number: n,
					random: rand.New(rand.NewPCG(*seed, uint64(n))),
					pause:  *pause,
					client: &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 10 * time.Second},
				}
				err := s.play(ctx)
				s.client.CloseIdleConnections()
				mu.Lock()
				for what, count := range s.seen {
					seen[what] += count
				}
				if first == nil && err != nil {
					first = fmt.Errorf("session %d: %w", n, err)
				}
				mu.Unlock()
			}
		})
	}
	for n := range *sessions {
		queue <- n
	}
	close(queue)
	worker.Wait()
	total := 0
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintf(out, "%5d  %s\n", seen[what], what)
		total += seen[what]
	}
	fmt.Fprintf(out, "%5d  requests\n", total)
	return first
}
