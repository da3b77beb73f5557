package snapshot

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// An exchange of very many header fields is kept or refused as a whole, and
// refusing it harms no other.
func TestManyHeaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.rpk")
	w, err := NewWriter(path, plain{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	withFields := func(id, n int) *traffic.Exchange {
		x := small(id)
		x.Request.Header = make(traffic.Header, n)
		for i := range x.Request.Header {
			x.Request.Header[i] = traffic.Field{Name: "A", Value: "b"}
		}
		return x
	}
	if err := w.Add(withFields(0, 1_000_000)); err != nil {
		t.Error(err)
	}
	if err := w.Add(withFields(9, 2_500_000)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("two and a half million fields: %v", err)
	}
	if err := w.Add(small(1)); err != nil {
		t.Error(err)
	}
	m, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if m.Completeness.Stored != 2 || m.Completeness.Dropped != 1 {
		t.Errorf("%+v", m.Completeness)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fields := 0
	for x, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		fields += len(x.Request.Header)
	}
	if fields != 1_000_000 {
		t.Errorf("%d fields were read", fields)
	}
}

// A few bytes that say to make much of them are refused before they are
// followed to the end.
func TestFrameBomb(t *testing.T) {
	// A text of 1 MiB that all of 16,384 exchanges have before their own part:
	// 16 GiB of text in a frame of 1 MiB.
	var rows []*row
	for i := range maxRows {
		x := small(i)
		x.Request.Target = "/" + strings.Repeat("a", 1<<20) + fmt.Sprintf("%05x", i*7)
		x.Response = nil
		if i > 1 { // written with two, as each is large
			break
		}
		c, err := takeApart(x, 0)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, newRow(x, c))
	}
	f, err := parseExchangeFrame((&frameParts{rows: rows}).encode())
	if err != nil {
		t.Fatal(err)
	}
	f.rows = maxRows
	for i := range f.firstNumbers {
		f.firstNumbers[i] = numbers{form: columnSame, last: 5}
	}
	for i := range f.firstTexts {
		f.firstTexts[i].numbers = numbers{form: columnSame, last: 0}
	}
	f.firstKinds = numbers{form: columnSame}
	f.rewind()
	read := 0
	for ; read < maxRows; read++ {
		if _, _, err = f.exchange(read, noBodies{}); err != nil {
			break
		}
	}
	if !errors.Is(err, errFrame) || read > maxSpent>>20 {
		t.Errorf("%d exchanges of 1 MiB each were read of one frame: %v", read, err)
	}
}
