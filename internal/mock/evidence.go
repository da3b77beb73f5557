package mock

import (
	"cmp"
	"slices"
	"sync"
)

// Name is a host name that was asked for, as evidence of a dependency that the
// recording does not know.
type Name struct {
	Name string
	// Recorded says that a recorded dependency has this name; Cluster, that the
	// question went to the cluster's own name server.
	Recorded bool
	Cluster  bool
	Count    int
}

// Refusal is a TLS handshake that a client broke off, most often since it does
// not trust the authority of the run.
type Refusal struct {
	Name   string // by SNI, or the host of the tunnel
	Reason string
	Count  int
}

// maxEvidence bounds the distinct pieces that are kept of each kind.
const maxEvidence = 4096

// evidence collects what clients tried.
type evidence struct {
	mu       sync.Mutex
	names    map[string]*Name
	refusals map[Refusal]int
}

func (e *evidence) name(name string, recorded, cluster bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.names == nil {
		e.names = map[string]*Name{}
	}
	n, ok := e.names[name]
	if !ok {
		if len(e.names) >= maxEvidence {
			return
		}
		n = &Name{Name: name, Recorded: recorded, Cluster: cluster}
		e.names[name] = n
	}
	n.Count++
}

func (e *evidence) handshake(name string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refusals == nil {
		e.refusals = map[Refusal]int{}
	}
	key := Refusal{Name: name, Reason: err.Error()}
	if _, ok := e.refusals[key]; ok || len(e.refusals) < maxEvidence {
		e.refusals[key]++
	}
}

// Names returns the host names that were asked of the name server, sorted.
func (m *Mock) Names() []Name {
	m.evidence.mu.Lock()
	defer m.evidence.mu.Unlock()
	names := make([]Name, 0, len(m.evidence.names))
	for _, n := range m.evidence.names {
		names = append(names, *n)
	}
	slices.SortFunc(names, func(a, b Name) int { return cmp.Compare(a.Name, b.Name) })
	return names
}

// Refusals returns the TLS handshakes that failed, sorted by name.
func (m *Mock) Refusals() []Refusal {
	m.evidence.mu.Lock()
	defer m.evidence.mu.Unlock()
	refusals := make([]Refusal, 0, len(m.evidence.refusals))
	for r, n := range m.evidence.refusals {
		r.Count = n
		refusals = append(refusals, r)
	}
	slices.SortFunc(refusals, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reason, b.Reason))
	})
	return refusals
}
