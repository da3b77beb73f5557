//go:build unix

package replay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestDirectConn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := direct(dialled)
	if _, ok := c.(*directConn); !ok {
		t.Fatalf("got %T", c)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()

	big := bytes.Repeat([]byte("0123456789"), 1<<20) // more than the socket's buffers take
	got := make(chan []byte)
	go func() {
		b := make([]byte, len(big))
		io.ReadFull(peer, b)
		peer.Write([]byte("thanks"))
		got <- b
	}()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Write(big); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	if !bytes.Equal(<-got, big) {
		t.Error("the peer read something else")
	}
	answer := make([]byte, 6)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "thanks" {
		t.Errorf("%q, %v", answer, err)
	}
	if !(&conn{Conn: c}).alive() {
		t.Error("an idle connection is not alive")
	}
	c.SetDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read past the deadline: %v", err)
	}
	peer.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(answer); err != io.EOF {
		t.Errorf("read after the end: %v", err)
	}
	if (&conn{Conn: c}).alive() {
		t.Error("a connection that the peer closed is alive")
	}
}
