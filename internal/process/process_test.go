package process_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/process"
)

// The test binary is its own service when ROLE is set.
func TestMain(m *testing.M) {
	switch os.Getenv("ROLE") {
	case "":
		os.Exit(m.Run())
	case "broken":
		fmt.Fprintln(os.Stderr, "cannot open the database")
		os.Exit(7)
	case "unready":
		http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
	case "service":
		http.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {})
		http.HandleFunc("/env/", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, os.Getenv(strings.TrimPrefix(r.URL.Path, "/env/")))
		})
	}
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}

func start(t *testing.T, role string, o process.Options) (*process.Instance, error) {
	t.Helper()
	o.Command = os.Args[0]
	if o.Env == nil {
		o.Env = map[string]string{}
	}
	o.Env["ROLE"] = role
	i, err := process.Start(t.Context(), o, process.Place{
		Project: t.TempDir(), Mock: "127.0.0.1:9", CAFile: "/tmp/ca.pem", Log: io.Discard,
		Environ: append(os.Environ(), "SECRET_TOKEN=leak"),
	}, func(int) error { return nil })
	if err == nil {
		t.Cleanup(func() { i.Stop() })
	}
	return i, err
}

func TestServiceSeesOnlyItsMock(t *testing.T) {
	i, err := start(t, "service", process.Options{Ready: "/healthz", Env: map[string]string{
		"DEPENDENCY": "${mock}/x", "OWN_PORT": "${port}", "NO_PROXY": "metrics",
	}})
	if err != nil {
		t.Fatal(err)
	}
	port := i.Addr()[strings.LastIndexByte(i.Addr(), ':')+1:]
	tests := []struct{ name, want, reason string }{
		{"HTTPS_PROXY", "http://127.0.0.1:9", "the mock is the only way out"},
		{"SSL_CERT_FILE", "/tmp/ca.pem", "its certificates are trusted"},
		{"DEPENDENCY", "http://127.0.0.1:9/x", "${mock} in a variable"},
		{"OWN_PORT", port, "${port} in a variable"},
		{"NO_PROXY", "metrics", "what the user sets wins"},
		{"SECRET_TOKEN", "", "nothing of the runner's environment leaks"},
	}
	for _, tt := range tests {
		res, err := http.Get("http://" + i.Addr() + "/env/" + tt.name)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(got) != tt.want {
			t.Errorf("%s: %s = %q, want %q", tt.reason, tt.name, got, tt.want)
		}
	}
	if _, peak, ok := i.Usage(); !ok || peak <= 0 {
		t.Errorf("while it runs, Usage = %d, %v", peak, ok)
	}
	if i.Startup() <= 0 {
		t.Error("no start-up time")
	}
	for range 2 {
		if err := i.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	if _, _, ok := i.Usage(); ok {
		t.Error("a service that has ended has a usage")
	}
}

func TestNotReadyGivesTheReason(t *testing.T) {
	tests := []struct {
		role   string
		ready  string
		want   []string
		within time.Duration
		reason string
	}{
		{"broken", "/healthz", []string{"exit status 7", "cannot open the database"}, 3 * time.Second, "a crash ends the wait at once, with the last words"},
		{"unready", "/healthz", []string{"/healthz answers 503"}, 5 * time.Second, "a probe that fails is named with its answer"},
	}
	for _, tt := range tests {
		t.Run(tt.role, func(t *testing.T) {
			begun := time.Now()
			_, err := start(t, tt.role, process.Options{Ready: tt.ready, ReadyTimeout: 500 * time.Millisecond})
			var notReady *process.NotReadyError
			if !errors.As(err, &notReady) {
				t.Fatalf("%s: %v", tt.reason, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %q lacks %q", tt.reason, err, want)
				}
			}
			if took := time.Since(begun); took > tt.within {
				t.Errorf("%s: took %v", tt.reason, took)
			}
		})
	}
}

func TestExitIsSeen(t *testing.T) {
	i, err := start(t, "service", process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	again, err := process.Start(t.Context(), process.Options{Command: os.Args[0], Env: map[string]string{"ROLE": "service"}},
		process.Place{Project: t.TempDir(), Mock: "127.0.0.1:9", Log: io.Discard}, func(p int) error { pid = p; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-again.Exited()
	if err := again.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a service that died gives %v", err)
	}
	select {
	case <-i.Exited():
		t.Error("the other instance ended too")
	default:
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		o      process.Options
		want   string
		reason string
	}{
		{process.Options{}, "process.command", "nothing to start"},
		{process.Options{Command: "x", Dir: "../other"}, "process.dir", "outside the repository"},
		{process.Options{Command: "x", Ready: "healthz"}, "process.ready", "not a path"},
		{process.Options{Command: "x", Dir: "examples/shop", Ready: "/healthz"}, "", "all is well"},
	}
	for _, tt := range tests {
		err := tt.o.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

func TestBuildEnvironmentHasNoTokens(t *testing.T) {
	got := process.BuildEnvironment([]string{"GOPROXY=x", "GITHUB_TOKEN=t", "ACTIONS_RUNTIME_TOKEN=t", "GITHUB_SHA=abc"})
	if want := []string{"GOPROXY=x", "GITHUB_SHA=abc"}; strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the build sees %v, want %v", got, want)
	}
}
