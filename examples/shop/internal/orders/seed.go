package orders

import (
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/shop/internal/catalog"
)

// The orders that exist from the start, always the same: the shop has no
// database, and its clients need something to look at.
const (
	seededOrders = 48
	seed         = 20260105
)

var seededFrom = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

// regulars are made up: example.com belongs to nobody, and the phone numbers
// are from ranges kept free for fiction.
var regulars = []Customer{
	{ID: "cus_ada", Name: "Ada Winterbourne", Email: "ada.winterbourne@example.com", Phone: "+44 20 7946 0018"},
	{ID: "cus_bruno", Name: "Bruno Castellani", Email: "bruno@castellani.example", Phone: "+44 20 7946 0144"},
	{ID: "cus_chidi", Name: "Chidi Okonkwo", Email: "chidi.okonkwo@example.org", Phone: "+1 202 555 0119"},
	{ID: "cus_dagny", Name: "Dagny Solheim", Email: "dagny_solheim@example.net", Phone: "+1 202 555 0173"},
	{ID: "cus_emre", Name: "Emre Yildirim", Email: "emre.y@example.com", Phone: "+44 113 496 0372"},
	{ID: "cus_farah", Name: "Farah Haidari", Email: "farah.haidari@mail.example", Phone: "+44 117 496 0655"},
	{ID: "cus_greta", Name: "Greta Lindqvist", Email: "greta+shop@example.org", Phone: "+44 131 496 0921"},
	{ID: "cus_hugo", Name: "Hugo Desrosiers", Email: "hugo.desrosiers@example.net", Phone: "+1 202 555 0186"},
}

// Seed returns the first orders, oldest first. Each call returns the same.
func Seed() []Order {
	random := rand.New(rand.NewPCG(seed, 0))
	products := catalog.All()
	list := make([]Order, 0, seededOrders)
	for i := range seededOrders {
		customer := regulars[random.IntN(len(regulars))]
		customer.Since = seededFrom.AddDate(-1, 0, len(customer.Name))
		o := Order{
			ID:        fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), random.IntN(1<<12), random.Int64N(1<<48)),
			Status:    []Status{Delivered, Delivered, Shipped, Paid}[random.IntN(4)],
			CreatedAt: seededFrom.Add(time.Duration(i)*11*time.Hour + time.Duration(random.IntN(3600))*time.Second),
			Customer:  customer,
			ChargeID:  fmt.Sprintf("ch_%016x", random.Uint64()),
		}
		for _, p := range random.Perm(len(products))[:1+random.IntN(4)] {
			o.Lines = append(o.Lines, Line{SKU: products[p].SKU, Quantity: 1 + random.IntN(3), UnitPrice: products[p].UnitPrice})
		}
		o.Shipping = ShippingFor(o.Lines)
		list = append(list, o)
	}
	return list
}
