package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// ProgressMode is how progress is shown.
type ProgressMode int

// The modes of progress.
const (
	ProgressPlain  ProgressMode = iota // one line when a stage ends
	ProgressLive                       // a live line on a terminal, and a line when a stage ends
	ProgressGroups                     // log groups of GitHub Actions
)

// ProgressOptions shape a [Progress].
type ProgressOptions struct {
	Mode ProgressMode
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Width of the terminal for the live line; 0 means 80.
	Width int
	// Color asks for ANSI colours.
	Color bool
	// Interval between two frames of the live line; 0 means 100 ms.
	Interval time.Duration
}

// Progress shows the stages of a long run while they happen. Stages may
// overlap. It is safe for concurrent use.
type Progress struct {
	w    io.Writer
	opts ProgressOptions

	mu      sync.Mutex
	running []*runningStage
	group   *runningStage // whose log group is open
	frame   int
	drawn   bool
	done    chan struct{}
	stopped chan struct{}
	closed  bool
}

type runningStage struct {
	name  string
	start time.Time
}

// NewProgress returns a progress that writes to w. The caller must Close it.
func NewProgress(w io.Writer, opts ProgressOptions) *Progress {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Width <= 0 {
		opts.Width = 80
	}
	if opts.Interval <= 0 {
		opts.Interval = 100 * time.Millisecond
	}
	p := &Progress{w: w, opts: opts, done: make(chan struct{}), stopped: make(chan struct{})}
	if opts.Mode == ProgressLive {
		go p.animate()
	} else {
		close(p.stopped)
	}
	return p
}

func (p *Progress) animate() {
	defer close(p.stopped)
	ticker := time.NewTicker(p.opts.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.frame++
			p.draw()
			p.mu.Unlock()
		}
	}
}

// Stage says that a stage begins. The function it returns says that it ended,
// with the error it ended with or nil; it must be called once.
func (p *Progress) Stage(name string) func(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &runningStage{Line(name, 60), p.opts.Now()}
	p.running = append(p.running, s)
	if p.opts.Mode == ProgressGroups && p.group == nil {
		p.group = s
		fmt.Fprintf(p.w, "::group::%s\n", s.name)
	}
	p.draw()
	var once sync.Once
	return func(err error) { once.Do(func() { p.end(s, err) }) }
}

func (p *Progress) end(s *runningStage, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range p.running {
		if r == s {
			p.running = append(p.running[:i], p.running[i+1:]...)
			break
		}
	}
	if p.group == s {
		p.group = nil
		fmt.Fprint(p.w, "::endgroup::\n")
	}
	p.erase()
	took := seconds(p.opts.Now().Sub(s.start).Seconds())
	mark, code := "done", green
	if err != nil {
		mark, code = "failed", red
	}
	if p.opts.Color {
		mark = "\x1b[" + code + "m" + mark + "\x1b[0m"
	}
	text := fmt.Sprintf("%-24s %s in %s", s.name, mark, took)
	if err != nil {
		text += ": " + Line(err.Error(), 400)
	}
	fmt.Fprintln(p.w, text)
	p.draw()
}

// Note shows one line beside the stages. The text may come from anywhere: it
// is cut to one line, and nothing in it reaches the terminal or the runner as
// a command.
func (p *Progress) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.w, "  "+Line(text, 400))
	p.draw()
}

// Close ends the live line and any open log group. It may be called twice.
func (p *Progress) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	close(p.done)
	<-p.stopped
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	if p.group != nil {
		p.group = nil
		fmt.Fprint(p.w, "::endgroup::\n")
	}
	return nil
}

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// draw writes the live line over the last one; p.mu is held.
func (p *Progress) draw() {
	if p.opts.Mode != ProgressLive || p.closed {
		return
	}
	if len(p.running) == 0 {
		p.erase()
		return
	}
	var parts []string
	for _, s := range p.running {
		parts = append(parts, s.name+" "+seconds(p.opts.Now().Sub(s.start).Seconds()))
	}
	text := spinner[p.frame%len(spinner)] + " " + strings.Join(parts, ", ")
	fmt.Fprint(p.w, "\r\x1b[K"+fitCell(text, p.opts.Width-1))
	p.drawn = true
}

// erase removes the live line; p.mu is held.
func (p *Progress) erase() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}
