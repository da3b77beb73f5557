package replay

import (
	"io"
	"strconv"
)

// SampleWriter writes samples as comma-separated values, one line each, with a
// first line that names the columns: the number of the exchange in the order of
// the recording, the number of the copy and loop, moments in nanoseconds from
// the start of the load, status, bytes of the answer, and the failure. It is
// not safe for concurrent use.
type SampleWriter struct {
	buf  []byte
	full chan []byte
	done chan struct{}
	free chan []byte
	err  error // of the writing goroutine
}

const (
	sampleColumns = "exchange,instance,planned,due,sent,first,last,status,size,retried,failure\n"
	sampleBuffer  = 1 << 20
	sampleBuffers = 3   // one that fills, one that waits, one that is written
	sampleLine    = 256 // more than any line takes
)

// NewSampleWriter starts a goroutine that writes to w, so that whoever adds
// does not wait for it. The caller calls Close, and then closes w.
func NewSampleWriter(w io.Writer) *SampleWriter {
	s := &SampleWriter{
		buf:  append(make([]byte, 0, sampleBuffer), sampleColumns...),
		full: make(chan []byte, 1), free: make(chan []byte, sampleBuffers), done: make(chan struct{}),
	}
	for range sampleBuffers - 1 {
		s.free <- make([]byte, 0, sampleBuffer)
	}
	go func() {
		defer close(s.done)
		for b := range s.full {
			if s.err == nil {
				_, s.err = w.Write(b)
			}
			s.free <- b[:0]
		}
	}()
	return s
}

// Add adds one sample.
func (s *SampleWriter) Add(x Sample) {
	b := s.buf
	for _, v := range [...]int64{
		int64(x.Exchange), int64(x.Instance), int64(x.Planned), int64(x.Due), int64(x.Sent), int64(x.First), int64(x.Last),
		int64(x.Status), x.Size,
	} {
		b = append(strconv.AppendInt(b, v, 10), ',')
	}
	b = append(strconv.AppendBool(b, x.Retried), ',')
	b = append(append(b, x.Failure()...), '\n')
	if s.buf = b; len(b) > sampleBuffer-sampleLine {
		s.full <- b
		s.buf = <-s.free
	}
}

// Close writes what is left and returns the first error of writing.
func (s *SampleWriter) Close() error {
	s.full <- s.buf
	close(s.full)
	<-s.done
	return s.err
}
