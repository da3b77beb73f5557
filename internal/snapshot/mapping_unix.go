//go:build unix

package snapshot

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// mapRegion maps a part of a file, from the start of the page that it begins
// in.
func mapRegion(f io.ReaderAt, offset, n int64) (region, bool) {
	file, ok := f.(*os.File)
	if !ok || n == 0 {
		return region{}, false
	}
	skip := offset % int64(os.Getpagesize())
	data, err := unix.Mmap(int(file.Fd()), offset-skip, int(skip+n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return region{}, false // read it instead
	}
	return region{data: data[skip:], unmap: func() error { return unix.Munmap(data) }}, true
}
