//go:build unix

package replay

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestTooFewFiles(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	lower := before
	lower.Cur = min(lower.Cur, 200)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lower); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	e, err := New([]*traffic.Exchange{{ID: "a", Request: traffic.Request{Method: "GET", Target: "/"}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Plan(Load{Connections: 1000})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Drive(t.Context(), Target{Arm: "base", Addr: "127.0.0.1:1"}, p)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("1000 connections need 1032 open files, and the limit is %d", lower.Cur)) {
		t.Errorf("error %v", err)
	}
}

// TestExhaustion: what this side lacks is no fault of the service, and the
// error says how to mend it.
func TestExhaustion(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EMFILE: "ulimit -n", syscall.ENFILE: "ulimit -n", syscall.EADDRNOTAVAIL: "ip_local_port_range",
	} {
		err := fmt.Errorf("open a connection: %w", os.NewSyscallError("socket", errno))
		if got := failureOf(t.Context(), err); got != traffic.FailureLimit || !strings.Contains(remedy(err), want) {
			t.Errorf("%v is %q, mend it by %q", errno, got, remedy(err))
		}
	}
	if got := remedy(syscall.ECONNREFUSED); got != "" {
		t.Errorf("a refusal needs no %q", got)
	}
}
