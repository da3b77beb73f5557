package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fakeDocker puts a docker script first in PATH. The script appends its
// arguments to the returned file and runs body for the rest.
func fakeDocker(t *testing.T, body string) (calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	record := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$*\" >>" + record + "\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		data, err := os.ReadFile(record)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
}

func TestPreflight(t *testing.T) {
	info := `{"ServerVersion":"28.1","OSType":"linux","DockerRootDir":"/nowhere","NCPU":4,"MemTotal":16000000000}`
	for name, tc := range map[string]struct {
		script  string
		env     []string
		problem string // "" for a machine that is fine
		remedy  string
		warning string
	}{
		"fine":             {script: "echo '" + info + "'"},
		"daemon is down":   {script: "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock' >&2; exit 1", problem: "cannot be reached", remedy: "start Docker"},
		"other last words": {script: "echo 'Cannot connect to the Docker daemon' >&2; echo '{}'; exit 1", problem: "Cannot connect", remedy: "start Docker"},
		"down, exit zero":  {script: `echo '{"ServerErrors":["Cannot connect to the Docker daemon"]}'`, problem: "Cannot connect", remedy: "target: process"},
		"not JSON":         {script: "echo hello", problem: "cannot be reached", remedy: "docker info"},
		"windows":          {script: `echo '{"OSType":"windows"}'`, problem: "windows", remedy: "Linux containers"},
		"far away":         {script: "echo '" + info + "'", env: []string{"DOCKER_HOST=tcp://build.example:2375"}, problem: "build.example", remedy: "DOCKER_HOST"},
		"near by":          {script: "echo '" + info + "'", env: []string{"DOCKER_HOST=tcp://127.0.0.1:2375"}},
		"one CPU":          {script: `echo '{"OSType":"linux","NCPU":1,"MemTotal":16000000000}'`, warning: "single CPU"},
		"little memory":    {script: `echo '{"OSType":"linux","NCPU":2,"MemTotal":2000000000}'`, warning: "memory"},
	} {
		t.Run(name, func(t *testing.T) {
			fakeDocker(t, tc.script)
			machine, err := Preflight(t.Context(), tc.env)
			if tc.problem == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Join(machine.Warnings, "\n"); !strings.Contains(got, tc.warning) || (tc.warning == "" && got != "") {
					t.Errorf("warnings %q, want one with %q", got, tc.warning)
				}
				return
			}
			var pf *PreflightError
			if !errors.As(err, &pf) {
				t.Fatalf("error is %v, want a PreflightError", err)
			}
			if !strings.Contains(pf.Problem, tc.problem) || !strings.Contains(pf.Remedy, tc.remedy) {
				t.Errorf("got %q and %q, want %q and %q", pf.Problem, pf.Remedy, tc.problem, tc.remedy)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestPreflightWithoutDocker(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Preflight(t.Context(), nil)
	var pf *PreflightError
	if !errors.As(err, &pf) || !strings.Contains(pf.Remedy, "ubuntu-latest") {
		t.Errorf("got %v, want a remedy that names a runner", err)
	}
}

func TestOptionsValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		opts Options
		want string
	}{
		"good":          {Options{Name: "reprise-ab12", KubeconfigDir: "/tmp/x"}, ""},
		"new name":      {Options{Name: NewName(), KubeconfigDir: "/tmp/x"}, ""},
		"no prefix":     {Options{Name: "prod", KubeconfigDir: "/tmp/x"}, "must be reprise-"},
		"upper case":    {Options{Name: "reprise-AB", KubeconfigDir: "/tmp/x"}, "lower-case"},
		"too long":      {Options{Name: "reprise-" + strings.Repeat("a", 50), KubeconfigDir: "/tmp/x"}, "at most 50"},
		"relative path": {Options{KubeconfigDir: "x"}, "absolute"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.opts.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestNewNameIsFresh(t *testing.T) {
	if a, b := NewName(), NewName(); a == b || len(a) != len(NamePrefix)+8 {
		t.Errorf("names %q and %q", a, b)
	}
}

func TestOwnerRoundTrip(t *testing.T) {
	self := Self()
	self.MadeNetwork = true
	got, ok := parseOwner(self.path())
	if !ok || got != self {
		t.Errorf("parsed %+v, want %+v", got, self)
	}
	for _, foreign := range []string{"", "/var", "/etc/reprise/owner/", "/etc/reprise/owner/1-2-3", "/etc/reprise/owner/x-2-s-made", "/etc/reprise/owner/-1-2-s-made"} {
		if o, ok := parseOwner(foreign); ok {
			t.Errorf("%q was taken for the mark of %+v", foreign, o)
		}
	}
}

func TestOwnerGone(t *testing.T) {
	self := Self()
	for name, tc := range map[string]struct {
		owner Owner
		age   time.Duration
		gone  bool
	}{
		"this process":                  {self, 100 * time.Hour, false},
		"a pid that was given again":    {Owner{PID: self.PID, Started: self.Started + 1, Space: self.Space}, time.Second, true},
		"no such process":               {Owner{PID: 1 << 30, Started: 1, Space: self.Space}, time.Second, true},
		"another container, young":      {Owner{PID: 1, Space: "elsewhere"}, time.Minute, false},
		"another container, long since": {Owner{PID: 1, Space: "elsewhere"}, 4 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.owner.Gone(tc.age); got != tc.gone {
				t.Errorf("Gone = %v, want %v", got, tc.gone)
			}
		})
	}
}

// TestSweepRemovesOnlyOurs has a user's cluster with our prefix, one of a run
// that goes on, and one whose run has ended.
func TestSweepRemovesOnlyOurs(t *testing.T) {
	dead := Owner{PID: 1 << 30, Started: 1, Space: Self().Space, MadeNetwork: true}
	inspect := `[
 {"Id":"aaa","Created":"2026-01-02T03:04:05.6Z","Config":{"Labels":{"io.x-k8s.kind.cluster":"reprise-users"}},"Mounts":[{"Destination":"/var"}]},
 {"Id":"bbb","Created":"2026-01-02T03:04:05.6Z","Config":{"Labels":{"io.x-k8s.kind.cluster":"reprise-going"}},"Mounts":[{"Destination":"` + Self().path() + `"}]},
 {"Id":"ccc","Created":"2026-01-02T03:04:05.6Z","Config":{"Labels":{"io.x-k8s.kind.cluster":"reprise-ended"}},"Mounts":[{"Destination":"/var"},{"Destination":"` + dead.path() + `"}]}]`
	calls := fakeDocker(t, "case $1 in ps) printf 'aaa\\nbbb\\nccc\\n';; inspect) cat <<'E'\n"+inspect+"\nE\n;; esac")
	removed, err := Sweep(t.Context(), os.Environ(), time.Now(), false)
	if err != nil || !slices.Equal(removed, []string{"reprise-ended"}) {
		t.Fatalf("removed %v, %v; want the abandoned one", removed, err)
	}
	var changed []string
	for _, c := range calls() {
		if strings.HasPrefix(c, "rm") || strings.HasPrefix(c, "network rm") {
			changed = append(changed, c)
		}
	}
	if want := []string{"rm --force --volumes ccc", "network rm kind"}; !slices.Equal(changed, want) {
		t.Errorf("ran %q, want %q", changed, want)
	}
	removed, err = Sweep(t.Context(), os.Environ(), time.Now(), true)
	if err != nil || !slices.Equal(removed, []string{"reprise-going", "reprise-ended"}) {
		t.Errorf("with all: removed %v, %v; the user's cluster must stay", removed, err)
	}
}

func TestWithoutForward(t *testing.T) {
	const corefile = `.:53 {
    errors
    kubernetes cluster.local in-addr.arpa {
       pods insecure
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
}
`
	want := `.:53 {
    errors
    kubernetes cluster.local in-addr.arpa {
       pods insecure
    }
    cache 30
}
`
	if got := withoutForward(corefile); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := withoutForward("a {\n  forward . 1.1.1.1\n  cache\n}"); got != "a {\n  cache\n}" {
		t.Errorf("one line: got\n%s", got)
	}
}

func TestNodeReady(t *testing.T) {
	ready := corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}
	for name, tc := range map[string]struct {
		node corev1.Node
		want string
	}{
		"ready":     {corev1.Node{Status: ready}, ""},
		"not ready": {corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse, Message: "cni plugin not initialized"}}}}, "cni plugin"},
		"tainted":   {corev1.Node{Status: ready, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule}}}}, "taint"},
		"cordoned":  {corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: ready, Spec: corev1.NodeSpec{Unschedulable: true}}, "cordoned"},
	} {
		t.Run(name, func(t *testing.T) {
			err := nodeReady(&tc.node)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestPlainDropsPictures(t *testing.T) {
	var got []string
	l := &kindLog{progress: func(s string) { got = append(got, s) }}
	l.V(0).Infof(" • %s  ...\n", "Preparing nodes 📦 ")
	l.V(0).Infof(" ✓ %s\n", "Preparing nodes 📦 ")
	l.V(3).Info("kubeadm says a lot")
	if !slices.Equal(got, []string{"Preparing nodes"}) {
		t.Errorf("progress %q", got)
	}
}

func TestUsageOf(t *testing.T) {
	summary := `{"pods":[{"podRef":{"name":"a","namespace":"n"},"cpu":{"time":"2026-01-02T03:04:05Z","usageCoreNanoSeconds":1500000000},"memory":{"workingSetBytes":4096}}]}`
	got, err := usageOf([]byte(summary), "n", "a")
	if err != nil || got.CPU != 1500*time.Millisecond || got.MemoryBytes != 4096 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := usageOf([]byte(summary), "n", "b"); err == nil {
		t.Error("a pod without figures must be an error")
	}
	if _, err := usageOf([]byte("<html>"), "n", "a"); err == nil {
		t.Error("damaged figures must be an error")
	}
}

func TestCgroupFigures(t *testing.T) {
	for reason, tc := range map[string]struct {
		text string
		want Usage
		ok   bool
	}{
		"version 2":            {"usec 1500000\npeak 8192\n", Usage{CPU: 1500 * time.Millisecond, MemoryBytes: 8192}, true},
		"version 1":            {"nsec 1500000000\npeak 8192\n", Usage{CPU: 1500 * time.Millisecond, MemoryBytes: 8192}, true},
		"no peak":              {"usec 1500000\n", Usage{}, false},
		"no processor time":    {"peak 8192\n", Usage{}, false},
		"what is not a number": {"usec many\npeak 8192\n", Usage{}, false},
		"a file that is gone":  {"nsec \npeak \n", Usage{}, false},
	} {
		got, err := cgroupFigures(tc.text)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%s: %+v, %v; want %+v", reason, got, err, tc.want)
		}
	}
}

func TestUseNamesWhatIsWrong(t *testing.T) {
	if _, err := Use(t.Context(), "", "a", nil); err == nil || !strings.Contains(err.Error(), "kubeconfig") {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "config")
	const config = `{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Use(t.Context(), path, "", nil); err == nil || !strings.Contains(err.Error(), "name the") {
		t.Errorf("the current context was taken: %v", err)
	}
	if _, err := Use(t.Context(), path, "b", nil); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("unknown context: %v", err)
	}
	if _, err := Use(t.Context(), path, "a", nil); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("nobody listens: %v", err)
	}
}

// TestLoadDockerImagesFallsBack has a docker that does not know --platform.
func TestLoadDockerImagesFallsBack(t *testing.T) {
	calls := fakeDocker(t, `case "$1 $2" in
"save --platform") echo 'unknown flag: --platform' >&2; exit 125;;
"save "*) echo tar;;
exec*) cat >/dev/null;;
esac`)
	c := making("reprise-x")
	close(c.creation.now.engine)
	if err := c.LoadDockerImages(t.Context(), "a:1", "b:1"); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(calls(), "save a:1 b:1") {
		t.Errorf("calls %q hold no plain save of both images", calls())
	}
}

func TestLoadImagesOnGivenCluster(t *testing.T) {
	c := &Cluster{name: "given"}
	if err := c.LoadImages(t.Context(), text("")); !errors.Is(err, ErrElsewhere) {
		t.Errorf("got %v, want ErrElsewhere", err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Errorf("deleting a given cluster must do nothing: %v", err)
	}
}

// TestCancelDuringPull ends a creation while it waits for the node image.
func TestCancelDuringPull(t *testing.T) {
	calls := fakeDocker(t, `case $1 in image) exit 1;; pull) sleep 30;; esac`)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Start(ctx, Options{KubeconfigDir: t.TempDir(), Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := c.Ready(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("Ready returned %v, want the cancellation", err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(calls(), func(s string) bool { return strings.HasPrefix(s, "rm ") && strings.Contains(s, c.Name()) }) {
		t.Errorf("no removal of the node in %q", calls())
	}
}
