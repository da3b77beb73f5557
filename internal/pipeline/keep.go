package pipeline

import (
	"errors"
	"fmt"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// keepCalls writes the calls to dependencies that the arms made, so that they
// can be explained when nothing of the run stands any more. They were made safe
// when they were seen.
func (r *run) keepCalls() error {
	if r.options.CallsFile == "" {
		return nil
	}
	var calls []*traffic.Exchange
	for _, arm := range arms {
		calls = append(calls, r.seen[arm].journal.calls...)
	}
	for _, x := range r.chaos {
		calls = append(append(calls, x.base.journal.calls...), x.head.journal.calls...)
	}
	if len(calls) == 0 {
		return nil
	}
	w, err := snapshot.NewWriter(r.options.CallsFile, redacted{}, snapshot.Options{Service: r.recording.Name, Replace: true, Now: r.options.Now})
	if err != nil {
		return fmt.Errorf("keep the calls to dependencies: %w", err)
	}
	for _, x := range calls {
		if err := w.Add(x); err != nil {
			return fmt.Errorf("keep the calls to dependencies: %w", errors.Join(err, w.Abort()))
		}
	}
	if _, err := w.Close(); err != nil {
		return fmt.Errorf("keep the calls to dependencies: %w", errors.Join(err, w.Abort()))
	}
	return nil
}

// redacted is the redactor for exchanges that a [Redactor] has been through. A
// second one would replace the pseudonyms of the first, which the report shows.
type redacted struct{}

func (redacted) Redact(*traffic.Exchange) ([]traffic.Redaction, error) { return nil, nil }

func (redacted) Describe() traffic.RedactionInfo { return traffic.RedactionInfo{} }
