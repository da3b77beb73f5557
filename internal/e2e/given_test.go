package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/reprise-ci/reprise/internal/cluster"
	"github.com/reprise-ci/reprise/internal/report"
)

// given is a cluster that exists before a run and stays.
type given struct {
	*testing.T
	cluster    *cluster.Cluster
	api        kubernetes.Interface
	kubeconfig string
	context    string
	repository string
}

func newGiven(t *testing.T) *given {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	cluster.Quiet(io.Discard)
	c, err := cluster.Create(ctx, cluster.Options{KubeconfigDir: t.TempDir(), LogsDir: t.TempDir(), Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
	g := &given{T: t, cluster: c, kubeconfig: c.Kubeconfig, context: "kind-" + c.Name(), repository: newRepository(t)}
	if g.api, err = c.API(); err != nil {
		t.Fatal(err)
	}
	return g
}

// start begins a run and calls see with each line of its progress.
func (g *given) start(temp string, see func(cmd *exec.Cmd, line string), args ...string) (out string, code int, log string) {
	g.Helper()
	out = filepath.Join(g.TempDir(), "out")
	args = append([]string{
		"run", "--config", "examples/shop/reprise.yaml", "--target", "kubernetes", "--kubeconfig", g.kubeconfig, "--context", g.context,
		"--base-ref", "main", "--output-dir", out, "--seed", "1", "--latency-off",
	}, args...)
	ctx, cancel := context.WithTimeout(g.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv("REPRISE_BIN"), args...)
	cmd.Dir, cmd.Env = g.repository, append(environment(g.T), "TMPDIR="+temp)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		g.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.Fatal(err)
	}
	var text strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		see(cmd, lines.Text())
	}
	_ = cmd.Wait() // the exit code is what is wanted
	return out, cmd.ProcessState.ExitCode(), text.String()
}

// namespaces lists those of runs that are not being removed.
func (g *given) namespaces() []string {
	g.Helper()
	list, err := g.api.CoreV1().Namespaces().List(g.Context(), metav1.ListOptions{LabelSelector: "reprise.dev/run"})
	if err != nil {
		g.Fatal(err)
	}
	var names []string
	for _, ns := range list.Items {
		if ns.DeletionTimestamp == nil {
			names = append(names, ns.Name)
		}
	}
	return names
}

// load runs with n workers and returns what the load came to. With kill, one of
// them is removed in the middle of it.
func (g *given) load(n string, kill bool) *report.Load {
	g.Helper()
	var pod string
	worker := regexp.MustCompile(`worker 1 is pod (\S+)`)
	out, code, log := g.start(g.TempDir(), func(_ *exec.Cmd, line string) {
		if m := worker.FindStringSubmatch(line); m != nil && pod == "" {
			pod = m[1]
		}
		if kill && strings.HasPrefix(strings.TrimSpace(line), "load: ") {
			kill = false
			go func() {
				time.Sleep(4 * time.Second)
				now := int64(0)
				pods, err := g.api.CoreV1().Pods("").List(g.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + pod})
				if err != nil || len(pods.Items) != 1 {
					g.Errorf("pod %q of worker 1: %v", pod, err)
					return
				}
				if err := g.api.CoreV1().Pods(pods.Items[0].Namespace).Delete(g.Context(), pod, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
					g.Error(err)
				}
			}()
		}
	}, "--replay-workers", n, "--latency-load", "25:24s")
	f, err := os.Open(filepath.Join(out, "report.json"))
	if err != nil {
		g.Fatalf("%v\n%s", err, log)
	}
	defer f.Close()
	d, err := report.ReadJSON(f)
	if err != nil || code != 0 || d.Load == nil || d.Run.Target != "kubernetes" {
		g.Fatalf("exit code %d, load %+v, %v\n%s", code, d.Load, err, log)
	}
	for _, s := range d.Run.Stages {
		g.Logf("%-24s %6.1f s", s.Name, s.Seconds)
	}
	g.Logf("%s workers: %+v", n, *d.Load)
	if left := g.namespaces(); len(left) > 0 {
		g.Errorf("namespaces are left: %q", left)
	}
	return d.Load
}

