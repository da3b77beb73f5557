package transform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/protobuf"
)

// Preflight says, before anything is sent, what becomes of the signed tokens in
// the recorded requests. Each token is counted once.
type Preflight struct {
	Tokens     int // JSON web tokens found in requests
	WasExpired int // had expired when they were recorded; they stay so
	Expired    int // have expired since
	Bound      int // will be replaced by what a live answer gives
	Resigned   int // will be signed anew
	Left       int // have expired since and go out as recorded
	// FirstLeft is the request with the first token that is left, as
	// "GET /v1/orders (x0003)".
	FirstLeft string
}

// Check looks at the tokens of recorded inbound requests as they are now.
func Check(recorded []*traffic.Exchange, b *Bindings, opts Options) Preflight {
	if b == nil {
		b = &Bindings{}
	}
	c := opts.compile()
	now := c.now()
	var p Preflight
	seen := make(map[string]bool)
	for _, x := range recorded {
		if x.Direction == traffic.Outbound {
			continue
		}
		eachToken(opts.Types, &x.Request, func(at traffic.Path, token string) {
			t, ok := fresh.ParseToken(token)
			if !ok || seen[token] {
				return
			}
			seen[token] = true
			p.Tokens++
			expired, was := t.ExpiredAt(now), t.ExpiredAt(x.Start)
			switch {
			case was:
				p.WasExpired++
			case expired:
				p.Expired++
			}
			switch {
			case slices.Contains(b.uses[x.ID], token):
				p.Bound++
			case c.signs(at, t):
				p.Resigned++
			case expired && !was:
				p.Left++
				if p.FirstLeft == "" {
					p.FirstLeft = fmt.Sprintf("%s %s (%s)", x.Request.Method, x.Request.Path(), x.ID)
				}
			}
		})
	}
	return p
}

// String is one or two lines for people; empty when there are no tokens.
func (p Preflight) String() string {
	if p.Tokens == 0 {
		return ""
	}
	text := fmt.Sprintf("%d tokens in requests: %d expired since the recording, %d had expired before; %d come from live answers, %d are signed anew",
		p.Tokens, p.Expired, p.WasExpired, p.Bound, p.Resigned)
	if p.Left > 0 {
		text += fmt.Sprintf("\n%d expired tokens go out as recorded and will likely be refused, first %s; give a key under replay.jwt", p.Left, p.FirstLeft)
	}
	return text
}

// eachToken visits the values of a request that are tokens.
func eachToken(types *protobuf.Types, req *traffic.Request, visit func(at traffic.Path, token string)) {
	rewriteRequest(types, req, func(s spot) (string, bool) {
		if strings.Count(s.value, ".") == 2 {
			visit(s.path, s.value)
		}
		return "", false
	})
}
