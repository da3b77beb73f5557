package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/reprise-ci/reprise/internal/cli"
	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

// TestMain lets the scripts run this test binary as reprise.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"reprise": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, stop)
			os.Exit(cli.Run(ctx, os.Args[1:], cli.System()))
		},
		"middleware": middleware,
	})
}

// The scripts start in a directory with a small snapshot, tiny, beside them.
// "exits N command…" runs a command that must end with exit code N.
// "listening ADDRESS" waits for a server there; FREE is an address for one.
// "filled FILE" waits until a recording is in it. The snapshot raw was not
// redacted.
// REPO is the root of the repository, SERVICE the URL of a server that answers
// every request with 204, or 202 when it asks for 3 things.
func TestScripts(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "listening": listening, "filled": filled, "mirrored": mirrored},
		Setup: func(env *testscript.Env) error {
			service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("limit") == "3" {
					w.WriteHeader(http.StatusAccepted)
					return
				}
				w.WriteHeader(http.StatusNoContent)
			}))
			env.Defer(service.Close)
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			if err := free.Close(); err != nil {
				return err
			}
			env.Vars = append(env.Vars,
				"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
				"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org", "RUNNER_TEMP="+env.Getenv("TMPDIR"), "REPO="+root, "SERVICE="+service.URL, "FREE="+free.Addr().String(),
			)
			if err := writeRaw(filepath.Join(env.WorkDir, "raw")); err != nil {
				return err
			}
			return writeTiny(filepath.Join(env.WorkDir, "tiny"))
		},
	})
}

// middleware is a program that changes requests, as one for GoReplay is
// written: it lets every request ask for 3 things.
func middleware() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		data, err := hex.DecodeString(lines.Text())
		if err != nil {
			fmt.Fprintln(os.Stderr, "not a message:", err)
			os.Exit(1)
		}
		fmt.Fprintf(os.Stderr, "type %c\n", data[0])
		if data[0] == '1' {
			fmt.Println(hex.EncodeToString(bytes.Replace(data, []byte("limit=2"), []byte("limit=3"), 1)))
		}
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listening ADDRESS")
	}
	var err error
	for range 1000 {
		var c net.Conn
		if c, err = net.Dial("tcp", args[0]); err == nil {
			ts.Check(c.Close())
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("nobody listens: %v", err)
}

// filled waits until more than the first line of a packed snapshot is in a
// file.
func filled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: filled FILE")
	}
	for range 1000 {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 24 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s stays empty", args[0])
}

// nothing is a redactor that changes nothing, and says so.
type nothing struct{}

func (nothing) Redact(*traffic.Exchange) ([]traffic.Redaction, error) { return nil, nil }
func (nothing) Describe() snapshot.RedactionInfo {
	return snapshot.RedactionInfo{Version: "none", KeyID: "none"}
}

// writeRaw writes a snapshot of one exchange that was not redacted.
func writeRaw(dir string) error {
	w, err := snapshot.NewWriter(dir, nothing{}, snapshot.Options{Service: "raw"})
	if err != nil {
		return err
	}
	err = w.Add(&traffic.Exchange{
		ID: "in-000001", Direction: traffic.Inbound, Lane: "in-000001", Start: time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC),
		Request: traffic.Request{Method: "GET", Scheme: "http", Authority: "raw", Target: "/", Proto: "HTTP/1.1"},
	})
	if err != nil {
		return err
	}
	_, err = w.Close()
	return err
}

// writeTiny writes a snapshot of one exchange.
func writeTiny(dir string) error {
	redactor, err := redact.New(redact.Options{Key: []byte("a key for tests only, 32 bytes!!")})
	if err != nil {
		return err
	}
	at := time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)
	w, err := snapshot.NewWriter(dir, redactor, snapshot.Options{Service: "tiny", Now: func() time.Time { return at }})
	if err != nil {
		return err
	}
	header := traffic.Header{{Name: "Content-Type", Value: "application/json"}}
	err = w.Add(&traffic.Exchange{
		ID: "in-000001", Direction: traffic.Inbound, Lane: "in-000001", Start: at, FirstByte: time.Millisecond, Duration: 2 * time.Millisecond,
		Request: traffic.Request{Method: "GET", Scheme: "http", Authority: "tiny", Target: "/v1/things?limit=2", Proto: "HTTP/1.1"},
		Response: &traffic.Response{
			Status: 200, Proto: "HTTP/1.1", Header: header, Body: traffic.NewBody([]byte(`{"things":[1,2]}`), header),
		},
	})
	if err != nil {
		return err
	}
	_, err = w.Close()
	return err
}
