package formats

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2/hpack"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// TestTimesOfImportedMessages has the moments at which other tools saw the
// messages of a WebSocket, counted from the start of its exchange.
func TestTimesOfImportedMessages(t *testing.T) {
	har := func(first, second string) string {
		return `{"log":{"entries":[{"startedDateTime":"2026-01-01T00:00:00.000Z","request":{"method":"GET","url":"wss://a/ws"},"response":{"status":101},"timings":{"wait":5},` +
			`"_webSocketMessages":[{"type":"send",` + first + `"opcode":1,"data":"hi"},{"type":"receive","time":1767225602,"opcode":1,"data":"ho"},{"type":"send",` + second + `"opcode":1,"data":"hi"}]}]}}`
	}
	tnet := func(kind byte, data string) string { return fmt.Sprintf("%d:%s%c", len(data), data, kind) }
	dict := func(pairs ...string) string { return tnet('}', strings.Join(pairs, "")) }
	request := dict(tnet(';', "method"), tnet(',', "GET"), tnet(';', "path"), tnet(',', "/ws"), tnet(';', "host"), tnet(';', "a"),
		tnet(';', "timestamp_start"), tnet('^', "1767225600.0"), tnet(';', "content"), tnet(',', ""))
	response := dict(tnet(';', "status_code"), tnet('#', "101"), tnet(';', "content"), tnet(',', ""))
	message := func(fromClient, at string) string {
		return tnet(']', tnet('#', "1")+tnet('!', fromClient)+tnet(',', "hi")+tnet('^', at))
	}
	flows := dict(tnet(';', "type"), tnet(';', "http"), tnet(';', "request"), request, tnet(';', "response"), response,
		tnet(';', "websocket"), dict(tnet(';', "messages"), tnet(']', message("true", "1767225600.5")+message("false", "1767225602.0")+message("true", "1767225603.0"))))
	times := func(seconds ...float64) (all []time.Duration) {
		for _, s := range seconds {
			all = append(all, time.Duration(s*float64(time.Second)))
		}
		return all
	}
	for _, tt := range []struct {
		why, name, data string
		client, server  []time.Duration
	}{
		{"a browser's archive", "a.har", har(`"time":1767225600.5,`, `"time":1767225603,`), times(0.5, 3), times(2)},
		{"a message before the start counts as at it", "a.har", har(`"time":1767225599,`, `"time":1767225603,`), times(0, 3), times(2)},
		{"a side whose messages do not all have one has none", "a.har", har(`"time":1767225600.5,`, ``), nil, times(2)},
		{"mitmproxy's flows", "a.flows", flows, times(0.5, 3), times(2)},
	} {
		all, issues, _ := imported(t, Options{}, file(t, tt.name, tt.data))
		if len(all) != 1 || len(issues) != 0 {
			t.Fatalf("%s: %d exchanges, %v", tt.why, len(all), issues)
		}
		if diff := cmp.Diff(tt.client, all[0].Request.Body.Times); diff != "" {
			t.Errorf("%s: client: %s", tt.why, diff)
		}
		if diff := cmp.Diff(tt.server, all[0].Response.Body.Times); diff != "" {
			t.Errorf("%s: server: %s", tt.why, diff)
		}
	}
}

// TestTimesOfMessagesInPackets has a gRPC stream in packets, with a message
// over two of them, and the half-close of its client.
func TestTimesOfMessagesInPackets(t *testing.T) {
	epoch := time.Unix(1767225600, 0).UTC()
	as := newAssembler(Options{MaxRecord: 1 << 16})
	as.place = func() place { return place{} }
	as.lose = func(_ place, format string, args ...any) error { t.Errorf(format, args...); return nil }
	as.note = as.lose
	var got []*traffic.Exchange
	as.emit = func(x *traffic.Exchange) error { got = append(got, x); return nil }
	c := as.newConn(connKey{})
	c.h2 = newH2(c, 0)
	frame := func(kind, flags byte, payload string) string {
		head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
		return string(head) + string([]byte{flags, 0, 0, 0, 1}) + payload
	}
	block := func(pairs ...string) string {
		var b strings.Builder
		e := hpack.NewEncoder(&b)
		for i := 0; i < len(pairs); i += 2 {
			if err := e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}); err != nil {
				t.Fatal(err)
			}
		}
		return b.String()
	}
	const message = "\x00\x00\x00\x00\x02hi"
	for _, p := range []struct {
		at   int // milliseconds
		side int
		data string
	}{
		{0, 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(1, 4, block(":method", "POST", ":scheme", "http", ":path", "/s/M", ":authority", "a", "content-type", "application/grpc"))},
		{10, 0, frame(0, 0, message+message[:3])},
		{20, 1, frame(1, 4, block(":status", "200", "content-type", "application/grpc"))},
		{30, 1, frame(0, 0, message)},
		{40, 0, frame(0, 0, message[3:])},
		{50, 0, frame(0, 1, "")},
		{60, 1, frame(0, 0, message+message)},
		{70, 1, frame(1, 5, block("grpc-status", "0"))},
	} {
		c.h2.feed(p.side, []byte(p.data), epoch.Add(time.Duration(p.at)*time.Millisecond))
	}
	c.close()
	if len(got) != 1 {
		t.Fatalf("%d exchanges", len(got))
	}
	if diff := cmp.Diff([]time.Duration{10 * time.Millisecond, 40 * time.Millisecond, 50 * time.Millisecond}, got[0].Request.Body.Times); diff != "" {
		t.Errorf("client: %s", diff)
	}
	if diff := cmp.Diff([]time.Duration{30 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond}, got[0].Response.Body.Times); diff != "" {
		t.Errorf("server: %s", diff)
	}
}
