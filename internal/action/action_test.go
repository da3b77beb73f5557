package action

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/reprise-ci/reprise/internal/config"
	"github.com/reprise-ci/reprise/internal/github"
)

// launcherInputs are no flags: they are for the launcher, or say what to do.
var launcherInputs = []string{"mode", "report", "github-token", "working-directory", "binary", "download-url"}

// The names, sentences and defaults of the inputs must be those of the keys, or
// a reader of one page is misled about the other.
func TestInputsAreTheKeysOfTheConfiguration(t *testing.T) {
	keys := map[string]config.Key{}
	for _, k := range config.Keys() {
		keys[k.Flag()] = k
	}
	action := readAction(t)
	var names []string
	for _, in := range github.Inputs() {
		names = append(names, in.Name)
		got, ok := action.Inputs[in.Name]
		if !ok {
			t.Errorf("action.yml has no input %s", in.Name)
			continue
		}
		if got.Default == nil || *got.Default != "" {
			t.Errorf("input %s has a default: it would win over reprise.yaml", in.Name)
		}
		if in.Name == "config" {
			continue
		}
		key, ok := keys[in.Name]
		if !ok {
			t.Errorf("input %s is no key of reprise.yaml and no flag", in.Name)
			continue
		}
		if !strings.HasPrefix(got.Description, key.Doc) {
			t.Errorf("input %s: description %q, the key says %q", in.Name, got.Description, key.Doc)
		}
		if key.List != (in.Kind == github.KindLines || in.Kind == github.KindWords) {
			t.Errorf("input %s: a list in one place, a value in the other", in.Name)
		}
		def := strings.ReplaceAll(key.Default, ",", ", ")
		said := regexp.MustCompile(` \(default ([^)]*)\)$`).FindStringSubmatch(got.Description)
		switch {
		case def != "" && def != "0" && (said == nil || duration(said[1]) != duration(def)):
			t.Errorf("input %s: description %q does not end with the default %s", in.Name, got.Description, def)
		case (def == "" || def == "0") && said != nil:
			t.Errorf("input %s: description names the default %q, there is none", in.Name, said[1])
		}
	}
	for name, in := range action.Inputs {
		if !slices.Contains(names, name) && !slices.Contains(launcherInputs, name) {
			t.Errorf("input %s is read by nobody", name)
		}
		if in.Description == "" {
			t.Errorf("input %s has no description", name)
		}
	}
}

// duration brings 60s and 1m to the same form; other texts stay.
func duration(s string) string {
	if d, err := time.ParseDuration(s); err == nil {
		return d.String()
	}
	return s
}

func TestWordsAreThoseOfTheConfiguration(t *testing.T) {
	for _, in := range github.Inputs() {
		for _, word := range in.Words {
			c := config.Default()
			c.Chart, c.Process.Command = "chart", "command"
			if word == config.TargetKubernetes {
				c.Context = "test"
			}
			for _, k := range config.Keys() {
				if k.Flag() == in.Name {
					if err := c.Assign(k.Path, word); err != nil {
						t.Error(err)
					}
				}
			}
			if err := c.Validate(); err != nil {
				t.Errorf("input %s takes %q, the configuration does not: %v", in.Name, word, err)
			}
		}
	}
}

func TestActionMetadata(t *testing.T) {
	a := readAction(t)
	if a.Name == "" || a.Author == "" || a.Branding.Icon == "" || a.Branding.Color == "" || a.Description == "" || len(a.Description) > 125 {
		t.Errorf("name, author, branding or description (%d of 125 characters) will not do", len(a.Description))
	}
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 2 || a.Runs.Steps[1].If != "always()" {
		t.Errorf("runs: %+v", a.Runs)
	}
	mapped := map[string]bool{}
	for i, s := range a.Runs.Steps {
		if s.Uses != "" {
			t.Errorf("step %d uses %s: a second supply chain, and none without github.com", i, s.Uses)
		}
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %d: an expression in a script is an injection", i)
		}
		for k, v := range s.Env {
			if strings.ContainsAny(k, "-") {
				t.Errorf("step %d: some shells drop %s", i, k)
			}
			if m := regexp.MustCompile(`^\$\{\{ inputs\.([a-z-]+) \}\}$`).FindStringSubmatch(v); m != nil {
				mapped[m[1]] = true
				if want := "INPUT_" + strings.ToUpper(strings.ReplaceAll(m[1], "-", "_")); strings.HasPrefix(k, "INPUT_") && k != want {
					t.Errorf("%s takes the input %s", k, m[1])
				}
			}
		}
		if strings.Contains(s.Dir, "inputs.working-directory") {
			mapped["working-directory"] = true
		}
	}
	for name := range a.Inputs {
		if !mapped[name] {
			t.Errorf("input %s reaches no step", name)
		}
	}
	for name, o := range a.Outputs {
		if o.Value != "${{ steps.run.outputs."+name+" }}" || o.Description == "" {
			t.Errorf("output %s: %+v", name, o)
		}
	}
}

