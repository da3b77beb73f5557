package formats

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// liveWindow is how long an exchange found in live packets is held back, so
// that calls and the requests that caused them come in order of their start.
const liveWindow = 10 * time.Second

// Live finds exchanges in mirrored packets as they arrive, such as those of AWS
// VPC Traffic Mirroring. It numbers and joins them as [Read] does. It is not
// safe for concurrent use.
type Live struct {
	im      *importer
	as      *assembler
	packets int
	damaged int
}

// NewLive hands each exchange to emit. Close must be called at the end.
func NewLive(opts Options, emit func(*traffic.Exchange) error) (*Live, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("record packets: %w", err)
	}
	opts.MaxRecord = cmp.Or(opts.MaxRecord, DefaultMaxRecord)
	im := &importer{opts: opts, emit: emit}
	im.sorter.out = im.finish
	l := &Live{im: im, as: newAssembler(opts)}
	s := &source{ctx: context.Background(), name: "packets", opts: opts, run: im}
	l.as.place = func() place { return place{line: l.packets} }
	l.as.emit, l.as.lose, l.as.note = s.emit, s.unreadable, s.note
	return l, nil
}

// VXLAN takes the payload of a UDP packet to port 4789, which arrived at a
// time. The error is one of emit or, with Options.Strict, an unreadable record.
func (l *Live) VXLAN(payload []byte, at time.Time) error {
	return l.packet(payload, layers.LayerTypeVXLAN, at)
}

// Geneve takes the payload of a UDP packet to port 6081, in which a Gateway
// Load Balancer wraps mirrored packets.
func (l *Live) Geneve(payload []byte, at time.Time) error {
	return l.packet(payload, layers.LayerTypeGeneve, at)
}

func (l *Live) packet(data []byte, first gopacket.Decoder, at time.Time) error {
	l.packets++
	s, err := decodeSegment(data, first, gopacket.CaptureInfo{Timestamp: at}, l.im.opts.Network)
	if err != nil {
		l.damaged++
		return nil
	}
	if s != nil {
		if err := l.as.segment(s); err != nil {
			return err
		}
	}
	sorter := &l.im.sorter
	for len(sorter.held) > 0 && at.Sub(sorter.held[0].x.Start) > liveWindow {
		if err := sorter.pop(); err != nil {
			return err
		}
	}
	return nil
}

// Counts returns the balance so far. Found counts what has ended; connections
// that are open are not in it.
func (l *Live) Counts() Counts { return l.im.counts }

// Damaged returns how many packets could not be read, fragments included.
func (l *Live) Damaged() int { return l.damaged }

// Close hands on what is left: the capture has ended.
func (l *Live) Close() (Counts, error) {
	err := l.as.flush()
	if err == nil {
		err = l.im.sorter.flush()
	}
	return l.im.counts, err
}
