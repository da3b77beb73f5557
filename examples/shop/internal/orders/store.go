package orders

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// The errors of a [Store].
var (
	ErrNotFound      = errors.New("no such order")
	ErrNotRefundable = errors.New("only a paid, unshipped order can be refunded")
	ErrBadCursor     = errors.New("the cursor is not one that this list returned")
)

// Store keeps orders in memory, in the order of their creation. It is safe for
// concurrent use, and hands out copies.
type Store struct {
	mu        sync.RWMutex
	orders    []Order
	byID      map[string]int // index into orders
	customers map[string]Customer
	made      map[string]int  // orders by id of customer
	refunding map[string]bool // ids of orders whose money is on its way
}

// NewStore returns a store with the given orders, oldest first.
func NewStore(seed []Order) *Store {
	s := &Store{
		byID:      make(map[string]int),
		customers: make(map[string]Customer),
		made:      make(map[string]int),
		refunding: make(map[string]bool),
	}
	for _, o := range seed {
		s.Add(o)
	}
	return s
}

// Add appends an order.
func (s *Store) Add(o Order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[o.ID] = len(s.orders)
	s.orders = append(s.orders, o)
	if o.Customer.ID != "" {
		s.customers[o.Customer.ID] = o.Customer
		s.made[o.Customer.ID]++
	}
}

// Get returns one order, or [ErrNotFound].
func (s *Store) Get(id string) (Order, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i, ok := s.byID[id]
	if !ok {
		return Order{}, fmt.Errorf("order %s: %w", id, ErrNotFound)
	}
	return s.copyOf(i), nil
}

// Query selects orders. An empty Status means any; Limit must be positive.
type Query struct {
	Status Status
	After  string // id of the last order of the page before; empty for the first page
	Limit  int
}

// Page is a part of a list. Next is the id to ask on from, empty at the end.
type Page struct {
	Orders []Order
	Next   string
}

// List returns the orders that q selects, oldest first.
func (s *Store) List(q Query) (Page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	from := 0
	if q.After != "" {
		i, ok := s.byID[q.After]
		if !ok {
			return Page{}, ErrBadCursor
		}
		from = i + 1
	}
	var page Page
	for i := from; i < len(s.orders); i++ {
		if q.Status != "" && s.orders[i].Status != q.Status {
			continue
		}
		if len(page.Orders) == q.Limit {
			page.Next = page.Orders[q.Limit-1].ID
			break
		}
		page.Orders = append(page.Orders, s.copyOf(i))
	}
	return page, nil
}

// Refund marks an order as refunded once pay has returned the money and the
// id of the refund. pay is called at most once at a time for an order, never
// for one that cannot be refunded, and without the lock of the store.
func (s *Store) Refund(id string, pay func(Order) (string, error)) (Order, error) {
	o, err := s.claimRefund(id)
	if err != nil {
		return Order{}, err
	}
	refundID, err := pay(o)

	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.refunding, id)
	if err != nil {
		return Order{}, err
	}
	i := s.byID[id]
	s.orders[i].Status, s.orders[i].RefundID = Refunded, refundID
	return s.copyOf(i), nil
}

// claimRefund returns an order that nobody else is refunding.
func (s *Store) claimRefund(id string) (Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.byID[id]
	if !ok {
		return Order{}, fmt.Errorf("order %s: %w", id, ErrNotFound)
	}
	if o := s.orders[i]; o.Status != Paid || s.refunding[id] {
		return Order{}, fmt.Errorf("order %s is %s: %w", id, o.Status, ErrNotRefundable)
	}
	s.refunding[id] = true
	return s.copyOf(i), nil
}

// Customer returns a registered customer and how many orders they have made.
func (s *Store) Customer(id string) (c Customer, orders int, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok = s.customers[id]
	return c, s.made[id], ok
}

// copyOf must be called with the lock held.
func (s *Store) copyOf(i int) Order {
	o := s.orders[i]
	o.Lines = slices.Clone(o.Lines)
	return o
}
