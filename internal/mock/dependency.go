package mock

import (
	"strings"
	"sync"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// dependencies maps what callers write as authority to the dependency they
// mean: one of the recorded authorities where that is clear, else the
// authority itself.
type dependencies struct {
	recorded  map[string]bool     // normalised authorities
	byHost    map[string][]string // host without port -> authorities
	byService map[string][]string // first label of cluster names -> authorities

	cached sync.RWMutex
	cache  map[written]string // to dependencies; bounded by maxCache
}

// written is how a caller wrote an authority.
type written struct{ scheme, authority string }

// maxCache bounds the cache of live authorities, which a hostile service could
// otherwise grow without end.
const maxCache = 4096

func newDependencies() *dependencies {
	return &dependencies{recorded: map[string]bool{}, byHost: map[string][]string{}, byService: map[string][]string{}, cache: map[written]string{}}
}

// add notes a recorded authority and returns the dependency's name.
func (d *dependencies) add(scheme, authority string) string {
	name := normalAuthority(scheme, authority)
	if d.recorded[name] {
		return name
	}
	d.recorded[name] = true
	host, _ := traffic.SplitAuthority(name)
	d.byHost[host] = append(d.byHost[host], name)
	if service, _, ok := serviceName(host); ok {
		d.byService[service] = append(d.byService[service], name)
	}
	return name
}

// resolve returns the dependency that a live authority means.
func (d *dependencies) resolve(scheme, authority string) string {
	key := written{scheme, authority}
	d.cached.RLock()
	name, ok := d.cache[key]
	d.cached.RUnlock()
	if ok {
		return name
	}
	name = d.find(normalAuthority(scheme, authority))
	d.cached.Lock()
	defer d.cached.Unlock()
	if len(d.cache) < maxCache {
		d.cache[written{scheme, strings.Clone(authority)}] = name // not the head that it is a part of
	}
	return name
}

func (d *dependencies) find(name string) string {
	if d.recorded[name] {
		return name
	}
	host, _ := traffic.SplitAuthority(name)
	if same := d.byHost[host]; len(same) == 1 {
		return same[0] // recorded with another port, or none
	} else if len(same) > 1 {
		return name
	}
	service, namespace, ok := serviceName(host)
	if !ok {
		return name
	}
	// In its own namespace first; then in any, since a chart may write the
	// namespace of the arm into the names.
	for _, anyNamespace := range []bool{false, clusterName(host)} {
		var fits []string
		for _, candidate := range d.byService[service] {
			candidateHost, _ := traffic.SplitAuthority(candidate)
			_, other, _ := serviceName(candidateHost)
			if anyNamespace || namespace == "" || other == "" || namespace == other {
				fits = append(fits, candidate)
			}
		}
		if len(fits) == 1 {
			return fits[0]
		} else if len(fits) > 1 {
			return name // two recorded names fit: neither is meant for sure
		}
	}
	return name
}

// knows reports whether a host name is that of a recorded dependency, under
// any of the names that mean it. The namespace of a cluster name does not
// matter: the arms of a run live in namespaces of their own.
func (d *dependencies) knows(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if len(d.byHost[host]) > 0 {
		return true
	}
	service, _, ok := serviceName(host)
	return ok && clusterName(host) && len(d.byService[service]) > 0
}

// normalAuthority writes an authority in lower case, without a trailing dot
// and without the default port of its scheme.
func normalAuthority(scheme, authority string) string {
	host, port := traffic.SplitAuthority(strings.ToLower(authority))
	host = strings.TrimSuffix(host, ".")
	if port == "" || port == "80" && scheme != "https" || port == "443" && scheme != "http" {
		return host
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// clusterSuffixes end the names of Services inside a cluster.
var clusterSuffixes = []string{".svc.cluster.local", ".svc"}

func clusterName(host string) bool {
	for _, suffix := range clusterSuffixes {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return !strings.Contains(host, ".")
}

// serviceName splits the name of a Service inside a cluster, in any of its
// forms: service, service.namespace, service.namespace.svc,
// service.namespace.svc.cluster.local. A name of two labels may also be an
// ordinary domain, so it is only ever compared with recorded names.
func serviceName(host string) (service, namespace string, ok bool) {
	for _, suffix := range clusterSuffixes {
		if rest, found := strings.CutSuffix(host, suffix); found {
			host = rest
			break
		}
	}
	service, namespace, _ = strings.Cut(host, ".")
	if service == "" || strings.Contains(namespace, ".") || strings.Contains(host, ":") || numeric(service) || publicDomains[namespace] {
		return "", "", false
	}
	return service, namespace, true
}

// publicDomains are ends of ordinary names that no namespace is called after.
var publicDomains = map[string]bool{
	"ai": true, "app": true, "cloud": true, "co": true, "com": true, "dev": true, "eu": true,
	"io": true, "local": true, "localhost": true, "me": true, "net": true, "org": true,
}

func numeric(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
