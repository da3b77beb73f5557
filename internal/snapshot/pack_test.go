package snapshot_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// many makes n exchanges of a few kinds, with bodies that repeat.
func many(n int) []*traffic.Exchange {
	list := make([]*traffic.Exchange, n)
	for i := range n {
		list[i] = synthetic(i)
	}
	return list
}

// synthetic is the exchange number i of a long recording of one endpoint.
func synthetic(i int) *traffic.Exchange {
	h := traffic.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "X-Request-Id", Value: fmt.Sprintf("%08x", i*2654435761)}}
	id := fmt.Sprintf("%08d", i)
	return &traffic.Exchange{
		ID: id, Direction: traffic.Inbound, Lane: traffic.Lane(id), Start: clock().Add(time.Duration(i) * time.Millisecond), FirstByte: time.Millisecond, Duration: 2 * time.Millisecond,
		Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: fmt.Sprintf("/v1/orders/%d?expand=items", i%5000), Proto: "HTTP/1.1", Header: h},
		Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1", Header: h, Body: traffic.NewBody(fmt.Appendf(nil, `{"id":%d,"status":"shipped","items":[{"sku":"SKU-%04d","quantity":%d,"price":10.5}],"note":"please leave it with the neighbour"}`, i%5000, i%97, i%7), h)},
	}
}

func TestPackedWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.rpk")
	list := many(1500)
	m := write(t, path, list)
	if m.Inbound != len(list) || m.Name != "s" || len(m.Files) != 2 {
		t.Errorf("manifest %+v", m)
	}
	if diff := cmp.Diff(list, read(t, path), same...); diff != "" {
		t.Fatal(diff)
	}
	r, err := snapshot.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Verify(); err != nil {
		t.Error(err)
	}
	if x, err := r.Exchange("00001499"); err != nil || !cmp.Equal(x, list[1499], same...) {
		t.Errorf("Exchange: %v, %v", x, err)
	}
	if rest, _ := os.ReadDir(filepath.Dir(path)); len(rest) != 1 {
		t.Errorf("%v is left beside the snapshot", rest)
	}
	// Other tools read it: the data frames are plain Zstandard.
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	plain, err := dec.DecodeAll(data, nil)
	if err != nil || !bytes.Contains(plain, []byte("please leave it with the neighbour")) {
		t.Errorf("plain zstd gives %d bytes, %v", len(plain), err)
	}
	if len(data) > len(plain)/4 {
		t.Errorf("%d bytes packed of %d", len(data), len(plain))
	}
}

// Equal bodies are stored once.
func TestPackStoresBodiesOnce(t *testing.T) {
	noise := make([]byte, 20_000)
	state := uint32(1)
	for i := range noise {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	size := func(n int) int64 {
		path := filepath.Join(t.TempDir(), "s.rpk")
		list := many(n)
		for _, x := range list {
			x.Response.Body = traffic.NewBody(noise, nil)
		}
		write(t, path, list)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if one, hundred := size(1), size(100); hundred > one+15_000 {
		t.Errorf("1 exchange takes %d bytes, 100 with the same body %d", one, hundred)
	}
}

// Whatever is done to a packed snapshot, reading it says so.
func TestPackRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.rpk")
	write(t, path, many(200))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, data []byte) error {
		t.Helper()
		name := filepath.Join(t.TempDir(), "x.rpk")
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := snapshot.Open(name)
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Verify()
	}
	if err := check(t, good); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 1 + len(good)/150 {
		bad := bytes.Clone(good)
		bad[at] ^= 0x55
		if err := check(t, bad); err == nil {
			t.Errorf("byte %d of %d was changed and nobody noticed", at, len(good))
		}
	}
	for _, n := range []int{0, 5, 23, 24, 100, len(good) / 2, len(good) - 1} {
		var syntax *snapshot.SyntaxError
		if err := check(t, good[:n]); !errors.Is(err, snapshot.ErrNotSnapshot) && !errors.As(err, &syntax) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	newer := bytes.Replace(good, []byte("reprise.pack/v1\n"), []byte("reprise.pack/v2\n"), 1)
	var version *snapshot.VersionError
	if err := check(t, newer); !errors.As(err, &version) {
		t.Errorf("newer version: %v", err)
	}
}
