package capture

import (
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

// ManifestParts names what [WriteManifest] can print, in its order.
var manifestParts = []string{"volume", "recorder", "sidecar", "istio", "emissary", "packets", "aws"}

// ManifestParts returns the names of the parts of a manifest:
//
//	volume    the claim of a volume for snapshots, which the others use
//	recorder  a mirror target as Deployment and Service
//	sidecar   a patch that puts the two proxies beside the service
//	istio     the VirtualService that mirrors to the recorder
//	emissary  the Mapping that shadows to the recorder
//	packets   a receiver of VXLAN as Deployment and load balancer
//	aws       the commands that mirror network interfaces to it
func ManifestParts() []string { return slices.Clone(manifestParts) }

// ManifestOptions are the settings of a manifest.
type ManifestOptions struct {
	// Service is the Kubernetes Service whose traffic is to be recorded; its
	// Deployment is taken to have the same name.
	Service   string
	Namespace string // "default" if empty
	Port      int    // of the Service; 8080 if zero
	PodPort   int    // of its pods; Port if zero
	// Image holds reprise.
	Image string
	// KeySecret, when it is set, is a Secret with the key "key" from which
	// pseudonyms are made, so that those of several recordings agree.
	KeySecret string
	// TrustConfigMap, when it is set, is a ConfigMap whose ca.crt holds
	// authorities that dependencies are verified by, beside those of the image.
	TrustConfigMap string
	// Percent is the share that is mirrored; 100 if zero.
	Percent float64
	// Network is the VXLAN network of mirrored packets; 4711 if zero.
	Network uint32
	// Parts to print; all if empty.
	Parts []string
}

var kubernetesName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// imageName is wide, but holds nothing that YAML would take for syntax.
var imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`)

// Validate reports the first setting that cannot work.
func (o ManifestOptions) Validate() error {
	for _, name := range []struct{ what, value string }{{"service", o.Service}, {"namespace", o.Namespace}, {"secret", o.KeySecret}, {"config map", o.TrustConfigMap}} {
		if name.value == "" && name.what != "service" {
			continue
		}
		if !kubernetesName.MatchString(name.value) {
			return fmt.Errorf("%s %q: must be a Kubernetes name (lower-case letters, digits and dashes)", name.what, name.value)
		}
	}
	switch {
	case !imageName.MatchString(o.Image):
		return fmt.Errorf("image %q: must name an image that holds reprise", o.Image)
	case o.Port < 0 || o.Port > 65535:
		return fmt.Errorf("port %d: must be from 1 to 65535", o.Port)
	case o.PodPort < 0 || o.PodPort > 65535:
		return fmt.Errorf("pod port %d: must be from 1 to 65535", o.PodPort)
	case !(o.Percent >= 0 && o.Percent <= 100):
		return fmt.Errorf("percent %v: must be from 0 to 100", o.Percent)
	case o.Network >= 1<<24:
		return fmt.Errorf("network %d: must be below 16777216", o.Network)
	}
	for _, part := range o.Parts {
		if !slices.Contains(manifestParts, part) {
			return fmt.Errorf("part %q: must be one of %s", part, strings.Join(manifestParts, ", "))
		}
	}
	return nil
}

//go:embed manifest.yaml
var manifestText string

// WriteManifest prints what records a service in a cluster, as YAML documents,
// each with a comment that says how to use it. Nothing needs root.
func WriteManifest(w io.Writer, o ManifestOptions) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("record manifest: %w", err)
	}
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if o.Port == 0 {
		o.Port = 8080
	}
	if o.PodPort == 0 {
		o.PodPort = o.Port
	}
	if o.Percent == 0 {
		o.Percent = 100
	}
	if o.Network == 0 {
		o.Network = 4711
	}
	if len(o.Parts) == 0 {
		o.Parts = manifestParts
	}
	t, err := template.New("manifest").Parse(manifestText)
	if err != nil {
		return fmt.Errorf("record manifest: %w", err)
	}
	for i, part := range manifestParts {
		if !slices.Contains(o.Parts, part) {
			continue
		}
		if err := t.ExecuteTemplate(w, part, o); err != nil {
			return fmt.Errorf("record manifest: part %s: %w", manifestParts[i], err)
		}
	}
	return nil
}
