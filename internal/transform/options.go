package transform

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// Options says how recorded requests are made to fit. The zero value learns
// bindings and changes nothing else.
type Options struct {
	// JWT gives the keys for signing tokens anew.
	JWT []JWTRule `yaml:"jwt" json:"jwt,omitempty"`
	// Issuer signs the tokens that no rule takes and whose issuer the mock stands
	// in for; nil leaves them.
	Issuer *fresh.Issuer `yaml:"-" json:"issuer,omitempty"`
	// Headers are applied in order, after values and tokens.
	Headers []HeaderRule `yaml:"headers" json:"headers,omitempty"`
	// Shift names places in requests that hold dates or times; they move by the
	// age of the recording. Values from live answers stay.
	Shift []traffic.Pattern `yaml:"shift" json:"shift,omitempty"`
	// Sign computes signatures again, after everything else.
	Sign []SignRule `yaml:"sign" json:"sign,omitempty"`
	// Forbid names places, in answers or in requests, whose values are never
	// bound.
	Forbid []traffic.Pattern `yaml:"forbid" json:"forbid,omitempty"`
	// Bind names pairs of places that hold the same value, where learning would
	// not see it.
	Bind []BindRule `yaml:"bind" json:"bind,omitempty"`
	// Keep picks the inbound exchanges that are replayed; nil keeps all.
	Keep *Filter `yaml:"keep" json:"keep,omitempty"`
	// Sample is the share of sessions that is kept, above 0 and below 1; 0 keeps
	// all. Which ones depends on nothing but their recording.
	Sample float64 `yaml:"sample" json:"sample,omitempty"`
	// Types are those of protobuf messages, by which their fields have names and
	// their numbers can be bound; nil knows none.
	Types *protobuf.Types `yaml:"-" json:"types,omitempty"`
	// Router names endpoints in filters; nil has no templates of its own.
	Router *traffic.Router `yaml:"-" json:"-"`
	// Now is the clock; nil is the system's.
	Now func() time.Time `yaml:"-" json:"-"`
}

// HeaderRule changes one header of each request that When picks. Exactly one
// of Set, Remove and Replace is given.
type HeaderRule struct {
	Name string `yaml:"name" json:"name"`
	// Set gives the header this value and adds it where it is missing.
	Set *string `yaml:"set" json:"set,omitempty"`
	// Remove drops all fields of the name.
	Remove bool `yaml:"remove" json:"remove,omitempty"`
	// Replace is a regular expression; each match in a value becomes With, in
	// which $1 stands for the first group.
	Replace string  `yaml:"replace" json:"replace,omitempty"`
	With    string  `yaml:"with" json:"with,omitempty"`
	When    *Filter `yaml:"when" json:"when,omitempty"`
}

// Validate returns one line for each mistake, joined, or nil.
func (o Options) Validate() error {
	var errs []error
	for i, rule := range o.JWT {
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("jwt[%d]: %w", i, err))
		}
	}
	if _, err := o.Issuer.Open(); err != nil {
		errs = append(errs, err)
	}
	for i, rule := range o.Headers {
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("headers[%d]: %w", i, err))
		}
	}
	for i, rule := range o.Bind {
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("bind[%d]: %w", i, err))
		}
	}
	for i, rule := range o.Sign {
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("sign[%d]: %w", i, err))
		}
	}
	if !(o.Sample >= 0 && o.Sample <= 1) {
		errs = append(errs, fmt.Errorf("sample: %v must be above 0 and at most 1", o.Sample))
	}
	if o.Keep != nil {
		if _, err := o.Keep.compile(o.Router); err != nil {
			errs = append(errs, fmt.Errorf("keep%w", err))
		}
	}
	return errors.Join(errs...)
}

func (r HeaderRule) validate() error {
	given := 0
	for _, is := range []bool{r.Set != nil, r.Remove, r.Replace != ""} {
		if is {
			given++
		}
	}
	switch {
	case r.Name == "" || strings.ContainsAny(r.Name, " :\r\n\t"):
		return fmt.Errorf("name %q is not a header name", r.Name)
	case given != 1:
		return fmt.Errorf("%s: give exactly one of set, remove and replace", r.Name)
	case r.Set != nil && strings.ContainsAny(*r.Set, "\r\n"), strings.ContainsAny(r.With, "\r\n"):
		return fmt.Errorf("%s: a header value cannot hold a line break", r.Name)
	}
	if _, err := regexp.Compile(r.Replace); err != nil {
		return fmt.Errorf("%s: replace: %w", r.Name, err)
	}
	if r.When != nil {
		if _, err := r.When.compile(nil); err != nil {
			return fmt.Errorf("%s: when%w", r.Name, err)
		}
	}
	return nil
}

// Keeps returns what tells the inbound exchanges that Keep picks.
func (o Options) Keeps() (func(*traffic.Exchange) bool, error) {
	if o.Keep == nil {
		return func(*traffic.Exchange) bool { return true }, nil
	}
	match, err := o.Keep.compile(o.Router)
	if err != nil {
		return nil, fmt.Errorf("keep%w", err)
	}
	return match, nil
}

