package timing

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernel waits on timer file descriptors. The runtime's poller reports them
// like sockets, so a waiting goroutine holds no thread, and the kernel fires
// them with its high-resolution timers: as exact as nanosleep on a locked
// thread, and cheaper when many wait.
type kernel struct {
	mu   sync.Mutex
	idle []*alarm
}

// maxIdle bounds how many timers are kept for the next wait.
const maxIdle = 64

// alarm is one timer file descriptor.
type alarm struct {
	file *os.File
	conn syscall.RawConn
}

// sleep waits for d. It reports done=false when no kernel timer is to be had,
// and the caller must wait in another way.
func (k *kernel) sleep(ctx context.Context, d time.Duration) (done bool, err error) {
	a := k.take()
	if a == nil {
		return false, nil
	}
	if err := a.set(d); err != nil {
		a.file.Close()
		return false, nil
	}
	stop := context.AfterFunc(ctx, func() { a.file.SetReadDeadline(time.Unix(1, 0)) })
	var expirations [8]byte
	_, err = a.file.Read(expirations[:])
	if !stop() { // the deadline is or will be set: this timer cannot be used again
		a.file.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return true, context.Cause(ctx)
		}
		return err == nil, nil
	}
	if err != nil {
		a.file.Close()
		return false, nil
	}
	k.give(a)
	return true, nil
}

func (k *kernel) take() *alarm {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.idle); n > 0 {
		a := k.idle[n-1]
		k.idle = k.idle[:n-1]
		return a
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), "timer")
	conn, err := file.SyscallConn()
	if err != nil || file.SetReadDeadline(time.Time{}) != nil { // not pollable: a read would not block
		file.Close()
		return nil
	}
	return &alarm{file, conn}
}

func (k *kernel) give(a *alarm) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.idle) < maxIdle {
		k.idle = append(k.idle, a)
		return
	}
	a.file.Close()
}

// close frees the idle timers.
func (k *kernel) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for _, a := range k.idle {
		errs = append(errs, a.file.Close())
	}
	k.idle = nil
	return errors.Join(errs...)
}

func (a *alarm) set(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	var failed error
	err := a.conn.Control(func(fd uintptr) { failed = unix.TimerfdSettime(int(fd), 0, &spec, nil) })
	return errors.Join(err, failed)
}
