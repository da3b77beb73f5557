package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/kind/pkg/apis/config/defaults"
)

// NamePrefix starts the name of every cluster that reprise makes.
const NamePrefix = "reprise-"

// maxName is the length from which kind warns that host names get too long.
const maxName = 50

var nameSyntax = regexp.MustCompile(`^` + NamePrefix + `[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// Options say how to make a kind cluster.
type Options struct {
	// Name must start with NamePrefix; [NewName] makes one. Empty means a new
	// one.
	Name string
	// NodeImage is a kind node image. When it is empty, the variable
	// KIND_NODE_IMAGE of Env names it, or else kind's own default is used.
	NodeImage string
	// KubeconfigDir is where the cluster's own kubeconfig file is written. The
	// user's kubeconfig is neither read nor changed.
	KubeconfigDir string
	// LogsDir receives the logs of a creation that failed; none are collected
	// when it is empty.
	LogsDir string
	// Env is the environment of the docker command line tool. The kind library
	// itself always uses that of this process.
	Env []string
	// Progress is told of each step, a few words at a time. It may be nil and
	// is called from several goroutines, one at a time.
	Progress func(string)
	// Debug receives the detailed output of kind and kubeadm; nil drops it.
	Debug io.Writer
}

// DefaultNodeImage is the node image of the kind release in use.
const DefaultNodeImage = defaults.Image

// nodeImage is the node image where the options name none.
func nodeImage(env []string) string {
	for _, kv := range env {
		if image, ok := strings.CutPrefix(kv, "KIND_NODE_IMAGE="); ok && image != "" {
			return image
		}
	}
	return DefaultNodeImage
}

// NewName returns a fresh cluster name.
func NewName() string {
	// rand.Text is base 32 in upper case; eight letters are 40 bits, enough
	// for the few clusters that live on one machine at one time.
	text := []byte(rand.Text()[:8])
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
	return NamePrefix + string(text)
}

// Validate reports every reason why the options cannot be used.
func (o *Options) Validate() error {
	var errs []error
	if o.Name != "" && (!nameSyntax.MatchString(o.Name) || len(o.Name) > maxName) {
		errs = append(errs, fmt.Errorf("cluster name %q: must be %s and then lower-case letters, digits and -, at most %d characters", o.Name, NamePrefix, maxName))
	}
	if !filepath.IsAbs(o.KubeconfigDir) {
		errs = append(errs, fmt.Errorf("directory for the kubeconfig %q: must be an absolute path", o.KubeconfigDir))
	}
	return errors.Join(errs...)
}
