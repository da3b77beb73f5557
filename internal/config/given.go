package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/reprise-ci/reprise/internal/pipeline"
)

var (
	namespaceSyntax = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	secretSyntax    = regexp.MustCompile(`^[a-z0-9.-]+/[a-z0-9.-]+$`)
)

// validateGiven looks at what a given cluster, prebuilt images and workers need.
func (c *Config) validateGiven(wrong func(key, why string, args ...any)) {
	if c.Target == TargetKubernetes {
		if c.Context == "" {
			wrong("context", "missing; target kubernetes needs the context to use, the current one is never taken (kubectl config get-contexts lists them)")
		}
		if !namespaceSyntax.MatchString(c.Namespace) {
			wrong("namespace", "%q is no beginning of a namespace's name: at most 40 lower-case letters, digits and -", c.Namespace)
		}
		for _, ref := range c.CopySecrets {
			if !secretSyntax.MatchString(ref) {
				wrong("copy-secrets", "%q is not namespace/name", ref)
			}
		}
	} else {
		for _, key := range []string{"kubeconfig", "context", "agent-image", "copy-secrets"} {
			if c.Get(key) != "" {
				wrong(key, "is for target kubernetes, and target is %s", c.Target)
			}
		}
	}
	c.validateImages(wrong)
	if c.Replay.Workers > 1 && c.Target == TargetProcess {
		wrong("replay.workers", "target process has one; several need a cluster")
	} else if load, err := c.load(); err == nil && load == nil && c.Replay.Workers > 1 && c.Replay.Concurrency < c.Replay.Workers {
		wrong("replay.workers", "there is nothing for them to do; set latency.load or replay.speed, or replay.concurrency to at least %d", c.Replay.Workers)
	}
}

// validateImages wants both prebuilt images or none.
func (c *Config) validateImages(wrong func(key, why string, args ...any)) {
	image := c.Build.Image
	if image.Base == "" && image.Head == "" {
		return
	}
	for key, text := range map[string]string{"build.image.base": image.Base, "build.image.head": image.Head} {
		if text == "" {
			wrong(key, "missing; the other version has an image that is built already")
			continue
		}
		ref, err := pipeline.ImageRef(text, strings.Repeat("0", 40))
		if err == nil && !strings.Contains(ref[strings.LastIndexByte(ref, '/')+1:], ":") {
			err = fmt.Errorf("a tag or digest is missing")
		}
		if err != nil {
			wrong(key, "'%s' is no image with a tag, such as registry.example.com/shop:{{.SHA}}", text)
		}
	}
	if image.Context != "" {
		wrong("build.image.context", "is not used when build.image.base and build.image.head are given; remove it")
	}
}
