package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// metadata is action.yml as the runner reads it.
type metadata struct {
	Name, Description, Author string
	Branding                  struct{ Icon, Color string }
	Inputs                    map[string]struct {
		Description string
		Default     *string
		Required    bool
	}
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []step
	}
}

type step struct {
	ID, If, Shell, Run, Uses string
	Dir                      string            `yaml:"working-directory"`
	Env                      map[string]string `yaml:"env"`
}

// root is the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func readAction(t *testing.T) metadata {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var m metadata
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// runner runs a composite action as GitHub's runner does: each step is a script
// for bash in an environment without any INPUT_ variable, expressions are
// filled in before, outputs come from a file, and a step after a failed one
// runs only if it says always().
type runner struct {
	t       *testing.T
	action  metadata
	inputs  map[string]string
	env     []string // beside what a runner sets
	temp    string
	failed  bool
	outputs map[string]string // of step run
	log     bytes.Buffer
	summary string
	started func(pid int) // called for the first step
}

func newRunner(t *testing.T) *runner {
	return &runner{t: t, action: readAction(t), inputs: map[string]string{}, temp: t.TempDir(), outputs: map[string]string{}}
}

var expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)

// fill evaluates the expressions of a text; it knows what action.yml uses.
func (r *runner) fill(text string) string {
	return expression.ReplaceAllStringFunc(text, func(m string) string {
		name := expression.FindStringSubmatch(m)[1]
		switch {
		case name == "github.token":
			return "ghs_token"
		case strings.HasPrefix(name, "inputs."):
			key := strings.TrimPrefix(name, "inputs.")
			in, ok := r.action.Inputs[key]
			if !ok {
				r.t.Errorf("action.yml reads the input %s, which it does not declare", key)
			}
			if v, given := r.inputs[key]; given {
				return v
			}
			if in.Default != nil {
				return r.fill(*in.Default)
			}
			return ""
		case strings.HasPrefix(name, "steps.run.outputs."):
			return r.outputs[strings.TrimPrefix(name, "steps.run.outputs.")]
		}
		r.t.Errorf("the runner of this test cannot evaluate %s", m)
		return ""
	})
}

// run runs all steps and returns the outputs of the action.
func (r *runner) run(ctx context.Context) map[string]string {
	for i, s := range r.action.Runs.Steps {
		if r.failed && s.If != "always()" {
			continue
		}
		r.step(ctx, i, s)
	}
	out := map[string]string{}
	for name, o := range r.action.Outputs {
		out[name] = r.fill(o.Value)
	}
	return out
}

func (r *runner) step(ctx context.Context, i int, s step) {
	t := r.t
	file := func(name string) string { return filepath.Join(r.temp, name) }
	script := file("script.sh")
	for name, text := range map[string]string{"script.sh": s.Run, "output": "", "summary": ""} {
		if err := os.WriteFile(file(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if s.Shell != "bash" {
		t.Fatalf("step %d runs with %q", i, s.Shell)
	}
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script)
	cmd.Dir = filepath.Join(r.temp, r.fill(s.Dir))
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.temp, "GITHUB_ACTIONS=true", "CI=true",
		"GITHUB_ACTION_PATH=" + root(t), "GITHUB_OUTPUT=" + file("output"), "GITHUB_STEP_SUMMARY=" + file("summary"),
		"RUNNER_TEMP=" + r.temp, "RUNNER_TOOL_CACHE=" + file("tools"), "GITHUB_REPOSITORY=acme/shop",
	}, r.env...)
	for k, v := range s.Env {
		cmd.Env = append(cmd.Env, k+"="+r.fill(v))
	}
	cmd.Stdout, cmd.Stderr = &r.log, &r.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if i == 0 && r.started != nil {
		r.started(cmd.Process.Pid)
	}
	if err := cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		r.failed = true
	}
	if s.ID == "run" {
		r.outputs = outputs(t, file("output"))
		data, err := os.ReadFile(file("summary"))
		if err != nil {
			t.Fatal(err)
		}
		r.summary = string(data)
	}
}

// outputs reads a file of outputs by the rules of the runner.
func outputs(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	lines := strings.Split(string(data), "\n")
	for i := 0; i < len(lines); i++ {
		name, delimiter, heredoc := strings.Cut(lines[i], "<<")
		if !heredoc {
			if name, value, ok := strings.Cut(lines[i], "="); ok {
				out[name] = value
			}
			continue
		}
		start := i + 1
		for i++; i < len(lines) && lines[i] != delimiter; i++ {
		}
		if i == len(lines) {
			t.Fatalf("output %s does not end", name)
		}
		out[name] = strings.Join(lines[start:i], "\n")
	}
	return out
}

// become makes the launcher start this test binary, and returns a function that
// reads what its processes were given.
func (r *runner) become(env ...string) func() []seen {
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	r.inputs["binary"] = self
	return r.record(env...)
}

func (r *runner) record(env ...string) func() []seen {
	out := filepath.Join(r.temp, "seen.jsonl")
	r.env = append(r.env, append(env, "ACTION_TEST_OUT="+out)...)
	return func() []seen {
		data, err := os.ReadFile(out)
		if err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
		var all []seen
		for line := range strings.Lines(string(data)) {
			var s seen
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				r.t.Fatal(err)
			}
			all = append(all, s)
		}
		return all
	}
}
