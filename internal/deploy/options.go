package deploy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options say which chart is deployed and how. Errors name the keys of
// reprise.yaml that set them.
type Options struct {
	// Chart is a directory or a .tgz file.
	Chart string
	// Release is the name of the release, the same in every arm, because it is
	// part of names that a service may answer with; the chart's name if empty.
	Release string
	// Values are files, Set and SetString assignments, as for helm install.
	Values    []string
	Set       []string
	SetString []string
	// Service is name[:port] of the Service that takes the requests. The port
	// is a number or a name. Empty means the only one there is.
	Service string
	// Images replaces image references of the rendered pods.
	Images []Image
	// Env is added to every container.
	Env map[string]string
	// Hooks runs the chart's hooks. They are left out by default: their pods
	// escape the changes made to the others, and most prepare databases that do
	// not exist here.
	Hooks bool
	// ReadyTimeout bounds the wait for the pods; 2 min if zero. A failure that
	// cannot mend ends it sooner.
	ReadyTimeout time.Duration
}

// Image replaces every reference to the repository Match, whatever its tag or
// digest, by Ref.
type Image struct{ Match, Ref string }

const defaultReadyTimeout = 2 * time.Minute

// Validate reports every option that cannot be used.
func (o Options) Validate() error {
	var errs []error
	if o.Chart == "" {
		errs = append(errs, errors.New("chart: missing; name the directory of the service's Helm chart"))
	}
	if name, port, ok := strings.Cut(o.Service, ":"); ok && (name == "" || port == "") {
		errs = append(errs, fmt.Errorf("chart-service: %q must be name or name:port", o.Service))
	}
	for _, i := range o.Images {
		if i.Match == "" || i.Ref == "" {
			errs = append(errs, fmt.Errorf("image %q to %q: both must be given", i.Match, i.Ref))
		}
	}
	if o.ReadyTimeout < 0 {
		errs = append(errs, fmt.Errorf("ready-timeout: %v must be positive", o.ReadyTimeout))
	}
	return errors.Join(errs...)
}
