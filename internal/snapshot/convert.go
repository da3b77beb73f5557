package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Pack writes the snapshot at src, of either tier, as a packed file to dst.
// Exchanges, counts and layout come back exactly with [Unpack].
func Pack(src, dst string) (Manifest, error) {
	m, err := pack(src, dst)
	if err != nil {
		return Manifest{}, fmt.Errorf("pack snapshot: %w", err)
	}
	return m, nil
}

func pack(src, dst string) (Manifest, error) {
	if !strings.HasSuffix(dst, packSuffix) {
		return Manifest{}, fmt.Errorf("the name of a packed snapshot must end in %s: %s", packSuffix, dst)
	}
	r, err := openFor(src, dst)
	if err != nil {
		return Manifest{}, err
	}
	defer r.Close()
	return packTo(dst, r.Manifest(), r.tier.all)
}

// packTo makes the packed file dst from what all yields.
func packTo(dst string, m Manifest, all tierFunc) (Manifest, error) {
	partial := partialPath(dst)
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return Manifest{}, err
	}
	err = packAll(f, &m, all)
	if err = errors.Join(err, f.Close()); err == nil {
		err = publish(partial, dst, false)
	}
	if err != nil {
		return Manifest{}, errors.Join(err, os.Remove(partial))
	}
	return m, nil
}

func packAll(f *os.File, m *Manifest, all tierFunc) error {
	p, err := newPacker(f)
	if err != nil {
		return err
	}
	err = each(all, func(x *traffic.Exchange, r route) error {
		_, err := p.add(x, r)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := p.flush(); err != nil {
		return err
	}
	return p.finish(m, p.order())
}

// Unpack writes the snapshot at src, of either tier, as a directory to dst.
func Unpack(src, dst string) (Manifest, error) {
	r, err := openFor(src, dst)
	if err != nil {
		return Manifest{}, fmt.Errorf("unpack snapshot: %w", err)
	}
	defer r.Close()
	m := r.Manifest()
	if err := writeText(filepath.Clean(dst), false, &m, r.tier.all); err != nil {
		return Manifest{}, fmt.Errorf("unpack snapshot: %w", err)
	}
	return m, nil
}

// openFor opens src, and makes sure that dst can be written.
func openFor(src, dst string) (*Reader, error) {
	if _, err := os.Lstat(dst); err == nil {
		return nil, fmt.Errorf("%s: %w", dst, fs.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dst)), 0o755); err != nil {
		return nil, err
	}
	return Open(src)
}
