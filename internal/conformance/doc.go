// Package conformance holds tests with clients and servers that nobody here
// wrote: what a client gets from the mock must be what it got from the real
// server, which the recorder stood before. A client that is not installed is
// skipped with the reason; make conformance says which ones are missing.
package conformance
