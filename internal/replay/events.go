package replay

import (
	"bytes"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// eventCount counts server-sent events as their bytes arrive: an event ends
// with an empty line.
type eventCount struct {
	events int32
	line   bool // the present line holds something
	event  bool // the present event holds something
}

func (c *eventCount) add(b []byte) {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			c.line = c.line || len(b) > 1 || b[0] != '\r'
			return
		}
		text := bytes.TrimSuffix(b[:i], []byte{'\r'})
		switch {
		case c.line || len(text) > 0:
			c.event = true
		case c.event:
			c.events++
			c.event = false
		}
		c.line = false
		b = b[i+1:]
	}
}

// stream is what is wanted of an answer that may have no end.
type stream struct {
	events int32 // recorded events; 0 when the answer was no stream of events
	// cut says that the recording itself was cut off, so that the answer ends
	// with as many events. Otherwise it is read to its end, and that many are
	// enough when time is up.
	cut bool
}

// streamOf returns what a recorded exchange had for a stream of events.
func streamOf(x *traffic.Exchange) stream {
	r := x.Response
	if r == nil || traffic.MediaType(r.Header) != "text/event-stream" || r.Body.Coding != "" {
		return stream{}
	}
	var c eventCount
	c.add(r.Body.Raw)
	return stream{events: c.events, cut: len(x.Incomplete) > 0 || r.Body.Truncated}
}
