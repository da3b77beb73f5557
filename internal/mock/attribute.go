package mock

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// minOwned is the length from which a value can tell which lane a call belongs
// to. Shorter ones belong to many.
const minOwned = 6

// attribute finds the pass and the lane of a live call, and by what. others
// are the lanes it may belong to as well when the lane is not sure.
func (m *Mock) attribute(c *call, connection string) (p *pass, lane traffic.Lane, by traffic.Certainty, others []traffic.Lane) {
	if mark, ok := findMark(c.req.Header); ok {
		p = m.pass(mark.Pass)
		if name, known := m.laneOf(mark.Lane); known {
			return p, name, traffic.ByTrace, nil
		}
	} else {
		p = m.current()
	}
	if m.opts.OneLane {
		return p, traffic.LaneBackground, traffic.ByNothing, nil
	}
	active := p.running()
	if len(active) == 0 {
		if p.number == 0 {
			return p, traffic.LaneBoot, traffic.ByNothing, nil
		}
		return p, traffic.LaneBackground, traffic.ByNothing, nil
	}
	if len(active) == 1 {
		return p, active[0], traffic.ByOnlyActive, nil
	}
	if name, ok := m.owner(p, c, active); ok {
		return p, name, traffic.ByValue, nil
	}
	if name := p.connection(connection); name != "" {
		for _, a := range active {
			if a == name {
				return p, name, traffic.ByConnection, nil
			}
		}
	}
	return p, traffic.LaneBackground, traffic.ByNothing, active
}

// owner returns the one active lane that a call belongs to by what it says:
// either only one active lane has recorded exactly this call, or all telling
// values in it are known to one active lane alone.
func (m *Mock) owner(p *pass, c *call, active []traffic.Lane) (traffic.Lane, bool) {
	var found traffic.Lane
	for _, name := range active {
		if l, ok := m.index.lanes[name]; ok && m.index.exact.first(laneKey(c.sig, l)) != none {
			if found != "" && found != name {
				found = ""
				break
			}
			found = name
		}
	}
	if found != "" {
		return found, true
	}
	for _, t := range c.form {
		if !t.kind.leaf() || t.kind == asked || len(t.text) < minOwned {
			continue
		}
		owners := 0
		var owner traffic.Lane
		for _, name := range active {
			if m.owns(p, name, t.text) {
				owners++
				owner = name
			}
		}
		if owners != 1 {
			continue
		}
		if found != "" && found != owner {
			return "", false // two values point to two lanes
		}
		found = owner
	}
	return found, found != ""
}

// owns reports whether a lane knows a value: from its inbound request, from a
// call recorded in it, or from a pair learned in this pass.
func (m *Mock) owns(p *pass, name traffic.Lane, value string) bool {
	ls := p.lane(m.index, name)
	ls.mu.Lock()
	_, learned := ls.recorded[value]
	ls.mu.Unlock()
	if learned {
		return true
	}
	_, known := m.values(name)[value]
	return known
}

// values returns the telling values of a lane as recorded. They are collected
// at the first use and kept, since every pass asks for the same lanes.
func (m *Mock) values(name traffic.Lane) map[string]struct{} {
	if v, ok := m.laneValues.Load(name); ok {
		return v.(map[string]struct{})
	}
	values := map[string]struct{}{}
	add := func(f form) {
		for _, t := range f {
			if t.kind.leaf() && len(t.text) >= minOwned && t.kind != raw && t.kind != asked {
				values[t.text] = struct{}{}
			}
		}
	}
	var f form
	if req, ok := m.index.inboundOf(name); ok {
		f = m.index.canon.form(f, "", &req)
		add(f)
	}
	if l := m.index.lanes[name]; l != nil {
		for i := l.from; i < min(l.to, l.from+maxTraced); i++ {
			f = m.index.form(f, m.index.request(int32(i)))
			add(f)
		}
	}
	v, _ := m.laneValues.LoadOrStore(name, values)
	return v.(map[string]struct{})
}

// laneOf returns the lane that a mark's number stands for.
func (m *Mock) laneOf(number uint64) (traffic.Lane, bool) {
	if name, ok := m.index.numbers[number]; ok {
		return name, true
	}
	if name, ok := m.entered.Load(number); ok {
		return name.(traffic.Lane), true
	}
	return "", false
}

