// Package formats reads the recordings of other tools as streams of exchanges,
// and writes some of them.
//
// [Read] takes files and folders, finds the format of each by its content, and
// hands every exchange on as soon as it is complete. Memory does not grow with
// the size of a file. A record that cannot be read never stops the good ones,
// unless that is asked for: it is reported with its place and counted, so that
//
//	Found = Imported + Unreadable
//
// Formats that hold rules instead of traffic (WireMock, Hoverfly, mountebank)
// are read by [ReadRules].
package formats
