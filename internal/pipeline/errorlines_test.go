package pipeline

import (
	"fmt"
	"testing"
)

func TestErrorLines(t *testing.T) {
	for _, tt := range []struct {
		line   string
		want   int
		reason string
	}{
		{`{"level":"error","msg":"no stock"}`, 1, "JSON, zap and zerolog"},
		{`{"severity": "CRITICAL"}`, 1, "JSON, Google"},
		{`{"level":"info","error":null}`, 0, "a field of that name is no level"},
		{`time=2026-01-01 level=ERROR msg="x"`, 1, "logfmt, slog"},
		{`level=info msg="0 errors"`, 0, "the word alone says nothing"},
		{"2026-01-01 12:00:00 ERROR [main] c.e.Shop - no stock", 1, "Logback"},
		{"[ERROR] no stock", 1, "brackets"},
		{"ERRORS are counted", 0, "another word"},
		{"E0102 12:00:00.000000 1 main.go:1] no stock", 1, "klog"},
		{"panic: runtime error: index out of range", 1, "Go"},
		{"Traceback (most recent call last):", 1, "Python"},
		{"GET /v1/errors 200", 0, "a path"},
		{"", 0, "an empty line"},
	} {
		var e errorLines
		for _, part := range []string{tt.line[:len(tt.line)/2], tt.line[len(tt.line)/2:], "\nfine\n"} {
			fmt.Fprint(&e, part)
		}
		if got := e.count(); got != tt.want {
			t.Errorf("%q counts %d, want %d: %s", tt.line, got, tt.want, tt.reason)
		}
	}
	var e errorLines
	fmt.Fprint(&e, "ok\n[FATAL] out of memory")
	if e.count() != 1 {
		t.Error("a last line without an end is not counted")
	}
}
