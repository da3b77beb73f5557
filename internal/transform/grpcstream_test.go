package transform_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/transform"
)

// TestMessageOfAStream: the second message of a client repeats what the server
// said in its first one.
func TestMessageOfAStream(t *testing.T) {
	types := parcelTypes(t)
	m := func(text string) []byte { return []byte(framed(parcel(t, types, text))) }
	hello := m(`notes: "hello there"`)
	was, is := m(`inner { id: "ord_8f3k2a91" }`), m(`inner { id: "ord_zz91k3b7c2" }`)
	var place traffic.Pattern
	if err := place.UnmarshalText([]byte("request.body[1].inner.id")); err != nil {
		t.Fatal(err)
	}
	times := []time.Duration{0, 20 * time.Millisecond, 30 * time.Millisecond}
	tests := []struct {
		why    string
		said   []byte // by the client, after it was answered
		given  []byte // the recorded answer
		live   [][]byte
		opts   transform.Options
		times  []time.Duration
		want   []byte
		learns int
	}{
		{"a text, with descriptors", was, was, [][]byte{is}, transform.Options{Types: types}, times, is, 1},
		{"a text, without", was, was, [][]byte{is}, transform.Options{}, times, is, 1},
		{"a number, whose name tells what it is", m(`order_id: 4711`), m(`order_id: 4711`), [][]byte{m(`order_id: 5822`)}, transform.Options{Types: types}, times, m(`order_id: 5822`), 1},
		{"a value that is still good", was, was, [][]byte{was}, transform.Options{Types: types}, times, was, 1},
		{"the answer has not come", was, was, nil, transform.Options{Types: types}, times, was, 1},
		{"the answer was cut off", was, was, [][]byte{is[:7]}, transform.Options{Types: types}, times, was, 1},
		{"another shape of answer", was, was, [][]byte{hello}, transform.Options{Types: types}, times, was, 1},
		{"forbidden", was, was, [][]byte{is}, transform.Options{Types: types, Forbid: []traffic.Pattern{place}}, times, was, 0},
		{"nobody knows which message came first", was, was, [][]byte{is}, transform.Options{Types: types}, nil, was, 0},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			var c talk
			c.ask("POST", "/t.S/Send", string(hello)+string(tt.said), grpcType).answer(string(tt.given), grpcType)
			x := c.exchanges[0]
			x.Request.Body.Times = tt.times
			if tt.times != nil {
				x.Response.Body.Times = []time.Duration{10 * time.Millisecond}
			}
			b, err := transform.Learn(c.exchanges, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if got := b.Learned(); len(got) != tt.learns {
				t.Errorf("learned %v, want %d values", got, tt.learns)
			}
			rw := transform.NewRewriter(b, tt.opts)
			if got := rw.Message(x, 0, hello, nil); !bytes.Equal(got, hello) {
				t.Errorf("the first message is %q", got)
			}
			if got := rw.Message(x, 1, tt.said, tt.live); !bytes.Equal(got, tt.want) {
				t.Errorf("the second message is\n%q, want\n%q", got, tt.want)
			}
		})
	}
}
