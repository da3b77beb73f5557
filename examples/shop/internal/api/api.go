// Package api is the HTTP face of the shop.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"example.com/shop/internal/orders"
	"example.com/shop/internal/upstream"
)

// Services are what the API stands on.
type Services struct {
	Orders    *orders.Store
	Inventory *upstream.Inventory
	Payments  *upstream.Payments
	Shipping  *upstream.Shipping
	TokenKey  []byte // verifies the tokens of customers
	Log       *slog.Logger
	Now       func() time.Time
}

type server struct{ Services }

// New returns the handler of all routes.
func New(services Services) http.Handler {
	s := &server{services}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("GET /v1/catalog", handler(s.listCatalog))
	mux.Handle("GET /v1/quote", handler(s.quote))
	mux.Handle("GET /v1/orders", handler(s.listOrders))
	mux.Handle("POST /v1/orders", handler(s.createOrder))
	mux.Handle("GET /v1/orders/{id}", handler(s.getOrder))
	mux.Handle("GET /v1/orders/{id}/summary", handler(s.summarizeOrder))
	mux.Handle("GET /v1/orders/{id}/delivery", handler(s.trackOrder))
	mux.Handle("POST /v1/orders/{id}/refund", handler(s.refundOrder))
	mux.Handle("GET /v1/me", handler(s.me))
	mux.Handle("GET /v1/export", handler(s.export))
	mux.Handle("/", handler(func(_ http.ResponseWriter, r *http.Request) error {
		return notFound("there is nothing at " + r.URL.Path)
	}))
	return s.identify(s.observe(s.recovered(mux)))
}

// health answers the probes. The shop is ready as soon as it listens.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// handler is a request handler that leaves errors to the caller.
type handler func(w http.ResponseWriter, r *http.Request) error

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h(w, r)
	if err == nil {
		return
	}
	if o, ok := w.(*observed); ok {
		o.err = err // for the log
	}
	problemOf(err).write(w)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil { // only for types that JSON cannot hold
		problemOf(err).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(data, '\n'))
}

// maxRequest bounds the body of a request.
const maxRequest = 64 << 10

// readJSON reads the body of a request into v. An empty body is an error
// unless optional.
func readJSON(w http.ResponseWriter, r *http.Request, v any, optional bool) error {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(v)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF) && optional:
		return nil
	case errors.As(err, &tooLarge):
		return &problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is larger than %d bytes", maxRequest)}
	case err != nil:
		return badRequest("the body cannot be read: " + err.Error())
	}
	return nil
}
