// Package http1 reads HTTP/1 messages as they are on the wire: heads with
// their fields in order and spelling, bodies by their framing. It changes
// nothing and is bounded, whatever a peer sends.
package http1
