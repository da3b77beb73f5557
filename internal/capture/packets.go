package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// PacketSink takes mirrored packets as they arrive. *formats.Live satisfies it.
type PacketSink interface {
	VXLAN(payload []byte, at time.Time) error
	Geneve(payload []byte, at time.Time) error
}

// Bounds of what one packet and what waits in the kernel may have. Packets of
// jumbo frames must not be cut.
const (
	maxPacket     = 64 << 10
	packetBacklog = 16 << 20
	// packetDrain is how long packets are taken after the end, since some have
	// arrived and wait in the kernel.
	packetDrain = 100 * time.Millisecond
)

// ServePackets hands what arrives on c, which it closes, to the sink until ctx
// ends: the VXLAN of a traffic mirror (UDP 4789), or the GENEVE in which a
// Gateway Load Balancer wraps it (UDP 6081). It returns nil after ctx, else the
// error of the sink or of the connection.
func ServePackets(ctx context.Context, c net.PacketConn, now func() time.Time, sink PacketSink) error {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now().Add(packetDrain)) })
	defer stop()
	if udp, ok := c.(*net.UDPConn); ok {
		_ = udp.SetReadBuffer(packetBacklog) // as much as the system allows
	}
	buffer := make([]byte, maxPacket)
	for {
		n, _, err := c.ReadFrom(buffer)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("receive packets: %w", err)
			}
			continue // an ICMP answer to nothing that matters
		}
		if n < 8 {
			continue
		}
		take := sink.Geneve
		// VXLAN has three reserved bytes behind its flags, where GENEVE names
		// the protocol inside.
		if buffer[2] == 0 && buffer[3] == 0 {
			take = sink.VXLAN
		}
		if err := take(buffer[:n], now()); err != nil {
			return fmt.Errorf("record packets: %w", err)
		}
	}
}
