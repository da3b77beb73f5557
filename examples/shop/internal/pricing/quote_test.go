package pricing

import "testing"

func TestQuote(t *testing.T) {
	few, many := Quote("BEAN-1001", 1890, 1), Quote("BEAN-1001", 1890, 5000)
	if few != Quote("BEAN-1001", 1890, 1) {
		t.Error("the same question got another answer")
	}
	if few.UnitPrice > 1890 || many.UnitPrice >= few.UnitPrice {
		t.Errorf("one piece costs %d, of 5000 each costs %d", few.UnitPrice, many.UnitPrice)
	}
	if many.Total != many.UnitPrice*5000 {
		t.Errorf("5000 pieces of %d cost %d", many.UnitPrice, many.Total)
	}
}

func BenchmarkQuote(b *testing.B) {
	for b.Loop() {
		Quote("BEAN-1001", 1890, 100)
	}
}
