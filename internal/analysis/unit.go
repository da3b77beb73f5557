package analysis

import (
	"cmp"
	"net"
	"slices"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/sql"
)

// unit is the same exchange seen four times: recorded, twice on base, once on
// head. An inbound unit is compared by its responses; an outbound one (call is
// not empty) by its requests, because there the service is the caller.
type unit struct {
	id       string // id of the recorded inbound exchange: the lane
	order    int    // position of the lane in the recording
	endpoint string
	call     string
	// recorded, control and head may be nil; base is not.
	recorded, base, control, head *traffic.Exchange
	// what the comparisons found, base on the left, except stale: recorded
	// against base.
	noise, change, stale []compare.Difference
	// drift is recorded against head, made when it is first asked for.
	drift   []compare.Difference
	drifted bool
}

func (u *unit) compare(a, b *traffic.Exchange, opts compare.Options) []compare.Difference {
	if a == nil || b == nil {
		return nil
	}
	if u.call != "" {
		return compare.Requests(a, b, opts)
	}
	return compare.Responses(a, b, opts)
}

func (u *unit) values(x *traffic.Exchange, reading compare.Reading, yield func(traffic.Path, string)) {
	if x == nil {
		return
	}
	values := reading.ResponseValues
	if u.call != "" {
		values = reading.RequestValues
	}
	for p, v := range values(x) {
		yield(p, v)
	}
}

// run is one analysis under way.
type run struct {
	in   Input
	opts Options
	// inbound holds the recorded inbound exchanges in order, lanes their
	// position and endpoint.
	inbound   []*traffic.Exchange
	position  map[string]int
	endpoints map[string]string // by recorded id
	perPoint  map[string]int    // inbound exchanges of head by endpoint
	recorded  map[string]*traffic.Exchange
	// base, control and head inbound exchanges by recorded id.
	base, control, head map[string]*traffic.Exchange
	// routes caches the names of calls; asked holds what those with SQL ask.
	routes map[*traffic.Exchange]string
	asked  map[string][]*sql.Statement
}

func newRun(in Input, opts Options) *run {
	r := &run{
		in: in, opts: opts.withDefaults(),
		position: map[string]int{}, endpoints: map[string]string{}, perPoint: map[string]int{},
		recorded: map[string]*traffic.Exchange{}, routes: map[*traffic.Exchange]string{}, asked: map[string][]*sql.Statement{},
		base: byRecorded(in.Base.Inbound), control: byRecorded(in.Control.Inbound), head: byRecorded(in.Head.Inbound),
	}
	for _, x := range in.Recorded {
		if x == nil {
			continue
		}
		r.recorded[x.ID] = x
		if x.Direction == traffic.Inbound {
			r.inbound = append(r.inbound, x)
		}
	}
	slices.SortStableFunc(r.inbound, func(a, b *traffic.Exchange) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
	})
	for i, x := range r.inbound {
		r.position[x.ID] = i
		r.endpoints[x.ID] = r.opts.Router.Endpoint(&x.Request)
		if r.head[x.ID] != nil {
			r.perPoint[r.endpoints[x.ID]]++
		}
	}
	return r
}

func byRecorded(live []*traffic.Exchange) map[string]*traffic.Exchange {
	out := make(map[string]*traffic.Exchange, len(live))
	for _, x := range live {
		if x != nil && x.Recorded != "" {
			out[x.Recorded] = x
		}
	}
	return out
}

// inboundUnits pairs the answers by recorded id. Exchanges that were not
// replayed on base and head are left out: there is nothing to compare.
func (r *run) inboundUnits() []*unit {
	var units []*unit
	for i, x := range r.inbound {
		u := &unit{
			id: x.ID, order: i, endpoint: r.endpoints[x.ID], recorded: x,
			base: r.base[x.ID], control: r.control[x.ID], head: r.head[x.ID],
		}
		if u.recorded.Response == nil && u.recorded.Failure == traffic.FailureNone {
			u.recorded = nil // the source carried no responses
		}
		if u.base != nil && u.head != nil {
			units = append(units, u)
		}
	}
	return units
}

// dependency names the callee. The port counts only where the name alone does
// not tell dependencies apart.
func dependency(q *traffic.Request) string {
	host := q.Host()
	if host == "localhost" || net.ParseIP(host) != nil {
		return q.Authority
	}
	return host
}
