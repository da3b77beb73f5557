package report_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/report"
)

// steps is a clock that moves by a second whenever it is read.
func steps() func() time.Time {
	var mu sync.Mutex
	now := time.Unix(0, 0)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Second)
		return now
	}
}

func TestProgress(t *testing.T) {
	run := func(mode report.ProgressMode, color bool) string {
		var b bytes.Buffer
		p := report.NewProgress(&b, report.ProgressOptions{Mode: mode, Now: steps(), Color: color, Interval: time.Hour})
		cluster := p.Stage("cluster")
		images := p.Stage("images")
		p.Note("::error::from the service\x1b[31m")
		images(nil)
		images(errors.New("a second end is ignored"))
		cluster(errors.New("no\nnodes"))
		p.Stage("never ended")
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	plain := "  : :error::from the service[31m\n" +
		"images                   done in 1.0 s\n" +
		"cluster                  failed in 3.0 s: no⏎nodes\n"
	if got := run(report.ProgressPlain, false); got != plain {
		t.Errorf("plain:\n%s\nwant:\n%s", got, plain)
	}
	groups := "::group::cluster\n" + strings.Replace(plain, "cluster  ", "::endgroup::\ncluster  ", 1) + "::group::never ended\n::endgroup::\n"
	if got := run(report.ProgressGroups, false); got != groups {
		t.Errorf("groups:\n%s\nwant:\n%s", got, groups)
	}
	live := run(report.ProgressLive, true)
	if !strings.HasSuffix(live, "\r\x1b[K") {
		t.Errorf("the live line stays: %q", live)
	}
	shown := regexp.MustCompile(`\r\x1b\[K[^\n]*?\r\x1b\[K`).ReplaceAllString(live, "")
	for _, want := range []string{"cluster", "\x1b[31mfailed\x1b[0m", "\x1b[32mdone\x1b[0m"} {
		if !strings.Contains(shown, want) {
			t.Errorf("live: no %q in %q", want, live)
		}
	}
}

// TestProgressConcurrent is for the race detector: stages overlap and the live
// line is drawn all the while.
func TestProgressConcurrent(t *testing.T) {
	var b bytes.Buffer
	p := report.NewProgress(&b, report.ProgressOptions{Mode: report.ProgressLive, Interval: time.Microsecond, Width: 40})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				end := p.Stage("stage")
				p.Note("note")
				end(nil)
			}
		})
	}
	wg.Wait()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "done in"); n != 160 {
		t.Errorf("%d stages ended, want 160", n)
	}
}