// connection returns the lane that has a client connection to itself, or "".
func (p *pass) connection(id string) traffic.Lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns[id]
}

// maxConnections bounds how many client connections of a pass are remembered.
const maxConnections = 1 << 16

// onConnection notes that a connection carried a call of a lane. The caller
// holds mu.
func (p *pass) onConnection(id string, lane traffic.Lane) {
	known, ok := p.conns[id]
	switch {
	case !ok && len(p.conns) < maxConnections:
		p.conns[id] = lane
	case ok && known != lane:
		p.conns[id] = "" // shared, so it tells nothing
	}
}

// findMark reads the mark of the replayer from a request, in whatever form the
// service's tracer forwarded the trace id.
func findMark(h traffic.Header) (traffic.Mark, bool) {
	for _, f := range h {
		if !carriesTrace(f.Name) {
			continue
		}
		for _, id := range traceIDs(f) {
			if mark, ok := traffic.ParseMark("00-" + id + "-0000000000000001-00"); ok {
				return mark, true
			}
		}
	}
	return datadogMark(h)
}

// tracing are the fields in which tracers forward a trace id.
var tracing = [...]string{"traceparent", "baggage", "x-b3-traceid", "b3", "uber-trace-id", "x-amzn-trace-id", "x-cloud-trace-context", "grpc-trace-bin"}

// carriesTrace reports whether a field is one of them. It is asked for every
// field of every call, and must not allocate.
func carriesTrace(name string) bool {
	for _, t := range tracing {
		if len(t) == len(name) && strings.EqualFold(t, name) {
			return true
		}
	}
	return false
}

// traceIDs returns what may be a trace id of 32 hexadecimal digits in a field.
func traceIDs(f traffic.Field) []string {
	name := strings.ToLower(f.Name)
	switch name {
	case "traceparent":
		if parts := strings.Split(f.Value, "-"); len(parts) >= 4 {
			return parts[1:2]
		}
	case "baggage":
		var ids []string
		for member := range strings.SplitSeq(f.Value, ",") {
			key, value, _ := strings.Cut(strings.TrimSpace(member), "=")
			if strings.TrimSpace(key) != "reprise" {
				continue
			}
			value, _, _ = strings.Cut(value, ";")
			if parts := strings.Split(strings.TrimSpace(value), "-"); len(parts) >= 4 {
				value = parts[1]
			}
			ids = append(ids, strings.TrimSpace(value))
		}
		return ids
	case "x-b3-traceid":
		return []string{strings.TrimSpace(f.Value)}
	case "b3":
		id, _, _ := strings.Cut(strings.TrimSpace(f.Value), "-")
		return []string{id}
	case "uber-trace-id":
		id, _, _ := strings.Cut(strings.ReplaceAll(f.Value, "%3A", ":"), ":")
		return []string{strings.Repeat("0", max(0, 32-len(id))) + id}
	case "x-amzn-trace-id":
		if _, root, ok := strings.Cut(f.Value, "Root=1-"); ok {
			root, _, _ = strings.Cut(root, ";")
			return []string{strings.ReplaceAll(strings.TrimSpace(root), "-", "")}
		}
	case "x-cloud-trace-context":
		id, _, _ := strings.Cut(f.Value, "/")
		return []string{id}
	case "grpc-trace-bin":
		// Version 0, field 0, sixteen bytes of trace id.
		data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(f.Value, "="))
		if err == nil && len(data) >= 18 && data[0] == 0 && data[1] == 0 {
			return []string{hex.EncodeToString(data[2:18])}
		}
	}
	return nil
}

// datadogMark puts a mark together from the two halves that Datadog's tracers
// write in different fields.
func datadogMark(h traffic.Header) (traffic.Mark, bool) {
	id := h.Get("X-Datadog-Trace-Id")
	if id == "" {
		return traffic.Mark{}, false
	}
	low, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return traffic.Mark{}, false
	}
	_, high, ok := strings.Cut(h.Get("X-Datadog-Tags"), "_dd.p.tid=")
	if !ok {
		return traffic.Mark{}, false
	}
	high, _, _ = strings.Cut(high, ",")
	return traffic.ParseMark("00-" + high + fmt.Sprintf("%016x", low) + "-0000000000000001-00")
}
