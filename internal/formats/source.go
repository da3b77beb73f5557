package formats

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// source is one file that is being read.
type source struct {
	ctx    context.Context
	name   string // as the user sees it
	folder string // of the file, for formats that refer to others beside it
	r      *bufio.Reader
	opts   Options
	when   time.Time // of the file, for formats without times
	run    *importer
}

// emit hands on one exchange.
func (s *source) emit(x *traffic.Exchange) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	s.run.counts.Found++
	return s.run.sorter.add(x)
}

// unreadable reports a record that is lost.
func (s *source) unreadable(at place, format string, args ...any) error {
	s.run.counts.Found++
	s.run.counts.Unreadable++
	return s.issue(Issue{File: s.name, Line: at.line, Offset: at.offset, Reason: fmt.Sprintf(format, args...), Unreadable: true})
}

// note reports what a record lacks that is imported nevertheless.
func (s *source) note(at place, format string, args ...any) error {
	s.run.counts.Noted++
	return s.issue(Issue{File: s.name, Line: at.line, Offset: at.offset, Reason: fmt.Sprintf(format, args...)})
}

func (s *source) issue(i Issue) error {
	if s.opts.Report != nil {
		s.opts.Report(i)
	}
	if s.opts.Strict && i.Unreadable {
		return i
	}
	return s.ctx.Err()
}

// place is where a record starts.
type place struct {
	line   int
	offset int64
}

// openSource opens a regular file, undoes gzip and zlib, and tells its format.
func (im *importer) openSource(ctx context.Context, path string) (*source, Format, func() error, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, "", nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, "", nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", nil, err
	}
	r, err := unpack(bufio.NewReaderSize(f, sniffBytes))
	if err != nil {
		f.Close()
		return nil, "", nil, fmt.Errorf("%s: %w", path, err)
	}
	head, err := r.Peek(sniffBytes)
	if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) && len(head) == 0 {
		f.Close()
		return nil, "", nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &source{ctx: ctx, name: path, folder: filepath.Dir(path), r: r, opts: im.opts, when: info.ModTime(), run: im}
	format := im.opts.Format
	if format == "" {
		format = Sniff(head)
	}
	return s, format, f.Close, nil
}

// unpack undoes gzip (one member or many) and zlib, which some tools wrap
// their files in. Nothing limits the size here: readers are bounded by record.
func unpack(r *bufio.Reader) (*bufio.Reader, error) {
	head, _ := r.Peek(2)
	switch {
	case bytes.Equal(head, []byte{0x1f, 0x8b}):
		zr, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("undo gzip: %w", err)
		}
		return bufio.NewReaderSize(zr, sniffBytes), nil
	case len(head) == 2 && head[0] == 0x78 && (uint(head[0])<<8|uint(head[1]))%31 == 0:
		zr, err := zlib.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("undo zlib: %w", err)
		}
		return bufio.NewReaderSize(zr, sniffBytes), nil
	}
	return r, nil
}

// expand lists the files of paths: a folder stands for the files below it, in
// order of their names. Links and hidden files are left out, and names that
// hold a pattern are expanded.
func expand(paths []string) (files []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, "*?[") {
			found, globErr := filepath.Glob(path)
			if globErr != nil || len(found) == 0 {
				return nil, fmt.Errorf("%s: no file matches", path)
			}
			files = append(files, found...)
			continue
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, path)
			continue
		}
		err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && p != path && strings.HasPrefix(d.Name(), "."):
				return filepath.SkipDir
			case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "."):
				files = append(files, p)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// beside opens a file that a record refers to. It must lie below folder.
func beside(folder, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: over %d bytes", name, limit)
	}
	return data, err
}
