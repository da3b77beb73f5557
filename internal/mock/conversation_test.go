package mock

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// upgradeHead asks for the recorded WebSocket of [conversations].
const upgradeHead = "GET /ws HTTP/1.1\r\nHost: dep\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// conversations are a recorded WebSocket and a recorded stream of gRPC, of two
// messages each way.
func conversations() []*traffic.Exchange {
	text := func(s string) string { return "\x81" + string(rune(len(s))) + s }
	message := func(s string) string { return "\x00\x00\x00\x00" + string(rune(len(s))) + s }
	ws := traffic.Header{{Name: "Connection", Value: "Upgrade"}, {Name: "Upgrade", Value: "websocket"}}
	accepted := append(ws.Clone(), traffic.Field{Name: "Sec-WebSocket-Accept", Value: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="})
	grpc := traffic.Header{{Name: "Content-Type", Value: "application/grpc"}}
	return []*traffic.Exchange{
		{
			ID: "out-ws", Direction: traffic.Outbound, Lane: "a",
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "dep", Target: "/ws", Header: ws, Body: traffic.Body{Raw: []byte(text("one") + text("two"))}},
			Response: &traffic.Response{Status: 101, Header: accepted, Body: traffic.Body{Raw: []byte(text("ONE") + text("TWO") + "\x88\x02\x03\xe8")}},
		},
		{
			ID: "out-grpc", Direction: traffic.Outbound, Lane: "a",
			Request: traffic.Request{Method: "POST", Scheme: "http", Authority: "dep", Target: "/shop.Stock/Watch", Proto: "HTTP/2.0", Header: grpc,
				Body: traffic.Body{Raw: []byte(message("\x0a\x01a") + message("\x0a\x01b"))}},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/2.0", Header: grpc, Trailer: traffic.Header{{Name: "Grpc-Status", Value: "0"}},
				Body: traffic.Body{Raw: []byte(message("\x0a\x01A") + message("\x0a\x01B"))}},
		},
	}
}

// callGRPC makes the call of the recorded stream with a body that ends, or that
// breaks off, and reads the answer, if there is one.
func callGRPC(t *testing.T, transport http.RoundTripper, addr string, said []byte, ends bool) {
	t.Helper()
	body := io.Reader(bytes.NewReader(said))
	if !ends {
		body = io.MultiReader(body, iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/shop.Stock/Watch", io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Header = "dep", http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	resp, err := transport.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if ctx.Err() != nil {
		t.Errorf("the mock neither answers nor closes after %q: %v", said, err)
	}
}

func newHTTP2() *http.Transport {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport
}

// Whatever a client says in a conversation that began well, the mock answers or
// closes, and serves the next client.
func FuzzConversation(f *testing.F) {
	for _, s := range []string{
		"", "\x81\x83\x01\x02\x03\x04nlf", "\x88\x80\x00\x00\x00\x00", "\x89\xfe\xff\xff", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x01\x80\x00\x00\x00\x00\x80\x80\x00\x00\x00\x00",
		"\x00\x00\x00\x00\x03\x0a\x01a\x00\x00\x00\x00\x03\x0a\x01b", "\x00\x00\x00\x00\x03\x0a", "\x01\xff\xff\xff\xff", "\x00\x00\x00\x00\x02\x0a\xff",
	} {
		for kind := range uint8(3) {
			f.Add(kind, []byte(s))
		}
	}
	m, addr := openMock(f, Options{MaxBody: 1 << 20, MaxJournal: 100}, conversations()...)
	transport := newHTTP2()
	f.Cleanup(transport.CloseIdleConnections)
	f.Fuzz(func(t *testing.T, kind uint8, said []byte) {
		switch kind % 3 {
		case 0:
			exchange(t, addr, upgradeHead+string(said))
		default:
			callGRPC(t, transport, addr, said, kind%3 == 1)
		}
		works(t, addr)
		if a := m.Account(0); a.Err != nil {
			t.Error(a.Err)
		}
	})
}

// The conversations that the fuzzer starts from are those that are recorded.
func TestConversationsAreRecorded(t *testing.T) {
	m, addr := openMock(t, Options{}, conversations()...)
	exchange(t, addr, upgradeHead+"\x81\x83\x00\x00\x00\x00one\x81\x83\x00\x00\x00\x00two\x88\x80\x00\x00\x00\x00")
	transport := newHTTP2()
	defer transport.CloseIdleConnections()
	callGRPC(t, transport, addr, []byte("\x00\x00\x00\x00\x03\x0a\x01a\x00\x00\x00\x00\x03\x0a\x01b"), true)
	a := m.Account(0)
	if a.Err != nil || a.Matched != 2 || a.Live != 2 {
		t.Errorf("account: %+v", a)
	}
}
