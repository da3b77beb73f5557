package formats

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestImportOfTcpdumpsOwnCapture(t *testing.T) {
	all, issues, _ := imported(t, Options{}, "testdata/tcpdump.pcap")
	sameLines(t, outlines(all), shopCalls("http://127.0.0.1:18080"))
	sameLines(t, issues, nil)
	for _, x := range all {
		if len(x.Incomplete) != 0 || x.FirstByte <= 0 || x.Duration < x.FirstByte || x.Origin.Connection != "c1" {
			t.Errorf("%s: %v, %v, %v, %s", x.ID, x.Incomplete, x.FirstByte, x.Duration, x.Origin.Connection)
		}
	}
}

// talk writes the packets of TCP connections.
type talk struct {
	t       *testing.T
	packets []packet
	now     time.Time
	wrap    uint32 // VXLAN network around every packet
}

type packet struct {
	at   time.Time
	data []byte
	full int
	// What it carries, for the tests that lose packets.
	exchange  int
	isHead    bool
	isRequest bool
}

type talker struct {
	t            *talk
	client       net.IP
	port         layers.TCPPort
	clientSeq    uint32
	serverSeq    uint32
	serverHeard  uint32
	clientHeard  uint32
	fromExchange int
}

func newTalk(t *testing.T) *talk { return &talk{t: t, now: time.Unix(1767225600, 0).UTC()} }

func (k *talk) dial(client byte, seq uint32) *talker {
	c := &talker{t: k, client: net.IPv4(10, 0, 0, client), port: 40000, clientSeq: seq, serverSeq: seq / 3}
	c.flags(true, true, false, "")
	c.clientSeq++
	c.flags(false, true, false, "")
	c.serverSeq++
	c.clientHeard, c.serverHeard = c.serverSeq, c.clientSeq
	return c
}

func (c *talker) flags(fromClient, syn, fin bool, payload string) *packet {
	c.t.now = c.t.now.Add(time.Millisecond)
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: c.client, DstIP: net.IPv4(10, 0, 1, 1)}
	tcp := &layers.TCP{SrcPort: c.port, DstPort: 8080, Seq: c.clientSeq, Ack: c.clientHeard, SYN: syn, FIN: fin, ACK: !syn || !fromClient, PSH: payload != "", Window: 65000}
	if !fromClient {
		ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
		tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = 8080, c.port, c.serverSeq, c.serverHeard
	}
	_ = tcp.SetNetworkLayerForChecksum(ip)
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	data := c.t.serialize(eth, ip, tcp, gopacket.Payload(payload))
	if c.t.wrap != 0 {
		outer := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(10, 9, 0, 1), DstIP: net.IPv4(10, 9, 0, 2)}
		udp := &layers.UDP{SrcPort: 50000, DstPort: 4789}
		_ = udp.SetNetworkLayerForChecksum(outer)
		data = c.t.serialize(eth, outer, udp, &layers.VXLAN{ValidIDFlag: true, VNI: c.t.wrap}, gopacket.Payload(data))
	}
	c.t.packets = append(c.t.packets, packet{at: c.t.now, data: data, full: len(data), exchange: c.fromExchange})
	return &c.t.packets[len(c.t.packets)-1]
}

func (k *talk) serialize(parts ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		k.t.Fatal(err)
	}
	return bytes.Clone(b.Bytes())
}

// send sends text in pieces of at most size bytes and acknowledges them.
func (c *talker) send(fromClient bool, size int, text string) {
	for first := true; text != ""; first = false {
		n := min(size, len(text))
		p := c.flags(fromClient, false, false, text[:n])
		p.isHead, p.isRequest = first, fromClient
		if fromClient {
			c.clientSeq += uint32(n)
			c.serverHeard = c.clientSeq
		} else {
			c.serverSeq += uint32(n)
			c.clientHeard = c.serverSeq
		}
		text = text[n:]
	}
}

func (c *talker) hangUp() {
	c.flags(true, false, true, "")
	c.clientSeq++
	c.flags(false, false, true, "")
}

// capture writes packets to a file as tcpdump would.
func (k *talk) capture(packets []packet) string {
	k.t.Helper()
	path := filepath.Join(k.t.TempDir(), "a.pcap")
	f, err := os.Create(path)
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriterNanos(f)
	_ = w.WriteFileHeader(65535, layers.LinkTypeEthernet)
	for _, p := range packets {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: p.at, CaptureLength: len(p.data), Length: p.full}, p.data); err != nil {
			k.t.Fatal(err)
		}
	}
	return path
}

