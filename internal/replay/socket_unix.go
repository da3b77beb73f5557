//go:build unix

package replay

import "syscall"

// quietSocket reports that a read of fd would wait: nothing came and the peer
// has not closed.
func quietSocket(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK || err == syscall.EINTR
}
