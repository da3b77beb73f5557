package e2e

import (
	"path/filepath"
	"testing"

	"github.com/reprise-ci/reprise/internal/config"
)

func TestExampleConfigurationIsValid(t *testing.T) {
	c, err := config.Load(filepath.Join(shop, config.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{config.TargetKind, config.TargetProcess} {
		c.Target = target
		if err := c.Validate(); err != nil {
			t.Errorf("target %s: %v", target, err)
		}
	}
}