func TestPacketsInDisorder(t *testing.T) {
	whole := `inbound POST http://shop/a "abcdef" -> 200 "0123456789" `
	tests := []struct {
		reason string
		// Packets 0 and 1 are the handshake, 2 the head of the request, 3 and
		// 4 its body, 5 to 7 the same of the response, 8 and 9 the end.
		change     func([]packet) []packet
		want       string
		incomplete string
		unreadable int
	}{
		{"as sent", func(p []packet) []packet { return p }, whole, "", 0},
		{"out of order", func(p []packet) []packet { p[2], p[4], p[5], p[7] = p[4], p[2], p[7], p[5]; return p }, whole, "", 0},
		{"the response overtakes", func(p []packet) []packet { p[4], p[5] = p[5], p[4]; return p }, whole, "", 0},
		{"repeated", func(p []packet) []packet { return append(append(p[:5:5], p[2], p[3]), append(p[5:8:8], p[5:]...)...) }, whole, "", 0},
		{"the end overtakes", func(p []packet) []packet { p[7], p[9] = p[9], p[7]; return p }, whole, "", 0},
		{"no handshake", func(p []packet) []packet { return p[2:] }, whole, "", 0},
		{"a hole in the request body", without(3), `inbound POST http://shop/a "def" -> 200 "0123456789" `, "request: hole of 3 bytes", 0},
		{"a hole in the response body", without(6), `inbound POST http://shop/a "abcdef" -> 200 "56789" `, "response: hole of 5 bytes", 0},
		{"the last piece is lost", without(7), `inbound POST http://shop/a "abcdef" -> 200 "01234" `, "response: hole of 5 bytes", 0},
		{"the head of the request is lost", without(2), "", "", 1},
		{"the head of the response is lost", without(5), `inbound POST http://shop/a "abcdef" -> no answer`, "its response is lost", 0},
		{"request and response are lost", without(2, 3, 4, 5, 6, 7), "", "", 1},
		{"the capture ends", func(p []packet) []packet { return p[:7] }, `inbound POST http://shop/a "abcdef" -> 200 "01234" `, "response: the capture ended within it", 0},
		{"the capture ends before the response", func(p []packet) []packet { return p[:5] }, `inbound POST http://shop/a "abcdef" -> no answer`, "the capture ended before its response", 0},
		{"one direction", without(1, 5, 6, 7, 9), `inbound POST http://shop/a "abcdef" -> no answer`, "", 0},
		{"no answer", without(5, 6, 7), `inbound POST http://shop/a "abcdef" -> no answer`, "its response is lost", 0},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			k := newTalk(t)
			c := k.dial(1, 4294967290) // the sequence numbers wrap
			c.send(true, 1400, "POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 6\r\n\r\n")
			c.send(true, 3, "abcdef")
			c.send(false, 1400, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			c.send(false, 5, "0123456789")
			c.hangUp()
			all, issues, counts := imported(t, Options{}, k.capture(test.change(k.packets)))
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			sameLines(t, outlines(all), want)
			if counts.Found != 1 || counts.Unreadable != test.unreadable {
				t.Errorf("counts %+v, issues %v", counts, issues)
			}
			if len(all) == 1 && strings.Join(all[0].Incomplete, "; ") != test.incomplete {
				t.Errorf("incomplete %q", all[0].Incomplete)
			}
		})
	}
}

// without loses packets.
func without(lost ...int) func([]packet) []packet {
	return func(p []packet) []packet {
		var kept []packet
		for i := range p {
			if !slices.Contains(lost, i) {
				kept = append(kept, p[i])
			}
		}
		return kept
	}
}

