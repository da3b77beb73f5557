// Package capture records live traffic without a change to the service, without
// root and without losing anything in silence.
//
// [Inbound] is a reverse proxy in front of the service, [Outbound] a forward
// proxy between the service and its dependencies. Both move bytes first: a
// request goes on as it came, head and body, while its parts are copied aside.
// Each connection of a caller has a connection of its own to the callee, so
// what one side does to it (closing, half-closing, upgrading, pipelining)
// happens to the other side too.
//
// A [Recorder] joins what the two see into lanes, numbers it, and hands it to a
// [Sink]. Its [Counts] always balance: what was seen was stored, sampled out,
// dropped, or is still under way.
package capture
