package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Recover makes a snapshot at path of a recording to path that was cut off,
// up to the last frame that is whole. What was in memory then is lost and, as
// nobody knows how much that was, not counted.
func Recover(path string) (Manifest, error) {
	w, err := reopen(path, recovered{}, Options{})
	if err != nil {
		return Manifest{}, fmt.Errorf("recover snapshot: %w", err)
	}
	return w.Close()
}

// Resume goes on with a recording to path that was cut off, as [NewWriter]
// began it. The redactor must have the key of before.
func Resume(path string, redactor Redactor, opts Options) (*Writer, error) {
	w, err := reopen(path, redactor, opts)
	if err != nil {
		return nil, fmt.Errorf("resume snapshot: %w", err)
	}
	w.resumed = true
	return w, nil
}

// Last returns the highest numbers in the ids of what has been written so far,
// as recorders number them ("in-000007", "out-000012"); 0 where there is none.
func (w *Writer) Last() (inbound, outbound int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.pack.ids.ends {
		id := w.pack.ids.at(i)
		for prefix, last := range map[string]*int{"in-": &inbound, "out-": &outbound} {
			digits, ok := strings.CutPrefix(id, prefix)
			if n, err := strconv.Atoi(digits); ok && err == nil {
				*last = max(*last, n)
			}
		}
	}
	return inbound, outbound
}

// recovered stands for the redactor of a recording to which nothing is added.
type recovered struct{ info RedactionInfo }

func (recovered) Redact(*traffic.Exchange) ([]traffic.Redaction, error) {
	return nil, errors.New("a recovered snapshot takes no more exchanges")
}

func (r recovered) Describe() RedactionInfo { return r.info }

func reopen(path string, redactor Redactor, opts Options) (*Writer, error) {
	w, err := newWriter(path, redactor, opts)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(w.partial, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	p, account, err := scanFrames(f, w.partial)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if account != nil {
		if _, only := redactor.(recovered); only {
			w.redactor = recovered{account.Redaction}
			w.opts.Name, w.opts.Service, w.opts.InlineLimit = account.Name, account.Service, account.InlineLimit
		} else if info := redactor.Describe(); info != account.Redaction {
			return nil, errors.Join(fmt.Errorf("%s was redacted with key %s (%s), not with %s (%s)", w.partial, account.Redaction.KeyID, account.Redaction.Version, info.KeyID, info.Version), f.Close())
		}
		w.counts.SampledOut, w.counts.Dropped = account.Completeness.SampledOut, account.Completeness.Dropped
		for _, r := range account.Redactions {
			w.redactions[redactionKey{r.Rule, r.Path.String()}] += r.Count
		}
	}
	w.use(f, p)
	return w, nil
}

// scanFrames reads the data frames of a file without index, up to the first
// that is not whole, and cuts the file off there. It returns the packer as it
// was, and the account of the last frame, if there is one.
func scanFrames(f packFile, name string) (*packer, *Manifest, error) {
	head := make([]byte, 8+len(packTitle))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if want := skippable(magicHeader, []byte(packTitle)); !bytes.Equal(head, want) {
		if !isPack(head) {
			return nil, nil, fmt.Errorf("%s: %w", name, ErrNotSnapshot)
		}
		return nil, nil, &VersionError{Path: name, Found: strings.TrimSpace(string(head[8:]))}
	}
	p, err := emptyPacker(f)
	if err != nil {
		return nil, nil, err
	}
	p.end = int64(len(head))
	s := &scanner{p: p, name: name}
	if s.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame)); err != nil {
		return nil, nil, err
	}
	defer s.dec.Close()
	for s.frame() {
	}
	p.told = 0
	return p, s.account, f.Truncate(p.end)
}

type scanner struct {
	p       *packer
	name    string
	dec     *zstd.Decoder
	account *Manifest
}

// frame takes in the next frame, and reports whether it was whole.
func (s *scanner) frame() bool {
	size := frameLength(s.p.file, s.p.end)
	if size <= 0 || size > maxFrame {
		return false
	}
	packed := make([]byte, size)
	if _, err := s.p.file.ReadAt(packed, s.p.end); err != nil {
		return false
	}
	raw, err := s.dec.DecodeAll(packed, nil)
	if err != nil || len(raw) == 0 {
		return false
	}
	f := frame{offset: s.p.end, packed: uint32(size), raw: uint32(len(raw)), bodies: s.p.stored, sum: sha256.Sum256(packed)}
	switch raw[0] {
	case frameBody:
		s.body(raw[1:], 0)
		s.p.appendFrame(f, 1)
	case frameExchanges:
		content, err := parseExchangeFrame(raw)
		return err == nil && s.exchanges(f, content)
	default:
		return false
	}
	return true
}

// body takes in body n of those that are not taken in yet.
func (s *scanner) body(data []byte, n int) {
	sum := sha256.Sum256(data)
	s.p.places[[16]byte(sum[:])] = s.p.stored + uint32(n)
}

// exchanges takes in the exchanges of a frame, all or none.
func (s *scanner) exchanges(f frame, content *exchangeFrame) bool {
	entries, ids := make([]entry, content.rows), make([]string, content.rows)
	for n := range entries {
		x, number, err := content.exchange(n, noBodies{})
		if err != nil || s.p.ids.has(x.ID) || number >= len(s.p.routes)+len(content.routes) {
			return false
		}
		r := newRow(x, nil)
		entries[n], ids[n] = r.entry(), x.ID
	}
	for _, r := range content.routes {
		if r.number > len(s.p.routes) {
			return false
		}
		s.p.route(r.route)
	}
	m := &Manifest{}
	if len(content.checkpoint) > 0 && yaml.Unmarshal(content.checkpoint, m) == nil && m.check() == nil {
		s.account = m
	}
	for n := range content.ends {
		s.body(content.body(n), n)
	}
	s.p.appendFrame(f, len(content.ends))
	s.p.entries = append(s.p.entries, entries...)
	for i, e := range entries {
		s.p.tally.add(e.flags, 1)
		s.p.ids.add(ids[i])
	}
	return true
}

// noBodies stands for the bodies where only the exchanges are of interest.
type noBodies struct{}

func (noBodies) load(*exchangeFrame, int64) ([]byte, error) { return nil, nil }

// frameLength walks over the blocks of the Zstandard frame at offset and
// returns its size, or 0 when it is not whole.
func frameLength(f io.ReaderAt, offset int64) int64 {
	head := make([]byte, zstd.HeaderMaxSize)
	n, err := f.ReadAt(head, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	var h zstd.Header
	if h.Decode(head[:n]) != nil || h.Skippable {
		return 0
	}
	at := offset + int64(h.HeaderSize)
	for {
		var b [3]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return 0
		}
		v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		size := int64(v >> 3)
		switch v >> 1 & 3 {
		case 1: // one byte, repeated
			size = 1
		case 3:
			return 0
		}
		at += 3 + size
		if v&1 == 1 {
			break
		}
		if at-offset > maxFrame {
			return 0
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	return at - offset
}
