package pipeline

import (
	"errors"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// masking is a Redactor that knows one name.
type masking struct{ fails bool }

func (m masking) Text(s string) string { return strings.ReplaceAll(s, "Ada", "Xqx") }

func (m masking) Redact(x *traffic.Exchange) ([]traffic.Redaction, error) {
	if m.fails {
		return nil, errors.New("no")
	}
	x.Response.Body.Raw = []byte(m.Text(string(x.Response.Body.Raw)))
	return nil, nil
}

func TestHideLeavesNoNameAndNoOriginalChanged(t *testing.T) {
	differs := []traffic.Disagreement{{Path: traffic.At("request", "body"), Recorded: "Eve", Live: "Ada"}}
	original := &traffic.Exchange{
		ID: "x", Response: &traffic.Response{Body: traffic.NewBody([]byte("Ada"), nil)},
		Match: &traffic.Match{Reason: "Ada is new", Nearest: []traffic.Near{{Differences: differs}}},
	}
	seen := func() *observation {
		o := &observation{inbound: []*traffic.Exchange{original}, journal: journal{calls: []*traffic.Exchange{original}}}
		o.journal.account.Misses = []analysis.Miss{{Reason: "Ada is new", Nearest: &analysis.NearestCall{Differences: []string{"live Ada"}}}, {}}
		o.crash("Ada broke it", "panic: Ada", "")
		return o
	}
	o := seen()
	if err := o.hide(masking{}); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"answer": string(o.inbound[0].Response.Body.Raw), "call": string(o.journal.calls[0].Response.Body.Raw),
		"near miss": o.journal.calls[0].Match.Nearest[0].Differences[0].Live, "account": o.journal.account.Misses[0].Nearest.Differences[0],
		"why": o.journal.calls[0].Match.Reason, "why of the account": o.journal.account.Misses[0].Reason,
		"reason": o.crashes[0].Reason, "log": o.crashes[0].Log,
	} {
		if strings.Contains(text, "Ada") || !strings.Contains(text, "Xqx") {
			t.Errorf("%s: %q", what, text)
		}
	}
	if string(original.Response.Body.Raw) != "Ada" || differs[0].Live != "Ada" {
		t.Error("what belongs to the replayer and the mock was changed")
	}
	o = seen()
	if err := o.hide(masking{fails: true}); err == nil || len(o.inbound)+len(o.journal.calls)+len(o.journal.account.Misses) > 0 {
		t.Errorf("error %v, and something was kept", err)
	}
}
