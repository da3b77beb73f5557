package snapshot

// defaultInline is what an inline limit of zero stands for.
const defaultInline = 4096

// The limits of the format. The writer keeps them, so a file beyond them was
// not written by it; the reader refuses such a file before it allocates.
const (
	maxManifest = 64 << 20  // bytes of a manifest
	maxFiles    = 1 << 20   // files in a snapshot
	maxEntry    = 64 << 20  // bytes of the text of one exchange
	maxInline   = 8 << 20   // largest inline limit
	maxBody     = 256 << 20 // bytes of one stored body
	maxLine     = 32 << 20  // bytes of one line of a route file
)
