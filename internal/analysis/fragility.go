package analysis

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Chaos is one pass each of base and head while their dependencies went wrong:
// in the same way for both, call by call.
type Chaos struct{ Base, Head Observation }

// Fragility sums up the passes in which dependencies went wrong.
type Fragility struct {
	Requests int `json:"requests"` // of head, for which a call met a fault
	Base     int `json:"base"`     // requests that base failed at
	Head     int `json:"head"`     // requests that head failed at
	New      int `json:"new"`      // requests that head fails at and base survives
}

// faultMark begins the reason of a call that the mock let go wrong.
const faultMark = "fault: "

// Fragile reports whether head failed in every pass at something that base
// survived, so that another pass of both is worth its time.
func Fragile(in Input, opts Options) bool {
	findings, _ := newRun(in, opts).fragility()
	return len(findings) > 0
}

// fragility finds what head fails at and base survives when dependencies go
// wrong. What either does without faults is judged elsewhere: a request counts
// only where both answer well then.
func (r *run) fragility() ([]Finding, *Fragility) {
	if len(r.in.Chaos) == 0 {
		return nil, nil
	}
	sum := &Fragility{}
	type seen struct {
		base, head map[string]*traffic.Exchange
		calls      lanes
		baseCalls  lanes
	}
	var passes []seen
	for _, c := range r.in.Chaos {
		passes = append(passes, seen{byRecorded(c.Base.Inbound), byRecorded(c.Head.Inbound), laneCalls(c.Head.Outbound), laneCalls(c.Base.Outbound)})
	}
	of := map[string]int{}
	at := map[string]int{} // by endpoint, call and fault: the finding
	var found []Finding
	for _, x := range r.inbound {
		endpoint, first := r.endpoints[x.ID], passes[0]
		base, head := first.base[x.ID], first.head[x.ID]
		if base == nil || head == nil || !well(r.base[x.ID]) || !well(r.head[x.ID]) {
			continue
		}
		of[endpoint]++
		met := faulted(first.calls[traffic.Lane(x.ID)])
		if met != nil {
			sum.Requests++
		}
		if !well(base) {
			sum.Base++
		}
		if !well(head) {
			sum.Head++
		}
		if slices.ContainsFunc(passes, func(p seen) bool { return !well(p.base[x.ID]) || p.head[x.ID] == nil || well(p.head[x.ID]) }) {
			continue
		}
		sum.New++
		f := Finding{
			Kind: KindFragility, Cause: CauseHead, Endpoint: endpoint, Address: "response.status", Change: ChangeFragile,
			Base: outcomeOf(base), Head: outcomeOf(head), Count: 1, Example: x.ID, Detail: "head fails where base survives",
		}
		fault := ""
		if met != nil {
			f.Call, fault = r.callRoute(met), strings.TrimPrefix(met.Match.Reason, faultMark)
			f.Detail = fmt.Sprintf("with %s, base makes %s and survives, head makes %s", fault,
				plural(r.callsOf(first.baseCalls, x.ID, f.Call), "such call"), plural(r.callsOf(first.calls, x.ID, f.Call), "such call"))
		} else if crashes := r.in.Chaos[0].Head.Crashes; head.Response == nil && len(crashes) > 0 {
			f.Detail = "the service of head ended while dependencies went wrong: " + crashes[0].Reason
		}
		key := f.Endpoint + "\x00" + f.Call + "\x00" + kindOfFault(fault)
		if i, ok := at[key]; ok {
			found[i].Count++
			continue
		}
		at[key] = len(found)
		found = append(found, f)
	}
	for i := range found {
		found[i].Of = of[found[i].Endpoint]
	}
	return found, sum
}

// well reports whether an exchange ended as its caller would want.
func well(x *traffic.Exchange) bool {
	return x != nil && x.Response != nil && x.Response.Status < http.StatusInternalServerError
}

// faulted returns the first call that went wrong, or nil.
func faulted(calls []*traffic.Exchange) *traffic.Exchange {
	for _, x := range calls {
		if x.Match != nil && strings.HasPrefix(x.Match.Reason, faultMark) {
			return x
		}
	}
	return nil
}

// callsOf counts the calls of a lane on a route.
func (r *run) callsOf(calls lanes, lane, route string) int {
	n := 0
	for _, x := range calls[traffic.Lane(lane)] {
		if r.callRoute(x) == route {
			n++
		}
	}
	return n
}

// kindOfFault is a fault without its figures, so that delays of different length
// make one finding.
func kindOfFault(fault string) string {
	return strings.TrimRight(fault, "0123456789.nµms ")
}

func outcomeOf(x *traffic.Exchange) string {
	if x.Response == nil {
		return "no response"
	}
	return fmt.Sprint(x.Response.Status)
}
