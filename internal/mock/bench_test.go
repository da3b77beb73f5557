package mock

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// catalogue is n recorded calls with different signatures, spread over as many
// lanes as given.
func catalogue(n, lanes int) []*traffic.Exchange {
	recorded := make([]*traffic.Exchange, n)
	body := []byte(`{"name":"item","price":12.5,"tags":["a","b","c"],"description":"` + fmt.Sprintf("%0170d", 7) + `"}`)
	header := traffic.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "Content-Length", Value: strconv.Itoa(len(body))}}
	for i := range recorded {
		lane := traffic.LaneBackground
		if lanes > 1 {
			lane = traffic.Lane("in-" + strconv.Itoa(i%lanes))
		}
		recorded[i] = &traffic.Exchange{
			ID: "out-" + strconv.Itoa(i), Direction: traffic.Outbound, Lane: lane, Start: time.Unix(int64(i), 0),
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "dep:8080", Target: fmt.Sprintf("/items/%06d?view=full", i)},
			Response: &traffic.Response{Status: 200, Header: header, Body: traffic.Body{Raw: body, Size: int64(len(body))}},
		}
	}
	return recorded
}

var sizes = []int{1e2, 1e3, 1e4, 1e5, 1e6}

// BenchmarkLookup is the whole decision on a call, from its request to its
// journal entry: flat in the number of recorded calls.
func BenchmarkLookup(b *testing.B) {
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			if testing.Short() && n > 1e4 {
				b.Skip("-short")
			}
			ca, err := authority.New(time.Now())
			if err != nil {
				b.Fatal(err)
			}
			recorded := catalogue(n, 1)
			m, err := New(recorded, ca, Options{OneLane: true, MaxJournal: 1})
			if err != nil {
				b.Fatal(err)
			}
			req := recorded[0].Request
			recorded = nil
			b.ReportAllocs()
			b.ResetTimer()
			i := 0
			var target []byte
			for b.Loop() {
				i = (i*1664525 + 1013904223) & 0x7fffffff // in no order that a cache could learn
				target = append(fmt.Appendf(target[:0], "/items/%06d", i%n), "?view=full"...)
				req := req
				req.Target = string(target)
				rec, o := m.decide(&req, arrival{connection: "1"})
				if o.entry == none {
					b.Fatal("a miss")
				}
				m.drop(rec)
			}
		})
	}
}

// BenchmarkDelay is how late the end of a recorded delay of 5 ms is noticed,
// beside a loop that looks at the clock all the time: what the machine itself
// takes away.
func BenchmarkDelay(b *testing.B) {
	const delay, samples, learning = 5 * time.Millisecond, 600, 100
	ca, err := authority.New(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	m, err := New(nil, ca, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	names := []string{"reprise", "spin"}
	waits := []func(began time.Time) error{
		func(began time.Time) error { return m.wait(b.Context(), began, delay) },
		func(began time.Time) error {
			for time.Since(began) < delay {
			}
			return nil
		},
	}
	// The two take turns, so that a disturbance of the machine meets both.
	lates := make([][]float64, len(waits))
	for sample := range samples {
		for i, wait := range waits {
			began := time.Now()
			if err := wait(began); err != nil {
				b.Fatal(err)
			}
			if late := time.Since(began) - delay; sample >= learning {
				lates[i] = append(lates[i], float64(late.Nanoseconds())/1e3)
			}
		}
	}
	for i, name := range names {
		b.Run(name, func(b *testing.B) {
			late := slices.Sorted(slices.Values(lates[i]))
			b.ReportMetric(0, "ns/op") // always the delay
			b.ReportMetric(late[len(late)/2], "p50-us")
			b.ReportMetric(late[len(late)*99/100], "p99-us")
		})
	}
}

// BenchmarkStart is how long a mock takes from exchanges to its first answer.
func BenchmarkStart(b *testing.B) {
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			if testing.Short() && n > 1e4 {
				b.Skip("-short")
			}
			ca, err := authority.New(time.Now())
			if err != nil {
				b.Fatal(err)
			}
			recorded := catalogue(n, max(1, n/10))
			b.ResetTimer()
			for b.Loop() {
				if _, err := New(recorded, ca, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
