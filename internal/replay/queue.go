package replay

import (
	"container/heap"
	"sync"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// graph says which exchanges wait for which: each for its predecessor in the
// session and for the answers that it needs. All of these lie earlier in the
// recording.
type graph struct {
	waits []int32   // how many exchanges each one waits for
	after [][]int32 // whom each one releases
}

func newGraph(exchanges []*traffic.Exchange, sessions []int, needs func(id string) []string) graph {
	g := graph{waits: make([]int32, len(exchanges)), after: make([][]int32, len(exchanges))}
	wait := func(i, before int) {
		g.waits[i]++
		g.after[before] = append(g.after[before], int32(i))
	}
	index := make(map[string]int, len(exchanges))
	last := make(map[int]int) // session -> its latest exchange
	for i, x := range exchanges {
		if before, ok := last[sessions[i]]; ok {
			wait(i, before)
		}
		for _, id := range needs(x.ID) {
			if before, ok := index[id]; ok { // unknown or later ones cannot be waited for
				wait(i, before)
			}
		}
		last[sessions[i]], index[x.ID] = i, i
	}
	return g
}

// queue hands out the exchanges of a pass in recorded order, but none before
// those that it waits for are done. The earliest exchange that is not done can
// always go, and with one worker the order is the recorded one.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	ready   indexHeap
	graph   graph // waits counts down
	left    int   // not yet handed out
	closed  bool
}

func newQueue(g graph) *queue {
	q := &queue{graph: g, left: len(g.waits)}
	q.changed.L = &q.mu
	for i, waits := range g.waits {
		if waits == 0 {
			q.ready = append(q.ready, i) // ascending: a heap already
		}
	}
	return q
}

// next returns the earliest exchange that can go, waiting until there is one.
// It reports false when all are handed out or the queue is closed.
func (q *queue) next() (int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) == 0 && q.left > 0 && !q.closed {
		q.changed.Wait()
	}
	if q.left == 0 || q.closed {
		return 0, false
	}
	q.left--
	i := heap.Pop(&q.ready).(int)
	if q.left == 0 {
		q.changed.Broadcast()
	}
	return i, true
}

// done releases those that waited for exchange i.
func (q *queue) done(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, j := range q.graph.after[i] {
		if q.graph.waits[j]--; q.graph.waits[j] == 0 {
			heap.Push(&q.ready, int(j))
		}
	}
	q.changed.Broadcast()
}

// close ends all waiting; it returns how many exchanges were never handed out.
func (q *queue) close() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
	return q.left
}

type indexHeap []int

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h indexHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *indexHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
