// Package orders holds the orders of the shop and finds them again.
package orders

import "time"

// Status is where an order stands.
type Status string

// The statuses, in the order of an order's life.
const (
	Paid      Status = "paid"
	Shipped   Status = "shipped"
	Delivered Status = "delivered"
	Cancelled Status = "cancelled"
	Refunded  Status = "refunded"
)

// Known reports whether s is a status.
func (s Status) Known() bool {
	switch s {
	case Paid, Shipped, Delivered, Cancelled, Refunded:
		return true
	}
	return false
}

// Order is one purchase. Amounts are in cents.
type Order struct {
	ID        string
	Status    Status
	CreatedAt time.Time
	Customer  Customer
	Lines     []Line
	Shipping  int64
	ChargeID  string
	RefundID  string // empty unless refunded
}

// Customer is who bought. ID is empty for guests.
type Customer struct {
	ID    string
	Name  string
	Email string
	Phone string
	Since time.Time
}

// Line is a number of pieces of one product, at the price of that day.
type Line struct {
	SKU       string
	Quantity  int
	UnitPrice int64
}

// FreeShippingFrom is the value of goods from which shipping costs nothing;
// below it, shipping costs ShippingFee.
const (
	FreeShippingFrom = 4900
	ShippingFee      = 490
)

// Goods returns the value of all lines.
func Goods(lines []Line) int64 {
	var sum int64
	for _, l := range lines {
		sum += int64(l.Quantity) * l.UnitPrice
	}
	return sum
}

// Pieces returns how many pieces all lines are together.
func Pieces(lines []Line) int {
	pieces := 0
	for _, l := range lines {
		pieces += l.Quantity
	}
	return pieces
}

// Weight returns what a parcel of the lines weighs, in grams: every product is
// packed for about the same weight.
func Weight(lines []Line) int {
	const box, piece = 180, 270
	return box + piece*Pieces(lines)
}

// ShippingFor returns what shipping costs for the given lines.
func ShippingFor(lines []Line) int64 {
	if Goods(lines) >= FreeShippingFrom {
		return 0
	}
	return ShippingFee
}

// Total is what the customer pays.
func (o Order) Total() int64 { return Goods(o.Lines) + o.Shipping }
