package capture

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestManifest(t *testing.T) {
	var b bytes.Buffer
	o := ManifestOptions{Service: "shop", Namespace: "store", Port: 8081, Image: "example.test/reprise:1", PodPort: 8082, KeySecret: "reprise-key", TrustConfigMap: "authorities", Percent: 5, Network: 7777}
	if err := WriteManifest(&b, o); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/manifest.yaml"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{
		"PersistentVolumeClaim store/shop-snapshots", "Deployment store/shop-recorder", "Service store/shop-recorder",
		"Deployment store/shop", "VirtualService store/shop-mirror", "Mapping store/shop-shadow", "Deployment store/shop-packets", "Service store/shop-packets",
	}, objects(t, &b)); d != "" {
		t.Error(d)
	}
}

// objects lists the objects of a manifest, which must be YAML.
func objects(t *testing.T, r io.Reader) []string {
	t.Helper()
	var names []string
	for d := yaml.NewDecoder(r); ; {
		var object struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
		}
		err := d.Decode(&object)
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		if object.Kind != "" {
			names = append(names, object.Kind+" "+object.Metadata.Namespace+"/"+object.Metadata.Name)
		}
	}
}

func TestManifestParts(t *testing.T) {
	for _, part := range ManifestParts() {
		var b bytes.Buffer
		if err := WriteManifest(&b, ManifestOptions{Service: "shop", Image: "reprise", Parts: []string{part}}); err != nil {
			t.Fatal(err)
		}
		names := objects(t, bytes.NewReader(b.Bytes()))
		if (len(names) == 0) != (part == "aws") || strings.Contains(b.String(), "reprise-key") || strings.Contains(b.String(), "<no value>") {
			t.Errorf("%s: %v\n%s", part, names, b.String())
		}
	}
}

func TestManifestRefuses(t *testing.T) {
	for _, o := range []ManifestOptions{
		{Image: "x"}, {Service: "Shop", Image: "x"}, {Service: "a", Image: ""}, {Service: "a", Image: "x\nkind: Pod"}, {Service: "a", Image: "x", Port: 70000},
		{Service: "a", Image: "x", Percent: 101}, {Service: "a", Image: "x", Network: 1 << 24}, {Service: "a", Image: "x", Parts: []string{"all"}}, {Service: "a", Image: "x", Namespace: "a b"},
		{Service: "a", Image: "x", PodPort: -1}, {Service: "a", Image: "x", TrustConfigMap: "A"},
	} {
		if err := WriteManifest(io.Discard, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
