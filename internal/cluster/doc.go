// Package cluster owns the Kubernetes cluster of a run: a kind cluster that
// reprise makes and removes, or a context that the user names and reprise only
// uses. It brings images into the node, forwards ports, fetches logs and reads
// resource figures. What is deployed on it is no business of this package.
//
// A cluster that reprise made is recognised by a mount in its node container
// (see [Owner]), not by its name alone, so that [Sweep] never touches another
// one.
package cluster
