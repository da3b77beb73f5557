package mock

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"path"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Faults is what goes wrong with dependencies in one pass. Whether it goes
// wrong for a call depends on the seed, the call and how often it was made in
// its lane, and on nothing else: every arm meets the same faults.
type Faults struct {
	Seed   uint64
	Faults []Fault
}

// Fault is one way in which calls to a dependency go wrong.
type Fault struct {
	// Dependency is a host without port; * stands for any part of it.
	Dependency string
	// Share of the calls, 0 to 1.
	Share float64
	Kind  FaultKind
	// Status is that of FaultStatus; 503 if zero.
	Status int
	// Delay is that of FaultDelay, or its median when Sigma is not zero: the
	// delay is then log-normal.
	Delay time.Duration
	Sigma float64
	// Rate is that of FaultDrip, in bytes a second; 1024 if zero.
	Rate int
}

// FaultKind names a way to go wrong.
type FaultKind string

// The kinds. Status, reset and empty take the place of the recorded answer,
// which is left for the next try.
const (
	FaultDelay    FaultKind = "delay"    // the answer comes later
	FaultStatus   FaultKind = "status"   // a server error
	FaultReset    FaultKind = "reset"    // the connection is reset
	FaultEmpty    FaultKind = "empty"    // the connection is closed without an answer
	FaultTruncate FaultKind = "truncate" // the body breaks off in the middle
	FaultDrip     FaultKind = "drip"     // the body comes slowly
	FaultDNS      FaultKind = "dns"      // the name does not exist
	FaultTLS      FaultKind = "tls"      // the handshake fails
)

// Validate reports the first fault that cannot be made.
func (f *Faults) Validate() error {
	for i, x := range f.Faults {
		where := fmt.Sprintf("fault %d (%s)", i+1, x.Kind)
		switch x.Kind {
		case FaultDelay, FaultStatus, FaultReset, FaultEmpty, FaultTruncate, FaultDrip, FaultDNS, FaultTLS:
		default:
			return fmt.Errorf("%s: unknown kind; use delay, status, reset, empty, truncate, drip, dns or tls", where)
		}
		if _, err := path.Match(x.Dependency, ""); err != nil || x.Dependency == "" {
			return fmt.Errorf("%s: dependency %q is not a host or pattern", where, x.Dependency)
		}
		if !(x.Share >= 0 && x.Share <= 1) {
			return fmt.Errorf("%s: share %v must be between 0 and 1", where, x.Share)
		}
		if x.Delay < 0 || x.Sigma < 0 || x.Rate < 0 || x.Status != 0 && (x.Status < 400 || x.Status > 599) {
			return fmt.Errorf("%s: delay, sigma and rate must not be negative, and status must be an error", where)
		}
	}
	return nil
}

// SetFaults makes things go wrong in a pass from now on, or stops it with nil.
func (m *Mock) SetFaults(number uint32, faults *Faults) error {
	if faults != nil {
		if err := faults.Validate(); err != nil {
			return err
		}
	}
	m.pass(number).faults.Store(faults)
	return nil
}

// fault returns what goes wrong with a call, or nil.
func (p *pass) fault(ls *laneState, c *call) *Fault {
	faults := p.faults.Load()
	if faults == nil {
		return nil
	}
	sig := steadyHash(c)
	try := ls.again(sig)
	host, _ := traffic.SplitAuthority(c.dep)
	return faults.choose(host, func(k FaultKind) bool { return k != FaultDNS && k != FaultTLS }, uint64(traffic.LaneNumber(ls.name)), sig, uint64(try))
}

// steadyHash returns a hash of a call that is the same in every arm and every
// run: values that the service makes up differ, their class does not.
func steadyHash(c *call) uint64 {
	h := fnv.New64a()
	for i, t := range c.form {
		value := t.text
		if t.kind == source {
			continue
		}
		if t.kind.leaf() {
			value = classed(i, t)
		}
		h.Write([]byte{byte(t.kind)})
		h.Write([]byte(value))
	}
	return h.Sum64()
}

// again counts the calls of a lane by what they are.
func (ls *laneState) again(sig uint64) int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.tries == nil {
		ls.tries = map[uint64]int{}
	}
	ls.tries[sig]++
	return ls.tries[sig]
}

// choose returns the first fault of a dependency that the dice pick.
func (f *Faults) choose(host string, fits func(FaultKind) bool, what ...uint64) *Fault {
	for i := range f.Faults {
		x := &f.Faults[i]
		if ok, _ := path.Match(x.Dependency, host); !ok || !fits(x.Kind) {
			continue
		}
		if f.roll(i, what...) < x.Share {
			chosen := *x
			if x.Sigma > 0 {
				chosen.Delay = logNormal(x.Delay, x.Sigma, f.roll(i+len(f.Faults), what...), f.roll(i+2*len(f.Faults), what...))
			}
			return &chosen
		}
	}
	return nil
}

// roll returns a number in [0, 1) that follows from the seed and its arguments.
func (f *Faults) roll(die int, what ...uint64) float64 {
	h := fnv.New64a()
	var b [8]byte
	for _, n := range append([]uint64{f.Seed, uint64(die)}, what...) {
		binary.LittleEndian.PutUint64(b[:], n)
		h.Write(b[:])
	}
	n := h.Sum64()
	// FNV leaves the high bits of similar inputs alike; this mixes them.
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	n ^= n >> 33
	return float64(n>>11) / (1 << 53)
}

