package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/action"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/cli/values"
	"helm.sh/helm/v3/pkg/getter"
)

// Chart is a chart that was found good: it renders with its values and has the
// Service that takes the requests.
type Chart struct {
	Name    string
	Version string
	// Service and Port are the ones that take the requests.
	Service string
	Port    Port

	opts    Options
	values  map[string]any
	objects []object
	hooks   []string
}

// Port is one port of a Service.
type Port struct {
	Name   string
	Number int
}

// Load reads and renders a chart without any cluster. Each thing that is wrong
// with it is an error of one line that names the key to mend.
func Load(opts Options) (*Chart, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	chart, err := loadChart(opts.Chart)
	if err != nil {
		return nil, err
	}
	if opts.Release == "" {
		opts.Release = releaseName(chart.Name())
	}
	if opts.ReadyTimeout == 0 {
		opts.ReadyTimeout = defaultReadyTimeout
	}
	vals, err := mergeValues(opts)
	if err != nil {
		return nil, err
	}
	c := &Chart{Name: chart.Name(), Version: chart.Metadata.Version, opts: opts, values: vals}
	if c.objects, c.hooks, err = render(chart, vals, opts); err != nil {
		return nil, err
	}
	if err := c.findService(); err != nil {
		return nil, err
	}
	return c, nil
}

// Release is the name under which the chart is installed.
func (c *Chart) Release() string { return c.opts.Release }

// Images lists the image references of the rendered pods, sorted and distinct,
// after the replacements of the options.
func (c *Chart) Images() []string {
	var refs []string
	for _, o := range c.objects {
		if spec := o.podSpec(); spec != nil {
			for _, container := range containers(spec) {
				if ref, ok := container["image"].(string); ok {
					refs = append(refs, replaceImage(ref, c.opts.Images))
				}
			}
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

func loadChart(path string) (*helmchart.Chart, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("chart: %s does not exist; give the directory that holds Chart.yaml, relative to reprise.yaml", path)
	}
	if err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(path, "Chart.yaml")); err != nil {
			return nil, fmt.Errorf("chart: %s is not a Helm chart, it has no Chart.yaml; give the directory that holds it", path)
		}
	}
	chart, err := loader.Load(path)
	if err != nil {
		return nil, fmt.Errorf("chart: %s cannot be read: %s; helm lint %s tells more", path, flat(err), path)
	}
	if chart.Metadata.Type == "library" {
		return nil, fmt.Errorf("chart: %s is a library chart, which cannot be installed; give the chart that uses it", path)
	}
	if err := action.CheckDependencies(chart, chart.Metadata.Dependencies); err != nil {
		return nil, fmt.Errorf("chart: %s lacks dependencies (%s); run helm dependency build %s before reprise", path, flat(err), path)
	}
	return chart, nil
}

func mergeValues(opts Options) (map[string]any, error) {
	for _, file := range opts.Values {
		if _, err := os.Stat(file); err != nil && !strings.Contains(file, "://") {
			return nil, fmt.Errorf("values: %s does not exist", file)
		}
	}
	vals, err := (&values.Options{ValueFiles: opts.Values, Values: opts.Set, StringValues: opts.SetString}).MergeValues(getter.Providers{})
	if err != nil {
		return nil, fmt.Errorf("values (%s) or set (%s): %s", strings.Join(opts.Values, ", "), keysOf(opts), flat(err))
	}
	return vals, nil
}

// keysOf lists what is set, without the values, which may be secret.
func keysOf(opts Options) string {
	var keys []string
	for _, assignment := range slices.Concat(opts.Set, opts.SetString) {
		key, _, _ := strings.Cut(assignment, "=")
		keys = append(keys, key)
	}
	return strings.Join(keys, ", ")
}

// kubeVersion is what charts are rendered for before there is a cluster.
var kubeVersion = chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}

func render(chart *helmchart.Chart, vals map[string]any, opts Options) (objects []object, hooks []string, err error) {
	install := action.NewInstall(&action.Configuration{Log: func(string, ...any) {}})
	install.ClientOnly, install.DryRun, install.Replace = true, true, true
	install.DryRunOption = "client"
	install.KubeVersion = &kubeVersion
	install.ReleaseName, install.Namespace = opts.Release, "base"
	release, err := install.Run(chart, vals)
	if err != nil {
		return nil, nil, fmt.Errorf("chart: %s does not render: %s; helm template %s shows the same", opts.Chart, flat(err), opts.Chart)
	}
	for _, h := range release.Hooks {
		hooks = append(hooks, h.Kind+"/"+h.Name)
	}
	if objects, err = parseManifest(bytes.NewReader([]byte(release.Manifest))); err != nil {
		return nil, nil, fmt.Errorf("chart: %s renders something that is no YAML: %s", opts.Chart, flat(err))
	}
	return objects, hooks, nil
}

// flat puts an error on one line.
func flat(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// releaseName makes a name that Helm and Kubernetes accept.
func releaseName(chart string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, chart), "-")
	if name == "" {
		return "service"
	}
	return name[:min(len(name), 53)]
}
