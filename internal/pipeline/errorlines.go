package pipeline

import (
	"bytes"
	"regexp"
	"sync"
)

// errorLine finds lines of a log that tell of an error by their level, in the
// forms of the usual loggers, or of a crash of a runtime. It looks for levels
// and not for the word error, which stands in many a harmless line.
var errorLine = regexp.MustCompile(`(?:` +
	`"?(?:level|severity|lvl|log\.level)"?\s*[:=]\s*"?(?i:error|err|fatal|panic|critical|alert|emergency)\b` +
	`|(?:^|[\s\[<|(])(?:ERROR|ERR|FATAL|PANIC|CRITICAL|SEVERE)(?:[\s\]>|):]|$)` +
	`|^[EF][0-9]{4} ` + // klog
	`|^(?:panic: |fatal error: |Traceback \(most recent call last\)|Exception in thread |Unhandled |Uncaught )` +
	`)`)

// longestLine is how much of a line is looked at.
const longestLine = 64 << 10

// errorLines counts the lines written to it that tell of an error. It may be
// written to by several at once.
type errorLines struct {
	mu   sync.Mutex
	line []byte // begun and not ended
	n    int
}

func (e *errorLines) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for rest := p; len(rest) > 0; {
		head, tail, ended := bytes.Cut(rest, []byte("\n"))
		if room := longestLine - len(e.line); room > 0 {
			e.line = append(e.line, head[:min(room, len(head))]...)
		}
		if ended {
			e.end()
		}
		rest = tail
	}
	return len(p), nil
}

func (e *errorLines) end() {
	if errorLine.Match(e.line) {
		e.n++
	}
	e.line = e.line[:0]
}

// count returns how many there are so far, the last line included though it may
// not have ended.
func (e *errorLines) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if errorLine.Match(e.line) {
		return e.n + 1
	}
	return e.n
}
