package replay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Load says when requests are sent. At most one of Speed, Rate, Stages and Max
// is given; with none, the timing is the recorded one.
type Load struct {
	// Speed divides recorded times: 2 is twice as fast. Default 1.
	Speed float64
	// Rate is a constant number of requests a second, in recorded order.
	Rate float64
	// Stages are rates one after the other.
	Stages []Stage
	// Max sends as fast as answers come, on Connections at once. It is a closed
	// loop: a slow answer delays what follows, so its response times say nothing
	// of a load that does not wait.
	Max bool

	// Copies multiplies the load by whole sessions. Each copy has a rewriter of
	// its own, and with recorded timing its sessions are shifted against those
	// of the others: over all of the recording, or, where that is streamed, by a
	// distance that the plan says. Default 1.
	Copies int
	// MaxIdle caps the gaps between recorded requests; 0 keeps them.
	MaxIdle time.Duration
	// Loops is how often the recording is sent. Default 1, or as often as fits
	// when Stages, or Budget beside Rate or Max, say how long to send.
	Loops int
	// Budget ends the sending after this time; 0 is no limit.
	Budget time.Duration
	// Connections is how many may be open. Default 64.
	Connections int
	// MaxWaiting is how many requests may be due and wait, for a connection or for
	// another's answer, while Connections are under way. A request that becomes
	// due when so many wait is left out and counted in Result.Skipped, so that a
	// service that hangs does not fill the memory of the sender. A closed loop
	// never has any. Default 10,000.
	MaxWaiting int
	// MaxWait is how long a request may wait for a connection before it is left
	// out, so that a load on such a service ends. Default five minutes.
	MaxWait time.Duration
	// Churn opens a connection for each session of each copy and closes it after
	// the last request of the session, as its client did. Without it, sessions
	// share connections.
	Churn bool
	// Pass is the number of the first pass; each copy in each loop after it is
	// a pass of its own, numbered Pass + n<<16. Default 1.
	Pass uint32
	// Rewriter returns the rewriter of one copy in one loop, both from 0; nil
	// sends as recorded.
	Rewriter func(copy, loop int) Rewriter `json:"-"`
}

// Stage is a stretch of a load in which the rate goes evenly From one number of
// requests a second To another.
type Stage struct {
	From, To float64
	For      time.Duration
}

// ParseStages reads stages such as "0..500:30s,500:1m": a ramp and a plateau.
func ParseStages(text string) ([]Stage, error) {
	var stages []Stage
	for part := range strings.SplitSeq(text, ",") {
		fail := func() ([]Stage, error) {
			return nil, fmt.Errorf("stage %q: write RATE:TIME or FROM..TO:TIME, as in 0..500:30s", part)
		}
		rates, duration, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			return fail()
		}
		from, to, ramp := strings.Cut(rates, "..")
		if !ramp {
			to = from
		}
		var s Stage
		var errs [3]error
		s.From, errs[0] = strconv.ParseFloat(from, 64)
		s.To, errs[1] = strconv.ParseFloat(to, 64)
		s.For, errs[2] = time.ParseDuration(duration)
		if errors.Join(errs[:]...) != nil || s.validate() != nil {
			return fail()
		}
		stages = append(stages, s)
	}
	return stages, nil
}

// maxRate is far more than one machine can send.
const maxRate = 10_000_000

func (s Stage) validate() error {
	if !(s.From >= 0 && s.From <= maxRate && s.To >= 0 && s.To <= maxRate) || s.For <= 0 {
		return fmt.Errorf("stage from %v to %v for %v: rates are 0 to %d a second, times positive", s.From, s.To, s.For, maxRate)
	}
	return nil
}

// pace is by what the distances of messages within a conversation are
// multiplied: the speed divides them too, and a closed loop keeps none.
func (l Load) pace() float64 {
	if l.Max || l.Speed <= 0 {
		return 0
	}
	return 1 / l.Speed
}

// Validate names the first field that cannot be used.
func (l Load) Validate() error {
	given := 0
	for _, is := range []bool{l.Speed != 0, l.Rate != 0, len(l.Stages) > 0, l.Max} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return errors.New("load: give only one of speed, rate, stages and max")
	case !(l.Speed >= 0 && l.Speed <= 1e6):
		return fmt.Errorf("load speed %v: must be above 0 and at most 1000000", l.Speed)
	case !(l.Rate >= 0 && l.Rate <= maxRate):
		return fmt.Errorf("load rate %v: must be above 0 and at most %d requests a second", l.Rate, maxRate)
	case l.Copies < 0 || l.Copies > 1<<15:
		return fmt.Errorf("load copies %d: must be 1 to %d", l.Copies, 1<<15)
	case l.MaxIdle < 0 || l.Budget < 0:
		return fmt.Errorf("load with gaps of at most %v and a budget of %v: times must be positive", l.MaxIdle, l.Budget)
	case l.Loops < 0:
		return fmt.Errorf("load loops %d: must be 1 or more", l.Loops)
	case l.MaxWaiting < 0 || l.MaxWait < 0:
		return fmt.Errorf("load with at most %d requests waiting for at most %v: must be 1 or more, and positive", l.MaxWaiting, l.MaxWait)
	case l.Connections < 0 || l.Connections > 1<<16:
		return fmt.Errorf("load connections %d: must be 1 to %d", l.Connections, 1<<16)
	}
	for i, s := range l.Stages {
		if err := s.validate(); err != nil {
			return fmt.Errorf("load stages[%d]: %w", i, err)
		}
	}
	return nil
}

func (l Load) withDefaults() Load {
	if l.Speed == 0 {
		l.Speed = 1
	}
	if l.Copies == 0 {
		l.Copies = 1
	}
	if l.Connections == 0 {
		l.Connections = 64
	}
	if l.MaxWaiting == 0 {
		l.MaxWaiting = 10_000
	}
	if l.MaxWait == 0 {
		l.MaxWait = 5 * time.Minute
	}
	if l.Pass == 0 {
		l.Pass = 1
	}
	return l
}

// recordedTiming reports whether requests go at their recorded times.
func (l Load) recordedTiming() bool { return l.Rate == 0 && len(l.Stages) == 0 && !l.Max }
