package replay

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// TestPartsAreTheWhole checks for any load and any sharing that the workers
// together send what one sender would, each request at the same moment.
func TestPartsAreTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var xs []*traffic.Exchange
		for i := range rapid.IntRange(1, 20).Draw(t, "exchanges") {
			x := &traffic.Exchange{ID: fmt.Sprint(i), Direction: traffic.Inbound, Start: time.Unix(int64(rapid.IntRange(0, 30).Draw(t, "second")), 0)}
			x.Request = traffic.Request{Method: "GET", Target: "/"}
			if c := rapid.IntRange(0, 8).Draw(t, "connection"); c > 0 {
				x.Origin.Connection = fmt.Sprint(c)
			}
			xs = append(xs, x)
		}
		load := rapid.SampledFrom([]Load{
			{}, {Speed: 3, MaxIdle: time.Second}, {Rate: 100}, {Rate: 100, Budget: time.Second}, {Max: true},
			{Stages: []Stage{{0, 50, time.Second}, {50, 50, time.Second}}}, {Budget: 7 * time.Second, Loops: 3},
		}).Draw(t, "load")
		load.Copies = rapid.IntRange(1, 3).Draw(t, "copies")
		if load.Budget == 0 && len(load.Stages) == 0 {
			load.Loops = rapid.IntRange(1, 3).Draw(t, "loops")
		}
		e, err := New(xs, Options{})
		if err != nil {
			t.Fatal(err)
		}
		whole, err := e.Plan(load)
		if err != nil {
			t.Fatal(err)
		}
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		owner := make([]int, len(xs))
		shares := Share(xs, nil, workers)
		for k, share := range shares {
			for _, x := range share {
				owner[slices.IndexFunc(e.inbound, func(y *traffic.Exchange) bool { return x.ID == y.ID })] = k
			}
		}
		parts, err := whole.Parts(owner, workers)
		if err != nil {
			t.Fatal(err)
		}
		type sent struct {
			at       time.Duration
			id       string
			instance int32
		}
		var got, want []sent
		for k := range whole.Requests {
			s := whole.shot(k)
			want = append(want, sent{s.at, e.inbound[s.exchange].ID, s.instance})
		}
		results := make([]*Result, workers)
		for k, part := range parts {
			own, err := New(shares[k], Options{})
			if err != nil {
				t.Fatal(err)
			}
			plan, err := own.PlanPart(part)
			if err != nil {
				t.Fatal(err)
			}
			results[k] = &Result{}
			var before time.Duration
			for i := range plan.Requests {
				s := plan.shot(i)
				got = append(got, sent{s.at, own.inbound[s.exchange].ID, s.instance})
				if s.at < before {
					t.Fatalf("request %d of worker %d goes at %v, after one at %v", i, k, s.at, before)
				}
				before = s.at
				results[k].add(Sample{Exchange: s.exchange, Instance: s.instance, Planned: s.at}, 0)
			}
		}
		order := func(a, b sent) int {
			return int(a.at-b.at)*1000 + slices.Compare([]byte(a.id), []byte(b.id))*10 + int(a.instance-b.instance)
		}
		slices.SortFunc(got, order)
		slices.SortFunc(want, order)
		if !slices.Equal(got, want) {
			t.Fatalf("%d workers send\n%v, one sends\n%v", workers, got, want)
		}
		joined, err := e.Join(whole, "a", owner, results)
		if err != nil {
			t.Fatal(err)
		}
		var ids []sent
		for _, s := range joined.Samples {
			ids = append(ids, sent{s.Planned, joined.Recorded(s), s.Instance})
		}
		slices.SortFunc(ids, order)
		if !slices.Equal(ids, want) {
			t.Fatalf("joined\n%v, want\n%v", ids, want)
		}
	})
}

