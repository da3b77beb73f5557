package cluster

import (
	"context"
	"io"
	"os"
	"testing"
	"time"
)

// needCluster skips unless the environment asks for tests that use Docker.
func needCluster(t *testing.T) {
	t.Helper()
	if os.Getenv("REPRISE_E2E") != "1" {
		t.Skip("set REPRISE_E2E=1 to run tests that make a kind cluster (needs Docker)")
	}
}

func TestKindCluster(t *testing.T) {
	needCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	if _, err := Preflight(ctx, os.Environ()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	since := func() float64 { return time.Since(began).Seconds() }
	c, err := Start(ctx, Options{
		KubeconfigDir: t.TempDir(), LogsDir: t.TempDir(), Env: os.Environ(), Debug: debugTo(t),
		Progress: func(s string) { t.Logf("%6.2f %s", since(), s) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		start := time.Now()
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
		t.Logf("%6.2f deleted in %.2f", since(), time.Since(start).Seconds())
	}()
	go func() { <-c.creation.current().engine; t.Logf("%6.2f containerd answers", since()) }()
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("%6.2f ready", since())
	dns, err := c.DNS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%6.2f DNS %v", since(), dns)
}

// TestCancelKindCluster interrupts a creation in the middle of kubeadm init: the
// node must have ended within ten seconds, and be gone when Delete returns. How
// long Docker takes to delete its files is Docker's.
func TestCancelKindCluster(t *testing.T) {
	needCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := Start(ctx, Options{KubeconfigDir: t.TempDir(), Env: os.Environ(), Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.creation.current().engine:
	case <-c.creation.done:
		t.Errorf("the creation ended before the node ran: %v", c.creation.err)
	case <-time.After(5 * time.Minute):
		t.Error("the node did not start within five minutes")
	}
	cancel()
	began := time.Now()
	ended := make(chan time.Duration, 1)
	go func() {
		for {
			state, err := c.docker.run(context.Background(), "inspect", "--type=container", "--format", "{{.State.Running}}", c.node())
			if err != nil || state == "false" {
				ended <- time.Since(began)
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	if err := c.Delete(context.Background()); err != nil {
		t.Error(err)
	}
	t.Logf("gone after %.2f s", time.Since(began).Seconds())
	if took := <-ended; took > 10*time.Second {
		t.Errorf("the node ended after %s, want 10 s", took)
	}
	found, err := List(t.Context(), os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Name == c.Name() {
			t.Errorf("cluster %s is still there", f.Name)
		}
	}
}

// debugTo opens the file that REPRISE_E2E_DEBUG names for the output of kubeadm.
func debugTo(t *testing.T) io.Writer {
	path := os.Getenv("REPRISE_E2E_DEBUG")
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
