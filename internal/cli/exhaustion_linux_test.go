package cli_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTooFewFiles runs reprise replay with limits of open files. What this side
// lacks is said in one line with its remedy, and is no fault of the service.
func TestTooFewFiles(t *testing.T) {
	hundred := writeMany(t, 100, 0)
	tests := []struct {
		why    string
		ulimit string // what a shell says before
		held   int    // files that the process has open already
		hangs  bool
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		{
			"the limit may be raised, and is", "ulimit -S -n 40 && ulimit -H -n 512", 0, false, []string{"--fail-if", "failures>0"}, 0,
			[]string{`(?m)^100 +all +200 \(100\)`, `(?m)^ok: `}, "",
		},
		{
			"a limit that says beforehand that it is too low", "ulimit -n 60", 0, false, nil, 3,
			[]string{`^$`}, "64 connections need 96 open files, and the limit is 60: raise it with ulimit -n, or use fewer connections",
		},
		{
			"the same with fewer connections", "ulimit -n 60", 0, false, []string{"--connections", "8"}, 0,
			[]string{`(?m)^100 +all +200 \(100\)`}, "",
		},
		{
			"files run out under way", "ulimit -n 100", 48, true, []string{"--replay-timeout", "1s", "--fail-if", "p90>1ns", "--fail-if", "rate<1000000", "--fail-if", "status.5xx>0"}, 3,
			[]string{
				`(?m)^100 +all +.*limit \([1-9]`, `(?m)^100 +all +.*timeout \([1-9]`, `(?m)^inconclusive: [1-9]\d* requests not sent: no file or local port left here`,
				`(?m)^INCONCLUSIVE: fail if p90>1ns`, `(?m)^INCONCLUSIVE: fail if rate<`, `(?m)^ok: fail if status.5xx`, `(?m)^limit: .*ulimit -n`,
			}, "too many open files (no file can be opened any more: raise the limit with ulimit -n, or use fewer connections)",
		},
		{
			"files run out, and the service fails as well", "ulimit -n 100", 48, true, []string{"--replay-timeout", "1s", "--fail-if", "failures.timeout>0"}, 1,
			[]string{`(?m)^FAILED: fail if failures.timeout>0`}, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			s := newService(t, -1, tt.hangs)
			args := append([]string{"-c", tt.ulimit + ` && exec "$@"`, "sh", "reprise", "replay", s.URL, "--snapshot", hundred}, tt.args...)
			c := startChild(t, func(cmd *exec.Cmd) {
				for range tt.held {
					f, err := os.Open(os.DevNull)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { f.Close() })
					cmd.ExtraFiles = append(cmd.ExtraFiles, f)
				}
			}, "sh", args...)
			c.ends(t, tt.code, tt.stdout, tt.stderr)
		})
	}
}

// ends waits for the end of a process and compares what it left: exit code,
// patterns of its output, a text of its standard error.
func (c *child) ends(t *testing.T, code int, stdout []string, stderr string) {
	t.Helper()
	if got := c.end(t); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	for _, pattern := range stdout {
		if !regexp.MustCompile(pattern).MatchString(c.stdout.String()) {
			t.Errorf("%s is missing", pattern)
		}
	}
	if !regexp.MustCompile(regexp.QuoteMeta(stderr)).MatchString(c.said()) {
		t.Errorf("%q is missing", stderr)
	}
	if t.Failed() {
		t.Logf("%s%s", c.stdout.String(), c.said())
	}
}

// aloneService is where a service listens in a network of its own, in which no
// other does.
const aloneService = "127.0.0.1:8080"

// cannot is the exit code of a process that cannot have a network of its own.
const cannot = 77

// TestNoPortLeft runs reprise replay where ten local ports are all that there
// are. Sessions with connections of their own use them up; sessions that share
// connections do not.
func TestNoPortLeft(t *testing.T) {
	if os.Getenv("REPRISE_TEST_ALONE") != "" {
		os.Exit(alone(os.Getenv("REPRISE_TEST_ALONE"), os.Args[len(os.Args)-1]))
	}
	forty := writeMany(t, 40, 0)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		why    string
		churn  string
		code   int
		stdout []string
		stderr string
	}{
		{"a connection for each session", "--churn", 3, []string{
			`(?m)^40 +all +limit \(3\d\), 200 \(([1-9]|10)\)`, `(?m)^ok: fail if failures>0; measured 0 of 40`, `(?m)^limit: .*net\.ipv4\.ip_local_port_range`,
		}, "cannot assign requested address (no local port is free: keep connections open, use fewer, widen net.ipv4.ip_local_port_range, or send from more addresses)"},
		{"connections that are kept", "--churn=false", 0, []string{`(?m)^40 +all +200 \(40\)`, `(?m)^ok: fail if failures>0`}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			t.Parallel()
			c := &child{}
			set := func(cmd *exec.Cmd) {
				cmd.Env = append(os.Environ(), "REPRISE_TEST_ALONE="+tt.churn, "TMPDIR="+t.TempDir())
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
					UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
					GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
				}
			}
			probe := exec.Command("true")
			set(probe)
			if err := probe.Run(); err != nil {
				t.Skipf("there is no network of its own for a process here: %v", err)
			}
			c = startChild(t, set, executable, "-test.run=^TestNoPortLeft$", forty)
			if c.end(t) == cannot {
				t.Skipf("the ports of a network cannot be set here: %s", c.said())
			}
			c.ends(t, tt.code, tt.stdout, tt.stderr)
		})
	}
}

// alone is what runs in a network of its own: it leaves ten local ports there,
// serves, and replays the snapshot with a flag. It returns the exit code.
func alone(flag, snapshot string) int {
	if err := narrow(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return cannot
	}
	l, err := net.Listen("tcp", aloneService)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return cannot
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	cmd := exec.Command("reprise", "replay", "http://"+aloneService, "--snapshot", snapshot, "--rate", "500", "--connections", "4", "--fail-if", "failures>0", flag)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	_ = cmd.Run() // its exit code tells
	return cmd.ProcessState.ExitCode()
}

// narrow brings the loopback device up and leaves ten local ports, none of which
// is used again soon.
func narrow() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	device, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	device.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, device); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	for name, value := range map[string]string{"ip_local_port_range": "50000 50009", "tcp_tw_reuse": "0"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}