// TestLossyCaptureIsAccountedFor is the promise of the packet source: whatever
// is missing, every exchange is imported whole, imported and marked, or
// reported.
func TestLossyCaptureIsAccountedFor(t *testing.T) {
	for seed := range uint64(8) {
		// One kind of damage alone, then all together: 5 % each.
		kind := []string{"lost", "repeated", "out of order", "all"}[seed%4]
		happens := func(n, from int, what string) bool {
			return n >= from && n < from+5 && (kind == what || kind == "all")
		}
		r := rand.New(rand.NewPCG(seed, 1))
		k := newTalk(t)
		const connections, each = 5, 60
		var talkers []*talker
		for c := range byte(connections) {
			talkers = append(talkers, k.dial(c+1, r.Uint32()))
		}
		for i := range each {
			for c, talker := range talkers {
				talker.fromExchange = i*connections + c
				head := fmt.Sprintf("POST /%d/%d HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n", c, i, 100*(i%3))
				talker.send(true, 1400, head)
				talker.send(true, 1400, strings.Repeat("q", 100*(i%3)))
				if i%3 > 0 {
					k.packets[len(k.packets)-1].isHead = false
				}
				body := strings.Repeat(fmt.Sprint(i%10), 1000*(i%4))
				talker.send(false, 1400, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)))
				before := len(k.packets)
				talker.send(false, 700, body)
				for j := before; j < len(k.packets); j++ {
					k.packets[j].isHead = false
				}
			}
		}
		for _, talker := range talkers {
			talker.fromExchange = -1
			talker.hangUp()
		}
		var kept []packet
		damage := map[int]string{} // the worst that happened to each exchange
		for i, p := range k.packets {
			if i < 2*connections || p.exchange < 0 {
				kept = append(kept, p)
				continue
			}
			switch n := r.IntN(100); {
			case happens(n, 0, "lost"):
				if damage[p.exchange-connections] == "lost" {
					// Of two neighbours that lose requests and answers no
					// trace of the second is left.
					kept = append(kept, p)
					continue
				}
				switch worst := damage[p.exchange]; {
				case p.isHead && p.isRequest:
					damage[p.exchange] = "lost"
				case worst != "lost":
					damage[p.exchange] = "incomplete"
				}
			case happens(n, 5, "repeated"):
				kept = append(kept, p, p)
			case happens(n, 10, "out of order") && len(kept) > 2*connections:
				kept = append(kept, p)
				j := max(len(kept)-1-r.IntN(8), 2*connections)
				kept[len(kept)-1], kept[j] = kept[j], kept[len(kept)-1]
			default:
				kept = append(kept, p)
			}
		}
		all, issues, counts := imported(t, Options{}, k.capture(kept))
		if damaged := len(damage) > 0; damaged != (kind == "lost" || kind == "all") {
			t.Fatalf("seed %d, %s: %d exchanges are damaged", seed, kind, len(damage))
		}
		lost, incomplete := 0, 0
		for _, d := range damage {
			if d == "lost" {
				lost++
			} else {
				incomplete++
			}
		}
		if counts.Found != connections*each || counts.Unreadable != lost || counts.Incomplete != incomplete {
			t.Errorf("seed %d, %s: %+v; want %d found, %d unreadable, %d incomplete\n%s", seed, kind, counts, connections*each, lost, incomplete, strings.Join(issues, "\n"))
		}
		for _, x := range all {
			var c, i int
			_, _ = fmt.Sscanf(x.Request.Target, "/%d/%d", &c, &i)
			d := damage[i*connections+c]
			if (d == "incomplete") != (len(x.Incomplete) > 0) {
				t.Errorf("seed %d: %s: damage %q, incomplete %v", seed, x.Request.Target, d, x.Incomplete)
			}
			if d == "" && (x.Response == nil || string(x.Response.Body.Raw) != strings.Repeat(fmt.Sprint(i%10), 1000*(i%4))) {
				t.Errorf("seed %d: %s has the answer of another", seed, x.Request.Target)
			}
		}
	}
}

func TestPacketsInVXLANAndCutPackets(t *testing.T) {
	k := newTalk(t)
	k.wrap = 7777
	c := k.dial(1, 100)
	c.send(true, 1400, "GET / HTTP/1.1\r\nHost: 10.0.1.1\r\n\r\n")
	c.send(false, 1400, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+strings.Repeat("x", 1000))
	k.packets[3].data = k.packets[3].data[:400] // an outer MTU that is too small
	c.hangUp()
	all, _, _ := imported(t, Options{Names: map[string]string{"10.0.1.1:8080": "shop"}, Service: []string{"shop"}}, k.capture(k.packets))
	if len(all) != 1 {
		t.Fatalf("imported %v", outlines(all))
	}
	x := all[0]
	if x.Request.URL() != "http://shop/" || x.Direction != traffic.Inbound || !x.Response.Body.Truncated || x.Response.Body.Size != 1000 || !strings.HasPrefix(strings.Join(x.Incomplete, ""), "response: hole of") {
		t.Errorf("%s, %v, %+v", outline(x), x.Incomplete, x.Response.Body.Size)
	}
}

