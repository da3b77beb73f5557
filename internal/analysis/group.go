package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// group is all sightings of one cause: the later finding.
type group struct {
	key
	sightings []sighting
	// root is the group whose consequence this one is; nil for findings.
	root *group
}

// groupUp groups sightings, in the order of the recording.
func groupUp(sightings []sighting) []*group {
	at := make(map[key]*group)
	var groups []*group
	for _, s := range sightings {
		k := s.key()
		g := at[k]
		if g == nil {
			g = &group{key: k}
			at[k] = g
			groups = append(groups, g)
		}
		g.sightings = append(g.sightings, s)
	}
	for _, g := range groups {
		slices.SortStableFunc(g.sightings, func(a, b sighting) int { return cmp.Compare(a.order, b.order) })
	}
	slices.SortStableFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.sightings[0].order, b.sightings[0].order), compareKeys(a.key, b.key))
	})
	return groups
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(kindRank(a.kind), kindRank(b.kind)), compareStrings(a.endpoint, b.endpoint),
		compareStrings(a.call, b.call), compareStrings(a.address, b.address), compareStrings(string(a.change), string(b.change)))
}

func compareStrings(a, b string) int { return strings.Compare(a, b) }

// kindRank orders kinds by how much they matter.
func kindRank(k Kind) int {
	return slices.Index([]Kind{KindCrash, KindResponse, KindOutbound, KindFragility, KindLatency, KindResource}, k)
}

// lanes returns the distinct lanes that show the group.
func (g *group) lanes() map[string]bool {
	out := make(map[string]bool, len(g.sightings))
	for i := range g.sightings {
		out[g.sightings[i].lane] = true
	}
	return out
}

// final returns the group at the end of the chain of roots.
func (g *group) final() *group {
	for g.root != nil {
		g = g.root
	}
	return g
}

// finding turns a group into what is reported.
func (g *group) finding(of int) Finding {
	first := &g.sightings[0]
	f := Finding{
		Kind: g.kind, Cause: CauseHead, Endpoint: g.endpoint, Address: g.address, Change: g.change, Call: g.call,
		Recorded: display(first.recorded), Base: display(first.base), Head: display(first.head),
		Count: len(g.lanes()), Example: first.lane, Detail: g.detail(),
	}
	f.Of = max(of, f.Count)
	for i := range g.sightings {
		if x := g.sightings[i].live; x != nil && x.Match != nil && x.Match.Tier.Assisted() {
			f.Assisted = true
		}
	}
	return f
}

// detail is one sentence about the first sighting, with what all have in common.
func (g *group) detail() string {
	first := &g.sightings[0]
	var parts []string
	switch g.change {
	case ChangeRepeatedCall, ChangeNewCall, ChangeMissingCall:
		parts = append(parts, times(first.was, first.now))
	}
	if first.detail != "" {
		parts = append(parts, display(first.detail))
	}
	if g.restored() {
		parts = append(parts, restoredDetail)
	}
	if first.missed || missed(first.live) {
		parts = append(parts, "nothing recorded answers it"+nearest(first))
	}
	return strings.Join(parts, "; ")
}

// nearest says how the closest recorded call differs: at the place of the sighting
// where it does, for at others it may differ as base does.
func nearest(s *sighting) string {
	if s.live == nil || s.live.Match == nil || len(s.live.Match.Nearest) == 0 {
		return ""
	}
	n := s.live.Match.Nearest[0]
	if len(n.Differences) == 0 {
		return fmt.Sprintf(", the nearest is %s", n.Record)
	}
	d := n.Differences[0]
	for _, o := range n.Differences {
		if s.path.Len() > 0 && o.Path.Within(s.path) {
			d = o
			break
		}
	}
	return fmt.Sprintf(", the nearest is %s with %s %s instead of %s", n.Record, d.Path, display(d.Recorded), display(d.Live))
}

// restored reports whether every sighting is head going back to the recording.
func (g *group) restored() bool {
	for i := range g.sightings {
		if !g.sightings[i].restored {
			return false
		}
	}
	return true
}

// displayLimit is how much of a value a finding shows.
const displayLimit = 300

// display shortens a value at a rune and keeps it on one line.
func display(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) > displayLimit {
		cut := displayLimit
		for cut > 0 && s[cut]&0xc0 == 0x80 {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.NewReplacer("\r", `\r`, "\n", `\n`, "\x00", `\0`).Replace(s)
}

// restoredDetail marks a finding in which head goes back to what was recorded:
// shown, but no reason to fail.
const restoredDetail = "head answers as recorded, base does not"
