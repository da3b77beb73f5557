package analysis_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/eval/miniature"
)

func TestResources(t *testing.T) {
	used := func(arm string, cpu float64, mib int64, restarts, lines int) analysis.Resource {
		return analysis.Resource{Arm: arm, CPUSeconds: cpu, PeakBytes: mib << 20, Restarts: restarts, ErrorLines: lines, StartupMS: 400}
	}
	starts := func(arm string, ms float64) analysis.Resource { return analysis.Resource{Arm: arm, StartupMS: ms} }
	base, control := used("base", 2, 100, 0, 3), used("control", 2.1, 102, 0, 2)
	for _, tt := range []struct {
		name string
		arms []analysis.Resource
		want []string
	}{
		{"alike", []analysis.Resource{base, control, used("head", 2.2, 104, 0, 4)}, nil},
		{"memory", []analysis.Resource{base, control, used("head", 2, 140, 0, 3)}, []string{"resource more service resource.memory 1/1"}},
		{"a little memory", []analysis.Resource{used("base", 2, 10, 0, 0), used("head", 2, 20, 0, 0)}, nil},
		{"processor time", []analysis.Resource{base, control, used("head", 3.2, 100, 0, 3)}, []string{"resource more service resource.cpu 1/1"}},
		{"within noise", []analysis.Resource{base, used("control", 3, 100, 0, 3), used("head", 4, 100, 0, 3)}, nil},
		{"restart", []analysis.Resource{base, control, used("head", 2, 100, 1, 3)}, []string{"resource more service resource.restarts 1/1"}},
		{"base restarts too", []analysis.Resource{used("base", 2, 100, 1, 3), control, used("head", 2, 100, 1, 3)}, nil},
		{"errors in the log", []analysis.Resource{base, control, used("head", 2, 100, 0, 40)}, []string{"resource more service resource.error-lines 1/1"}},
		{"base's time was not measured", []analysis.Resource{used("base", 0, 100, 0, 3), used("control", 0.3, 100, 0, 3), used("head", 2, 100, 0, 3)}, nil},
		{"slow to start", []analysis.Resource{starts("base", 1000), starts("control", 2000), starts("head", 6000)}, []string{"resource more service resource.startup 1/1"}},
		{"slower to start, within seconds", []analysis.Resource{starts("base", 0), starts("control", 1000), starts("head", 3900)}, nil},
		{"slower to start, less than twice", []analysis.Resource{starts("base", 20000), starts("control", 21000), starts("head", 41000)}, nil},
		{"slower to start, within noise", []analysis.Resource{starts("base", 1000), starts("control", 5000), starts("head", 16900)}, nil},
		{"slower to start, beyond noise", []analysis.Resource{starts("base", 1000), starts("control", 5000), starts("head", 17100)}, []string{"resource more service resource.startup 1/1"}},
		{"base was ready within the second", []analysis.Resource{starts("base", 0), starts("head", 9000)}, []string{"resource more service resource.startup 1/1"}},
		{"larger image", []analysis.Resource{{Arm: "base", ImageBytes: 50 << 20}, {Arm: "control", ImageBytes: 50 << 20}, {Arm: "head", ImageBytes: 61 << 20}}, []string{"resource more service resource.image 1/1"}},
		{"base's image was not measured", []analysis.Resource{{Arm: "base"}, {Arm: "head", ImageBytes: 61 << 20}}, nil},
		{"unknown", []analysis.Resource{{Arm: "base", Unavailable: "no cgroup"}, used("head", 9, 900, 0, 0)}, nil},
		{"nothing", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := analysis.Run(analysis.Input{Resources: tt.arms}, analysis.Options{FailOn: []string{"resource"}})
			if diff := cmp.Diff(tt.want, summary(got.Findings)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, f := range got.Findings {
				if !f.Gates {
					t.Errorf("%s does not gate although it is asked to", f.Address)
				}
			}
		})
	}
}

// A head that answers with errors logs them too: one cause, one finding.
func TestErrorLinesOfFailingAnswers(t *testing.T) {
	w := miniature.Record()
	faults := miniature.Faults{Fails: func(sku string) bool { return true }}
	in := analysis.Input{
		Recorded: w.Recorded, Base: w.Pass("base", 11, miniature.Faults{}), Control: w.Pass("control", 12, miniature.Faults{}), Head: w.Pass("head", 13, faults),
		Resources: []analysis.Resource{{Arm: "base", ErrorLines: 1}, {Arm: "control", ErrorLines: 1}, {Arm: "head", ErrorLines: 50}},
	}
	for _, f := range analysis.Run(in, analysis.Options{}).Findings {
		if f.Kind == analysis.KindResource {
			t.Errorf("a finding of its own: %+v", f)
		}
		for _, c := range f.Consequences {
			if c.Address == "resource.error-lines" {
				return
			}
		}
	}
	t.Error("no finding has the error lines as its consequence")
}
