package snapshot

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// textTree writes the directory of a snapshot from exchanges in their order.
type textTree struct {
	dir    string
	inline int
	files  []File
	blobs  map[string]bool
	routes map[string]*routeFileWriter
	open   []*routeFileWriter // the one used last at the end
}

// writeText makes the directory dst from what all yields, and completes m with
// its files and digest. Nothing stands at dst until everything does.
func writeText(dst string, replace bool, m *Manifest, all tierFunc) error {
	temp, err := os.MkdirTemp(filepath.Dir(dst), "."+filepath.Base(dst)+".text-")
	if err != nil {
		return err
	}
	t := &textTree{dir: temp, inline: cmp.Or(m.InlineLimit, defaultInline), blobs: map[string]bool{}, routes: map[string]*routeFileWriter{}}
	err = each(all, t.add)
	err = errors.Join(err, t.closeRoutes())
	if err == nil {
		err = t.finish(m)
	}
	if err == nil {
		err = publish(temp, dst, replace)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

func (t *textTree) add(x *traffic.Exchange, r route) error {
	text, err := appendExchange([]byte("\n"), x, t.inline, t)
	if err != nil {
		return err
	}
	w, err := t.route(r)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// put stores a body once.
func (t *textTree) put(data []byte, ext string) (string, error) {
	path := blobPath(data, ext)
	if t.blobs[path] {
		return path, nil
	}
	if err := t.write(path, data); err != nil {
		return "", fmt.Errorf("store body: %w", err)
	}
	t.blobs[path] = true
	return path, nil
}

// write makes one file and lists it.
func (t *textTree) write(path string, data []byte) error {
	name := filepath.Join(t.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	t.files = append(t.files, File{Path: path, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
	return nil
}

// routeFileWriter is one route file. Its file is closed between times when
// many routes are written in turn.
type routeFileWriter struct {
	path string
	name string
	file *os.File
	buf  *bufio.Writer
	sum  hash.Hash
	size int64
}

func (w *routeFileWriter) Write(p []byte) (int, error) {
	w.sum.Write(p)
	w.size += int64(len(p))
	return w.buf.Write(p)
}

func (w *routeFileWriter) close() error {
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.buf.Flush(), w.file.Close())
	w.file, w.buf = nil, nil
	return err
}

// route returns the writer of a route file, ready to be written to.
func (t *textTree) route(r route) (*routeFileWriter, error) {
	w, ok := t.routes[r.path]
	if !ok {
		w = &routeFileWriter{path: r.path, name: filepath.Join(t.dir, filepath.FromSlash(r.path)), sum: sha256.New()}
		t.routes[r.path] = w
		if err := os.MkdirAll(filepath.Dir(w.name), 0o755); err != nil {
			return nil, err
		}
	}
	if w.file == nil {
		if len(t.open) == openFiles {
			if err := t.open[0].close(); err != nil {
				return nil, err
			}
			t.open = t.open[1:]
		}
		f, err := os.OpenFile(w.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return nil, err
		}
		w.file, w.buf = f, bufio.NewWriterSize(f, 32<<10)
		t.open = append(t.open, w)
	}
	if !ok {
		if _, err := io.WriteString(w, routeTitle+line(r.title)+"\n"); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (t *textTree) closeRoutes() (err error) {
	for _, w := range t.open {
		err = errors.Join(err, w.close())
	}
	return err
}

func (t *textTree) finish(m *Manifest) error {
	for _, w := range t.routes {
		t.files = append(t.files, File{Path: w.path, Size: w.size, SHA256: hex.EncodeToString(w.sum.Sum(nil))})
	}
	if err := t.write(gitattributesName, []byte(gitattributes)); err != nil {
		return err
	}
	slices.SortFunc(t.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	m.Files = t.files
	if err := errors.Join(m.check(), checkDirectory(m.Files)); err != nil {
		return err
	}
	data, err := m.encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.dir, manifestName), data, 0o644)
}

// publish flushes a finished file or directory to disk and moves it to its
// place, what stood there out of the way first, and back again if that fails.
func publish(temp, target string, replace bool) error {
	if info, err := os.Stat(temp); err != nil {
		return err
	} else if info.IsDir() {
		if err := os.Chmod(temp, 0o755); err != nil {
			return err
		}
	}
	if err := syncTree(temp); err != nil {
		return err
	}
	old := ""
	if _, err := os.Lstat(target); err == nil {
		if !replace {
			return fmt.Errorf("%s: %w", target, fs.ErrExist)
		}
		old = temp + ".old"
		if err := os.Rename(target, old); err != nil {
			return err
		}
	}
	if err := os.Rename(temp, target); err != nil {
		if old != "" {
			err = errors.Join(err, os.Rename(old, target))
		}
		return err
	}
	if old != "" {
		return os.RemoveAll(old)
	}
	return nil
}

// syncTree flushes files and directories, so that the rename is not on disk
// before what it names.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
