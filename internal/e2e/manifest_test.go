package e2e

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/cluster"
)

// TestKindRecordManifest does in a cluster what "reprise record manifest" and
// its comments say: the example is recorded by two proxies beside it, and by a
// mirror target, and both snapshots are fetched and verified.
func TestKindRecordManifest(t *testing.T) {
	needsKind(t)
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Fatal("the comments of the manifest say kubectl, and it is missing")
	}
	r := newRecording(t)
	r.apply(r.chart())
	r.apply(r.render(dependencies))
	r.kubectl("wait", "deployment", "--all", "--for=condition=Available", "--timeout=180s")
	r.done("the example runs")

	r.volume("shop")
	r.apply(r.manifest("shop", "volume"))
	patch := filepath.Join(t.TempDir(), "sidecar.yaml")
	if err := os.WriteFile(patch, []byte(r.manifest("shop", "sidecar")), 0o644); err != nil {
		t.Fatal(err)
	}
	r.kubectl("patch", "deployment", "shop", "-n", "default", "--patch-file", patch)
	r.kubectl("rollout", "status", "deployment", "shop", "-n", "default", "--timeout=180s")
	r.kubectl("patch", "service", "shop", "-n", "default", "-p", `{"spec":{"ports":[{"port":80,"targetPort":18080}]}}`)
	r.routed("shop", 18080)
	r.done("the proxies run")
	requests := regexp.MustCompile(`(\d+)  requests`).FindStringSubmatch(r.pod("caller", "traffic", "-url", "http://shop", "-token-key", "key", "-sessions", "8"))
	r.stop("shop", "app.kubernetes.io/name=shop")
	recorded := r.fetch("shop")
	inbound, outbound := r.verify(recorded)
	if requests == nil || inbound != requests[1] || outbound == "0" {
		t.Errorf("the proxies recorded %s inbound and %s outbound exchanges of %v requests", inbound, outbound, requests)
	}
	hosts, _ := reprise(t, recorded, "inspect", recorded)
	for _, host := range []string{" inventory:8080 ", " payments "} {
		if !strings.Contains(hosts, host) {
			t.Errorf("no call to%swas recorded:\n%s", host, hosts)
		}
	}
	r.done(fmt.Sprintf("the proxies recorded %s inbound and %s outbound exchanges", inbound, outbound))

	// What the proxies recorded is what a mesh would copy to a mirror target.
	r.volume("mirrored")
	r.apply(r.manifest("mirrored", "volume", "recorder"))
	r.kubectl("rollout", "status", "deployment", "mirrored-recorder", "--timeout=180s")
	r.routed("mirrored-recorder", 8080)
	log := r.pod("copier", "reprise", "replay", "http://mirrored-recorder", "--snapshot", "/snapshots/shop", "--max", "--allow-host", "mirrored-recorder")
	r.stop("mirrored-recorder", "app=mirrored-recorder")
	mirrored, calls := r.verify(r.fetch("mirrored"))
	if mirrored != inbound || calls != "0" {
		t.Errorf("the mirror target recorded %s inbound and %s outbound exchanges of %s requests:\n%s", mirrored, calls, inbound, log)
	}
	r.done(fmt.Sprintf("the mirror target recorded %s requests", mirrored))
}

