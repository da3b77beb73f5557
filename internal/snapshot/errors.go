package snapshot

import (
	"errors"
	"fmt"
)

// ErrNotSnapshot is wrapped by the errors of [Open] for paths that hold
// something else.
var ErrNotSnapshot = errors.New("not a snapshot")

// ErrTooLarge is wrapped by errors about parts beyond the limits of the
// format.
var ErrTooLarge = errors.New("too large")

// VersionError is a snapshot of a format that this program cannot read.
type VersionError struct {
	Path  string
	Found string // the format line of the manifest
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: format %q: this program reads %s; use a newer release of reprise", e.Path, e.Found, Format)
}

// DigestError is a file whose content is not what the manifest says.
type DigestError struct {
	File      string // relative to the snapshot
	Want, Got string // "sha256:<hex>", or sizes as "<n> bytes"
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: digest is %s, the manifest says %s; restore the file or record the snapshot again", e.File, e.Got, e.Want)
}

// SyntaxError is a place that does not follow the format.
type SyntaxError struct {
	File string // relative to the snapshot
	Line int    // from 1; 0 where there are no lines
	Err  error
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns what is wrong there.
func (e *SyntaxError) Unwrap() error { return e.Err }
