// Package traffic is the vocabulary of reprise: what an exchange is, how its
// parts are named, and how the place of a difference inside it is written.
//
// Recorded, mocked and replayed traffic are all values of [Exchange]. They
// share ids, so that no room needs the types of another one:
//
//   - a recorded exchange has an ID and, when it is outbound, the [Lane] of the
//     inbound exchange that caused it;
//   - a replayed exchange is a live one whose Recorded field names the recorded
//     exchange that was sent again;
//   - a mocked exchange is a live outbound one whose [Match] says which
//     recorded exchange answered it, and how.
//
// The package imports nothing of reprise and holds no behaviour beyond reading,
// naming and addressing these values.
package traffic
