package snapshot

import (
	"fmt"
	"io"
	"runtime/debug"
)

// region is a part of a file as bytes: mapped into memory where the system can
// do that, else read.
type region struct {
	data  []byte
	unmap func() error
}

// openRegion gives access to n bytes of a file from offset on. The caller
// closes it.
func openRegion(f io.ReaderAt, offset, n int64) (region, error) {
	if r, ok := mapRegion(f, offset, n); ok {
		return r, nil
	}
	data := make([]byte, n)
	if _, err := f.ReadAt(data, offset); err != nil {
		return region{}, err
	}
	return region{data: data}, nil
}

// close gives the memory back; data must not be used any more.
func (r *region) close() error {
	unmap := r.unmap
	r.data, r.unmap = nil, nil
	if unmap == nil {
		return nil
	}
	return unmap()
}

// guarded calls use, which reads data of a region. A file that is cut short
// while it is mapped makes that an error, and not the end of the program.
func guarded(use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface {
			error
			Addr() uintptr
		}:
			err = fmt.Errorf("the file was cut short while it was read: %w", fault)
		default:
			panic(fault)
		}
	}()
	return use()
}
