package mock

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

func drawHeader(t *rapid.T, label string) traffic.Header {
	var h traffic.Header
	for range rapid.IntRange(0, 4).Draw(t, label) {
		h = append(h, traffic.Field{Name: rapid.StringN(1, 20, 40).Draw(t, "name"), Value: rapid.StringN(0, 200, 600).Draw(t, "value")})
	}
	return h
}

func drawBody(t *rapid.T) traffic.Body {
	return traffic.Body{
		Raw: rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "raw"), Coding: rapid.SampledFrom([]string{"", "gzip", "br"}).Draw(t, "coding"),
		Truncated: rapid.Bool().Draw(t, "truncated"), Size: rapid.Int64Range(0, 1<<40).Draw(t, "size"),
	}
}

// Whatever is put into the store comes out as it was, beside all else that is
// in it.
func TestStoreKeepsCalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix := &index{}
		ix.store.seed = newIndex(nil, &Options{}, nil).seed
		var calls []*traffic.Exchange
		for range rapid.IntRange(1, 20).Draw(t, "calls") {
			x := &traffic.Exchange{
				ID: rapid.StringN(1, 30, 60).Draw(t, "id"), FirstByte: time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "first")),
				Duration: time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "last")),
				Request: traffic.Request{
					Method: "PUT", Scheme: "https", Authority: "dep:1", Target: "/" + rapid.String().Draw(t, "target"), Proto: "HTTP/2.0",
					Header: drawHeader(t, "fields"), Body: drawBody(t), Trailer: drawHeader(t, "trailers"),
				},
			}
			if rapid.Bool().Draw(t, "answered") {
				x.Response = &traffic.Response{
					Status: rapid.IntRange(0, 999).Draw(t, "status"), Proto: "HTTP/1.1",
					Header: drawHeader(t, "fields"), Body: drawBody(t), Trailer: drawHeader(t, "trailers"),
				}
			} else {
				x.Failure = traffic.FailureReset
			}
			calls = append(calls, x)
		}
		calls = append(calls, calls[0]) // an answer that is known
		ix.entries = make([]entry, len(calls))
		ix.keep(calls)
		var reused answer
		for i, x := range calls {
			at := int32(i)
			if ix.id(at) != x.ID || ix.times(at) != (times{x.FirstByte, x.Duration}) {
				t.Errorf("call %d: %q %v, want %q %v %v", i, ix.id(at), ix.times(at), x.ID, x.FirstByte, x.Duration)
			}
			if diff := cmp.Diff(&x.Request, ix.request(at), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(x.Response, ix.response(at), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			r := ix.store.read(ix.said[i])
			r.answer(&reused)
			if reused.none != (x.Response == nil) || reused.failure != x.Failure {
				t.Errorf("call %d: none %v, failure %q", i, reused.none, reused.failure)
			}
			if x.Response != nil {
				if diff := cmp.Diff(x.Response, &reused.Response, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("read into memory that was used before: %s", diff)
				}
			}
		}
		if ix.said[0] != ix.said[len(calls)-1] {
			t.Error("equal answers are kept twice")
		}
	})
}

// A call larger than any chunk has one of its own, and what comes after it is
// found all the same.
func TestStoreKeepsLargeCalls(t *testing.T) {
	var s store
	small, large := []byte("small"), []byte(strings.Repeat("x", maxChunk+1))
	var at []address
	for _, piece := range [][]byte{small, large, small} {
		at = append(at, s.add(piece))
	}
	for i, piece := range [][]byte{small, large, small} {
		if r := s.read(at[i]); string(r.rest[:len(piece)]) != string(piece) {
			t.Errorf("piece %d is not what was put there", i)
		}
	}
}

// The journal tells the recorded answer that was sent, though it was read again.
func TestJournalOfRecordedAnswers(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	recorded := catalogue(2, 1)
	recorded[1].Response.Status = 404
	m, err := New(recorded, ca, Options{OneLane: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &sink{}
	for _, x := range recorded {
		req := x.Request
		rec, o := m.decide(&req, arrival{connection: "1"})
		if err := m.respond(w, rec, o, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for i, x := range m.Calls(0) {
		if diff := cmp.Diff(recorded[i].Response, x.Response, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
		if x.Recorded != recorded[i].ID || x.Match.Record != recorded[i].ID {
			t.Errorf("answered from %q, %q; want %q", x.Recorded, x.Match.Record, recorded[i].ID)
		}
	}
}

func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few keys, so that they are set twice; hashes that fall on one slot.
		keys := rapid.SliceOf(rapid.Map(rapid.Uint64Range(0, 50), func(k uint64) uint64 { return k << 60 })).Draw(t, "keys")
		var got table
		want := map[uint64]uint64{}
		for i, k := range keys {
			got.set(k, uint64(i))
			want[k] = uint64(i)
		}
		if got.n != len(want) {
			t.Fatalf("%d keys, want %d", got.n, len(want))
		}
		for k := range uint64(60) {
			v, ok := got.get(k << 60)
			if w, known := want[k<<60]; ok != known || ok && v != w {
				t.Fatalf("key %d: %d %v, want %d %v", k, v, ok, w, known)
			}
		}
	})
}

// sink is a responder that sends nothing.
type sink struct{}

func (*sink) context() context.Context                        { return context.Background() }
func (*sink) begin(*traffic.Request, *traffic.Response) error { return nil }
func (*sink) write([]byte) error                              { return nil }
func (*sink) flush() error                                    { return nil }
func (*sink) end(*traffic.Response) error                     { return nil }
func (*sink) abort()                                          {}

func TestLink(t *testing.T) {
	at := func(chunk, offset uint64) address { return address(chunk<<32 | offset) }
	tests := []struct {
		link   link
		said   address
		reason string
	}{
		{link{0, true, at(0, 1)}, at(0, 1), "the first call of a small recording"},
		{link{1<<31 - 2, false, at(127, maxChunk-1)}, at(127, maxChunk-1), "the last place that is held in short"},
		{link{7, false, at(128, 0)}, 0, "a chunk too far"},
		{link{7, true, at(3, maxChunk)}, 0, "behind a piece that is larger than a chunk"},
	}
	for _, test := range tests {
		var c chains
		c.head.set(1, test.link.pack())
		want := test.link
		want.said = test.said
		if got := c.find(1); got != want {
			t.Errorf("%s: %+v, want %+v", test.reason, got, want)
		}
	}
}
