package messages_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

func TestTimes(t *testing.T) {
	long := append([]byte{0x82, 126, 1, 0}, make([]byte, 256)...)
	tests := []struct {
		why  string
		kind messages.Kind
		raw  []byte
		ends []int // of the messages, in bytes
	}{
		{"gRPC, with an empty message", messages.GRPC, []byte("\x00\x00\x00\x00\x02ab\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01c"), []int{7, 12, 18}},
		{"a gRPC message that is cut off has no time", messages.GRPC, []byte("\x00\x00\x00\x00\x02a"), nil},
		{"events with both ends of lines", messages.Events, []byte("data: a\n\ndata: b\r\n\r\nid: 1\ndata: c\n\ndata:"), []int{9, 20, 35}},
		{"frames, one masked", messages.WebSocket, []byte("\x81\x01a\x81\x82\x00\x00\x00\x00bc"), []int{3, 11}},
		{"a long frame", messages.WebSocket, long, []int{260}},
		{"a message of two frames with a ping between", messages.WebSocket, []byte("\x01\x01a\x89\x00\x80\x01b"), []int{8}},
		{"the close is one more", messages.WebSocket, []byte("\x81\x01a\x88\x02\x03\xe8\x81\x01b"), []int{3, 7}},
		{"no messages", messages.None, []byte("abc\n\n"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { // in whatever pieces it comes, each as late as its last byte
				times := messages.Times{Kind: tt.kind}
				var want []time.Duration
				next := 0
				for at := 0; at < len(tt.raw); {
					end := rapid.IntRange(at+1, len(tt.raw)).Draw(t, "end")
					times.Add(tt.raw[at:end], time.Duration(end))
					for ; next < len(tt.ends) && tt.ends[next] <= end; next++ {
						want = append(want, time.Duration(end))
					}
					at = end
				}
				if diff := cmp.Diff(want, times.List()); diff != "" {
					t.Fatal(diff)
				}
			})
		})
	}
}

func TestEndIsOneMore(t *testing.T) {
	for _, tt := range []struct {
		why  string
		raw  string
		want int
	}{
		{"after a message", "\x00\x00\x00\x00\x01a", 2},
		{"without any", "", 1},
		{"not within a message", "\x00\x00", 0},
	} {
		times := messages.Times{Kind: messages.GRPC}
		times.Add([]byte(tt.raw), time.Second)
		times.End(time.Minute)
		times.End(time.Hour)
		if got := times.List(); len(got) != tt.want || tt.want > 0 && got[tt.want-1] != time.Minute {
			t.Errorf("%s: %v", tt.why, got)
		}
	}
}

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		header traffic.Header
		want   messages.Kind
	}{
		{traffic.Header{{Name: "content-type", Value: "application/grpc+proto"}}, messages.GRPC},
		{traffic.Header{{Name: "Content-Type", Value: "application/grpc"}}, messages.GRPC},
		{traffic.Header{{Name: "Content-Type", Value: "application/grpc-web"}}, messages.None},
		{traffic.Header{{Name: "Content-Type", Value: "text/event-stream; charset=utf-8"}}, messages.Events},
		{traffic.Header{{Name: "Content-Type", Value: "text/event-stream"}, {Name: "Content-Encoding", Value: "gzip"}}, messages.None},
		{nil, messages.None},
	} {
		if got := messages.KindOf(tt.header); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.header, got, tt.want)
		}
	}
}

func FuzzTimes(f *testing.F) {
	f.Add(1, []byte("\x00\x00\x00\x00\x02ab"))
	f.Add(2, []byte("data: a\r\n\r\n"))
	f.Add(3, []byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, kind int, raw []byte) {
		whole, single := messages.Times{Kind: messages.Kind(kind)}, messages.Times{Kind: messages.Kind(kind)}
		whole.Add(raw, 1)
		for i := range raw {
			single.Add(raw[i:i+1], 1)
		}
		if diff := cmp.Diff(whole.List(), single.List()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTurns(t *testing.T) {
	at := func(list ...int) (times []time.Duration) {
		for _, n := range list {
			times = append(times, time.Duration(n))
		}
		return times
	}
	for _, tt := range []struct {
		why          string
		said, heard  int
		mine, theirs []time.Duration
		from         time.Duration
		want         []messages.Turn
	}{
		{"after what came, or after its own", 3, 2, at(10, 12, 40), at(5, 30), 3, []messages.Turn{{1, 5}, {1, 2}, {2, 10}}},
		{"the end is one more", 1, 1, at(10, 50), at(20), 0, []messages.Turn{{0, 10}, {1, 30}}},
		{"a side that says nothing has its end", 0, 1, at(50), at(20), 0, []messages.Turn{{1, 30}}},
		{"what came at the same time came later", 1, 1, at(10), at(10), 0, []messages.Turn{{0, 10}}},
		{"a start that was later does not count", 1, 0, at(10), nil, 20, []messages.Turn{{0, 10}}},
		{"times out of order pause for nothing", 2, 0, at(10, 5), nil, 0, []messages.Turn{{0, 10}, {0, 0}}},
		{"a side without times", 2, 1, nil, at(1), 0, nil},
		{"the other side without times", 1, 1, at(1), nil, 0, nil},
		{"nothing at all", 0, 0, nil, nil, 0, nil},
	} {
		if diff := cmp.Diff(tt.want, messages.Turns(tt.said, tt.heard, tt.mine, tt.theirs, tt.from)); diff != "" {
			t.Errorf("%s: %s", tt.why, diff)
		}
	}
}
