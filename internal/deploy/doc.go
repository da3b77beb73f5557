// Package deploy installs a service's own Helm chart on a cluster, once for
// each arm of a run, so that nothing it calls is real: its pods ask the arm's
// mock for every name and trust the run's certificate authority. It waits until
// the pods are ready, or says within seconds why they will not be.
//
// The chart is installed as it is; what has to differ from production is
// changed in the rendered manifests and listed in [Release.Notes]. No type of
// Helm leaves this package.
package deploy
