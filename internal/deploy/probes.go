package deploy

import (
	"maps"
	"math"
	"reflect"
)

// number reads a count of a probe; unset stands for none.
func number(probe map[string]any, key string, unset int64) int64 {
	if n, ok := probe[key].(int64); ok && n > 0 {
		return n
	}
	return unset
}

// patience is how many seconds a probe fails before the kubelet acts on it.
func patience(probe map[string]any) int64 {
	return max(1, number(probe, "initialDelaySeconds", 0)+number(probe, "failureThreshold", 3)*number(probe, "periodSeconds", 10))
}

// probes makes the kubelet ask a container every second until it is ready, and no
// more from then on: three arms that are asked by a command each second disturb each
// other while they are measured. What asks is a startup probe, which ends with its
// first success. A readiness probe every ten seconds instead would make start-up
// look longer: a kubelet that is younger than the period, as that of a new cluster
// may be, asks the first time after a random part of it. Where a startup probe of
// the author's asks something else, readiness is asked every second all along: who
// has started need not be ready. Liveness is asked as the chart wants.
func probes(c map[string]any) {
	of := func(key string) map[string]any { probe, _ := c[key].(map[string]any); return probe }
	readiness, startup, liveness := of("readinessProbe"), of("startupProbe"), of("livenessProbe")
	_, sidecar := c["restartPolicy"] // what starts after an init container waits for its startup probe
	if startup != nil {
		quicken(startup)
	}
	switch {
	case readiness == nil:
	case startup == nil && !sidecar:
		startup = maps.Clone(readiness)
		quicken(startup)
		startup["failureThreshold"] = startPatience(readiness, liveness)
		c["startupProbe"] = startup
		delete(c, "readinessProbe")
	case startup != nil && askTheSame(startup, readiness):
		delete(c, "readinessProbe")
	default:
		quicken(readiness)
	}
	for _, key := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		if probe := of(key); probe != nil {
			bear(probe)
		}
	}
}

// startPatience is after how many seconds a container that is not ready is
// restarted. Liveness, which would do it, is not asked before the startup probe has
// succeeded; where it asks the same as readiness, its patience counts, and nothing
// restarts a container that is merely not ready.
func startPatience(readiness, liveness map[string]any) int64 {
	if askTheSame(readiness, liveness) {
		return patience(liveness)
	}
	return math.MaxInt32
}

// askTheSame reports whether two probes do the same to find out.
func askTheSame(a, b map[string]any) bool {
	for _, handler := range []string{"httpGet", "tcpSocket", "grpc", "exec"} {
		if asks, ok := a[handler]; ok {
			return reflect.DeepEqual(asks, b[handler])
		}
	}
	return false
}

// quicken makes a probe ask every second from the start, for as long as it
// would have before it gives up.
func quicken(probe map[string]any) {
	probe["failureThreshold"] = patience(probe)
	probe["initialDelaySeconds"] = int64(0)
	probe["periodSeconds"] = int64(1)
	probe["successThreshold"] = int64(1)
}

// leastAnswer is how long a probe waits for its answer at least, in seconds: two
// arms that are measured share a machine that may stall, and one of them would be
// taken out of its Service, or restarted, for that.
const leastAnswer = 10

func bear(probe map[string]any) {
	if n, ok := probe["timeoutSeconds"].(int64); !ok || n < leastAnswer {
		probe["timeoutSeconds"] = int64(leastAnswer)
	}
}
