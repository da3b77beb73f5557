package replay

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// bursts is a recording of n exchanges that come in bursts, in windows of size.
type bursts struct {
	n, size int
	body    int // bytes of each request
}

func (b bursts) Scan() iter.Seq2[*traffic.Exchange, error] {
	return func(yield func(*traffic.Exchange, error) bool) {
		r := rand.New(rand.NewPCG(7, 8))
		at := time.Unix(1_800_000_000, 0)
		for i := range b.n {
			x := &traffic.Exchange{ID: fmt.Sprint(i), Lane: traffic.Lane(fmt.Sprint(i)), Direction: traffic.Inbound, Start: at}
			x.Request.Method, x.Request.Target = "POST", "/"
			x.Request.Body = traffic.NewBody(make([]byte, b.body), nil)
			if !yield(x, nil) {
				return
			}
			if r.IntN(50) == 0 {
				at = at.Add(100 * time.Millisecond)
			}
			at = at.Add(time.Duration(r.IntN(1000)) * time.Microsecond)
		}
	}
}

func (b bursts) Windows() iter.Seq2[*Window, error] {
	return func(yield func(*Window, error) bool) {
		var open []*traffic.Exchange
		for x := range b.Scan() {
			if open = append(open, x); len(open) == b.size {
				if !yield(&Window{Exchanges: open}, nil) {
					return
				}
				open = nil
			}
		}
		if len(open) > 0 {
			yield(&Window{Exchanges: open}, nil)
		}
	}
}

// TestCopiesOfAStream: each copy has all requests at the recorded distances, the
// plan says when the last one goes, and what is held in memory depends on the
// bounds and not on how long the recording is.
func TestCopiesOfAStream(t *testing.T) {
	tests := []struct {
		why  string
		rec  bursts
		load Load
		most int // windows that may be held
	}{
		{"three copies", bursts{n: 10_000, size: 100}, Load{Copies: 3}, spreadExchanges/100 + 2},
		{"five times as long: no more is held", bursts{n: 50_000, size: 100}, Load{Copies: 3}, spreadExchanges/100 + 2},
		{"large bodies: fewer are held", bursts{n: 400, size: 10, body: 100 << 10}, Load{Copies: 2}, spreadBytes/(100<<10)/10 + 3},
		{"two loops, which overlap", bursts{n: 5000, size: 100}, Load{Copies: 4, Loops: 2, Speed: 3}, spreadExchanges/100 + 3},
		{"hardly any time between them", bursts{n: 3, size: 2}, Load{Copies: 2, MaxIdle: time.Nanosecond}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			s, err := NewStreamed(tt.rec, Options{})
			if err != nil {
				t.Fatal(err)
			}
			plan, err := s.Plan(t.Context(), tt.load)
			if err != nil {
				t.Fatal(err)
			}
			p := newPhases(newFeed(t.Context(), s, plan))
			defer p.close()
			type sent struct {
				exchange int32
				at       time.Duration
			}
			byCopy := make(map[int32][]sent)
			var last time.Duration
			requests := int64(0)
			for {
				next, part, more := p.shot(requests)
				if !more {
					break
				}
				requests++
				if next.at < last {
					t.Fatalf("request %d goes at %v, after one at %v", requests, next.at, last)
				}
				last = next.at
				byCopy[next.instance] = append(byCopy[next.instance], sent{part.first + next.exchange, next.at})
				if len(p.held) > tt.most {
					t.Fatalf("%d windows are held, want at most %d", len(p.held), tt.most)
				}
			}
			if requests != plan.Requests || last != plan.Length || plan.shift <= 0 {
				t.Errorf("%d requests in %v, %v apart; planned %d in %v", requests, last, plan.shift, plan.Requests, plan.Length)
			}
			first := byCopy[0]
			for number, copy := range byCopy {
				if len(copy) != tt.rec.n || !slices.EqualFunc(first, copy, func(a, b sent) bool {
					return a.exchange == b.exchange && b.at-a.at == copy[0].at-first[0].at
				}) {
					t.Errorf("copy %d is not the recording at another time", number)
				}
			}
			if want := tt.load.Copies * max(tt.load.Loops, 1); len(byCopy) != want {
				t.Errorf("%d copies, want %d", len(byCopy), want)
			}
		})
	}
}

// A budget ends all copies at the same moment.
func TestCopiesOfAStreamEnd(t *testing.T) {
	s, err := NewStreamed(bursts{n: 10_000, size: 100}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const budget = 5 * time.Second
	plan, err := s.Plan(t.Context(), Load{Copies: 3, Budget: budget})
	if err != nil {
		t.Fatal(err)
	}
	p := newPhases(newFeed(t.Context(), s, plan))
	defer p.close()
	copies := make(map[int32]bool)
	for k := int64(0); ; k++ {
		next, _, more := p.shot(k)
		if !more {
			break
		}
		if copies[next.instance] = true; next.at >= budget {
			t.Fatalf("a request at %v", next.at)
		}
	}
	if len(copies) != 3 || plan.Requests != -1 || plan.Length != budget {
		t.Errorf("%d copies within %v; planned %d requests in %v", len(copies), budget, plan.Requests, plan.Length)
	}
}

// Copies of what comes at one moment go out at one moment.
func TestSpreadOfOneMoment(t *testing.T) {
	var s spread
	for range spreadExchanges + 1 {
		s.add(time.Second, 0)
	}
	s.add(time.Hour, 0)
	if got := s.shift(2, time.Hour); got != 0 {
		t.Errorf("copies are %v apart, and all of what came at once is held as long", got)
	}
}