// Select returns the exchanges that Keep and Sample pick, in their order.
// Outbound ones stay when the inbound exchange of their lane does, and so do
// those of no particular lane. A session is sampled as a whole.
func (o Options) Select(recorded []*traffic.Exchange) ([]*traffic.Exchange, error) {
	match, err := o.Keeps()
	if err != nil {
		return nil, err
	}
	sampled := o.sampled(recorded)
	dropped := make(map[traffic.Lane]bool)
	for _, x := range recorded {
		if x.Direction != traffic.Outbound && !(sampled(x.ID) && match(x)) {
			dropped[traffic.Lane(x.ID)] = true
		}
	}
	var kept []*traffic.Exchange
	for _, x := range recorded {
		lane := x.Lane
		if x.Direction != traffic.Outbound {
			lane = traffic.Lane(x.ID)
		}
		if !dropped[lane] {
			kept = append(kept, x)
		}
	}
	return kept, nil
}

// sampled returns which inbound exchanges belong to sampled sessions. A session
// is known by its first exchange.
func (o Options) sampled(recorded []*traffic.Exchange) func(id string) bool {
	if o.Sample == 0 || o.Sample == 1 {
		return func(string) bool { return true }
	}
	var inbound []*traffic.Exchange
	for _, x := range recorded {
		if x.Direction != traffic.Outbound {
			inbound = append(inbound, x)
		}
	}
	slices.SortStableFunc(inbound, func(a, b *traffic.Exchange) int { return a.Start.Compare(b.Start) })
	first := make(map[string]string) // id -> id of the first exchange of its session
	for i, n := range traffic.Sessions(inbound) {
		first[inbound[i].ID] = inbound[n].ID
	}
	return func(id string) bool { return sampledBy(first[id], o.Sample) }
}

func (o Options) forbids(path traffic.Path) bool {
	for _, p := range o.Forbid {
		if p.Covers(path) {
			return true
		}
	}
	return false
}

// compiled is Options made ready for use.
type compiled struct {
	jwt    []signer
	ring   *fresh.Ring // nil signs nothing
	rules  []headerRule
	shift  []traffic.Pattern
	forbid []traffic.Pattern
	sign   []signRule
	bind   []BindRule
	router *traffic.Router
	now    func() time.Time
	tokens *tokenCache
	types  *protobuf.Types
}

type headerRule struct {
	HeaderRule
	pattern *regexp.Regexp
	when    func(*traffic.Exchange) bool
}

type signRule struct {
	SignRule
	when func(*traffic.Exchange) bool
}

func (o Options) compile() compiled {
	c := compiled{now: o.Now, shift: o.Shift, forbid: o.Forbid, bind: o.Bind, router: o.Router, tokens: newTokenCache(), types: o.Types}
	if c.now == nil {
		c.now = time.Now
	}
	c.ring, _ = o.Issuer.Open() // Validate has tried
	for _, rule := range o.JWT {
		if s, err := rule.signer(); err == nil {
			c.jwt = append(c.jwt, s)
		}
	}
	for _, rule := range o.Headers {
		if rule.validate() != nil {
			continue
		}
		h := headerRule{HeaderRule: rule, pattern: regexp.MustCompile(rule.Replace)}
		if rule.When != nil {
			h.when, _ = rule.When.compile(o.Router)
		}
		c.rules = append(c.rules, h)
	}
	for _, rule := range o.Sign {
		if rule.validate() != nil {
			continue
		}
		r := signRule{SignRule: rule}
		if rule.When != nil {
			r.when, _ = rule.When.compile(o.Router)
		}
		c.sign = append(c.sign, r)
	}
	return c
}

// moves reports whether the value at a place is a date to be moved.
func (c *compiled) moves(path traffic.Path) bool {
	return slices.ContainsFunc(c.shift, func(p traffic.Pattern) bool { return p.Covers(path) })
}

// signatures applies the signing rules that pick the recorded exchange.
func (c *compiled) signatures(recorded *traffic.Exchange, req *traffic.Request) *traffic.Request {
	out := req
	for _, rule := range c.sign {
		if rule.when != nil && !rule.when(recorded) {
			continue
		}
		if out == req {
			clone := *req
			clone.Header = req.Header.Clone()
			out = &clone
		}
		rule.sign(out, c.now())
	}
	return out
}

// headers applies the header rules that pick the recorded exchange.
func (c *compiled) headers(recorded *traffic.Exchange, req *traffic.Request) *traffic.Request {
	out := req
	for _, rule := range c.rules {
		if rule.when != nil && !rule.when(recorded) {
			continue
		}
		if out == req {
			clone := *req
			clone.Header = req.Header.Clone()
			out = &clone
		}
		switch {
		case rule.Remove:
			out.Header.Del(rule.Name)
		case rule.Set != nil:
			out.Header.Set(rule.Name, *rule.Set)
		default:
			for i, f := range out.Header {
				if strings.EqualFold(f.Name, rule.Name) {
					out.Header[i].Value = rule.pattern.ReplaceAllString(f.Value, rule.With)
				}
			}
		}
	}
	return out
}
