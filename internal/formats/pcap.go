package formats

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

func itoa(n int) string { return strconv.Itoa(n) }

// readPackets reads pcap and pcapng files: HTTP/1 in TCP over IPv4 and IPv6,
// with any number of VLAN, VXLAN and GENEVE wrappings around it.
func readPackets(s *source) error {
	next, link, err := packetReader(s)
	if err != nil {
		return s.unreadable(place{}, "not a packet capture: %v", err)
	}
	var number int // of the packet, which takes the place of a line
	as := newAssembler(s.opts)
	as.place = func() place { return place{line: number} }
	as.emit, as.lose, as.note = s.emit, s.unreadable, s.note
	damaged := 0
	for {
		data, info, err := next()
		if err == io.EOF {
			break
		}
		number++
		if err != nil {
			reason := "the rest of the file cannot be read"
			if errors.Is(err, io.ErrUnexpectedEOF) {
				reason = "the file ends within a packet"
			}
			if err := s.note(place{line: number}, "%s", reason); err != nil {
				return err
			}
			break
		}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		seg, err := decodeSegment(data, link(info), info, s.opts.Network)
		if err != nil {
			damaged++
			continue
		}
		if seg == nil {
			continue // not TCP
		}
		if err := as.segment(seg); err != nil {
			return err
		}
	}
	if damaged > 0 {
		if err := s.note(place{line: number}, "%d packets cannot be read", damaged); err != nil {
			return err
		}
	}
	return as.flush()
}

type nextPacket func() ([]byte, gopacket.CaptureInfo, error)

// packetReader opens either kind of file. link tells the link type of a
// packet, which may differ between the interfaces of a pcapng file.
func packetReader(s *source) (next nextPacket, link func(gopacket.CaptureInfo) layers.LinkType, err error) {
	magic, err := s.r.Peek(4)
	if err != nil {
		return nil, nil, err
	}
	if string(magic) == "\x0a\x0d\x0d\x0a" {
		r, err := pcapgo.NewNgReader(s.r, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, nil, err
		}
		link = func(info gopacket.CaptureInfo) layers.LinkType {
			if len(info.AncillaryData) > 0 {
				if t, ok := info.AncillaryData[0].(layers.LinkType); ok {
					return t
				}
			}
			return r.LinkType()
		}
		return r.ReadPacketData, link, nil
	}
	r, err := pcapgo.NewReader(s.r)
	if err != nil {
		return nil, nil, err
	}
	return r.ReadPacketData, func(gopacket.CaptureInfo) layers.LinkType { return r.LinkType() }, nil
}

var errDamaged = errors.New("a packet that cannot be read")

// decodeSegment finds the innermost TCP segment of a packet; nil when there is
// none. network, when it is not zero, is the only VXLAN network to look at.
func decodeSegment(data []byte, first gopacket.Decoder, info gopacket.CaptureInfo, network uint32) (*segment, error) {
	packet := gopacket.NewPacket(data, first, gopacket.DecodeOptions{Lazy: false, NoCopy: true})
	s := &segment{at: info.Timestamp.UTC()}
	var src, dst netip.Addr
	length := 0 // of what the IP header says follows it
	found := false
	for _, layer := range packet.Layers() {
		switch l := layer.(type) {
		case *layers.IPv4:
			src, dst = addrOf(l.SrcIP), addrOf(l.DstIP)
			length = int(l.Length) - 4*int(l.IHL)
			if l.FragOffset != 0 || l.Flags&layers.IPv4MoreFragments != 0 {
				return nil, fmt.Errorf("%w: a fragment", errDamaged)
			}
		case *layers.IPv6:
			src, dst = addrOf(l.SrcIP), addrOf(l.DstIP)
			length = 0 // extension headers would have to be taken off
			if l.NextHeader == layers.IPProtocolTCP {
				length = int(l.Length)
			}
		case *layers.VXLAN:
			s.network = l.VNI
		case *layers.TCP:
			found = true
			s.from, s.to = netip.AddrPortFrom(src, uint16(l.SrcPort)), netip.AddrPortFrom(dst, uint16(l.DstPort))
			s.seq, s.ack = l.Seq, l.Ack
			s.syn, s.fin, s.rst, s.ackd = l.SYN, l.FIN, l.RST, l.ACK
			s.data = l.Payload
			s.missing = 0
			if full := length - 4*int(l.DataOffset); full > len(s.data) {
				s.missing = full - len(s.data)
			}
		}
	}
	if !found || network != 0 && s.network != network {
		if fail := packet.ErrorLayer(); fail != nil && !found {
			return nil, fmt.Errorf("%w: %w", errDamaged, fail.Error())
		}
		return nil, nil
	}
	if !src.IsValid() || !dst.IsValid() {
		return nil, errDamaged
	}
	return s, nil
}

func addrOf(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
