package formats

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// sniffBytes is how much of a file is looked at.
const sniffBytes = 64 << 10

var (
	gorHeader   = regexp.MustCompile(`^[123] [0-9a-fA-F]{1,64} -?\d{1,20}( -?\d{1,20})?\r?\n`)
	flowStart   = regexp.MustCompile(`^\d{1,12}:\d{1,3}:[a-z_]+[,;]`)
	rrpairStart = regexp.MustCompile(`(?m)^### REQUEST( \([^)\n]*\))? ###`)
	vcrStart    = regexp.MustCompile(`(?m)^interactions:`)
	keployStart = regexp.MustCompile(`(?m)^version: ["']?api\.keploy\.io/`)
)

// Sniff tells the format of a file by its first bytes, "" when it is none of
// those known. Compressed files are to be unpacked first.
func Sniff(head []byte) Format {
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	switch {
	case isPacketFile(head):
		return Packets
	case gorHeader.Match(head):
		return GoReplay
	case flowStart.Match(head):
		return Mitmproxy
	case rrpairStart.Match(head):
		return RRPair
	case keployStart.Match(head):
		return Keploy
	}
	if start := bytes.TrimLeft(head, " \t\r\n"); len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return sniffJSON(start)
	}
	switch {
	case vcrStart.Match(head):
		return GoVCR
	case isTapStart(head):
		return EnvoyTap
	}
	return ""
}

// isPacketFile knows pcap in both byte orders and both precisions, and pcapng.
func isPacketFile(head []byte) bool {
	if len(head) < 4 {
		return false
	}
	switch string(head[:4]) {
	case "\xa1\xb2\xc3\xd4", "\xd4\xc3\xb2\xa1", "\xa1\xb2\x3c\x4d", "\x4d\x3c\xb2\xa1", "\x0a\x0d\x0d\x0a":
		return true
	}
	return false
}

// sniffJSON looks at the names of the first object, at most two levels deep.
func sniffJSON(head []byte) Format {
	top, below := jsonNames(head)
	has := func(name string) bool { return slices.Contains(top, name) }
	switch {
	case has("log") && (slices.Contains(below, "entries") || slices.Contains(below, "creator") || slices.Contains(below, "version")):
		return HAR
	case has("http_buffered_trace"), has("httpBufferedTrace"), has("http_streamed_trace_segment"), has("httpStreamedTraceSegment"),
		has("socket_buffered_trace"), has("socketBufferedTrace"), has("socket_streamed_trace_segment"), has("socketStreamedTraceSegment"):
		return EnvoyTap
	case has("version") && has("kind") && has("spec"):
		return Keploy
	case has("msgType"), has("l7protocol"):
		return RRPair
	case has("imposters"), has("stubs") && has("protocol"):
		return Mountebank
	case has("data") && (slices.Contains(below, "pairs") || slices.Contains(below, "globalActions")):
		return Hoverfly
	case has("mappings"), has("request") && has("response"):
		return WireMock
	case has("direction") && has("http"):
		return RRPair
	}
	return ""
}

// jsonNames returns the names of members of the first object in text (or of
// the first object in a list) and of the objects right below it.
func jsonNames(text []byte) (top, below []string) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var kinds []json.Delim
	name := false
	depth := 0 // of objects
	for {
		t, err := d.Token()
		if err != nil {
			return top, below
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '{':
				kinds, name = append(kinds, t), true
				depth++
				continue
			case '[':
				kinds, name = append(kinds, t), false
				continue
			case '}':
				depth--
			}
			kinds = kinds[:len(kinds)-1]
			if depth == 0 {
				return top, below
			}
		case string:
			if name {
				switch depth {
				case 1:
					top = append(top, t)
				case 2:
					below = append(below, t)
				}
				name = false
				continue
			}
		}
		name = len(kinds) > 0 && kinds[len(kinds)-1] == '{'
	}
}

// isTapStart knows length-delimited Envoy traces: a length, then one field of
// the wrapper that fills it.
func isTapStart(head []byte) bool {
	size, n := protowire.ConsumeVarint(head)
	if n < 0 || size < 2 || size > DefaultMaxRecord {
		return false
	}
	number, kind, m := protowire.ConsumeTag(head[n:])
	if m < 0 || kind != protowire.BytesType || number < 1 || number > 4 {
		return false
	}
	inner, k := protowire.ConsumeVarint(head[n+m:])
	return k > 0 && inner < size && uint64(m+k)+inner <= size
}
