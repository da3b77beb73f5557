package redact_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/reprise-ci/reprise/internal/redact"
)

// ordersPage is a JSON body as APIs answer it: mostly ids, names of things,
// amounts and times, a few values about people.
func ordersPage(n int) []byte {
	type item struct {
		SKU   string  `json:"sku"`
		Title string  `json:"title"`
		Qty   int     `json:"quantity"`
		Price float64 `json:"unit_price"`
	}
	type order struct {
		ID       string            `json:"id"`
		Trace    string            `json:"trace_id"`
		Created  string            `json:"created_at"`
		Status   string            `json:"status"`
		Customer map[string]string `json:"customer"`
		Items    []item            `json:"items"`
		Total    float64           `json:"total"`
		Note     string            `json:"note"`
	}
	var page []order
	for i := range n {
		page = append(page, order{
			ID: fmt.Sprintf("ord_%08x", i*2654435761), Trace: fmt.Sprintf("%016x%016x", i*7919, i*104729), Created: fmt.Sprintf("2026-03-01T12:%02d:%02d.%06dZ", i/60%60, i%60, i), Status: "shipped",
			Customer: map[string]string{"id": fmt.Sprintf("cus_%06d", i%50), "email": fmt.Sprintf("customer.%d@mail.test.org", i%50), "segment": "returning", "name": fmt.Sprintf("Jane Number%c", 'a'+i%26)},
			Items:    []item{{"SKU-0042", "Blue mug, 0.3 l, dishwasher safe", 2, 10.5}, {"SKU-1187", "Notebook A5, ruled, 192 pages", 1, 7.25}},
			Total:    28.25, Note: "Please leave the parcel with the neighbour if nobody opens the door.",
		})
	}
	data, err := json.Marshal(page)
	if err != nil {
		panic(err)
	}
	return data
}

// cpuRate starts to measure processor time, and returns what ends it: a
// metric that other work on the machine disturbs less than the clock.
func cpuRate(b *testing.B, size int) (stop func()) {
	used := func() float64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	before := used()
	return func() { b.ReportMetric(float64(size)*float64(b.N)/1e6/(used()-before), "cpu-MB/s") }
}

// BenchmarkRedact reads as MB/s of JSON bodies with all detectors on. The
// peer is what encoding/json alone costs to decode the same bytes, which is
// how a redactor over decoded values would have to begin.
func BenchmarkRedact(b *testing.B) {
	body := ordersPage(200)
	b.Run("reprise", func(b *testing.B) {
		r, err := redact.New(redact.Options{Key: key})
		if err != nil {
			b.Fatal(err)
		}
		x := posted("application/json", string(body))
		b.SetBytes(int64(len(body)))
		defer cpuRate(b, len(body))()
		for b.Loop() {
			c := *x
			if _, err := r.Redact(&c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		defer cpuRate(b, len(body))()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkText reads as MB/s of lines of a log.
func BenchmarkText(b *testing.B) {
	r, err := redact.New(redact.Options{Key: key})
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("2026-03-01T12:00:00Z INFO order ord_8f3k2 shipped to customer 42 from 10.0.0.7, took 12.5 ms\n", 500)
	b.SetBytes(int64(len(text)))
	defer cpuRate(b, len(text))()
	for b.Loop() {
		r.Text(text)
	}
}
