// Command standin serves the stand-in of GitHub's API for runs of act. It
// prints the address to use as GITHUB_API_URL on its first line, and writes all
// comments as JSON into a file whenever one changes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/reprise-ci/reprise/internal/github/githubtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("standin", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	repo := flags.String("repo", "", "repository, owner/name")
	token := flags.String("token", "", "the token to accept; any if empty")
	dump := flags.String("dump", "", "file to write all comments into, as JSON")
	deny := flags.Bool("deny", false, "answer every write with 403, as to a pull request from a fork")
	if err := flags.Parse(args); err != nil {
		return err
	}
	owner, name, ok := strings.Cut(*repo, "/")
	if !ok || owner == "" || name == "" {
		return errors.New("-repo must be owner/name")
	}
	var mu sync.Mutex
	var server *githubtest.Server
	write := func() error {
		if *dump == "" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		return writeJSON(*dump, map[string]any{"comments": server.Comments(), "mistakes": append([]string{}, server.Mistakes()...), "requests": append([]string{}, server.Requests()...)})
	}
	server = githubtest.New(githubtest.Options{Owner: owner, Repo: name, Token: *token, Changed: func() {
		if err := write(); err != nil {
			fmt.Fprintln(os.Stderr, "standin:", err)
		}
	}})
	if *deny {
		for _, method := range []string{"POST", "PATCH", "DELETE"} {
			server.Fail(githubtest.Fault{Method: method, Status: http.StatusForbidden})
		}
	}
	if err := write(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s\n", l.Addr())
	s := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(s.Shutdown(grace), write())
}

// writeJSON replaces a file, so that a reader never sees half of it.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".standin-*")
	if err != nil {
		return err
	}
	if _, err = f.Write(append(data, '\n')); err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
