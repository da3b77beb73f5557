package snapshot

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Format names the format that this package writes, and its major version.
const Format = "reprise.snapshot/v1"

// Manifest describes a snapshot.
type Manifest struct {
	Format  string `yaml:"format"`
	Name    string `yaml:"name"`
	Service string `yaml:"service"`

	CreatedAt time.Time `yaml:"created_at"`
	// RecordedFrom and RecordedTo are the first and the last Start of an
	// exchange; both are zero in an empty snapshot.
	RecordedFrom time.Time `yaml:"recorded_from"`
	RecordedTo   time.Time `yaml:"recorded_to"`

	Inbound      int          `yaml:"inbound"`
	Outbound     int          `yaml:"outbound"`
	Completeness Completeness `yaml:"completeness"`

	Redaction RedactionInfo `yaml:"redaction"`
	// Redactions counts what was changed, by rule and place, sorted.
	Redactions []traffic.Redaction `yaml:"redactions"`

	// InlineLimit is the size up to which a text body stands beside its
	// headers in the text tier; zero stands for 4096.
	InlineLimit int `yaml:"inline_limit,omitempty"`

	// Files lists every other file of a directory, sorted by path; or the
	// index of a packed snapshot, which has the digests of all that is in it.
	Files []File `yaml:"files"`
	// Digest is "sha256:<hex>" of the manifest without this line, and by the
	// digests in Files of everything.
	Digest string `yaml:"digest"`
}

// RedactionInfo says how a snapshot was redacted; see [traffic.RedactionInfo].
type RedactionInfo = traffic.RedactionInfo

// Completeness accounts for every exchange that the recorder saw:
// Seen = Stored + SampledOut + Dropped.
type Completeness struct {
	Seen       int `yaml:"seen" json:"seen"`
	Stored     int `yaml:"stored" json:"stored"`
	SampledOut int `yaml:"sampled_out" json:"sampled_out"`
	// Incomplete of the stored ones lack something that is known to be
	// missing.
	Incomplete int `yaml:"incomplete" json:"incomplete"`
	Dropped    int `yaml:"dropped" json:"dropped"` // lost by back-pressure or a full disk
}

// File is one file of a snapshot.
type File struct {
	Path   string `yaml:"path"` // with forward slashes, relative to the snapshot
	Size   int64  `yaml:"size"`
	SHA256 string `yaml:"sha256"` // hex
}

const (
	manifestName = "manifest.yaml"
	digestPrefix = "digest: "
)

// encode writes the manifest as YAML with its digest as the last line, and
// sets Digest.
func (m *Manifest) encode() ([]byte, error) {
	m.Digest = ""
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	data, ok := bytes.CutSuffix(buf.Bytes(), []byte(digestPrefix+"\"\"\n"))
	if !ok {
		return nil, errors.New("write manifest: the digest is not the last line")
	}
	m.Digest = digestOf(data)
	return append(data, digestPrefix+m.Digest+"\n"...), nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// parseManifest reads a manifest strictly and checks its digest. name is for
// errors; files checks what it lists.
func parseManifest(data []byte, name string, files func([]File) error) (Manifest, error) {
	if err := checkFormat(data, name); err != nil {
		return Manifest{}, err
	}
	var m Manifest
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&m); err != nil {
		return Manifest{}, yamlError(name, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return Manifest{}, &SyntaxError{File: name, Err: errors.New("more than one YAML document")}
	}
	if err := cmp.Or(m.check(), files(m.Files)); err != nil {
		return Manifest{}, &SyntaxError{File: name, Err: err}
	}
	at := bytes.LastIndex(data, []byte("\n"+digestPrefix))
	if at < 0 || bytes.IndexByte(data[at+1:], '\n') != len(data)-at-2 {
		return Manifest{}, &SyntaxError{File: name, Err: errors.New("the last line must be the digest")}
	}
	if got := digestOf(data[:at+1]); got != m.Digest {
		return Manifest{}, &DigestError{File: name, Want: m.Digest, Got: got}
	}
	return m, nil
}

// checkFormat reads only the format line, so that a newer snapshot is refused
// for its version and not for a field that this program does not know.
func checkFormat(data []byte, name string) error {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	found, ok := strings.CutPrefix(string(bytes.TrimRight(line, "\r")), "format: ")
	family, version, cut := strings.Cut(found, "/")
	if want, _, _ := strings.Cut(Format, "/"); !ok || !cut || family != want {
		return fmt.Errorf("%s: %w: its first line must be \"format: %s\"", name, ErrNotSnapshot, Format)
	}
	if found != Format {
		if len(version) > 20 {
			found = found[:len(family)+21]
		}
		return &VersionError{Path: name, Found: found}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// yamlError turns the errors of the YAML library, which name a line in their
// text, into the error that this package promises.
func yamlError(name string, err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		return &SyntaxError{File: name, Line: line, Err: errors.New(strings.TrimSpace(m[2]))}
	}
	return &SyntaxError{File: name, Err: err}
}

// check reports what a manifest says that cannot be.
func (m *Manifest) check() error {
	c := m.Completeness
	counts := []int{m.Inbound, m.Outbound, c.Seen, c.Stored, c.SampledOut, c.Incomplete, c.Dropped}
	if slices.ContainsFunc(counts, func(n int) bool { return n < 0 }) {
		return errors.New("a count is negative")
	}
	if c.Stored != m.Inbound+m.Outbound {
		return fmt.Errorf("completeness.stored is %d, but inbound and outbound together are %d", c.Stored, m.Inbound+m.Outbound)
	}
	if c.Seen != c.Stored+c.SampledOut+c.Dropped {
		return fmt.Errorf("completeness does not add up: seen %d, stored %d, sampled_out %d, dropped %d", c.Seen, c.Stored, c.SampledOut, c.Dropped)
	}
	if m.InlineLimit < 0 || m.InlineLimit > maxInline {
		return fmt.Errorf("inline_limit is %d, it must be between 0 and %d", m.InlineLimit, maxInline)
	}
	return nil
}

// checkDirectory is what a manifest lists in a directory.
func checkDirectory(files []File) error {
	if len(files) > maxFiles {
		return fmt.Errorf("%w: %d files, at most %d", ErrTooLarge, len(files), maxFiles)
	}
	for i, f := range files {
		if err := f.check(); err != nil {
			return err
		}
		if i > 0 && files[i-1].Path >= f.Path {
			return fmt.Errorf("files are not sorted at %q", f.Path)
		}
	}
	return nil
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check refuses paths that lead out of the snapshot or that no writer makes.
func (f File) check() error {
	if f.Path == "" || f.Path != path.Clean(f.Path) || path.IsAbs(f.Path) || strings.HasPrefix(f.Path, "../") || strings.ContainsAny(f.Path, "\\:\x00") {
		return fmt.Errorf("path %q leads out of the snapshot", f.Path)
	}
	dir, _, nested := strings.Cut(f.Path, "/")
	if f.Path != gitattributesName && (!nested || dir != "inbound" && dir != "outbound" && dir != "bodies") {
		return fmt.Errorf("path %q is not part of the format", f.Path)
	}
	if f.Size < 0 {
		return fmt.Errorf("size of %q is negative", f.Path)
	}
	if !hexDigest.MatchString(f.SHA256) {
		return fmt.Errorf("sha256 of %q must be 64 hexadecimal digits", f.Path)
	}
	return nil
}
