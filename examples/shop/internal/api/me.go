package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"example.com/shop/internal/token"
)

// profile is what customers see of themselves.
type profile struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
	Phone string `json:"phone"`
	Since string `json:"customer_since"`
	// Orders counts all orders ever made.
	Orders int `json:"orders"`
}

// me answers the customer whose token comes with the request.
func (s *server) me(w http.ResponseWriter, r *http.Request) error {
	claims, err := s.authenticate(r)
	if err != nil {
		return &problem{Status: http.StatusUnauthorized, Detail: err.Error()}
	}
	c, n, ok := s.Orders.Customer(claims.Subject)
	if !ok {
		return notFound("there is no customer " + claims.Subject)
	}
	w.Header().Set("Cache-Control", "private, no-store")
	writeJSON(w, http.StatusOK, profile{
		ID:     c.ID,
		Name:   c.Name,
		Email:  c.Email,
		Phone:  c.Phone,
		Since:  c.Since.Format(time.DateOnly),
		Orders: n,
	})
	return nil
}

var errNoToken = errors.New("a bearer token is needed")

func (s *server) authenticate(r *http.Request) (token.Claims, error) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return token.Claims{}, errNoToken
	}
	return token.Verify(bearer, s.TokenKey, s.Now())
}
