package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Part is what one of several workers sends of a load: the requests of its
// share, each at the moment at which a single sender of the whole would have
// sent it. All parts together are the whole, whatever the number of workers.
type Part struct {
	Load Load
	// Requests is that of the whole plan.
	Requests int64
	// Cycle is how many requests the whole plan has in one loop of all copies,
	// and Period how long a loop takes with recorded timing.
	Cycle  int64
	Period time.Duration
	// Slots are this worker's requests of one loop, in order. There may be
	// millions, so they travel by [AppendSlots].
	Slots []Slot `json:"-"`
}

// Slot is one request of a part.
type Slot struct {
	Number   int64 // within the loop of the whole
	Exchange int32 // in the order of the worker's own share
	Copy     int32
	At       time.Duration // with recorded timing
}

// Parts divides a plan among n workers. owner tells the worker of each recorded
// exchange, in the order of the recording; what depends on each other must have
// one owner, as [Share] sees to. Connections are divided too, and how many
// requests may wait.
func (p *Plan) Parts(owner []int, n int) ([]Part, error) {
	if len(owner) != p.n || p.part != nil {
		return nil, errors.New("replay: the owners are those of another recording")
	}
	local := make([]int32, p.n)
	count := make([]int32, n)
	for i, k := range owner {
		if k < 0 || k >= n {
			return nil, fmt.Errorf("replay: there is no worker %d among %d", k, n)
		}
		local[i] = count[k]
		count[k]++
	}
	load := p.load
	load.Connections, load.MaxWaiting = max(load.Connections/n, 1), max(load.MaxWaiting/n, 1)
	if !load.recordedTiming() {
		load.Speed = 0 // only the default
	}
	parts := make([]Part, n)
	cycle := int64(p.n) * int64(p.load.Copies)
	for k := range parts {
		parts[k] = Part{Load: load, Requests: p.Requests, Cycle: cycle, Period: p.period, Slots: make([]Slot, 0, int(count[k])*p.load.Copies)}
	}
	for number := range cycle {
		s := p.shot(number)
		part := &parts[owner[s.exchange]]
		slot := Slot{Number: number, Exchange: local[s.exchange], Copy: s.instance}
		if p.load.recordedTiming() {
			slot.At = s.at
		}
		part.Slots = append(part.Slots, slot)
	}
	return parts, nil
}

// PlanPart makes the plan of a part, on the engine of the worker's share.
func (e *Engine) PlanPart(part Part) (*Plan, error) {
	if err := part.Load.Validate(); err != nil {
		return nil, err
	}
	load := part.Load.withDefaults()
	p := &Plan{load: load, n: len(e.inbound), part: &part, period: part.Period, Requests: -1}
	for i, s := range part.Slots {
		if int(s.Exchange) >= p.n || s.Exchange < 0 || s.Copy < 0 || int(s.Copy) >= load.Copies || s.Number >= part.Cycle || s.Number < 0 ||
			i > 0 && s.Number <= part.Slots[i-1].Number {
			return nil, fmt.Errorf("replay: slot %d of the part, %+v, does not fit %d exchanges in %d copies", i, s, p.n, load.Copies)
		}
	}
	switch own := int64(len(part.Slots)); {
	case own == 0:
		p.Requests = 0
	case part.Requests >= 0:
		rest := part.Requests % part.Cycle
		p.Requests = part.Requests/part.Cycle*own + int64(sort.Search(len(part.Slots), func(i int) bool { return part.Slots[i].Number >= rest }))
	}
	if p.Requests > 0 && !load.Max {
		p.Length = p.shot(p.Requests - 1).at
	} else if p.Requests < 0 {
		p.Length = load.Budget
	}
	return p, nil
}

// StartAt lets the load begin at a moment ahead, on which several senders have
// agreed.
func (p *Plan) StartAt(t time.Time) { p.start = t }

func (p *Plan) partShot(k int64) shot {
	own := int64(len(p.part.Slots))
	loop, slot := k/own, p.part.Slots[k%own]
	s := shot{exchange: slot.Exchange, instance: int32(loop)*int32(p.load.Copies) + slot.Copy}
	switch {
	case p.load.recordedTiming():
		s.at = slot.At + time.Duration(loop)*p.period
	case !p.load.Max:
		s.at = p.moment(loop*p.part.Cycle + slot.Number)
	}
	return s
}

// Join makes one result of those of the workers, in the order of the owners
// with which the plan was divided; nil stands for a worker without a share.
// Samples are kept as they are, so that quantiles are those of the union. A
// sample of an exchange that its worker does not have is an error.
func (e *Engine) Join(p *Plan, arm string, owner []int, parts []*Result) (*Result, error) {
	all := &Result{Plan: p, engine: e, arm: arm}
	whole := make([][]int32, len(parts)) // by worker: place in its share -> in the recording
	for i, k := range owner {
		whole[k] = append(whole[k], int32(i))
	}
	for k, part := range parts {
		if part == nil {
			continue
		}
		all.Samples = slices.Grow(all.Samples, len(part.Samples))
		for _, s := range part.Samples {
			if s.Exchange < 0 || int(s.Exchange) >= len(whole[k]) {
				return nil, fmt.Errorf("replay: worker %d tells of exchange %d, its share has %d", k, s.Exchange, len(whole[k]))
			}
			s.Exchange = whole[k][s.Exchange]
			all.Samples = append(all.Samples, s)
		}
		all.Elapsed = max(all.Elapsed, part.Elapsed)
		all.Unsent += part.Unsent
		all.Skipped += part.Skipped
		all.Connections += part.Connections
		for kind, text := range part.Errors {
			all.explain(kind, text)
		}
	}
	slices.SortStableFunc(all.Samples, func(a, b Sample) int { return int(min(max(a.Last-b.Last, -1), 1)) })
	return all, nil
}

// AppendSlots appends slots as bytes that [ReadSlots] reads: a few bytes each.
func AppendSlots(b []byte, slots []Slot) []byte {
	b = binary.AppendUvarint(b, uint64(len(slots)))
	var before Slot
	for _, s := range slots {
		b = binary.AppendUvarint(b, uint64(s.Number-before.Number))
		b = binary.AppendUvarint(b, uint64(s.Exchange))
		b = binary.AppendUvarint(b, uint64(s.Copy))
		b = binary.AppendVarint(b, int64(s.At-before.At))
		before = s
	}
	return b
}

// ReadSlots reads what AppendSlots wrote, all of it.
func ReadSlots(b []byte) ([]Slot, error) {
	const least = 4 // bytes of the smallest slot
	r := reader{b: b}
	n := r.unsigned()
	if n > uint64(len(b)/least) {
		return nil, fmt.Errorf("damaged slots: %d in %d bytes", n, len(b))
	}
	slots := make([]Slot, n)
	var before Slot
	for i := range slots {
		slots[i].Number = before.Number + int64(r.unsigned())
		slots[i].Exchange = int32(uint32(r.unsigned()))
		slots[i].Copy = int32(uint32(r.unsigned()))
		slots[i].At = before.At + time.Duration(r.signed())
		before = slots[i]
	}
	if r.bad || len(r.b) > 0 {
		return nil, errors.New("damaged slots")
	}
	return slots, nil
}
