// Package pricing makes offers for large quantities.
package pricing

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// Offer is the price for a quantity of one product, in cents.
type Offer struct {
	UnitPrice int64
	Total     int64
	Discount  float64 // percent off the list price
}

// scenarios is how many futures an offer is tested against: enough for the
// mean to settle within a tenth of a percent, few enough for a web request.
const (
	scenarios = 18000
	weeks     = 26
)

// Quote computes an offer: a discount for quantity, less a premium for the
// risk that the price of coffee moves before the goods are delivered. The risk
// is simulated; the same question always gets the same answer.
func Quote(sku string, listPrice int64, quantity int) Offer {
	discount := math.Min(25, 4*math.Log1p(float64(quantity)/5))
	discount -= risk(sku, quantity)
	if discount < 0 {
		discount = 0
	}
	discount = math.Round(discount*100) / 100
	unit := int64(math.Round(float64(listPrice) * (1 - discount/100)))
	return Offer{UnitPrice: unit, Total: unit * int64(quantity), Discount: discount}
}

// risk returns the premium in percent: the mean of the largest rise in price
// over the weeks until delivery, over all scenarios.
func risk(sku string, quantity int) float64 {
	h := fnv.New64a()
	h.Write([]byte(sku))
	random := rand.New(rand.NewPCG(h.Sum64(), uint64(quantity)))
	var sum float64
	for range scenarios {
		sum += worstRise(random)
	}
	return sum / scenarios
}

// worstRise walks one future, a week at a time, in percent.
func worstRise(random *rand.Rand) float64 {
	const volatility = 0.8 // percent a week
	var price, worst float64
	for range weeks {
		price += volatility * (2*random.Float64() - 1)
		worst = max(worst, price)
	}
	return worst
}
