// Package compare tells how two exchanges differ. It is pure and total: the
// same input gives the same output, no input makes it panic, and both its time
// and its memory are bounded by the size of what it is given.
//
// The walk knows three rules, tried in this order for every pair of places:
//
//  1. Equal bytes are equal; nothing below them is looked at.
//  2. Values of different types differ by type; nothing below them is looked at.
//  3. Values of one type are compared by what they mean: numbers by value,
//     objects by member without regard to order, lists element by element once
//     they are aligned, everything else as text.
//
// Every structured body (JSON, JSON lines, forms, XML, multipart, events) is
// first turned into one small tree, so that the rules and the addresses are the
// same for all of them. A body that is not structured is text, compared by line,
// or binary, compared by length and digest.
//
// The package knows nothing of noise or blame: it says what differs between two
// exchanges, and what class a set of values belongs to ([ClassOf]).
package compare
