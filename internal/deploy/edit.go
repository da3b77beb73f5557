package deploy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Where the authority of the run is mounted, and the name of what holds it.
const (
	trustName  = "reprise-trust"
	trustPath  = "/etc/reprise/trust"
	trustFile  = trustPath + "/ca.crt"
	trustStore = trustPath + "/truststore.jks"
)

// trustEnv are the variables by which runtimes are told whom to trust. Go,
// OpenSSL, Ruby and curl take the file instead of the system's roots, Node adds
// it to them. It holds the authority of the run alone: every outside name is
// the mock, so no other authority has anything to sign.
var trustEnv = map[string]string{
	"SSL_CERT_FILE":       trustFile,
	"NODE_EXTRA_CA_CERTS": trustFile,
	"REQUESTS_CA_BUNDLE":  trustFile,
	"CURL_CA_BUNDLE":      trustFile,
	"AWS_CA_BUNDLE":       trustFile,
}

// javaTrust tells a Java runtime. A store without a password is read without a
// check of its integrity.
const javaTrust = "-Djavax.net.ssl.trustStore=" + trustStore + " -Djavax.net.ssl.trustStoreType=JKS"

// editor changes rendered objects for one arm.
type editor struct {
	arm  Arm
	opts Options
	// served reports whether the cluster knows a kind; nil knows all.
	served func(apiVersion, kind string) (known, namespaced bool)
	notes  map[string]bool
}

func (e *editor) note(format string, args ...any) { e.notes[fmt.Sprintf(format, args...)] = true }

// edit returns the objects to install.
func (e *editor) edit(objects []object) []object {
	var kept []object
	for _, o := range objects {
		if e.keep(o) {
			kept = append(kept, o)
		}
	}
	return kept
}

// keep changes one object, or reports false for one that is left out.
func (e *editor) keep(o object) bool {
	if e.served != nil {
		known, namespaced := e.served(o.string("apiVersion"), o.kind())
		if !known {
			e.note("%s left out: the cluster does not know %s", o, o.string("apiVersion"))
			return false
		}
		if !namespaced && !e.arm.Owned {
			e.note("%s left out: it belongs to the whole cluster, which others use too", o)
			return false
		}
		e.home(o, namespaced)
	}
	switch o.kind() {
	case "HorizontalPodAutoscaler", "PodDisruptionBudget":
		e.note("%s left out: each arm has one pod", o)
		return false
	case "Deployment", "StatefulSet", "ReplicaSet", "ReplicationController":
		spec := child(o, "spec")
		if n, ok := spec["replicas"].(int64); ok && n != 1 {
			e.note("%s has 1 replica instead of %d", o, n)
		}
		spec["replicas"] = int64(1)
		delete(spec, "minReadySeconds")
	case "Service":
		e.service(o)
	case "CronJob":
		child(o, "spec")["suspend"] = true
		e.note("%s is suspended", o)
	}
	if spec := o.podSpec(); spec != nil {
		e.pod(o, spec)
	}
	return true
}

// home puts an object into the arm's namespace, and keeps bindings of the whole
// cluster apart from those of the other arms.
func (e *editor) home(o object, namespaced bool) {
	meta := child(o, "metadata")
	if namespaced {
		if ns, ok := meta["namespace"].(string); ok && ns != e.arm.Namespace {
			e.note("%s goes into the arm's namespace instead of %s", o, ns)
		}
		meta["namespace"] = e.arm.Namespace
	}
	if o.kind() == "ClusterRoleBinding" {
		meta["name"] = o.name() + "-" + e.arm.Namespace
	}
	if o.kind() == "ClusterRoleBinding" || o.kind() == "RoleBinding" {
		subjects, _ := o["subjects"].([]any)
		for _, item := range subjects {
			if s, ok := item.(map[string]any); ok && s["kind"] == "ServiceAccount" {
				s["namespace"] = e.arm.Namespace
			}
		}
	}
}

