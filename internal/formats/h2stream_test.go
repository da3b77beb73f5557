package formats

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// chunk is what one end sent in one write.
type chunk struct {
	fromClient bool
	data       string
}

// conversation lets a real client talk to a real server over HTTP/2 without
// TLS and returns what went over the wire.
func conversation(t *testing.T, handler http.HandlerFunc, calls func(client *http.Client, base string)) []chunk {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	var mu sync.Mutex
	var chunks []chunk
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var pumps sync.WaitGroup
	pumps.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		pump := func(dst, src net.Conn, fromClient bool) {
			buffer := make([]byte, 1400)
			for {
				n, err := src.Read(buffer)
				mu.Lock()
				chunks = append(chunks, chunk{fromClient, string(buffer[:n])})
				mu.Unlock()
				if n > 0 {
					_, _ = dst.Write(buffer[:n])
				}
				if err != nil {
					dst.Close()
					return
				}
			}
		}
		pumps.Go(func() { pump(c, up, false) })
		pump(up, c, true)
	})
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	calls(&http.Client{Transport: transport}, "http://"+l.Addr().String())
	transport.CloseIdleConnections()
	l.Close()
	pumps.Wait()
	return chunks
}

func TestHTTP2InPackets(t *testing.T) {
	chunks := conversation(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-End")
		fmt.Fprintf(w, "%s %s ", r.Method, r.URL)
		_, _ = w.Write(body)
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
		w.Header().Set("X-End", "done")
	}, func(client *http.Client, base string) {
		for i := range 5 {
			response, err := client.Post(fmt.Sprintf("%s/call/%d", base, i), "text/plain", strings.NewReader(strings.Repeat("q", 3000)))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
	})
	k := newTalk(t)
	c := k.dial(1, 77)
	for _, chunk := range chunks {
		c.send(chunk.fromClient, 1400, chunk.data)
	}
	c.hangUp()
	all, issues, counts := imported(t, Options{}, k.capture(k.packets))
	sameLines(t, issues, nil)
	if counts.Found != 5 || counts.Incomplete != 0 {
		t.Fatalf("%+v", counts)
	}
	for i, x := range all {
		want := fmt.Sprintf("POST /call/%d %s%s", i, strings.Repeat("q", 3000), strings.Repeat("x", 5000))
		if string(x.Response.Body.Raw) != want || x.Request.Target != fmt.Sprintf("/call/%d", i) || len(x.Request.Body.Raw) != 3000 ||
			x.Response.Trailer.Get("x-end") != "done" || x.Request.Proto != "HTTP/2.0" || x.Duration < x.FirstByte || x.Request.Header.Get("content-type") != "text/plain" {
			t.Errorf("%d: %s %v", i, outline(x), x.Response.Trailer)
		}
	}
	// A packet that is missing within a body costs that body; one that holds
	// a head costs what follows, which is reported once.
	for i, p := range k.packets {
		if i < 3 || len(p.data) < 100 {
			continue
		}
		lossy := append(append([]packet(nil), k.packets[:i]...), k.packets[i+1:]...)
		all, issues, counts := imported(t, Options{}, k.capture(lossy))
		whole := 0
		for _, x := range all {
			if len(x.Incomplete) == 0 && x.Response != nil && len(x.Response.Body.Raw) > 8000 {
				whole++
			}
		}
		if counts.Incomplete+counts.Unreadable == 0 || whole == 5 || len(issues) != counts.Unreadable {
			t.Fatalf("without packet %d: %+v, %d whole, %v", i, counts, whole, issues)
		}
	}
}

func FuzzHTTP2(f *testing.F) {
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x82"), uint8(7), uint8(0))
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x03\x01\x04\x00\x00\x00\x01\x82\x84\x86\x00\x00\x04\x00\x09\x00\x00\x00\x01\x02a\x00\x00"), uint8(50), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, size, hole uint8) {
		as := newAssembler(Options{MaxRecord: 1 << 16})
		as.place = func() place { return place{} }
		as.emit = func(x *traffic.Exchange) error {
			if x.Request.Method == "" || x.Duration < x.FirstByte {
				t.Fatalf("%+v", x)
			}
			return nil
		}
		as.lose = func(place, string, ...any) error { return nil }
		as.note = as.lose
		c := as.newConn(connKey{})
		c.h2 = newH2(c, 0)
		for i := 0; len(data) > 0; i++ {
			n := min(len(data), int(size)+1)
			if hole > 0 && i%(int(hole)+1) == int(hole) {
				c.h2.hole(i%2, int64(n))
			} else {
				c.h2.feed(i%2, data[:n], time.Unix(1767225600, 0))
			}
			data = data[n:]
		}
		c.close()
		if as.held.bytes != 0 {
			t.Fatalf("%d bytes are held for nothing", as.held.bytes)
		}
	})
}
