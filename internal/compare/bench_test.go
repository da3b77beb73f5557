package compare_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/wI2L/jsondiff"

	"github.com/reprise-ci/reprise/internal/compare"
)

// catalogue makes an answer with n products, each changed by change.
func catalogue(n int, change func(i int, product map[string]any) bool) string {
	var products []any
	for i := range n {
		p := map[string]any{
			"id": fmt.Sprintf("prd-%06d", i), "name": fmt.Sprintf("Product number %d", i), "price": 100 + i%977,
			"tags": []string{"new", "sale", fmt.Sprint("group-", i%13)}, "stock": map[string]any{"berlin": i % 7, "paris": i % 11},
		}
		if change == nil || change(i, p) {
			products = append(products, p)
		}
	}
	b, err := json.Marshal(map[string]any{"products": products, "total": n})
	if err != nil {
		panic(err)
	}
	return string(b)
}

var same = catalogue(1000, nil)

// beside runs the comparison and its peer on the same two bodies. The peer
// decodes both to trees first, whether they are equal or not.
func beside(b *testing.B, a, other string) {
	b.Run("reprise", func(b *testing.B) {
		x, y := answer(200, a), answer(200, other)
		b.SetBytes(int64(len(a) + len(other)))
		b.ReportAllocs()
		for b.Loop() {
			compare.Responses(x, y, compare.Options{})
		}
	})
	b.Run("jsondiff", func(b *testing.B) {
		x, y := []byte(a), []byte(other)
		b.SetBytes(int64(len(a) + len(other)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jsondiff.CompareJSON(x, y); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEqual: most pairs of answers are equal.
func BenchmarkEqual(b *testing.B) { beside(b, same, same) }

// BenchmarkUnequal: one value in ten elements.
func BenchmarkUnequal(b *testing.B) {
	beside(b, same, catalogue(1000, func(i int, p map[string]any) bool {
		if i%10 == 0 {
			p["price"] = -1
		}
		return true
	}))
}

// BenchmarkOneValue: one value in a thousand elements.
func BenchmarkOneValue(b *testing.B) {
	beside(b, same, catalogue(1000, func(i int, p map[string]any) bool {
		if i == 500 {
			p["price"] = "x"
		}
		return true
	}))
}

// BenchmarkLostElement: all elements after it move by one.
func BenchmarkLostElement(b *testing.B) {
	beside(b, same, catalogue(1000, func(i int, _ map[string]any) bool { return i != 300 }))
}

// Lists of 20,000 elements, in the ways in which they are aligned.
func BenchmarkLongLists(b *testing.B) {
	const n = 20000
	long := catalogue(n, nil)
	numbers := func(change func(i int) (int, bool)) string {
		var list []int
		for i := range n {
			if v, ok := change(i); ok {
				list = append(list, v)
			}
		}
		out, err := json.Marshal(list)
		if err != nil {
			b.Fatal(err)
		}
		return string(out)
	}
	plain := numbers(func(i int) (int, bool) { return i * 3, true })
	for _, bm := range []struct{ name, a, b string }{
		{"by-index", plain, numbers(func(i int) (int, bool) { return i*3 + i%2, true })},
		{"order", plain, numbers(func(i int) (int, bool) { return (n - 1 - i) * 3, true })},
		{"common-subsequence", plain, numbers(func(i int) (int, bool) { return i * 3, i%200 != 0 })},
		{"nothing-in-common", plain, numbers(func(i int) (int, bool) { return -i - 1, i > 0 })},
		{"objects-by-key", long, catalogue(n, func(i int, _ map[string]any) bool { return i%500 != 7 })},
		{"objects-by-index", long, catalogue(n, func(i int, p map[string]any) bool { p["price"] = i % 10; return true })},
	} {
		b.Run(bm.name, func(b *testing.B) {
			x, y := answer(200, bm.a), answer(200, bm.b)
			b.SetBytes(int64(len(bm.a) + len(bm.b)))
			for b.Loop() {
				compare.Responses(x, y, compare.Options{})
			}
		})
	}
}

// BenchmarkClassOf learns the class of one address over 300 exchanges.
func BenchmarkClassOf(b *testing.B) {
	var samples []string
	for i := range 900 {
		samples = append(samples, fmt.Sprintf("%08x-1b1f-4c39-9d4a-0b7a8f3f2a11", i))
	}
	for b.Loop() {
		compare.ClassOf(samples...)
	}
}