// mediansApart names the arms whose medians in two loads differ by more than half
// of one and 3 ms.
func mediansApart(by, reference *report.Load) (apart []string) {
	for i, a := range by.Arms {
		if b := reference.Arms[i]; math.Abs(a.P50MS-b.P50MS) > b.P50MS/2+3 {
			apart = append(apart, fmt.Sprintf("%s: p50 is %v ms by %d workers and %v ms by %d", a.Arm, a.P50MS, by.Workers, b.P50MS, reference.Workers))
		}
	}
	return apart
}

// reliable reports whether the sender was in time on all arms.
func reliable(l *report.Load) bool {
	return !slices.ContainsFunc(l.Arms, func(a report.LoadArm) bool { return !a.Reliable })
}

// TestGivenCluster uses a cluster that is not the run's own: a load by three
// workers, one of which is killed on the way, must come to what one worker's
// comes to; and whatever ends a run, its namespaces go.
func TestGivenCluster(t *testing.T) {
	needsKind(t)
	g := newGiven(t)
	three, one := g.load("3", true), g.load("1", false)
	if three.Workers != 3 || three.Lost != 1 || one.Workers != 1 || one.Lost != 0 {
		t.Errorf("%d workers and %d lost, then %d and %d; want 3, 1, 1, 0", three.Workers, three.Lost, one.Workers, one.Lost)
	}
	if len(three.ClocksAheadMS) != 3 || three.ClockErrorMS <= 0 || math.Abs(three.ClocksAheadMS[1]) > three.ClockErrorMS+1 {
		t.Errorf("clocks %v ms ahead, within %v ms: the pods of one machine have one clock", three.ClocksAheadMS, three.ClockErrorMS)
	}
	for i, a := range three.Arms {
		b := one.Arms[i]
		if a.Requests != 600 || a.Requests != b.Requests || a.Unsent != 0 || !maps.Equal(a.Answers, b.Answers) {
			t.Errorf("%s: three workers %d requests %v, one %d %v; want the same 600", a.Arm, a.Requests, a.Answers, b.Requests, b.Answers)
		}
	}
	if apart := mediansApart(three, one); len(apart) > 0 {
		// The two loads were not sent at the same time, and the machine may have
		// had other work during one of them.
		t.Logf("sent once more, because of %q", apart)
		again := g.load("1", false)
		switch apart = mediansApart(three, again); {
		case len(apart) > 0 && reliable(three) && reliable(again):
			t.Error(apart)
		case len(apart) > 0: // its times are no result, as the report says too
			t.Logf("not judged, the sender was late: %q", apart)
		}
	}
	t.Run("no image", func(t *testing.T) {
		g := *g
		g.T = t
		_, code, log := g.start(t.TempDir(), func(*exec.Cmd, string) {}, "--build-image-context", "",
			"--build-image-base", "registry.invalid/shop:{{.SHA}}", "--build-image-head", "registry.invalid/shop:{{.SHA}}")
		if code != 2 || !strings.Contains(log, "build.image.base: the cluster cannot get registry.invalid/shop:") && !strings.Contains(log, "build.image.head: the cluster cannot get") {
			t.Errorf("exit code %d\n%s", code, log)
		}
	})
	for name, end := range map[string]os.Signal{"interrupted": os.Interrupt, "killed": os.Kill} {
		t.Run(name, func(t *testing.T) {
			g := *g
			g.T = t
			temp := t.TempDir()
			_, code, log := g.start(temp, func(cmd *exec.Cmd, line string) {
				if strings.HasPrefix(strings.TrimSpace(line), "deploy base") {
					_ = cmd.Process.Signal(end) // it is told by its exit code
				}
			})
			if end == os.Interrupt && code != 130 {
				t.Errorf("exit code %d\n%s", code, log)
			}
			if end == os.Kill {
				if left := g.namespaces(); len(left) == 0 {
					t.Fatalf("a killed run leaves its namespaces\n%s", log)
				}
				cmd := exec.CommandContext(t.Context(), os.Getenv("REPRISE_BIN"), "cleanup")
				cmd.Env = append(environment(t), "TMPDIR="+temp)
				text, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(text), "removed the namespaces of run") {
					t.Errorf("cleanup: %v\n%s", err, text)
				}
			}
			if left := g.namespaces(); len(left) > 0 {
				t.Errorf("namespaces are left: %q\n%s", left, log)
			}
		})
	}
}
