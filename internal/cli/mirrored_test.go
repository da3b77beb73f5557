package cli_test

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/rogpeppe/go-internal/testscript"
)

// mirrored sends the packets of a capture to a receiver of mirrored packets, in
// VXLAN as a traffic mirror does, or within GENEVE as a load balancer passes it
// on.
func mirrored(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 || args[0] != "vxlan" && args[0] != "geneve" {
		ts.Fatalf("usage: mirrored vxlan|geneve NETWORK CAPTURE ADDRESS")
	}
	network, err := strconv.Atoi(args[1])
	ts.Check(err)
	file, err := os.Open(ts.MkAbs(args[2]))
	ts.Check(err)
	defer file.Close()
	capture, err := pcapgo.NewReader(file)
	ts.Check(err)
	for range 1000 { // until the address is taken
		c, err := net.ListenPacket("udp", args[3])
		if err != nil {
			break
		}
		ts.Check(c.Close())
		time.Sleep(10 * time.Millisecond)
	}
	to, err := net.Dial("udp", args[3])
	ts.Check(err)
	defer to.Close()
	for {
		frame, _, err := capture.ReadPacketData()
		if err == io.EOF {
			return
		}
		ts.Check(err)
		packet := append(binary.BigEndian.AppendUint32([]byte{0x08, 0, 0, 0}, uint32(network)<<8), frame...)
		if args[0] == "geneve" {
			ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(10, 9, 0, 1), DstIP: net.IPv4(10, 9, 0, 2)}
			udp := &layers.UDP{SrcPort: 50000, DstPort: 4789}
			ts.Check(udp.SetNetworkLayerForChecksum(ip))
			b := gopacket.NewSerializeBuffer()
			ts.Check(gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(packet)))
			packet = append([]byte{0, 0, 0x08, 0x00, 0, 0, 0, 0}, b.Bytes()...)
		}
		_, err = to.Write(packet)
		ts.Check(err)
		time.Sleep(time.Millisecond) // the kernel holds little for a receiver that is late
	}
}
