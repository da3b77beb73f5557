//go:build unix

package replay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareFiles is how many files a process has open beside its connections.
const spareFiles = 32

// enoughFiles reports, before a load starts, that its connections cannot all be
// open. The Go runtime has raised the limit as far as it may already.
func enoughFiles(connections int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil // what is missing shows when it is missing
	}
	if need := uint64(connections) + spareFiles; uint64(limit.Cur) < need {
		return fmt.Errorf("%d connections need %d open files, and the limit is %d: raise it with ulimit -n, or use fewer connections", connections, need, limit.Cur)
	}
	return nil
}
