package deploy

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func edited(t *testing.T, e *editor, manifest string) string {
	t.Helper()
	objects, err := parseManifest(strings.NewReader(manifest))
	if err != nil {
		t.Fatal(err)
	}
	e.notes = map[string]bool{}
	out, err := writeManifest(e.edit(objects))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestEdit compares what becomes of a chart with everything that production
// charts have, on an owned cluster, with the golden file.
func TestEdit(t *testing.T) {
	in, err := os.ReadFile(filepath.Join("testdata", "production.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	e := &editor{
		arm: Arm{Namespace: "head", Nameserver: "10.244.0.9", CA: []byte("a certificate"), Loaded: []string{"redis:7"}, Owned: true, Env: map[string]string{"EXTRA": "1"}},
		opts: Options{
			Images: []Image{{Match: "registry.example.com/team/orders", Ref: "orders:head"}},
			Env:    map[string]string{"FEATURE": "on", "EXTRA": "0"},
		},
		served: func(apiVersion, kind string) (bool, bool) {
			return !strings.HasPrefix(apiVersion, "monitoring."), !strings.HasPrefix(kind, "Cluster")
		},
	}
	var got bytes.Buffer
	got.WriteString(edited(t, e, string(in)))
	got.WriteString("---\n")
	for _, note := range slices.Sorted(maps.Keys(e.notes)) {
		got.WriteString("# " + note + "\n")
	}
	golden := filepath.Join("testdata", "production.golden.yaml")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("differs from %s (-want +got); run with -update if it is meant:\n%s", golden, diff)
	}
}

// TestEditGivenCluster leaves placement and requests as they are on a cluster
// that is not ours.
func TestEditGivenCluster(t *testing.T) {
	const pod = "kind: Pod\nmetadata: {name: a}\nspec:\n  nodeSelector: {pool: prod}\n  containers:\n  - name: a\n    image: a:1\n    imagePullPolicy: Always\n    resources: {requests: {cpu: '2'}, limits: {cpu: '4', memory: 1Gi}}\n"
	got := edited(t, &editor{arm: Arm{Namespace: "head"}}, pod)
	for _, want := range []string{"pool: prod", `cpu: "2"`, "imagePullPolicy: Always", "memory: 1Gi"} {
		if !strings.Contains(got, want) {
			t.Errorf("lost %q:\n%s", want, got)
		}
	}
	for _, gone := range []string{`cpu: "4"`, "dnsPolicy", "reprise-trust"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q should not be there:\n%s", gone, got)
		}
	}
}

func TestQuickenKeepsPatience(t *testing.T) {
	for name, tc := range map[string]struct {
		probe    map[string]any
		patience int64
	}{
		"defaults":   {map[string]any{}, 30},
		"slow start": {map[string]any{"initialDelaySeconds": int64(60), "periodSeconds": int64(5), "failureThreshold": int64(6)}, 90},
		"impatient":  {map[string]any{"periodSeconds": int64(1), "failureThreshold": int64(1)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			quicken(tc.probe)
			want := map[string]any{"initialDelaySeconds": int64(0), "periodSeconds": int64(1), "failureThreshold": tc.patience, "successThreshold": int64(1)}
			if diff := cmp.Diff(want, tc.probe); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestProbesBearAStall gives probes time, and keeps what they have.
func TestProbesBearAStall(t *testing.T) {
	for name, tc := range map[string]struct {
		probe map[string]any
		want  int64
	}{
		"unset":     {map[string]any{}, 10},
		"short":     {map[string]any{"timeoutSeconds": int64(1)}, 10},
		"long":      {map[string]any{"timeoutSeconds": int64(60)}, 60},
		"not a one": {map[string]any{"timeoutSeconds": "2"}, 10},
	} {
		if bear(tc.probe); tc.probe["timeoutSeconds"] != tc.want {
			t.Errorf("%s: %v, want %d", name, tc.probe["timeoutSeconds"], tc.want)
		}
	}
}

func TestSameImage(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"redis", "docker.io/library/redis:latest", true},
		{"redis:7", "redis:7", true},
		{"team/app:1", "docker.io/team/app:1", true},
		{"localhost/app:1", "docker.io/localhost/app:1", false},
		{"localhost:5000/app", "localhost:5000/app:latest", true},
		{"app:1", "app:2", false},
		{"r.example/app@sha256:abc", "r.example/app:1", false},
	} {
		if got := sameImage(tc.a, tc.b); got != tc.same {
			t.Errorf("sameImage(%s, %s) = %v", tc.a, tc.b, got)
		}
	}
}

func TestManifestKeepsNumbers(t *testing.T) {
	const in = "kind: X\nmetadata: {name: a}\nbig: 9007199254740993\nfloat: 1.5\ntext: '0123'\n"
	got := edited(t, &editor{}, in)
	for _, want := range []string{"big: 9007199254740993", "float: 1.5", `text: "0123"`} {
		if !strings.Contains(got, want) {
			t.Errorf("lost %q:\n%s", want, got)
		}
	}
}

func TestManifestTakesListsApart(t *testing.T) {
	objects, err := parseManifest(strings.NewReader("# only a comment\n---\nkind: List\nitems: [{kind: A, metadata: {name: a}}, {kind: B, metadata: {name: b}}]\n---\n"))
	if err != nil || len(objects) != 2 || objects[1].String() != "B b" {
		t.Errorf("objects %v, %v", objects, err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add("kind: Deployment\nspec: {template: {spec: {containers: [{name: a, env: [{name: A}]}]}}}\n")
	f.Add("kind: Service\nspec: {ports: [1, {port: x}], type: NodePort}\n---\nkind: List\nitems: 3\n")
	f.Add("kind: Pod\nspec: {containers: x, volumes: {}}\nmetadata: []\n")
	f.Fuzz(func(t *testing.T, text string) {
		objects, err := parseManifest(strings.NewReader(text))
		if err != nil {
			return
		}
		e := &editor{arm: Arm{Namespace: "n", Nameserver: "1.2.3.4", CA: []byte("c"), Owned: true}, notes: map[string]bool{},
			served: func(string, string) (bool, bool) { return true, true }}
		if _, err := writeManifest(e.edit(objects)); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
		workloads(objects)
	})
}
