package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/config"
)

// Every example of docs/replay.md is a valid configuration.
func TestReplayExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/replay.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) < 4 {
		t.Fatalf("%d examples", len(examples))
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, example := range examples {
		text := strings.ReplaceAll(example[1], "test-key.pem", key)
		c, err := config.Parse("reprise.yaml", []byte("target: process\nprocess: {command: ./shop}\n"+strings.ReplaceAll(text, "RS256", "HS256")))
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		o, err := c.Pipeline(config.Place{RedactKey: make([]byte, 32), Dir: t.TempDir(), Now: time.Now, Getenv: func(string) string { return "secret" }})
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		for _, rule := range o.Transform.Sign {
			if rule.Key != "secret" {
				t.Errorf("key %q of a signature", rule.Key)
			}
		}
		rules += len(o.Transform.JWT) + len(o.Transform.Headers) + len(o.Transform.Shift) + len(o.Transform.Sign) + len(o.Transform.Forbid)
		if o.Transform.Keep != nil {
			rules++
		}
	}
	if rules < 10 {
		t.Errorf("only %d rules arrived", rules)
	}
}
