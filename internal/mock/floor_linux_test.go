package mock

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
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
		n, err := syscall.EpollWait(poll, events, -1)
		if err != nil && err != syscall.EINTR {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, event := range events[:max(n, 0)] {
			fd := int(event.Fd)
			if fd == l {
				conn, _, err := syscall.Accept4(l, syscall.SOCK_NONBLOCK)
				if err != nil || syscall.SetsockoptInt(conn, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) != nil || watch(conn) != nil {
					return fmt.Errorf("accept: %w", err)
				}
				continue
			}
			if n, err := syscall.Read(fd, request); err != nil || n == 0 {
				syscall.Close(fd)
			} else if _, err := syscall.Write(fd, answer); err != nil {
				syscall.Close(fd)
			}
		}
	}
}