func TestInputsReachTheCommand(t *testing.T) {
	r := newRunner(t)
	read := r.become("ACTION_TEST_VERDICT=pass")
	r.inputs["service"], r.inputs["fail-on"] = "shop", "response,crash"
	r.inputs["set"] = "a=1,b=$(touch /tmp/never)\n\nc=`x`; echo \"no\"\n"
	r.inputs["github-token"] = "pat"
	if err := os.Mkdir(filepath.Join(r.temp, "sub dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.inputs["working-directory"] = "sub dir"
	got := r.run(t.Context())
	all := read()
	if len(all) != 1 {
		t.Fatalf("%d processes, want one: a run that set its verdict needs no cleanup\n%s", len(all), r.log.String())
	}
	s := all[0]
	want := []string{"--service=shop", "--fail-on=response", "--fail-on=crash", "--set=a=1,b=$(touch /tmp/never)", "--set=c=`x`; echo \"no\""}
	if diff := cmp.Diff(want, s.Flags); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	if !slices.Equal(s.Args, []string{"run"}) || s.Token != "pat" || filepath.Base(s.Dir) != "sub dir" || s.Mistakes != "" {
		t.Errorf("the command was given %+v", s)
	}
	if got["verdict"] != "pass" || got["report-path"] != "/out/report.md" || got["comment-url"] == "" || got["comment-id"] != "" {
		t.Errorf("outputs %v", got)
	}
	if r.failed || r.summary != "### shop\n" {
		t.Errorf("failed %v, summary %q", r.failed, r.summary)
	}
}

func TestAFailedCheckFailsTheActionWithItsOutputs(t *testing.T) {
	r := newRunner(t)
	read := r.become("ACTION_TEST_VERDICT=fail")
	if got := r.run(t.Context()); !r.failed || got["verdict"] != "fail" || len(read()) != 1 {
		t.Errorf("failed %v, outputs %v, %d processes", r.failed, got, len(read()))
	}
}

func TestARunThatDiedIsCleanedUp(t *testing.T) {
	r := newRunner(t)
	read := r.become() // sets no outputs, as when it was killed
	got := r.run(t.Context())
	all := read()
	if got["verdict"] != "" || len(all) != 2 || !slices.Equal(all[1].Args, []string{"cleanup"}) {
		t.Errorf("outputs %v, processes %+v", got, all)
	}
}

// The runner signals the step's own process: it must be the command by then.
func TestASignalForTheStepReachesTheCommand(t *testing.T) {
	r := newRunner(t)
	ready := filepath.Join(r.temp, "ready")
	read := r.become("ACTION_TEST_READY="+ready, "ACTION_TEST_VERDICT=error")
	pid := 0
	r.started = func(p int) {
		pid = p
		go func() {
			for range 1200 { // until the command listens, at most 30 s
				time.Sleep(25 * time.Millisecond)
				if _, err := os.Stat(ready); err == nil {
					_ = syscall.Kill(p, syscall.SIGINT)
					return
				}
			}
		}()
	}
	r.run(t.Context())
	if all := read(); len(all) != 1 || all[0].PID != pid || all[0].Signal != "interrupt" {
		t.Errorf("pid of the step %d, processes %+v", pid, all)
	}
}

// act sets INPUT_ variables itself, gives the step a developer's environment
// and knows little of the event; the action must behave the same.
func TestUnderAct(t *testing.T) {
	r := newRunner(t)
	read := r.become("ACTION_TEST_VERDICT=pass", "ACT=true", "GITHUB_REPOSITORY=nektos/act", "GITHUB_RUN_ID=1", "GITHUB_REF=refs/pull/%!f(<nil>)/merge",
		"KUBECONFIG=/home/dev/.kube/config", "HELM_NAMESPACE=production", "GOFLAGS=-mod=vendor", "INPUT_SERVICE=shop", "INPUT_FAIL-ON=", "INPUT_BINARY=x")
	r.inputs["service"] = "shop"
	r.run(t.Context())
	if all := read(); len(all) != 1 || !slices.Equal(all[0].Flags, []string{"--service=shop"}) {
		t.Errorf("processes %+v\n%s", all, r.log.String())
	}
}

func TestModes(t *testing.T) {
	for mode, want := range map[string]string{"comment": "comment", "run": "run", "gate": "gate", "cleanup; rm -rf /": "", "help": ""} {
		r := newRunner(t)
		read := r.become("ACTION_TEST_VERDICT=pass")
		r.inputs["mode"] = mode
		got := r.run(t.Context())
		all := read()
		if want == "" {
			if !r.failed || got["verdict"] != "error" || len(all) != 0 || !strings.Contains(r.log.String(), "::error title=reprise::mode is ") {
				t.Errorf("mode %q: %+v\n%s", mode, all, r.log.String())
			}
		} else if len(all) != 1 || all[0].Args[0] != want {
			t.Errorf("mode %q: %+v\n%s", mode, all, r.log.String())
		}
	}
}
