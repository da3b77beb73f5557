package snapshot

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Options say what stands in the manifest and how exchanges are laid out.
type Options struct {
	// Name of the snapshot; the last element of its path if empty.
	Name string
	// Service is the name of the recorded service.
	Service string
	// Router names the endpoints, one file each. A nil Router guesses.
	Router *traffic.Router
	// Now is the clock for CreatedAt; time.Now if nil.
	Now func() time.Time
	// Replace allows an existing snapshot at the path; it stays as it is until
	// the new one is complete.
	Replace bool
	// InlineLimit is the size in bytes up to which a text body stands beside
	// its headers instead of in a file of its own; 4096 if zero.
	InlineLimit int
	// FlushAfter is how long an exchange waits in memory for others before it
	// is written to the disk, where it outlives the process. Zero means until
	// there are enough for a frame.
	FlushAfter time.Duration
}

// Validate reports the first option that cannot be used.
func (o Options) Validate() error {
	if strings.ContainsAny(o.Name, "\n\r") || strings.ContainsAny(o.Service, "\n\r") {
		return errors.New("name and service of a snapshot must be one line")
	}
	if o.FlushAfter < 0 {
		return fmt.Errorf("flush after %s: must not be negative", o.FlushAfter)
	}
	if o.InlineLimit < 0 || o.InlineLimit > maxInline {
		return fmt.Errorf("inline limit %d: must be between 0 and %d bytes", o.InlineLimit, maxInline)
	}
	return nil
}

func (o Options) withDefaults(name string) Options {
	if o.Name == "" {
		o.Name = name
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.InlineLimit == defaultInline {
		o.InlineLimit = 0
	}
	return o
}