// service drops what only one Service of a cluster can have, since the arms
// stand side by side.
func (e *editor) service(o object) {
	spec := child(o, "spec")
	switch spec["type"] {
	case "NodePort", "LoadBalancer":
		spec["type"] = "ClusterIP"
		for _, key := range []string{"externalTrafficPolicy", "healthCheckNodePort", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts"} {
			delete(spec, key)
		}
	case "ExternalName":
		return
	}
	if ip, ok := spec["clusterIP"].(string); ok && ip != "None" {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	ports, _ := spec["ports"].([]any)
	for _, item := range ports {
		if p, ok := item.(map[string]any); ok {
			delete(p, "nodePort")
		}
	}
}

// pod changes the pods of an object: names, trust, images, probes, resources,
// placement.
func (e *editor) pod(o object, spec map[string]any) {
	if host, _ := spec["hostNetwork"].(bool); host {
		delete(spec, "hostNetwork")
		e.note("%s does not use the node's network", o)
	}
	e.names(spec)
	if len(e.arm.CA) > 0 {
		addVolume(spec, trustName, map[string]any{"configMap": map[string]any{"name": trustName}})
	}
	if e.arm.Owned {
		e.placement(o, spec)
	}
	if len(e.arm.PullSecrets) > 0 {
		list, _ := spec["imagePullSecrets"].([]any)
		for _, name := range e.arm.PullSecrets {
			list = append(list, map[string]any{"name": name})
		}
		spec["imagePullSecrets"] = list
	}
	for _, c := range containers(spec) {
		e.container(o, c)
	}
}

// names makes the mock the name server of the pod. The search list is the
// cluster's, so that short names of Services mean the same as ever.
func (e *editor) names(spec map[string]any) {
	if e.arm.Nameserver == "" {
		return
	}
	var search []any
	for _, s := range e.arm.searches() {
		search = append(search, s)
	}
	spec["dnsPolicy"] = "None"
	spec["dnsConfig"] = map[string]any{
		"nameservers": []any{e.arm.Nameserver},
		"searches":    search,
		"options":     []any{map[string]any{"name": "ndots", "value": "5"}},
	}
	delete(spec, "hostAliases") // they would lead past the mock
}

// placement drops wishes that a cluster of one node cannot grant.
func (e *editor) placement(o object, spec map[string]any) {
	for _, key := range []string{"nodeSelector", "affinity", "topologySpreadConstraints", "priorityClassName", "runtimeClassName", "schedulerName"} {
		if _, ok := spec[key]; ok {
			delete(spec, key)
			e.note("%s: %s removed, the cluster has one node", o, key)
		}
	}
}

func (e *editor) container(o object, c map[string]any) {
	if ref, ok := c["image"].(string); ok {
		replaced := replaceImage(ref, e.opts.Images)
		c["image"] = replaced
		if replaced != ref {
			e.note("%s: image %s replaced by %s", o, ref, replaced)
		}
		if replaced != ref || slices.ContainsFunc(e.arm.Loaded, func(loaded string) bool { return sameImage(loaded, replaced) }) {
			c["imagePullPolicy"] = "IfNotPresent"
		}
	}
	env := maps.Clone(e.opts.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, e.arm.Env)
	if len(e.arm.CA) > 0 {
		maps.Copy(env, trustEnv)
		env["JAVA_TOOL_OPTIONS"] = strings.TrimSpace(envValue(c, "JAVA_TOOL_OPTIONS") + " " + javaTrust)
		addMount(c, trustName, trustPath)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		setEnv(c, name, env[name])
	}
	probes(c)
	e.resources(c)
}

// resources removes CPU limits, which turn into throttling and thus into noise,
// and asks for so little on an owned cluster that three arms fit on it. Limits
// of memory stay: what they do is part of the service.
func (e *editor) resources(c map[string]any) {
	res, ok := c["resources"].(map[string]any)
	if !ok {
		return
	}
	if limits, ok := res["limits"].(map[string]any); ok {
		delete(limits, "cpu")
	}
	if e.arm.Owned {
		res["requests"] = map[string]any{"cpu": "10m", "memory": "16Mi"}
	}
}

func envValue(c map[string]any, name string) string {
	list, _ := c["env"].([]any)
	for _, item := range list {
		if v, ok := item.(map[string]any); ok && v["name"] == name {
			value, _ := v["value"].(string)
			return value
		}
	}
	return ""
}

// setEnv replaces a variable in place or adds it.
func setEnv(c map[string]any, name, value string) {
	list, _ := c["env"].([]any)
	entry := map[string]any{"name": name, "value": value}
	i := slices.IndexFunc(list, func(item any) bool {
		v, ok := item.(map[string]any)
		return ok && v["name"] == name
	})
	if i >= 0 {
		list[i] = entry
	} else {
		list = append(list, entry)
	}
	c["env"] = list
}

func addVolume(spec map[string]any, name string, volume map[string]any) {
	volume["name"] = name
	list, _ := spec["volumes"].([]any)
	spec["volumes"] = append(list, volume)
}

func addMount(c map[string]any, name, path string) {
	list, _ := c["volumeMounts"].([]any)
	c["volumeMounts"] = append(list, map[string]any{"name": name, "mountPath": path, "readOnly": true})
}

// replaceImage returns what stands for a reference.
func replaceImage(ref string, images []Image) string {
	for _, i := range images {
		if repository(ref) == repository(i.Match) {
			return i.Ref
		}
	}
	return ref
}

// sameImage compares references as container engines do, where docker.io,
// library and latest go without saying.
func sameImage(a, b string) bool { return repository(a) == repository(b) && tag(a) == tag(b) }

func repository(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	first, _, ok := strings.Cut(ref, "/")
	if !ok {
		return "docker.io/library/" + ref
	}
	if !strings.ContainsAny(first, ".:") && first != "localhost" {
		return "docker.io/" + ref
	}
	return ref
}

func tag(ref string) string {
	if name, digest, ok := strings.Cut(ref, "@"); ok && name != "" {
		return digest
	}
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref[i+1:]
	}
	return "latest"
}
