package cluster

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Owner is the process that made a cluster. It is written into the node
// container as the destination of a mount of /dev/null, because kind lets its
// callers set no label of their own, and because a mount cannot be forgotten:
// it exists from the moment the container does.
type Owner struct {
	PID int
	// Started is the process's start in clock ticks since boot, so that a pid
	// that was given again is not taken for the owner.
	Started uint64
	// Space identifies the pid namespace and machine boot that PID belongs to.
	Space string
	// MadeNetwork says that Docker's "kind" network did not exist before.
	MadeNetwork bool
}

// ownerMount is the directory in the node container below which the mark is.
const ownerMount = "/etc/reprise/owner/"

// Self is the owner that this process is.
func Self() Owner {
	return Owner{PID: os.Getpid(), Started: startTicks(os.Getpid()), Space: pidSpace()}
}

// path is the mount destination that says all of it.
func (o Owner) path() string {
	network := "found"
	if o.MadeNetwork {
		network = "made"
	}
	return fmt.Sprintf("%s%d-%d-%s-%s", ownerMount, o.PID, o.Started, o.Space, network)
}

// parseOwner reads what path wrote; false means that reprise did not make the
// cluster.
func parseOwner(path string) (Owner, bool) {
	rest, ok := strings.CutPrefix(path, ownerMount)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 4 {
		return Owner{}, false
	}
	pid, err1 := strconv.Atoi(parts[0])
	started, err2 := strconv.ParseUint(parts[1], 10, 64)
	if err1 != nil || err2 != nil || pid <= 0 {
		return Owner{}, false
	}
	return Owner{PID: pid, Started: started, Space: parts[2], MadeNetwork: parts[3] == "made"}, true
}

// orphanAge is how old a cluster must be to count as left behind when its
// owner cannot be looked up from here (it ran in another container).
const orphanAge = 3 * time.Hour

// Gone reports whether the owner has ended, so that nobody will remove its
// cluster. age is that of the cluster.
func (o Owner) Gone(age time.Duration) bool {
	if o.Space != pidSpace() {
		return age > orphanAge
	}
	if err := syscall.Kill(o.PID, 0); err == syscall.ESRCH {
		return true
	}
	started := startTicks(o.PID)
	return started != 0 && o.Started != 0 && started != o.Started
}

// pidSpace names the boot and the pid namespace of this process in letters that
// fit a path; "unknown" where the kernel does not tell.
func pidSpace() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(boot) < 8 {
		return "unknown"
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return "unknown"
	}
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, ns)
	return string(boot[:8]) + "." + digits
}

// startTicks is field 22 of /proc/PID/stat, or 0.
func startTicks(pid int) uint64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field is the command in parentheses, which may hold spaces.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64)
	return ticks
}
