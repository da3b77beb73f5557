package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/klauspost/compress/zstd"
)

// frameTable says where the data frames of a file are.
type frameTable interface {
	frameCount() int
	frame(i int) frame
	exchanges(i int) int // in the frames before
	bodies(i int) int    // in the frames before
}

// frameCache decodes data frames and keeps those used last. It is not safe for
// concurrent use.
type frameCache struct {
	file  io.ReaderAt
	name  string // for errors
	table frameTable
	total int // exchanges
	dec   *zstd.Decoder

	open   []openFrame // the one used last at the end
	size   int
	packed []byte
	bodies map[int64][]byte // of frames that are not open, as some are used over and over
	kept   int              // bytes in bodies
}

// openFrame is a decoded frame.
type openFrame struct {
	number    int
	size      int
	exchanges *exchangeFrame // nil if it holds one body
	body      []byte
	first     int64 // number of its first body
}

// The bounds on what is kept decoded, beside what is in use.
const (
	frameMemory = 8 << 20
	bodyMemory  = 8 << 20
)

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecodeAllCapLimit(true))
}

func newFrames(file io.ReaderAt, name string, table frameTable, total int) (*frameCache, error) {
	dec, err := newDecoder()
	if err != nil {
		return nil, err
	}
	return &frameCache{file: file, name: name, table: table, total: total, dec: dec, bodies: map[int64][]byte{}}, nil
}

func (c *frameCache) close() { c.dec.Close() }

// get returns a frame, decoded.
func (c *frameCache) get(number int) (*openFrame, error) {
	last := len(c.open) - 1
	for i := last; i >= 0; i-- {
		if c.open[i].number != number {
			continue
		}
		if i < last {
			f := c.open[i]
			c.open = append(append(c.open[:i], c.open[i+1:]...), f)
		}
		return &c.open[last], nil
	}
	f, err := c.decode(number)
	if err != nil {
		return nil, err
	}
	c.size += f.size
	c.open = append(c.open, f)
	for c.size > frameMemory && len(c.open) > 1 {
		c.size -= c.open[0].size
		c.open = c.open[1:]
	}
	return &c.open[len(c.open)-1], nil
}

// decode reads a frame and takes it apart.
func (c *frameCache) decode(number int) (openFrame, error) {
	fail := func(err error) (openFrame, error) {
		return openFrame{}, &SyntaxError{File: c.name, Err: fmt.Errorf("frame %d: %w", number, err)}
	}
	if number >= c.table.frameCount() {
		return fail(errors.New("there is no such frame"))
	}
	f := c.table.frame(number)
	if f.packed > maxFrame || f.raw > maxFrame || f.raw == 0 {
		return fail(ErrTooLarge)
	}
	if cap(c.packed) < int(f.packed) {
		c.packed = make([]byte, f.packed)
	}
	packed := c.packed[:f.packed]
	if _, err := c.file.ReadAt(packed, f.offset); err != nil {
		return fail(err)
	}
	if got := sha256.Sum256(packed); got != f.sum {
		return openFrame{}, &DigestError{File: c.name, Want: "sha256:" + hex.EncodeToString(f.sum[:]), Got: "sha256:" + hex.EncodeToString(got[:])}
	}
	raw, err := c.dec.DecodeAll(packed, make([]byte, 0, f.raw))
	if err != nil {
		return fail(err)
	}
	if len(raw) != int(f.raw) {
		return fail(errors.New("its size is not the one in the index"))
	}
	exchanges, bodies := c.total, -1
	if number+1 < c.table.frameCount() {
		exchanges, bodies = c.table.exchanges(number+1), c.table.bodies(number+1)
	}
	open := openFrame{number: number, size: len(raw), first: int64(f.bodies)}
	switch raw[0] {
	case frameBody:
		open.body = raw[1:]
	case frameExchanges:
		if open.exchanges, err = parseExchangeFrame(raw); err != nil {
			return fail(err)
		}
		open.exchanges.first = open.first
	default:
		return fail(errFrame)
	}
	if rows, own := open.holds(); rows != exchanges-int(f.exchanges) || bodies >= 0 && own != bodies-int(f.bodies) {
		return fail(errors.New("it does not hold what the index says"))
	}
	return open, nil
}

// holds returns how many exchanges and bodies are in a frame.
func (f *openFrame) holds() (exchanges, bodies int) {
	if f.exchanges == nil {
		return 0, 1
	}
	return f.exchanges.rows, len(f.exchanges.ends)
}

// load returns a copy of a body, by its number counted from the first one of
// a frame.
func (c *frameCache) load(of *exchangeFrame, number int64) ([]byte, error) {
	if number >= 0 {
		if number >= int64(len(of.ends)) {
			return nil, errFrame
		}
		return bytes.Clone(of.body(int(number))), nil
	}
	if number += of.first; number < 0 {
		return nil, errFrame
	}
	if b, ok := c.bodies[number]; ok {
		return bytes.Clone(b), nil
	}
	b, err := c.older(number)
	if err != nil {
		return nil, err
	}
	for c.kept += len(b); c.kept > bodyMemory && len(c.bodies) > 0; {
		for n, old := range c.bodies { // any will do
			c.kept -= len(old)
			delete(c.bodies, n)
			break
		}
	}
	c.bodies[number] = b
	return bytes.Clone(b), nil
}

// older returns a copy of the body with this number.
func (c *frameCache) older(number int64) ([]byte, error) {
	i := sort.Search(c.table.frameCount(), func(i int) bool { return int64(c.table.bodies(i)) > number }) - 1
	if i < 0 {
		return nil, errFrame
	}
	f, err := c.get(i)
	if err != nil {
		return nil, err
	}
	if f.exchanges == nil {
		if number != f.first {
			return nil, errFrame
		}
		return bytes.Clone(f.body), nil
	}
	if number -= f.first; number >= int64(len(f.exchanges.ends)) {
		return nil, errFrame
	}
	return bytes.Clone(f.exchanges.body(int(number))), nil
}
