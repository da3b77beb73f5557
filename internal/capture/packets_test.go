package capture_test

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/reprise-ci/reprise/internal/capture"
	"github.com/reprise-ci/reprise/internal/formats"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// mirrored is what a mirror sends of one connection: the frames of a request
// and its response.
func mirrored(t *testing.T) (frames [][]byte) {
	t.Helper()
	clientSeq, serverSeq := uint32(1000), uint32(5000)
	frame := func(fromClient, syn, fin bool, payload string) {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IPv4(10, 0, 0, 1), DstIP: net.IPv4(10, 0, 0, 2)}
		tcp := &layers.TCP{SrcPort: 40000, DstPort: 8080, Seq: clientSeq, Ack: serverSeq, SYN: syn, FIN: fin, ACK: !syn || !fromClient, Window: 65000}
		if !fromClient {
			ip.SrcIP, ip.DstIP, tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = ip.DstIP, ip.SrcIP, 8080, 40000, serverSeq, clientSeq
		}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		b := gopacket.NewSerializeBuffer()
		eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(payload)); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, append([]byte(nil), b.Bytes()...))
		n := uint32(len(payload))
		if syn || fin {
			n++
		}
		if fromClient {
			clientSeq += n
		} else {
			serverSeq += n
		}
	}
	frame(true, true, false, "")
	frame(false, true, false, "")
	frame(true, false, false, "GET /mirrored HTTP/1.1\r\nHost: shop\r\n\r\n")
	frame(false, false, false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	frame(true, false, true, "")
	frame(false, false, true, "")
	return frames
}

func vxlan(network uint32, frame []byte) []byte {
	header := []byte{0x08, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(header[4:], network<<8)
	return append(header, frame...)
}

// geneve wraps the IP packet that carries VXLAN, as a Gateway Load Balancer
// does, with an option in its header.
func geneve(t *testing.T, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(10, 9, 0, 1), DstIP: net.IPv4(10, 9, 0, 2)}
	udp := &layers.UDP{SrcPort: 50000, DstPort: 4789}
	_ = udp.SetNetworkLayerForChecksum(ip)
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return append([]byte{0x02, 0, 0x08, 0x00, 0, 0, 0, 0, 0x01, 0x08, 0x01, 0x01, 0, 0, 0, 0}, b.Bytes()...)
}

func TestMirroredPackets(t *testing.T) {
	for name, wrap := range map[string]func([]byte) []byte{
		"VXLAN":           func(f []byte) []byte { return vxlan(7777, f) },
		"VXLAN in GENEVE": func(f []byte) []byte { return geneve(t, vxlan(7777, f)) },
	} {
		t.Run(name, func(t *testing.T) {
			found := make(chan *traffic.Exchange, 10)
			live, err := formats.NewLive(formats.Options{Network: 7777}, func(x *traffic.Exchange) error { found <- x; return nil })
			if err != nil {
				t.Fatal(err)
			}
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			served := make(chan error)
			// Each packet comes 20 s after the one before, so that the window
			// of the sink passes.
			now := time.Unix(1767225600, 0)
			received := make(chan struct{}, 100)
			clock := func() time.Time { now = now.Add(20 * time.Second); received <- struct{}{}; return now }
			go func() { served <- capture.ServePackets(ctx, c, clock, live) }()
			to, err := net.Dial("udp", c.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			send := func(b []byte) {
				if _, err := to.Write(b); err != nil {
					t.Fatal(err)
				}
				<-received
			}
			for _, frame := range mirrored(t) {
				send(vxlan(1, frame)) // another network
				send(wrap(frame))
			}
			send([]byte("\x08\x00\x00\x00rubbish"))
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
			counts, err := live.Close()
			if err != nil || counts.Imported != 1 || len(found) != 1 {
				t.Fatalf("counts %+v, %v", counts, err)
			}
			if x := <-found; x.Request.URL() != "http://shop/mirrored" || string(x.Response.Body.Raw) != "ok" || x.ID != "in-000001" {
				t.Errorf("found %+v", x)
			}
		})
	}
}