func TestNothingIsHeldWhenMemoryIsShort(t *testing.T) {
	k := newTalk(t)
	c := k.dial(1, 1)
	c.send(true, 1400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n")
	c.send(true, 10, "0123456789abcdefghij9876543210")
	c.send(false, 1400, "HTTP/1.1 204 No Content\r\n\r\n")
	c.hangUp()
	var found []*traffic.Exchange
	as := newAssembler(Options{MaxRecord: 1 << 20})
	as.place = func() place { return place{} }
	as.emit = func(x *traffic.Exchange) error { found = append(found, x); return nil }
	as.lose = func(place, string, ...any) error { return nil }
	as.note = as.lose
	as.held.bytes = maxHeld - 15
	for i, p := range k.packets {
		s, err := decodeSegment(p.data, layers.LinkTypeEthernet, gopacket.CaptureInfo{Timestamp: p.at}, 0)
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if err := as.segment(s); err != nil {
			t.Fatal(err)
		}
	}
	if len(found) != 1 || string(found[0].Request.Body.Raw) != "0123456789" || found[0].Request.Body.Size != 30 ||
		strings.Join(found[0].Incomplete, "") != "request: body truncated after 10 of 30 bytes" || as.held.bytes != maxHeld-15 {
		t.Errorf("found %v, held %d", outlines(found), as.held.bytes)
	}
}

func TestConnectionsThatAreNotHTTP(t *testing.T) {
	k := newTalk(t)
	for i, first := range []string{"\x16\x03\x01\x00\x05hello", "\x00\x01\x02\x03binary"} {
		c := k.dial(byte(i+1), 1)
		c.send(true, 100, first)
		c.hangUp()
	}
	all, issues, counts := imported(t, Options{}, k.capture(k.packets))
	if len(all) != 0 || len(issues) != 2 || counts.Noted != 2 || !strings.Contains(issues[0], "carries TLS") || !strings.Contains(issues[1], "another protocol") {
		t.Errorf("%v %v", outlines(all), issues)
	}
}

func TestPcapng(t *testing.T) {
	k := newTalk(t)
	c := k.dial(1, 7)
	c.send(true, 1400, "GET /ng HTTP/1.1\r\nHost: shop\r\n\r\n")
	c.send(false, 1400, "HTTP/1.1 204 No Content\r\n\r\n")
	path := filepath.Join(t.TempDir(), "a.pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pcapgo.NewNgWriter(f, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range k.packets {
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: p.at, CaptureLength: len(p.data), Length: p.full}, p.data); err != nil {
			t.Fatal(err)
		}
	}
	_ = w.Flush()
	f.Close()
	all, issues, _ := imported(t, Options{}, path)
	sameLines(t, outlines(all), []string{"inbound GET http://shop/ng -> 204 "})
	sameLines(t, issues, nil)
}

func FuzzPackets(f *testing.F) {
	for _, name := range []string{"testdata/tcpdump.pcap"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:3000])
	}
	header := append([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00"), make([]byte, 16)...)
	binary.LittleEndian.PutUint32(header[16:], 65535)
	binary.LittleEndian.PutUint32(header[20:], 1)
	f.Add(append(header, "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\x7f"...))
	f.Add([]byte("\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x1c\x00\x00\x00"))
	f.Fuzz(fuzzReader(Packets))
}

// FuzzTalk feeds a parser with pieces and holes.
func FuzzTalk(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(3), uint8(5), true)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), uint8(7), uint8(50), false)
	f.Fuzz(func(t *testing.T, data []byte, size, hole uint8, request bool) {
		c := newAssembler(Options{MaxRecord: 1 << 16}).newConn(connKey{})
		c.as.place = func() place { return place{} }
		c.as.emit = func(*traffic.Exchange) error { return nil }
		c.as.lose = func(place, string, ...any) error { return nil }
		c.as.note = c.as.lose
		c.parse(&c.sides[0], request, 0)
		p := c.sides[0].parser
		for i := 0; len(data) > 0; i++ {
			n := min(len(data), int(size)+1)
			if i%4 == 3 && hole > 0 {
				p.hole(int64(n))
			} else {
				p.feed(data[:n], time.Time{}, 0)
			}
			data = data[n:]
		}
		c.close()
		if c.as.held.bytes != 0 {
			t.Fatalf("%d bytes are held for nothing", c.as.held.bytes)
		}
	})
}
