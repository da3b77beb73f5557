package compare

// maxEdits is how many insertions and deletions the search for a common
// subsequence may try. Lists that are further apart are rewritten, not edited,
// and what is left is paired by position.
const maxEdits = 256

// commonSubsequence pairs equal hashes in order: the common beginning and end
// first, then Myers' O(ND) search (Algorithmica 1, 1986) between them, capped
// at maxEdits.
func commonSubsequence(a, b []uint64) []match {
	var pairs []match
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		pairs = append(pairs, match{start, start})
		start++
	}
	endA, endB := len(a), len(b)
	for endA > start && endB > start && a[endA-1] == b[endB-1] {
		endA--
		endB--
	}
	for _, p := range myers(a[start:endA], b[start:endB]) {
		pairs = append(pairs, match{p.a + start, p.b + start})
	}
	for k := 0; endA+k < len(a); k++ {
		pairs = append(pairs, match{endA + k, endB + k})
	}
	return pairs
}

// myers returns the pairs of a shortest edit script, or nil when it needs more
// than maxEdits edits.
func myers(a, b []uint64) []match {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return nil
	}
	limit := min(n+m, maxEdits)
	v := make([]int, 2*limit+3)
	off := limit + 1
	var trace [][]int
	for d := 0; d <= limit; d++ {
		// Only the diagonals of this step are kept, so that the whole trace
		// stays below maxEdits squared.
		trace = append(trace, append([]int(nil), v[off-d-1:off+d+2]...))
		for k := -d; k <= d; k += 2 {
			var x int
			if k == -d || k != d && v[off+k-1] < v[off+k+1] {
				x = v[off+k+1]
			} else {
				x = v[off+k-1] + 1
			}
			y := x - k
			for x < n && y < m && x >= 0 && y >= 0 && a[x] == b[y] {
				x++
				y++
			}
			v[off+k] = x
			if x >= n && y >= m {
				return backtrack(trace, n, m)
			}
		}
	}
	return nil
}

func backtrack(trace [][]int, x, y int) []match {
	var reversed []match
	for d := len(trace) - 1; d > 0; d-- {
		v, off := trace[d], d+1 // diagonal k is at v[off+k]
		k := x - y
		prev := k - 1
		if k == -d || k != d && v[off+k-1] < v[off+k+1] {
			prev = k + 1
		}
		px := v[off+prev]
		py := px - prev
		for x > px && y > py && x > 0 && y > 0 {
			x--
			y--
			reversed = append(reversed, match{x, y})
		}
		x, y = px, py
	}
	for x > 0 && y > 0 {
		x--
		y--
		reversed = append(reversed, match{x, y})
	}
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	return reversed
}

// fillGaps pairs the elements between matches by position where both sides have
// as many: they are the same elements, changed.
func fillGaps(pairs []match, n, m int) []match {
	var out []match
	x, y := 0, 0
	for _, p := range append(pairs, match{n, m}) {
		if p.a-x == p.b-y {
			for ; x < p.a; x, y = x+1, y+1 {
				out = append(out, match{x, y})
			}
		}
		if p.a < n || p.b < m {
			out = append(out, p)
		}
		x, y = p.a+1, p.b+1
	}
	return out
}
