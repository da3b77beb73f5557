package deploy

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProbesAskUntilReady has start-up go on as the author wrote it, though
// what asks then is another probe.
func TestProbesAskUntilReady(t *testing.T) {
	type m = map[string]any
	get := func(path string) m { return m{"path": path} }
	often := func(handler string, asks any, threshold int64) m {
		return m{handler: asks, "initialDelaySeconds": int64(0), "periodSeconds": int64(1), "failureThreshold": threshold, "successThreshold": int64(1), "timeoutSeconds": int64(10)}
	}
	for name, tc := range map[string]struct{ container, want m }{
		"no probes": {m{"name": "a"}, m{"name": "a"}},
		"nothing restarts what is not ready": {
			m{"readinessProbe": m{"exec": m{"command": []any{"ok"}}, "initialDelaySeconds": int64(30), "periodSeconds": int64(5), "successThreshold": int64(2)}},
			m{
				"startupProbe": often("exec", m{"command": []any{"ok"}}, math.MaxInt32),
			},
		},
		"liveness that asks the same restarts it": {
			m{"readinessProbe": m{"httpGet": get("/ok")}, "livenessProbe": m{"httpGet": get("/ok"), "initialDelaySeconds": int64(5), "failureThreshold": int64(2)}},
			m{
				"startupProbe":  often("httpGet", get("/ok"), 25),
				"livenessProbe": m{"httpGet": get("/ok"), "initialDelaySeconds": int64(5), "failureThreshold": int64(2), "timeoutSeconds": int64(10)},
			},
		},
		"liveness that asks something else does not": {
			m{"readinessProbe": m{"httpGet": get("/ready"), "periodSeconds": int64(60)}, "livenessProbe": m{"httpGet": get("/live")}},
			m{
				"startupProbe":  often("httpGet", get("/ready"), math.MaxInt32),
				"livenessProbe": m{"httpGet": get("/live"), "timeoutSeconds": int64(10)},
			},
		},
		"a startup probe of the author's that asks the same": {
			m{"startupProbe": m{"grpc": m{"port": int64(1)}, "failureThreshold": int64(30)}, "readinessProbe": m{"grpc": m{"port": int64(1)}, "periodSeconds": int64(3)}},
			m{
				"startupProbe": often("grpc", m{"port": int64(1)}, 300),
			},
		},
		"a startup probe of the author's after which readiness is still to come": {
			m{"startupProbe": m{"httpGet": get("/start"), "failureThreshold": int64(30)}, "readinessProbe": m{"httpGet": get("/ready"), "periodSeconds": int64(3)}},
			m{"startupProbe": often("httpGet", get("/start"), 300), "readinessProbe": often("httpGet", get("/ready"), 9)},
		},
		"a sidecar that others wait for": {
			m{"restartPolicy": "Always", "readinessProbe": m{"httpGet": get("/ready")}},
			m{"restartPolicy": "Always", "readinessProbe": often("httpGet", get("/ready"), 30)},
		},
	} {
		probes(tc.container)
		if diff := cmp.Diff(tc.want, tc.container); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
