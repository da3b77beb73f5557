package messages_test

import (
	"bytes"
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

func TestFramesComeBack(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		for _, client := range []bool{false, true} {
			payload := bytes.Repeat([]byte("x"), n)
			wire := messages.AppendFrame(nil, 0x81, payload, client)
			f, rest, ok := messages.CutFrame(append(wire, "next"...))
			if !ok || !f.Text() || !bytes.Equal(f.Payload, payload) || !bytes.Equal(f.Raw, wire) || string(rest) != "next" {
				t.Errorf("%d bytes, client %v: %v, %d bytes of %d, rest %q", n, client, ok, len(f.Payload), len(f.Raw), rest)
			}
			if _, _, ok := messages.CutFrame(wire[:len(wire)-1]); ok {
				t.Errorf("%d bytes, client %v: a frame that is cut off is whole", n, client)
			}
		}
	}
	f, _, ok := messages.CutFrame([]byte("\x81\x82\x01\x02\x03\x04\x60\x60"))
	if !ok || string(f.Payload) != "ab" {
		t.Errorf("masked: %q, %v", f.Payload, ok)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x82\x01\x02\x03\x04\x60\x60"))
	f.Add([]byte("\x82\x7e\x00"))
	f.Add([]byte("\x88\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		frame, rest, ok := messages.CutFrame(raw)
		if !ok {
			return
		}
		if !bytes.Equal(append(bytes.Clone(frame.Raw), rest...), raw) {
			t.Fatalf("%x became %x and %x", raw, frame.Raw, rest)
		}
		again, left, ok := messages.CutFrame(messages.AppendFrame(nil, frame.First, frame.Payload, raw[1]&0x80 != 0))
		if !ok || len(left) > 0 || again.First != frame.First || !bytes.Equal(again.Payload, frame.Payload) {
			t.Fatalf("%x came back as %x", frame.Raw, again.Raw)
		}
	})
}
