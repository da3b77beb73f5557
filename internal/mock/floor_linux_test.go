package mock

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// floorEnv makes the test program the server that the others are measured
// above; it holds the port.
const floorEnv = "REPRISE_BENCH_FLOOR"

func floor() peer {
	p := ours("floor", 1e3)
	p.env = func(port int) []string { return []string{fmt.Sprintf("%s=%d", floorEnv, port), "GOMAXPROCS=1"} }
	return p
}

// serveFloor answers whatever comes on a port of loopback with one write,
// without a look at it, until the process ends or a system call fails.
func serveFloor(text string) error {
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	l, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err := syscall.Bind(l, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := syscall.Listen(l, 512); err != nil {
		return os.NewSyscallError("listen", err)
	}
	poll, err := syscall.EpollCreate1(0)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	watch := func(fd int) error {
		return syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
	}
	if err := watch(l); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	body := benchBody()
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	events, request := make([]syscall.EpollEvent, 128), make([]byte, 4096)
	for {
		n, errno := rawCall(syscall.SYS_EPOLL_PWAIT, poll, unsafe.Pointer(&events[0]), len(events), -1)
		if errno == syscall.EINTR {
			continue
		} else if errno != 0 {
			return os.NewSyscallError("epoll_pwait", errno)
		}
		for _, event := range events[:n] {
			fd := int(event.Fd)
			if fd == l {
				conn, _, err := syscall.Accept4(l, syscall.SOCK_NONBLOCK)
				if err != nil || syscall.SetsockoptInt(conn, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) != nil || watch(conn) != nil {
					return fmt.Errorf("accept: %w", err)
				}
				continue
			}
			n, errno := rawCall(syscall.SYS_READ, fd, unsafe.Pointer(&request[0]), len(request), 0)
			if errno == 0 && n > 0 {
				_, errno = rawCall(syscall.SYS_WRITE, fd, unsafe.Pointer(&answer[0]), len(answer), 0)
			}
			if errno != 0 || n == 0 {
				syscall.Close(fd)
			}
		}
	}
}

// rawCall makes a system call without a word to the scheduler of Go, which has
// nothing else to run.
func rawCall(number uintptr, fd int, p unsafe.Pointer, n, more int) (int, syscall.Errno) {
	r, _, errno := syscall.RawSyscall6(number, uintptr(fd), uintptr(p), uintptr(n), uintptr(more), 0, 0)
	return int(r), errno
}
