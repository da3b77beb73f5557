package snapshot

import (
	"fmt"
	"iter"
	"os"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Reader reads a snapshot of either tier. Its methods are safe for concurrent
// use.
type Reader struct {
	path string
	tier tier
}

// tier is one of the two forms of a snapshot.
type tier interface {
	manifest() Manifest
	// all yields every exchange in order with the route it belongs to.
	all(yield func(*traffic.Exchange, route, error) bool)
	exchange(id string) (*traffic.Exchange, error)
	verify() error
	close() error
}

// Open opens the snapshot at path, a directory or a packed file. It checks the
// format version and the manifest; of a directory the digest of every file,
// of a packed file those of its index, while the exchanges are checked as they
// are read. Errors wrap [ErrNotSnapshot], or are a [*VersionError],
// [*DigestError] or [*SyntaxError]. The caller closes the reader.
func Open(path string) (*Reader, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	r := &Reader{path: path}
	if info.IsDir() {
		r.tier, err = openText(path)
	} else {
		r.tier, err = openPack(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", path, err)
	}
	return r, nil
}

// Manifest returns the manifest.
func (r *Reader) Manifest() Manifest { return r.tier.manifest() }

// All yields every exchange in order of Start, then of ID. It reads as it
// goes, in bounded memory; after an error, which it yields with a nil
// exchange, it goes on with the next exchange if the caller does. The caller
// owns what it is given.
func (r *Reader) All() iter.Seq2[*traffic.Exchange, error] {
	return func(yield func(*traffic.Exchange, error) bool) {
		r.tier.all(func(x *traffic.Exchange, _ route, err error) bool { return yield(x, err) })
	}
}

// Exchange returns the exchange with this ID, or an error that wraps
// [io/fs.ErrNotExist].
func (r *Reader) Exchange(id string) (*traffic.Exchange, error) { return r.tier.exchange(id) }

// Verify reads the whole snapshot and returns the first thing in it that is
// not as its manifest says, or that does not belong to it.
func (r *Reader) Verify() error {
	if err := r.tier.verify(); err != nil {
		return fmt.Errorf("verify snapshot %s: %w", r.path, err)
	}
	for _, err := range r.All() {
		if err != nil {
			return fmt.Errorf("verify snapshot %s: %w", r.path, err)
		}
	}
	return nil
}

// Close closes the snapshot. Exchanges that were read stay valid.
func (r *Reader) Close() error { return r.tier.close() }
