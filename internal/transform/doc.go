// Package transform makes recorded requests fit to be sent today: it picks
// them by filters, changes headers by rules, signs tokens anew, and puts live
// values in the place of recorded ones.
//
// # Learned bindings
//
// A client that was given an id, a token or a cursor sends it back. A replay
// has to send back what the service under test answered instead. [Learn] finds
// such values, and no script is needed. A value is bound when all of this holds:
//
//   - it was first seen in a recorded answer: in a JSON leaf, a header, a
//     cookie, a part of Location, a hidden form field, a server-sent event, a
//     claim of a token, a field of a protobuf message;
//   - it occurs in a later request: in a path segment, a query value, a header,
//     a cookie, a credential, a JSON leaf, a form value, a part of a multipart
//     body, a claim of a token, a field of a protobuf message, or as a whole
//     word within one of these;
//   - no request before that answer held it, because then it is the client's
//     own, or data that was there before;
//   - it is distinctive: eight characters or more with letters and digits, nine
//     digits or more, or eight characters under a name such as token, state or
//     cursor. A shorter value, such as the id 42, is bound only where both
//     places speak of the same thing: the answer has it as order_id, as the id
//     within order or orders, or as the id of an answer to /orders, and the
//     request has it in /orders/42, as order_id, or likewise.
//
// At replay the live value is taken from the same address of the live answer.
// When the live answer still holds the recorded value anywhere, that value is
// good as it is and stays: lists may come in another order.
package transform
