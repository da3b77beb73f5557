//go:build !unix

package replay

// enoughFiles cannot tell here; what is missing shows when it is missing.
func enoughFiles(int) error { return nil }
