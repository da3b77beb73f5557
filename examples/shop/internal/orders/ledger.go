package orders

import (
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/shop/internal/catalog"
)

// Entry is one line of a month's ledger. Amounts are in cents.
type Entry struct {
	Number   string    `json:"number"`
	BookedAt time.Time `json:"booked_at"`
	Account  string    `json:"account"`
	Text     string    `json:"text"`
	Net      int64     `json:"net"`
	VAT      int64     `json:"vat"`
	Gross    int64     `json:"gross"`
	Currency string    `json:"currency"`
}

// entriesAMonth makes an export of about 200 KB.
const entriesAMonth = 1200

// Ledger returns the closed books of a month. They never change.
func Ledger(month time.Time) []Entry {
	accounts := []string{"8400 sales", "8300 sales, reduced", "4730 discounts", "4970 card fees"}
	products := catalog.All()
	random := rand.New(rand.NewPCG(seed, uint64(month.Year()*100+int(month.Month()))))
	entries := make([]Entry, entriesAMonth)
	for i := range entries {
		p := products[random.IntN(len(products))]
		net := p.UnitPrice * int64(1+random.IntN(9))
		vat := (net*19 + 50) / 100
		entries[i] = Entry{
			Number:   fmt.Sprintf("%s-%05d", month.Format("2006-01"), i+1),
			BookedAt: month.Add(time.Duration(i) * 39 * time.Minute),
			Account:  accounts[random.IntN(len(accounts))],
			Text:     p.Name,
			Net:      net,
			VAT:      vat,
			Gross:    net + vat,
			Currency: catalog.Currency,
		}
	}
	return entries
}
