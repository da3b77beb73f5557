package process

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc: 1/100 s on every Linux that Go
// supports (USER_HZ).
const clockTick = 10 * time.Millisecond

// Usage returns the CPU time and the peak resident memory of the running
// service so far. It reports false where the system does not tell, and once the
// service has ended: what wait(2) tells then counts the memory of the process
// that forked it, too.
func (i *Instance) Usage() (cpu time.Duration, peakBytes int64, ok bool) {
	dir := "/proc/" + strconv.Itoa(i.process.PID())
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return 0, 0, false
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return 0, 0, false
	}
	// utime and stime are the 14th and 15th field; the second one, the command
	// name in parentheses, may hold spaces (proc(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, 0, false
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, 0, false
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return time.Duration(user+system) * clockTick, kib * 1024, err == nil
		}
	}
	return 0, 0, false
}