func TestPartsThatDoNotFit(t *testing.T) {
	e, err := New([]*traffic.Exchange{{ID: "a", Direction: traffic.Inbound}, {ID: "b", Direction: traffic.Inbound}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Plan(Load{Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range [][]int{{0}, {0, 2}, {0, -1}} {
		if _, err := p.Parts(owner, 2); err == nil {
			t.Errorf("owners %v were taken", owner)
		}
	}
	for reason, part := range map[string]Part{
		"an exchange that is not there": {Load: Load{Rate: 1}, Cycle: 4, Slots: []Slot{{Exchange: 2}}},
		"a copy too many":               {Load: Load{Rate: 1}, Cycle: 4, Slots: []Slot{{Copy: 1}}},
		"out of order":                  {Load: Load{Rate: 1}, Cycle: 4, Slots: []Slot{{Number: 1}, {Number: 1}}},
		"beyond the loop":               {Load: Load{Rate: 1}, Cycle: 1, Slots: []Slot{{Number: 1}}},
		"no load":                       {Load: Load{Rate: -1}},
	} {
		if _, err := e.PlanPart(part); err == nil {
			t.Errorf("%s was taken", reason)
		}
	}
	if p, err := e.PlanPart(Part{Load: Load{Rate: 1}, Cycle: 2, Requests: 9}); err != nil || p.Requests != 0 {
		t.Errorf("a worker without a share sends %v requests, %v", p, err)
	}
}

func TestSamplesTravel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moment := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64().Draw(t, "ns")) })
		samples := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Sample {
			return Sample{
				Exchange: int32(rapid.IntRange(0, 1<<31-1).Draw(t, "exchange")), Instance: rapid.Int32().Draw(t, "instance"),
				Planned: moment.Draw(t, "planned"), Due: moment.Draw(t, "due"), Sent: moment.Draw(t, "sent"), First: moment.Draw(t, "first"), Last: moment.Draw(t, "last"),
				Size: rapid.Int64().Draw(t, "size"), Status: rapid.Uint16().Draw(t, "status"), Retried: rapid.Bool().Draw(t, "retried"),
				failure: uint8(rapid.IntRange(0, len(failures)-1).Draw(t, "failure")),
			}
		})).Draw(t, "samples")
		b := AppendSamples(nil, samples)
		got, err := ReadSamples(b)
		if err != nil || len(got) != len(samples) || len(got) > 0 && !reflect.DeepEqual(got, samples) {
			t.Fatalf("%v became %v, %v", samples, got, err)
		}
		if len(b) > 1 {
			if _, err := ReadSamples(b[:len(b)-1]); err == nil {
				t.Fatal("a cut end went unseen")
			}
		}
	})
}

func FuzzReadSamples(f *testing.F) {
	f.Add(AppendSamples(nil, nil))
	f.Add(AppendSamples(nil, []Sample{{Planned: time.Second, Sent: time.Second, Last: 2 * time.Second, Status: 200}, {Exchange: 7, failure: 3, Retried: true}}))
	f.Add([]byte{255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		samples, err := ReadSamples(b)
		if err != nil {
			return
		}
		again, err := ReadSamples(AppendSamples(nil, samples))
		if err != nil || len(again) != len(samples) || len(again) > 0 && !reflect.DeepEqual(again, samples) {
			t.Errorf("%v became %v, %v", samples, again, err)
		}
	})
}

// BenchmarkJoin measures what a sample of a worker costs where they come
// together: reading, joining, sorting by quantile.
func BenchmarkJoin(b *testing.B) {
	const workers, each = 10, 100_000
	var xs []*traffic.Exchange
	owner := make([]int, workers)
	for i := range workers {
		xs = append(xs, &traffic.Exchange{ID: fmt.Sprint(i), Direction: traffic.Inbound})
		owner[i] = i
	}
	e, err := New(xs, Options{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := e.Plan(Load{Rate: 1})
	if err != nil {
		b.Fatal(err)
	}
	samples := make([]Sample, each)
	for i := range samples {
		at := time.Duration(i) * 100 * time.Microsecond
		took := time.Duration(300+(i*7919)%5000) * time.Microsecond
		samples[i] = Sample{Instance: int32(i), Planned: at, Due: at, Sent: at + 20*time.Microsecond, First: at + took, Last: at + took, Size: 256, Status: 200}
	}
	wire := AppendSamples(nil, samples)
	b.ReportAllocs()
	for b.Loop() {
		parts := make([]*Result, workers)
		for k := range parts {
			read, err := ReadSamples(wire)
			if err != nil {
				b.Fatal(err)
			}
			parts[k] = &Result{Samples: read}
		}
		all, err := e.Join(p, "head", owner, parts)
		if err != nil {
			b.Fatal(err)
		}
		if s := all.Summary(nil); s.Requests != workers*each {
			b.Fatal(s.Requests)
		}
	}
	perSample := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / (workers * each)
	b.ReportMetric(perSample, "ns/sample")
	b.ReportMetric(float64(len(wire))/each, "wire-B/sample")
	b.ReportMetric(0, "ns/op")
}

func FuzzReadSlots(f *testing.F) {
	f.Add(AppendSlots(nil, nil))
	f.Add(AppendSlots(nil, []Slot{{Number: 2, Exchange: 1, At: time.Second}, {Number: 9, Copy: 1, At: 3 * time.Second}}))
	f.Add([]byte{255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, b []byte) {
		slots, err := ReadSlots(b)
		if err != nil {
			return
		}
		for _, s := range slots {
			if s.Exchange < 0 || s.Copy < 0 {
				return // PlanPart refuses them, and nobody writes them
			}
		}
		again, err := ReadSlots(AppendSlots(nil, slots))
		if err != nil || !slices.Equal(again, slots) {
			t.Errorf("%v became %v, %v", slots, again, err)
		}
	})
}
