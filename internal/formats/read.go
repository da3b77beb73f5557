package formats

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// readers by format. Each reads to the end of its source, emits what it can,
// reports what it cannot, and returns an error only when reading must end.
var readers = map[Format]func(*source) error{
	GoReplay:  readGor,
	HAR:       readHAR,
	Packets:   readPackets,
	EnvoyTap:  readTap,
	GoVCR:     readVCR,
	Keploy:    readKeploy,
	RRPair:    readRRPair,
	Mitmproxy: readMitmproxy,
}

// Read imports the recordings in paths, which are files, folders or patterns,
// and hands each exchange to emit, numbered ("in-000001", "out-000001") and
// with its lane. The only file of an import keeps the numbers and lanes that it
// holds; those of several files would meet. Exchanges come in order of their start as far as the files
// allow. Read ends at the first error of emit, when ctx ends, when a file
// cannot be opened or is of no known format, and with opts.Strict at the first
// unreadable record. Files of a folder that are of no known format are passed
// over. The counts are valid in every case.
func Read(ctx context.Context, paths []string, opts Options, emit func(*traffic.Exchange) error) (Counts, error) {
	if err := opts.Validate(); err != nil {
		return Counts{}, fmt.Errorf("import: %w", err)
	}
	opts.MaxRecord = cmp.Or(opts.MaxRecord, DefaultMaxRecord)
	files, err := expand(paths)
	if err != nil {
		return Counts{}, fmt.Errorf("import: %w", err)
	}
	im := &importer{opts: opts, emit: emit}
	im.numbers.keep = len(files) == 1
	im.sorter.out = im.finish
	for _, file := range files {
		if err := im.file(ctx, file, len(paths) == len(files)); err != nil {
			return im.counts, fmt.Errorf("import: %w", err)
		}
	}
	if err := im.sorter.flush(); err != nil {
		return im.counts, fmt.Errorf("import: %w", err)
	}
	if im.counts.Files == 0 {
		return im.counts, fmt.Errorf("import: none of the %d files is a recording of a known format", len(files))
	}
	return im.counts, nil
}

// importer is one call of Read.
type importer struct {
	opts    Options
	emit    func(*traffic.Exchange) error
	counts  Counts
	sorter  sorter
	joiner  joiner
	numbers numbers
}

// file reads one file. named says that the user named it, so that it must be a
// recording.
func (im *importer) file(ctx context.Context, path string, named bool) (err error) {
	s, format, closeFile, err := im.openSource(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	read, ok := readers[format]
	if !ok {
		switch {
		case format != "":
			return fmt.Errorf("%s: %s files hold mock rules, not traffic; import them as rules", path, format)
		case named:
			return fmt.Errorf("%s: not a recording of a known format", path)
		}
		return nil
	}
	im.counts.Files++
	return read(s)
}

// finish numbers an exchange and hands it on.
func (im *importer) finish(x *traffic.Exchange) error {
	im.numbers.number(x)
	im.joiner.join(x)
	if err := im.emit(x); err != nil {
		return err
	}
	im.counts.Imported++
	if len(x.Incomplete) > 0 {
		im.counts.Incomplete++
	}
	return nil
}
