// Package catalog knows what the shop sells.
package catalog

import "slices"

// Currency is the one currency of the shop.
const Currency = "EUR"

// Product is one thing on sale.
type Product struct {
	SKU         string   `json:"sku"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	UnitPrice   int64    `json:"unit_price"` // in cents
	WeightGrams int      `json:"weight_grams"`
	Tags        []string `json:"tags"`
}

// Find returns the product with the given SKU.
func Find(sku string) (Product, bool) {
	i, found := slices.BinarySearchFunc(products, sku, func(p Product, sku string) int {
		switch {
		case p.SKU < sku:
			return -1
		case p.SKU > sku:
			return 1
		}
		return 0
	})
	if !found {
		return Product{}, false
	}
	return products[i], true
}

// All returns every product by SKU. The caller must not change it.
func All() []Product { return products }

// products is sorted by SKU.
var products = []Product{
	{"BEAN-1001", "House blend, 1 kg", "A round, chocolaty blend for every day, roasted dark.", 1890, 1020, []string{"coffee", "beans", "dark"}},
	{"BEAN-1002", "Ethiopia Sidamo, 500 g", "Bright and floral, with a taste of bergamot and lemon.", 1490, 520, []string{"coffee", "beans", "light", "single-origin"}},
	{"BEAN-1003", "Colombia Huila, 500 g", "Caramel and red apple, from growers around Pitalito.", 1350, 520, []string{"coffee", "beans", "medium", "single-origin"}},
	{"BEAN-1004", "Decaf, 500 g", "All of the taste, by the Swiss water process.", 1420, 520, []string{"coffee", "beans", "decaf"}},
	{"BREW-2001", "Pour-over cone", "Glazed porcelain, fits every cup. Size 02.", 2450, 410, []string{"brewing", "porcelain"}},
	{"BREW-2002", "French press, 1 l", "Double-walled steel keeps it warm for an hour.", 4990, 1150, []string{"brewing", "steel"}},
	{"BREW-2003", "Moka pot, 6 cups", "The stove-top classic. Not for induction.", 3290, 840, []string{"brewing", "aluminium"}},
	{"BREW-2004", "Paper filters, 100", "Unbleached, size 02.", 590, 180, []string{"brewing", "paper"}},
	{"CUPS-3001", "Espresso cup, set of 2", "Thick porcelain with a heavy base.", 1790, 460, []string{"cups", "porcelain"}},
	{"CUPS-3002", "Cappuccino cup, set of 2", "Wide enough for any rosetta.", 2290, 820, []string{"cups", "porcelain"}},
	{"CUPS-3003", "Travel mug, 350 ml", "Closes tight. Survives the dishwasher.", 2690, 330, []string{"cups", "steel"}},
	{"GEAR-4001", "Hand grinder", "Steel burrs, 36 steps.", 8900, 610, []string{"gear", "grinder"}},
	{"GEAR-4002", "Kettle, gooseneck", "Pours as slowly as you like. 0.9 l.", 6490, 980, []string{"gear", "kettle"}},
	{"GEAR-4003", "Scale with timer", "0.1 g steps, charges by USB-C.", 4590, 420, []string{"gear", "scale"}},
	{"GIFT-5001", "Gift card, 50 EUR", "By post, in a small box.", 5000, 60, []string{"gift"}},
	{"GIFT-5002", "Tasting box", "Four coffees of 100 g, and a leaflet.", 2990, 640, []string{"gift", "coffee"}},
}
