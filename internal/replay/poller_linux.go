package replay

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits in the kernel for what happens on connections. Calls that do not
// wait are made without telling the runtime, which costs more than some of them.
type poller struct {
	fd     int
	events [128]unix.EpollEvent
	coarse bool // the kernel has no epoll_pwait2
}

func (p *poller) open() (err error) {
	p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return err
}

func (p *poller) close() { unix.Close(p.fd) }

// watch begins to tell of each change on a connection, once; op is EPOLL_CTL_ADD,
// or EPOLL_CTL_MOD to be told again of what is there now.
func (p *poller) watch(op int, c *loopConn) error {
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(c.fd), Pad: c.generation,
	}
	return unix.EpollCtl(p.fd, op, c.fd, &event)
}

// wait returns what happened, for which it waits as long as d. It is valid to
// the next call.
func (p *poller) wait(d time.Duration) ([]unix.EpollEvent, error) {
	if d <= 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		if errno != 0 {
			return nil, errno
		}
		return p.events[:n], nil
	}
	if !p.coarse {
		ts := unix.NsecToTimespec(int64(d))
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])),
			uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		switch errno {
		case 0:
			return p.events[:n], nil
		case unix.ENOSYS, unix.EPERM:
			p.coarse = true
		default:
			return nil, errno
		}
	}
	n, err := unix.EpollWait(p.fd, p.events[:], int(d/time.Millisecond)) // rounded down: the rest is spun
	return p.events[:max(n, 0)], err
}
