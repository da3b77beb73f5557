package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cgroupScript prints the figures of a pod's control group, of version 2 or 1;
// nothing where the machine's kernel has no such files. The name of the group
// depends on who makes it, systemd or the kubelet.
const cgroupScript = `cd /sys/fs/cgroup
group() { find "$1/" -type d \( -name "*pod$under.slice" -o -name "pod$uid" \) | head -n 1; }
under=$1 uid=$2
if test -e cgroup.controllers; then
  cpu=$(group .)/cpu.stat memory=${cpu%/*}/memory.peak
else
  cpu=$(group cpuacct)/cpuacct.usage memory=$(group memory)/memory.max_usage_in_bytes
fi
case $cpu$memory in
  /*) echo "it has none" >&2; exit 1 ;;
esac
test -e "$memory" || exit 0
case $cpu in
  *.stat) sed -n 's/^usage_usec /usec /p' "$cpu" ;;
  *) echo "nsec $(cat "$cpu")" ;;
esac
echo "peak $(cat "$memory")"`

// cgroupUsage reads what a pod has used until now from its node, a container of
// this machine. Memory is the most the pod held at once, with the files it read. It
// reports false where the machine's kernel does not tell, for any pod.
func (c *Cluster) cgroupUsage(ctx context.Context, container, uid string) (u Usage, ok bool, err error) {
	text, err := c.docker.run(ctx, "exec", container, "sh", "-c", cgroupScript, "sh", strings.ReplaceAll(uid, "-", "_"), uid)
	if err == nil && text != "" {
		u, err = cgroupFigures(text)
	}
	return u, text != "", wrap(err, "read the control group of pod "+uid+" on node "+container)
}

// cgroupFigures reads what cgroupScript prints: "usec" or "nsec", and "peak".
func cgroupFigures(text string) (Usage, error) {
	figures := make(map[string]int64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("%q: %w", line, err)
		}
		figures[name] = n
	}
	cpu := time.Duration(figures["usec"])*time.Microsecond + time.Duration(figures["nsec"])
	if cpu <= 0 || figures["peak"] <= 0 {
		return Usage{}, fmt.Errorf("no processor time or no peak of memory in %q", text)
	}
	return Usage{CPU: cpu, MemoryBytes: figures["peak"]}, nil
}

// here reports whether a node is a container of this machine, which has its name.
func (c *Cluster) here(node string) bool {
	if c.Owned {
		return node == c.node()
	}
	return slices.Contains(c.nodes, node)
}
