package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// chart writes a chart of the given files and returns its directory. A file
// "Chart.yaml" is added unless there is one.
func chart(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chart")
	if _, ok := files["Chart.yaml"]; !ok {
		files["Chart.yaml"] = "apiVersion: v2\nname: orders\nversion: 1.2.3\n"
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	oneService  = "apiVersion: v1\nkind: Service\nmetadata: {name: '{{ .Release.Name }}'}\nspec: {ports: [{name: http, port: 80}], selector: {app: orders}}\n"
	metrics     = "apiVersion: v1\nkind: Service\nmetadata: {name: metrics}\nspec: {ports: [{port: 9090}, {port: 9091, name: admin}]}\n"
	headless    = "apiVersion: v1\nkind: Service\nmetadata: {name: peers}\nspec: {clusterIP: None, ports: [{port: 7000}]}\n"
	deployment  = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: orders}\nspec: {template: {metadata: {labels: {app: orders}}, spec: {containers: [{name: a, image: '{{ .Values.image }}'}]}}}\n"
	failing     = "{{ fail \"image.tag is required\" }}"
	twoServices = oneService + "---\n" + metrics
)

func TestLoad(t *testing.T) {
	dir := chart(t, map[string]string{"templates/all.yaml": oneService + "---\n" + headless + "---\n" + deployment, "values.yaml": "image: registry.example/orders:1\n"})
	c, err := Load(Options{Chart: dir, Images: []Image{{Match: "registry.example/orders", Ref: "orders:head"}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "orders" || c.Version != "1.2.3" || c.Release() != "orders" || c.Service != "orders" || c.Port != (Port{"http", 80}) {
		t.Errorf("loaded %+v", c)
	}
	if got := c.Images(); !slices.Equal(got, []string{"orders:head"}) {
		t.Errorf("images %q, want the replacement", got)
	}
}

// TestLoadRefuses has a row for each way in which a chart can be wrong: one
// line that names the key and what to do.
func TestLoadRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file.tgz")
	if err := os.WriteFile(file, []byte("no archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	with := func(template string) string { return chart(t, map[string]string{"templates/all.yaml": template}) }
	for name, tc := range map[string]struct {
		opts  Options
		key   string
		wants []string
	}{
		"no chart named":     {Options{}, "chart:", []string{"missing"}},
		"chart is missing":   {Options{Chart: "/nowhere/chart"}, "chart:", []string{"/nowhere/chart", "does not exist", "Chart.yaml"}},
		"not a chart":        {Options{Chart: t.TempDir()}, "chart:", []string{"no Chart.yaml"}},
		"not an archive":     {Options{Chart: file}, "chart:", []string{"cannot be read", "helm lint"}},
		"library":            {Options{Chart: chart(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: l\nversion: 1.0.0\ntype: library\n"})}, "chart:", []string{"library"}},
		"dependency missing": {Options{Chart: chart(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: o\nversion: 1.0.0\ndependencies: [{name: redis, version: 1.0.0, repository: 'https://charts.example'}]\n"})}, "chart:", []string{"redis", "helm dependency build"}},
		"template fails":     {Options{Chart: with(failing)}, "chart:", []string{"does not render", "image.tag is required"}},
		"template is broken": {Options{Chart: with("a: {{ .Values.x")}, "chart:", []string{"does not render"}},
		"renders no YAML":    {Options{Chart: with("kind: Service\napiVersion: v1\nmetadata: {name: x\n")}, "chart:", []string{"all.yaml"}},
		"values missing":     {Options{Chart: with(oneService), Values: []string{"/nowhere/values.yaml"}}, "values:", []string{"/nowhere/values.yaml", "does not exist"}},
		"bad set":            {Options{Chart: with(oneService), Set: []string{"a[=1"}}, "set", []string{"a["}},
		"no Service":         {Options{Chart: with(deployment)}, "chart:", []string{"no Service"}},
		"several Services":   {Options{Chart: with(twoServices)}, "chart-service:", []string{"2 Services", "metrics", "orders", "name the one"}},
		"unknown Service":    {Options{Chart: with(twoServices), Service: "order"}, "chart-service:", []string{"no Service order", "metrics, orders"}},
		"unknown, none":      {Options{Chart: with(deployment), Service: "order"}, "chart-service:", []string{"no Service at all"}},
		"unknown port":       {Options{Chart: with(oneService), Service: "orders:8081"}, "chart-service:", []string{"no port 8081", "80 (http)"}},
		"several ports":      {Options{Chart: with(metrics)}, "chart-service:", []string{"9090, 9091 (admin)", "metrics:9090"}},
		"half a port":        {Options{Chart: with(oneService), Service: "orders:"}, "chart-service:", []string{"name:port"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(tc.opts)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.HasPrefix(err.Error(), tc.key) && !strings.Contains(err.Error(), " "+tc.key) {
				t.Errorf("%q does not name %s", err, tc.key)
			}
			for _, want := range tc.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestLoadPicks(t *testing.T) {
	for name, tc := range map[string]struct {
		template, service string
		wantService       string
		wantPort          int
	}{
		"the only one":            {oneService, "", "orders", 80},
		"the one that is named":   {twoServices, "orders", "orders", 80},
		"port by number":          {twoServices, "metrics:9091", "metrics", 9091},
		"port by name":            {twoServices, "metrics:admin", "metrics", 9091},
		"headless does not count": {headless + "---\n" + oneService, "", "orders", 80},
		"headless alone counts":   {headless, "", "peers", 7000},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Load(Options{Chart: chart(t, map[string]string{"templates/all.yaml": tc.template}), Service: tc.service})
			if err != nil {
				t.Fatal(err)
			}
			if c.Service != tc.wantService || c.Port.Number != tc.wantPort {
				t.Errorf("picked %s:%d, want %s:%d", c.Service, c.Port.Number, tc.wantService, tc.wantPort)
			}
		})
	}
}

// TestLoadExample keeps the example's chart deployable.
func TestLoadExample(t *testing.T) {
	c, err := Load(Options{Chart: filepath.Join("..", "..", "examples", "shop", "chart"), Set: []string{"image.repository=shop", "image.tag=head"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Service != "shop" || !slices.Equal(c.Images(), []string{"shop:head"}) {
		t.Errorf("service %s, images %q", c.Service, c.Images())
	}
}

func TestReleaseName(t *testing.T) {
	for chart, want := range map[string]string{
		"orders": "orders", "Orders_API": "orders-api", "-x-": "x", "日本": "service", strings.Repeat("a", 60): strings.Repeat("a", 53),
	} {
		if got := releaseName(chart); got != want {
			t.Errorf("releaseName(%q) = %q, want %q", chart, got, want)
		}
	}
}
