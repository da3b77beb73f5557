//go:build !unix

package snapshot

import "io"

// mapRegion says that this system maps no files.
func mapRegion(io.ReaderAt, int64, int64) (region, bool) { return region{}, false }