// logNormal draws a delay with the given median from two even rolls.
func logNormal(median time.Duration, sigma, a, b float64) time.Duration {
	normal := math.Sqrt(-2*math.Log(1-a)) * math.Cos(2*math.Pi*b)
	return time.Duration(float64(median) * math.Exp(sigma*normal))
}

// replaces reports whether the fault takes the place of the recorded answer.
func (f *Fault) replaces() bool {
	return f.Kind == FaultStatus || f.Kind == FaultReset || f.Kind == FaultEmpty
}

// describe says in a few words what was done to a call.
func (f *Fault) describe() string {
	switch f.Kind {
	case FaultDelay:
		return fmt.Sprintf("fault: delayed by %v", f.Delay.Round(time.Microsecond))
	case FaultStatus:
		return fmt.Sprintf("fault: status %d", f.status())
	case FaultReset:
		return "fault: connection reset"
	case FaultEmpty:
		return "fault: closed without an answer"
	case FaultTruncate:
		return "fault: body broken off"
	}
	return fmt.Sprintf("fault: body at %d bytes a second", f.rate())
}

func (f *Fault) status() int {
	if f.Status == 0 {
		return 503
	}
	return f.Status
}

func (f *Fault) rate() int {
	if f.Rate == 0 {
		return 1024
	}
	return f.Rate
}

// faulty is a responder that makes a body go wrong on its way.
type faulty struct {
	responder
	mock  *Mock
	fault *Fault
}

// dripPiece is how long the pieces of a slow body are apart.
const dripPiece = 20 * time.Millisecond

func (f *faulty) write(p []byte) error {
	switch f.fault.Kind {
	case FaultTruncate:
		if err := f.responder.write(p[:len(p)/2]); err != nil {
			return err
		}
		f.flush() // the connection ends in any case
		f.abort()
		return errAborted
	case FaultDrip:
		size := max(1, f.fault.rate()*int(dripPiece)/int(time.Second))
		due := f.mock.opts.Now()
		for len(p) > 0 {
			n := min(size, len(p))
			if err := f.responder.write(p[:n]); err != nil {
				return err
			}
			if err := f.flush(); err != nil {
				return err
			}
			p, due = p[n:], due.Add(time.Duration(n)*time.Second/time.Duration(f.fault.rate()))
			if err := f.mock.opts.Wait(f.context(), due); err != nil {
				return err
			}
		}
		return nil
	}
	return f.responder.write(p)
}

// faultName rolls for faults that come before a call: of names and handshakes.
// While one active lane alone may ask for a host they are its own, so that no other
// lane, nor the order of lanes, plays a part; else they count over the whole pass.
func (m *Mock) faultName(kind FaultKind, host string) bool {
	p := m.current()
	faults := p.faults.Load()
	if faults == nil {
		return false
	}
	lane := m.asker(p, host)
	p.mu.Lock()
	defer p.mu.Unlock()
	key := string(kind) + " " + host
	asked := p.names[key]
	if asked == nil {
		if len(p.names) >= maxEvidence {
			return false
		}
		if p.names == nil {
			p.names = map[string]map[traffic.Lane]int{}
		}
		asked = map[traffic.Lane]int{}
		p.names[key] = asked
	}
	asked[lane]++
	h := fnv.New64a()
	h.Write([]byte(key))
	return faults.choose(host, func(k FaultKind) bool { return k == kind }, h.Sum64(), traffic.LaneNumber(lane), uint64(asked[lane])) != nil
}

// asker returns the lane that a name or a handshake belongs to: the only active
// one, or the only one of them that called the host when it was recorded, or else
// that of the background.
func (m *Mock) asker(p *pass, host string) traffic.Lane {
	active := p.running()
	if len(active) == 1 {
		return active[0]
	}
	host, _ = traffic.SplitAuthority(m.index.deps.find(host))
	found := traffic.LaneBackground
	for _, name := range active {
		if !m.index.called(name)[host] {
			continue
		}
		if found != traffic.LaneBackground {
			return traffic.LaneBackground
		}
		found = name
	}
	return found
}

// called returns the hosts that a lane called when it was recorded. They are
// collected at the first use.
func (ix *index) called(name traffic.Lane) map[string]bool {
	if hosts, ok := ix.hosts.Load(name); ok {
		return hosts.(map[string]bool)
	}
	hosts := map[string]bool{}
	if l := ix.lanes[name]; l != nil {
		for i := l.from; i < l.to; i++ {
			req := ix.request(int32(i))
			host, _ := traffic.SplitAuthority(normalAuthority(req.Scheme, req.Authority))
			hosts[host] = true
		}
	}
	kept, _ := ix.hosts.LoadOrStore(name, hosts)
	return kept.(map[string]bool)
}

func (m *Mock) delay(ctx context.Context, f *Fault) error {
	if f == nil || f.Kind != FaultDelay {
		return nil
	}
	return m.opts.Wait(ctx, m.opts.Now().Add(f.Delay))
}
