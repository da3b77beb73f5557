// Package agent lets the mock and the replayer run somewhere else, as pods of
// an image that is made of the running executable itself, behind a small
// control API over HTTP.
//
// The servers ([ServeMock], [ServeReplay]) wrap a mock and a replay engine; the
// clients ([Mock], [Replayer]) have the methods of the local ones. Exchanges
// cross the wire in an encoding of their own ([StreamWriter]) that loses
// nothing, because what is compared must be what was seen: JSON would change
// bytes that are no UTF-8.
//
// Every request but the health check carries a token made for the run. The API
// is not encrypted; it is reached through the cluster's port forwarding or
// from pod to pod.
package agent
