//go:build race

package replay

import "syscall"

// The race detector learns from these, and not from raw system calls, that what
// a peer in the same process does with a request comes after what was done here
// before it was sent.

func transmit(fd int, b []byte) (int, error) { return syscall.Write(fd, b) }

func receive(fd int, b []byte) (int, error) { return syscall.Read(fd, b) }
