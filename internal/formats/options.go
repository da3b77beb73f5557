package formats

import (
	"fmt"
	"slices"
	"strings"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Format names a format.
type Format string

// The formats that [Sniff] knows.
const (
	GoReplay   Format = "gor"
	HAR        Format = "har"
	Packets    Format = "pcap" // pcap and pcapng
	Mitmproxy  Format = "mitmproxy"
	EnvoyTap   Format = "envoy-tap"
	GoVCR      Format = "go-vcr"
	RRPair     Format = "speedscale"
	Keploy     Format = "keploy"
	WireMock   Format = "wiremock"
	Hoverfly   Format = "hoverfly"
	Mountebank Format = "mountebank"
)

// Formats returns every format that can be read, recordings before rules.
func Formats() []Format {
	return []Format{GoReplay, HAR, Packets, Mitmproxy, EnvoyTap, GoVCR, RRPair, Keploy, WireMock, Hoverfly, Mountebank}
}

func formatNames() string {
	var names []string
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// Options are the settings of an import.
type Options struct {
	// Format, when it is set, is that of every file, whatever the content
	// looks like.
	Format Format
	// Service lists the names of the service: hosts, or host:port, as requests
	// to it name them. When it is set, it decides the direction wherever the
	// format does not say: requests to these are inbound, others outbound.
	Service []string
	// Direction is that of exchanges whose direction neither the format nor
	// Service tells. Empty means what the format is mostly used for.
	Direction traffic.Direction
	// Names gives names to addresses ("10.1.2.3" or "10.1.2.3:8080"), for
	// packets, which carry none.
	Names map[string]string
	// Network, when it is not zero, is the only VXLAN network (VNI) whose
	// packets are read.
	Network uint32
	// MaxRecord bounds the size of one record in bytes; larger ones are
	// reported and skipped. Zero means 64 MiB.
	MaxRecord int64
	// Strict ends the import at the first record that cannot be read.
	Strict bool
	// Report, when it is set, receives every issue as it is met.
	Report func(Issue)
}

// DefaultMaxRecord is the default of Options.MaxRecord.
const DefaultMaxRecord = 64 << 20

// Validate reports the first setting that cannot work.
func (o Options) Validate() error {
	switch {
	case o.Format != "" && !slices.Contains(Formats(), o.Format):
		return fmt.Errorf("format %q: must be one of %s", o.Format, formatNames())
	case o.MaxRecord < 0:
		return fmt.Errorf("max record %d: must not be negative", o.MaxRecord)
	case o.Direction != "" && o.Direction != traffic.Inbound && o.Direction != traffic.Outbound:
		return fmt.Errorf("direction %q: must be %s or %s", o.Direction, traffic.Inbound, traffic.Outbound)
	}
	return nil
}

// Issue is one thing that a record lost on the way in or out, or why it could
// not be read at all. It implements error.
type Issue struct {
	File string
	// Line counts from 1 and Offset in bytes from 0, in the file as it is
	// after gzip was undone. A zero Line means that the Offset is the place.
	Line   int
	Offset int64
	// Reason is a short phrase. It never holds a value of the record.
	Reason string
	// Unreadable says that the record is not among the imported ones; else it
	// is, and Reason says what it lacks.
	Unreadable bool
}

// Error returns "file:line: reason".
func (i Issue) Error() string {
	if i.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", i.File, i.Line, i.Reason)
	}
	return fmt.Sprintf("%s: at byte %d: %s", i.File, i.Offset, i.Reason)
}

// Counts is the balance of an import: Found = Imported + Unreadable.
type Counts struct {
	Files      int `json:"files"`
	Found      int `json:"found"`
	Imported   int `json:"imported"`
	Incomplete int `json:"incomplete"` // of the imported ones
	Unreadable int `json:"unreadable"`
	Noted      int `json:"noted"` // issues of records that were imported
}

// String is the balance for people.
func (c Counts) String() string {
	return fmt.Sprintf("%d found in %d files: %d imported (%d incomplete), %d unreadable", c.Found, c.Files, c.Imported, c.Incomplete, c.Unreadable)
}

// direction decides the direction of a request.
func (o Options) direction(r *traffic.Request, usual traffic.Direction) traffic.Direction {
	if len(o.Service) > 0 {
		for _, name := range o.Service {
			if strings.EqualFold(name, r.Authority) || strings.EqualFold(name, r.Host()) {
				return traffic.Inbound
			}
		}
		return traffic.Outbound
	}
	if o.Direction != "" {
		return o.Direction
	}
	return usual
}
