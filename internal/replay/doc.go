// Package replay sends recorded inbound requests again and measures what comes
// back.
//
// An [Engine] holds the recorded inbound exchanges of a snapshot. Its Pass
// sends each of them once, in recorded order, and hands out whole live
// exchanges: it is for comparing answers. Its Round sends them to two arms in
// adjacent pairs and keeps service times only: it is for comparing speed.
//
// HTTP/1.1 is spoken by a small client of this package: the bytes of a request
// are ready before its moment, and the answer is read without allocation. It
// never follows redirects, never decodes a body and never reorders a header,
// because all of these are what is compared.
package replay
