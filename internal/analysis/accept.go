package analysis

import (
	"fmt"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Accept is a change that people have agreed to. Findings that match it are
// shown, folded, and do not gate.
type Accept struct {
	// Address, Kind and Endpoint must match the finding; an empty Kind matches
	// every kind. For outbound findings, Call is the route, and the address is
	// the one inside the call. Endpoint and Call may hold * for any text.
	Address  traffic.Pattern `yaml:"address" json:"address"`
	Kind     Kind            `yaml:"kind,omitempty" json:"kind,omitempty"`
	Change   Change          `yaml:"change,omitempty" json:"change,omitempty"`
	Endpoint string          `yaml:"endpoint" json:"endpoint"`
	Call     string          `yaml:"call,omitempty" json:"call,omitempty"`
	// Broad allows an acceptance to reach further than one endpoint.
	Broad bool `yaml:"broad,omitempty" json:"broad,omitempty"`

	Reason string `yaml:"reason" json:"reason"`
	Author string `yaml:"author,omitempty" json:"author,omitempty"`
	// Date is when it was accepted, Expires when it ends; zero for never.
	Date    time.Time `yaml:"date" json:"date"`
	Expires time.Time `yaml:"expires,omitempty" json:"expires,omitzero"`
}

// Validate reports what an acceptance lacks, or that it reaches too far.
func (a Accept) Validate() error {
	switch {
	case strings.TrimSpace(a.Reason) == "":
		return fmt.Errorf("accept %s: the reason is missing", a.place())
	case a.Endpoint == "":
		return fmt.Errorf("accept %s: the endpoint is missing; * stands for all, with broad: true", a.place())
	case a.wide() && !a.Broad:
		return fmt.Errorf("accept %s: this reaches further than one endpoint; name the endpoint, or set broad: true", a.place())
	case a.Address.String() == "" && a.Call == "" && (a.Change == "" || a.Kind == ""):
		return fmt.Errorf("accept %s: without an address it needs kind and change", a.place())
	}
	return nil
}

// wide reports whether the acceptance may match more than one endpoint, or
// every place of one.
func (a Accept) wide() bool { return strings.Contains(a.Endpoint, "*") || a.Address.String() == "**" }

func (a Accept) place() string {
	return strings.Join(strings.Fields(strings.Join([]string{a.Endpoint, a.Call, a.Address.String()}, " ")), " ")
}

// expired reports whether the acceptance has ended. It ends with its last day.
func (a Accept) expired(now time.Time) bool {
	return !a.Expires.IsZero() && !now.IsZero() && !now.Before(a.Expires.AddDate(0, 0, 1))
}

// matches reports whether a finding is what was accepted.
func (a Accept) matches(f *Finding) bool {
	if f.Cause != CauseHead || a.Kind != "" && a.Kind != f.Kind || a.Change != "" && a.Change != f.Change {
		return false
	}
	if !like(a.Endpoint, f.Endpoint) || a.Call != "" && !like(a.Call, f.Call) {
		return false
	}
	if a.Address.String() == "" {
		return true
	}
	if a.Address.String() == f.Address {
		return true
	}
	p, err := traffic.ParsePath(strings.ReplaceAll(f.Address, "[]", "[0]"))
	return err == nil && a.Address.Matches(p)
}

// like compares text with a pattern in which * stands for any text.
func like(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return s == "" || len(parts) > 1
}

// AcceptedBy is why a finding does not gate.
type AcceptedBy struct {
	Reason  string    `json:"reason"`
	Author  string    `json:"author,omitempty"`
	Date    time.Time `json:"date,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
}

// Lapsed names an acceptance that matches nothing any more, or has expired.
type Lapsed struct {
	Address  string `json:"address"`
	Kind     Kind   `json:"kind"`
	Change   Change `json:"change"`
	Endpoint string `json:"endpoint"`
	Call     string `json:"call,omitempty"`
	Reason   string `json:"reason"`
}

// Is reports whether an acceptance is the one named.
func (l Lapsed) Is(a Accept) bool { return l == a.named() }

func (a Accept) named() Lapsed {
	return Lapsed{a.Address.String(), a.Kind, a.Change, a.Endpoint, a.Call, a.Reason}
}

// accept marks the findings that were accepted, and says which acceptances
// matched nothing or have expired.
func (r *run) accept(findings []Finding) (lapsed []Lapsed, warnings []string) {
	for _, a := range r.opts.Accepts {
		n := 0
		expired := a.expired(r.opts.Now)
		for i := range findings {
			f := &findings[i]
			if !a.matches(f) {
				continue
			}
			n++
			if !expired && f.Accepted == nil {
				f.Accepted, f.Gates = &AcceptedBy{Reason: a.Reason, Author: a.Author, Date: a.Date, Expires: a.Expires}, false
			}
		}
		if n == 0 || expired {
			lapsed = append(lapsed, a.named())
		}
		switch {
		case n == 0:
			warnings = append(warnings, fmt.Sprintf("The acceptance of %s (%s) matches nothing any more; reprise accept --prune removes it.", a.place(), a.Reason))
		case expired:
			warnings = append(warnings, fmt.Sprintf("The acceptance of %s (%s) expired on %s.", a.place(), a.Reason, a.Expires.Format(time.DateOnly)))
		}
	}
	return lapsed, warnings
}
