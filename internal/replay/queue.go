package replay

import (
	"container/heap"
	"sync"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// queue hands out the exchanges of a pass in recorded order, but none before
// its predecessor in the session and the answers that it needs are there. All
// of these lie earlier in the recording, so the earliest exchange that is not
// done can always go, and with one worker the order is the recorded one.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	ready   indexHeap
	waits   []int   // how many exchanges each one still waits for
	after   [][]int // whom each one releases
	left    int     // not yet handed out
	closed  bool
}

func newQueue(exchanges []*traffic.Exchange, sessions []int, needs func(id string) []string) *queue {
	q := &queue{waits: make([]int, len(exchanges)), after: make([][]int, len(exchanges)), left: len(exchanges)}
	q.changed.L = &q.mu
	index := make(map[string]int, len(exchanges))
	last := make(map[int]int) // session -> its latest exchange
	for i, x := range exchanges {
		if before, ok := last[sessions[i]]; ok {
			q.wait(i, before)
		}
		for _, id := range needs(x.ID) {
			if before, ok := index[id]; ok { // unknown or later ones cannot be waited for
				q.wait(i, before)
			}
		}
		last[sessions[i]], index[x.ID] = i, i
		if q.waits[i] == 0 {
			q.ready = append(q.ready, i) // ascending: a heap already
		}
	}
	return q
}

func (q *queue) wait(i, before int) {
	q.waits[i]++
	q.after[before] = append(q.after[before], i)
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
	for _, j := range q.after[i] {
		if q.waits[j]--; q.waits[j] == 0 {
			heap.Push(&q.ready, j)
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
