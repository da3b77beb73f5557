package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/reprise-ci/reprise/internal/command"
)

// MinFree is the disk space that Docker needs for a node, in bytes: the
// unpacked images of two versions of a service, etcd and logs.
const MinFree = 4 << 30

// PreflightError is a machine that cannot run a kind cluster: what is wrong and
// how to mend it, both without a full stop.
type PreflightError struct {
	Problem string
	Remedy  string
	Err     error // the cause; may be nil
}

// Error is one line.
func (e *PreflightError) Error() string { return e.Problem + "; " + e.Remedy }

// Unwrap returns the cause.
func (e *PreflightError) Unwrap() error { return e.Err }

// Machine is what [Preflight] found out about the Docker host.
type Machine struct {
	DockerVersion string
	CPUs          int
	MemoryBytes   int64
	FreeBytes     int64 // of Docker's data directory; 0 where it cannot be seen
	Warnings      []string
}

// Preflight checks that a kind cluster can be made here: the docker command
// line tool, a daemon that answers within 30 s and runs on this machine, Linux
// containers, and disk space. A failure is a *PreflightError. env is the
// environment of the docker tool.
func Preflight(ctx context.Context, env []string) (Machine, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return Machine{}, &PreflightError{
			Problem: "the docker command was not found in PATH",
			Remedy:  "install Docker, use a runner that has it (ubuntu-latest does, ubuntu-slim does not), or set target: process",
			Err:     err,
		}
	}
	if err := checkLocal(env); err != nil {
		return Machine{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var said bytes.Buffer
	out, err := command.Output(ctx, command.Command{Argv: []string{"docker", "info", "--format", "{{json .}}"}, Env: env, Err: &said})
	info := dockerInfo{}
	if jsonErr := json.Unmarshal(out, &info); err == nil && jsonErr != nil {
		err = fmt.Errorf("read docker info: %w", jsonErr)
	}
	if err != nil && said.Len() > 0 { // the reason; the tool's last words may be those of its standard output
		err = fmt.Errorf("%w:\n%s", err, &said)
	}
	if len(info.ServerErrors) > 0 { // told with and without an exit code
		err = errors.New(info.ServerErrors[0])
	}
	if err != nil {
		return Machine{}, &PreflightError{
			Problem: "the Docker daemon cannot be reached (" + oneLine(err.Error()) + ")",
			Remedy:  "start Docker and check that this user may use it (docker info), or set target: process",
			Err:     err,
		}
	}
	return judge(info)
}

// dockerInfo is the part of docker info that matters here.
type dockerInfo struct {
	ServerVersion string
	ServerErrors  []string
	OSType        string
	DockerRootDir string
	CgroupVersion string
	NCPU          int
	MemTotal      int64
}

func judge(info dockerInfo) (Machine, error) {
	m := Machine{DockerVersion: info.ServerVersion, CPUs: info.NCPU, MemoryBytes: info.MemTotal}
	if info.OSType != "" && info.OSType != "linux" {
		return m, &PreflightError{
			Problem: "Docker runs " + info.OSType + " containers, kind needs Linux ones",
			Remedy:  "switch Docker to Linux containers, or set target: process",
		}
	}
	m.FreeBytes = freeBytes(info.DockerRootDir)
	if m.FreeBytes > 0 && m.FreeBytes < MinFree {
		return m, &PreflightError{
			Problem: fmt.Sprintf("only %.1f GB are free in %s, a kind cluster needs %d GB", float64(m.FreeBytes)/(1<<30), info.DockerRootDir, MinFree>>30),
			Remedy:  "free some with docker system prune (docker system df shows what is used)",
		}
	}
	if info.MemTotal > 0 && info.MemTotal < 3<<30 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("Docker has only %.1f GB of memory; a cluster with three deployments wants 4 GB", float64(info.MemTotal)/(1<<30)))
	}
	if info.NCPU == 1 {
		m.Warnings = append(m.Warnings, "Docker has a single CPU; the cluster takes part of it, so latencies will say little")
	}
	return m, nil
}

// checkLocal refuses a daemon on another machine: kind publishes the API server
// on that machine's loopback address.
func checkLocal(env []string) error {
	for _, kv := range env {
		host, ok := strings.CutPrefix(kv, "DOCKER_HOST=")
		if !ok || host == "" {
			continue
		}
		u, err := url.Parse(host)
		if err != nil || u.Scheme == "unix" || u.Scheme == "npipe" || u.Scheme == "fd" {
			continue
		}
		if h := u.Hostname(); h == "localhost" || strings.HasPrefix(h, "127.") || h == "::1" {
			continue
		}
		return &PreflightError{
			Problem: "DOCKER_HOST is " + host + ", a daemon on another machine, whose clusters cannot be reached from here",
			Remedy:  "unset DOCKER_HOST, or use target: kubernetes with a context that can be reached",
		}
	}
	return nil
}

// freeBytes is the space that an unprivileged user has left on the file system
// of dir, or 0 when dir is not visible from here (Docker in a virtual machine).
func freeBytes(dir string) int64 {
	var stat syscall.Statfs_t
	if dir == "" || syscall.Statfs(dir, &stat) != nil {
		return 0
	}
	return int64(stat.Bavail) * int64(stat.Bsize)
}

// oneLine shortens a tool's message to its last line, which holds the reason.
func oneLine(s string) string {
	s = strings.TrimSpace(s)
	s = strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}
