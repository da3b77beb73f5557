package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// declined is the test card that every bank refuses.
const declined = "4000000000000002"

// charge is one movement of money. Amounts are in cents.
type charge struct {
	ID         string `json:"id"`
	Object     string `json:"object"`
	Status     string `json:"status"`
	Amount     int64  `json:"amount"`
	Currency   string `json:"currency"`
	Card       card   `json:"card"`
	Reference  string `json:"reference,omitempty"`
	Created    int64  `json:"created"` // seconds since 1970
	CapturedAt int64  `json:"captured_at,omitempty"`
	RefundedAt int64  `json:"refunded_at,omitempty"`
}

type card struct {
	Brand string `json:"brand"`
	Last4 string `json:"last4"`
}

type provider struct {
	now     func() time.Time
	mu      sync.Mutex
	charges map[string]*charge
}

func newProvider(key string, now func() time.Time) http.Handler {
	p := &provider{now: now, charges: make(map[string]*charge)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/charges", p.authorize)
	mux.HandleFunc("GET /v1/charges/{id}", p.get)
	mux.HandleFunc("POST /v1/charges/{id}/capture", p.capture)
	mux.HandleFunc("POST /v1/charges/{id}/refunds", p.refund)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+key:
			fail(w, http.StatusUnauthorized, "authentication_error")
		case r.Method == http.MethodPost && r.Header.Get("Idempotency-Key") == "":
			fail(w, http.StatusBadRequest, "idempotency_key_missing")
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Amount     int64  `json:"amount"`
		Currency   string `json:"currency"`
		CardNumber string `json:"card_number"`
		Email      string `json:"receipt_email"`
		Reference  string `json:"reference"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || request.Amount <= 0 || len(request.CardNumber) < 12 {
		fail(w, http.StatusBadRequest, "invalid_request")
		return
	}
	if request.CardNumber == declined {
		fail(w, http.StatusPaymentRequired, "card_declined")
		return
	}
	c := &charge{
		ID:        newID("ch_"),
		Object:    "charge",
		Status:    "authorized",
		Amount:    request.Amount,
		Currency:  request.Currency,
		Card:      card{Brand: brandOf(request.CardNumber), Last4: request.CardNumber[len(request.CardNumber)-4:]},
		Reference: request.Reference,
		Created:   p.now().Unix(),
	}
	p.mu.Lock()
	p.charges[c.ID] = c
	p.mu.Unlock()
	answer(w, http.StatusCreated, c)
}

func (p *provider) get(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer(w, http.StatusOK, p.find(r.PathValue("id")))
}

func (p *provider) capture(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Amount int64 `json:"amount"`
	}
	err := json.NewDecoder(r.Body).Decode(&request)
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.find(r.PathValue("id"))
	switch {
	case err != nil || request.Amount <= 0 || request.Amount > c.Amount:
		fail(w, http.StatusBadRequest, "invalid_request")
		return
	case c.Status != "authorized":
		fail(w, http.StatusConflict, "already_captured")
		return
	}
	c.Status, c.CapturedAt = "captured", p.now().Unix()
	answer(w, http.StatusOK, c)
}

func (p *provider) refund(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Amount int64  `json:"amount"`
		Reason string `json:"reason"`
	}
	err := json.NewDecoder(r.Body).Decode(&request)
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.find(r.PathValue("id"))
	if err != nil || request.Amount <= 0 || request.Amount > c.Amount || c.Status == "refunded" {
		fail(w, http.StatusBadRequest, "invalid_refund")
		return
	}
	c.Status, c.RefundedAt = "refunded", p.now().Unix()
	answer(w, http.StatusCreated, map[string]any{
		"id":      newID("re_"),
		"object":  "refund",
		"charge":  c.ID,
		"amount":  request.Amount,
		"reason":  request.Reason,
		"created": c.RefundedAt,
	})
}

// find returns a charge; one from before this process was started is made up,
// as a captured one that is large enough for any refund. The lock must be held.
func (p *provider) find(id string) *charge {
	c, ok := p.charges[id]
	if !ok {
		c = &charge{
			ID:         id,
			Object:     "charge",
			Status:     "captured",
			Amount:     100000,
			Currency:   "EUR",
			Card:       card{Brand: "visa", Last4: "4242"},
			Created:    1767600000,
			CapturedAt: 1767600002,
		}
		p.charges[id] = c
	}
	return c
}

func brandOf(number string) string {
	switch number[0] {
	case '4':
		return "visa"
	case '5':
		return "mastercard"
	case '3':
		return "amex"
	}
	return "other"
}

func newID(prefix string) string {
	b := make([]byte, 12)
	rand.Read(b) // never fails
	return prefix + hex.EncodeToString(b)
}

func fail(w http.ResponseWriter, status int, code string) {
	answer(w, status, map[string]any{"error": map[string]string{"code": code}})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
