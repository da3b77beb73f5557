package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// object is a Kubernetes object of any kind. Fields that this package does not
// know pass through it unchanged, which typed structs would drop.
type object map[string]any

func (o object) string(key string) string { s, _ := o[key].(string); return s }
func (o object) kind() string             { return o.string("kind") }
func (o object) name() string             { s, _ := o.at("metadata")["name"].(string); return s }

// at returns the map at a path of keys. It is nil when there is none, which
// can be read but not written.
func (o object) at(keys ...string) map[string]any {
	m := map[string]any(o)
	for _, key := range keys {
		m, _ = m[key].(map[string]any)
	}
	return m
}

// child returns the map under key of m, made if there was none.
func child(m map[string]any, key string) map[string]any {
	c, ok := m[key].(map[string]any)
	if !ok {
		c = map[string]any{}
		m[key] = c
	}
	return c
}

// String names the object ("Deployment shop").
func (o object) String() string { return o.kind() + " " + o.name() }

// podSpec returns the spec of the pods that the object is or makes, or nil.
func (o object) podSpec() map[string]any {
	switch o.kind() {
	case "Pod":
		return o.at("spec")
	case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job":
		return o.at("spec", "template", "spec")
	case "CronJob":
		return o.at("spec", "jobTemplate", "spec", "template", "spec")
	}
	return nil
}

// containers returns the containers of a pod spec, init containers included.
func containers(spec map[string]any) []map[string]any {
	var all []map[string]any
	for _, key := range []string{"initContainers", "containers"} {
		list, _ := spec[key].([]any)
		for _, item := range list {
			if c, ok := item.(map[string]any); ok {
				all = append(all, c)
			}
		}
	}
	return all
}

// parseManifest reads a stream of YAML documents. Lists are taken apart.
func parseManifest(r io.Reader) ([]object, error) {
	var objects []object
	docs := utilyaml.NewYAMLReader(bufio.NewReader(r))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := yaml.YAMLToJSON(doc)
		if err != nil {
			return nil, fmt.Errorf("%w in:%s", err, firstLine(doc))
		}
		if data = bytes.TrimSpace(data); len(data) == 0 || string(data) == "null" {
			continue
		}
		o := object{}
		if err := utiljson.Unmarshal(data, &o); err != nil { // keeps integers apart from floats
			return nil, fmt.Errorf("%w in:%s", err, firstLine(doc))
		}
		if items, ok := o["items"].([]any); ok && strings.HasSuffix(o.kind(), "List") {
			for _, item := range items {
				if m, ok := item.(map[string]any); ok {
					objects = append(objects, object(m))
				}
			}
			continue
		}
		objects = append(objects, o)
	}
}

// firstLine is the line of a document by which Helm says where it comes from.
func firstLine(doc []byte) string {
	for line := range strings.SplitSeq(string(doc), "\n") {
		if line = strings.TrimSpace(line); line != "" && line != "---" {
			return " " + line
		}
	}
	return " an empty document"
}

func writeManifest(objects []object) ([]byte, error) {
	var buf bytes.Buffer
	for _, o := range objects {
		data, err := yaml.Marshal(map[string]any(o))
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", o, err)
		}
		buf.WriteString("---\n")
		buf.Write(data)
	}
	return buf.Bytes(), nil
}
