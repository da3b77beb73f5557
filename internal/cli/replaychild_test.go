//go:build unix

package cli_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// child is a process of reprise replay whose standard error is read line by
// line.
type child struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	lines  chan string // closed at the end of standard error
	mu     sync.Mutex
	log    strings.Builder
}

// patience bounds what must end soon, on whatever machine.
const patience = time.Minute

// startChild starts a command; edit may change it before. It is killed at the
// end of the test if it still runs.
func startChild(t *testing.T, edit func(*exec.Cmd), name string, args ...string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(name, args...), lines: make(chan string, 1000)}
	c.cmd.Stdout, c.cmd.Dir = &c.stdout, t.TempDir()
	if edit != nil {
		edit(c.cmd)
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	t.Cleanup(func() {
		limit.Stop()
		_ = c.cmd.Process.Kill() // it has ended, or the test has failed
	})
	go func() {
		defer close(c.lines)
		read := bufio.NewScanner(stderr)
		for read.Scan() {
			c.mu.Lock()
			c.log.WriteString(read.Text() + "\n")
			c.mu.Unlock()
			c.lines <- read.Text()
		}
	}()
	return c
}

// said returns what came on standard error so far.
func (c *child) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.String()
}

// awaitLine waits until the process says a line that holds text.
func (c *child) awaitLine(t *testing.T, text string) {
	t.Helper()
	for line := range c.lines {
		if strings.Contains(line, text) {
			return
		}
	}
	_ = c.cmd.Wait()
	t.Fatalf("%q never came:\n%s", text, c.said())
}

// await waits for news of a server, for as long as the process may run.
func (c *child) await(t *testing.T, news <-chan struct{}) {
	t.Helper()
	for {
		select {
		case <-news:
			return
		case _, ok := <-c.lines:
			if !ok {
				_ = c.cmd.Wait()
				t.Fatalf("it ended before its time:\n%s%s", c.stdout.String(), c.said())
			}
		}
	}
}

// end waits for the end of the process and returns its exit code, -1 when a
// signal ended it.
func (c *child) end(t *testing.T) int {
	t.Helper()
	for range c.lines { // Wait closes the pipe, which is to be read first
	}
	_ = c.cmd.Wait() // its exit code tells
	return c.cmd.ProcessState.ExitCode()
}

// service answers requests, or leaves them hanging, and tells when so many have
// come.
type service struct {
	*httptest.Server
	reached chan struct{} // closed by the request that makes it enough
	left    chan struct{} // gets a token when a hanging request is given up
}

func newService(t *testing.T, enough int, hangs bool) *service {
	s := &service{reached: make(chan struct{}), left: make(chan struct{}, 1)}
	var mu sync.Mutex
	n := 0
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if n++; n == enough {
			close(s.reached)
		}
		mu.Unlock()
		if hangs {
			<-r.Context().Done()
			select {
			case s.left <- struct{}{}:
			default:
			}
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// writeMany writes a packed snapshot of n sessions of one request each, gap
// after one another.
func writeMany(t *testing.T, n int, gap time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "many.rpk")
	start := time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)
	w, err := snapshot.NewWriter(path, nothing{}, snapshot.Options{Service: "many", Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id := fmt.Sprintf("in-%06d", i)
		err := w.Add(&traffic.Exchange{
			ID: id, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: start.Add(time.Duration(i) * gap), Duration: time.Millisecond,
			Origin:   traffic.Origin{Connection: fmt.Sprint(i)},
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "many", Target: "/v1/things", Proto: "HTTP/1.1"},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// repository is the root of this repository.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "..", "..")
}
