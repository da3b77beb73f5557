package cli

import (
	"fmt"

	"github.com/reprise-ci/reprise/internal/report"
)

// progress shows a run while it runs: a live line on a terminal, one line a
// stage elsewhere.
type progress struct{ *report.Progress }

func newProgress(s Surroundings) progress {
	opts := report.ProgressOptions{Width: s.Width, Color: s.Terminal}
	if s.Terminal {
		opts.Mode = report.ProgressLive
	}
	return progress{report.NewProgress(s.Stderr, opts)}
}

// Note satisfies pipeline.Progress.
func (p progress) Note(format string, args ...any) { p.Progress.Note(fmt.Sprintf(format, args...)) }