// recording is a cluster with the programs of the example on its node, each as
// an image made as a run makes its own.
type recording struct {
	*testing.T
	began   time.Time
	cluster *cluster.Cluster
	images  map[string]string
	ca      *authority.Authority
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	r := &recording{T: t, images: map[string]string{}}
	bin := t.TempDir()
	command(t, shop, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin+"/", ".", "./dependencies/...", "./traffic")
	programs, err := filepath.Glob(filepath.Join(bin, "*"))
	if err != nil {
		t.Fatal(err)
	}
	programs = append(programs, os.Getenv("REPRISE_BIN"))
	if r.ca, err = authority.New(time.Now()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	r.began = time.Now()
	if r.cluster, err = cluster.Start(ctx, cluster.Options{KubeconfigDir: t.TempDir(), LogsDir: t.TempDir(), Env: os.Environ()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.cluster.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
	var g errgroup.Group
	for _, program := range programs {
		image, err := agent.NewImage(program)
		if err != nil {
			t.Fatal(err)
		}
		r.images[filepath.Base(program)] = image.Ref
		g.Go(func() error { return r.cluster.LoadImages(ctx, image.Archive) })
	}
	g.Go(func() error { return r.cluster.Ready(ctx) })
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	r.done("the cluster runs")
	return r
}

func (r *recording) done(what string) { r.Logf("%6.1f s  %s", time.Since(r.began).Seconds(), what) }

func (r *recording) kubectl(args ...string) string {
	r.Helper()
	out, err := r.tryKubectl(args...)
	if err != nil {
		state, _ := r.tryKubectl("get", "pods,persistentvolumeclaims", "--all-namespaces")
		events, _ := r.tryKubectl("get", "events", "--field-selector=type=Warning")
		logs, _ := r.tryKubectl("logs", "-l", "app.kubernetes.io/name=shop", "--all-containers", "--tail=20")
		r.Fatalf("kubectl %s: %v\n%s\n%s\n%s\n%s", strings.Join(args, " "), err, out, state, events, logs)
	}
	return out
}

func (r *recording) tryKubectl(args ...string) (string, error) {
	cmd := exec.CommandContext(r.Context(), "kubectl", append([]string{"--kubeconfig", r.cluster.Kubeconfig}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// apply makes the objects of a manifest, refusing fields that Kubernetes does
// not know.
func (r *recording) apply(manifest string) {
	r.Helper()
	path := filepath.Join(r.TempDir(), "manifest.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o644); err != nil {
		r.Fatal(err)
	}
	r.kubectl("apply", "--validate=strict", "-f", path)
}

// manifest is what "reprise record manifest" prints.
func (r *recording) manifest(service string, parts ...string) string {
	r.Helper()
	args := []string{"record", "manifest", "--of", service, "--image", r.images["reprise"], "--port", "80", "--pod-port", "8080", "--trust-config-map", "trust"}
	for _, p := range parts {
		args = append(args, "--part", p)
	}
	out, code := reprise(r.T, r.TempDir(), args...)
	if code != 0 {
		r.Fatalf("exit code %d\n%s", code, out)
	}
	return out
}

// chart renders the chart of the example for this cluster.
func (r *recording) chart() string {
	r.Helper()
	chart, err := loader.Load(filepath.Join(shop, "chart"))
	if err != nil {
		r.Fatal(err)
	}
	repository, tag, _ := strings.Cut(r.images["shop"], ":")
	values, err := chartutil.ToRenderValues(chart, map[string]any{
		"image":    map[string]any{"repository": repository, "tag": tag},
		"payments": map[string]any{"url": "https://payments"},
		"secrets":  map[string]any{"inventoryApiKey": "any", "paymentsApiKey": "any", "tokenKey": "key"},
	}, chartutil.ReleaseOptions{Name: "shop", Namespace: "default", IsInstall: true}, nil)
	if err != nil {
		r.Fatal(err)
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		r.Fatal(err)
	}
	maps.DeleteFunc(files, func(name, _ string) bool { return filepath.Ext(name) != ".yaml" })
	var b strings.Builder
	for _, text := range files {
		b.WriteString("---\n" + text + "\n")
	}
	return b.String()
}

// dependencies are the stand-ins of the example's dependencies, and the
// authority that payments is verified by.
const dependencies = `
{{- define "dependency" }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Name }}}
spec:
  selector: {matchLabels: {app: {{ .Name }}}}
  template:
    metadata: {labels: {app: {{ .Name }}}}
    spec:
      volumes: [{name: tls, secret: {secretName: payments}}]
      containers:
      - name: {{ .Name }}
        image: {{ .Image }}
        args: [{{ .Args }}]
        volumeMounts: [{name: tls, mountPath: /tls}]
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Name }}}
spec:
  selector: {app: {{ .Name }}}
  ports: [{port: {{ .Port }}, targetPort: {{ .Target }}}]
{{ end -}}
{{ range .Dependencies }}{{ template "dependency" . }}{{ end }}
---
apiVersion: v1
kind: Secret
metadata: {name: payments}
data: {cert.pem: {{ .Cert }}, key.pem: {{ .Key }}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: trust}
data: {ca.crt: {{ printf "%q" .CA }}}
`

func (r *recording) render(text string) string {
	r.Helper()
	leaf, err := r.ca.Leaf("payments")
	if err != nil {
		r.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		r.Fatal(err)
	}
	var cert []byte
	for _, der := range leaf.Certificate {
		cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	type dependency struct {
		Name, Image, Args string
		Port, Target      int
	}
	list := []dependency{
		{"inventory", r.images["inventory"], `"-listen=:8080", "-api-key=any"`, 8080, 8080},
		{"payments", r.images["payments"], `"-listen=:8443", "-api-key=any", "-tls-cert=/tls/cert.pem", "-tls-key=/tls/key.pem"`, 443, 8443},
		{"shipping", r.images["shipping"], `"-listen=:9090"`, 9090, 9090},
	}
	var b bytes.Buffer
	err = template.Must(template.New("").Parse(text)).Execute(&b, map[string]any{
		"Dependencies": list, "CA": string(r.ca.CertPEM()), "Cert": base64.StdEncoding.EncodeToString(cert),
		"Key": base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	})
	if err != nil {
		r.Fatal(err)
	}
	return b.String()
}

// pod runs a program to its end, with the snapshots of the shop at hand, and
// returns what it printed.
func (r *recording) pod(name, program string, args ...string) string {
	r.Helper()
	var quoted []string
	for _, a := range args {
		quoted = append(quoted, fmt.Sprintf("%q", a))
	}
	r.apply(fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  restartPolicy: Never
  volumes: [{name: snapshots, persistentVolumeClaim: {claimName: shop-snapshots}}]
  containers:
  - name: program
    image: %s
    args: [%s]
    volumeMounts: [{name: snapshots, mountPath: /snapshots}]
`, name, r.images[program], strings.Join(quoted, ", ")))
	phase := ""
	for range 720 {
		if phase = r.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}"); phase == "Succeeded" || phase == "Failed" {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
	log := r.kubectl("logs", name)
	if phase != "Succeeded" {
		r.Fatalf("pod %s: %s\n%s\n%s", name, phase, log, r.kubectl("logs", "-l", "app.kubernetes.io/name=shop", "--all-containers", "--tail=20"))
	}
	return log
}

// routed waits until the node sends what goes to a service to a port of its pods
// and to no other: a pod is ready a moment before kube-proxy knows of it, and a
// caller that is quicker is refused, or passes a proxy by.
func (r *recording) routed(service string, port int) {
	r.Helper()
	destination := regexp.MustCompile(`--comment "default/` + service + `[:"].* --to-destination \S+:(\d+)`)
	rules := ""
	for range 720 {
		rules = command(r.T, ".", "docker", "exec", r.cluster.Name()+"-control-plane", "iptables-save", "-t", "nat")
		found := destination.FindAllStringSubmatch(rules, -1)
		if len(found) == 1 && found[0][1] == strconv.Itoa(port) {
			return
		}
		time.Sleep(250 * time.Millisecond)
	}
	r.Fatalf("the node does not send %s to port %d:\n%s", service, port, rules)
}

// stop scales a deployment down, which completes its snapshot.
func (r *recording) stop(deployment, selector string) {
	r.Helper()
	r.kubectl("scale", "deployment", deployment, "-n", "default", "--replicas=0")
	r.kubectl("wait", "pod", "-l", selector, "--for=delete", "--timeout=180s")
}

// volume makes a volume for a claim: this cluster has nobody who would. It lies
// on the node.
func (r *recording) volume(service string) {
	r.Helper()
	command(r.T, ".", "docker", "exec", r.cluster.Name()+"-control-plane", "mkdir", "-p", "-m", "777", "/var/recorded/"+service)
	r.apply(`apiVersion: v1
kind: PersistentVolume
metadata: {name: ` + service + `-snapshots}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: standard
  claimRef: {namespace: default, name: ` + service + `-snapshots}
  hostPath: {path: /var/recorded/` + service + `}
`)
}

// fetch copies a snapshot from its volume.
func (r *recording) fetch(service string) string {
	r.Helper()
	to := filepath.Join(r.TempDir(), service)
	command(r.T, ".", "docker", "cp", r.cluster.Name()+"-control-plane:/var/recorded/"+service+"/"+service, to)
	return to
}

// verify checks a snapshot and returns how many exchanges it has.
func (r *recording) verify(snapshot string) (inbound, outbound string) {
	r.Helper()
	out, code := reprise(r.T, r.TempDir(), "snapshot", "verify", snapshot)
	counts := regexp.MustCompile(`(\d+) inbound and (\d+) outbound`).FindStringSubmatch(out)
	if code != 0 || counts == nil {
		r.Fatalf("exit code %d\n%s", code, out)
	}
	return counts[1], counts[2]
}
