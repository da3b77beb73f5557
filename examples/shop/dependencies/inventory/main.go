// Command inventory stands in for the warehouse while a snapshot is recorded.
// It knows every SKU, and its stock changes as real stock does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Two products exist to go wrong: one is never there, and the lookup of the
// other one fails.
const (
	soldOut = "BREW-2003"
	broken  = "GIFT-5001"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:8081", "`address` to listen on")
	key := flag.String("api-key", os.Getenv("INVENTORY_API_KEY"), "the `key` that callers must send in X-Api-Key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	server := &http.Server{Addr: *addr, Handler: newHandler(*key, time.Now), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
}

func newHandler(key string, now func() time.Time) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/stock/{sku}", func(w http.ResponseWriter, r *http.Request) { stock(w, r, now()) })
	mux.HandleFunc("POST /v1/reservations", func(w http.ResponseWriter, r *http.Request) { reserve(w, r, now()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != key {
			answer(w, http.StatusUnauthorized, map[string]string{"error": "unknown api key"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func stock(w http.ResponseWriter, r *http.Request, now time.Time) {
	sku := r.PathValue("sku")
	if q := r.URL.Query().Get("quantity"); q != "" {
		if n, err := strconv.Atoi(q); err != nil || n < 1 {
			answer(w, http.StatusBadRequest, map[string]string{"error": "quantity must be a positive number"})
			return
		}
	}
	if sku == broken {
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": "shelf scanner offline"})
		return
	}
	h := fnv.New32a()
	h.Write([]byte(sku))
	available := 60 + int(h.Sum32()%200)
	if sku == soldOut {
		available = 0
	}
	answer(w, http.StatusOK, map[string]any{
		"sku":        sku,
		"available":  available,
		"warehouse":  []string{"AMS-1", "LEJ-2", "LIS-1"}[h.Sum32()%3],
		"checked_at": now.UTC(),
	})
}

func reserve(w http.ResponseWriter, r *http.Request, now time.Time) {
	var request struct {
		Order string `json:"order"`
		Lines []struct {
			SKU      string `json:"sku"`
			Quantity int    `json:"quantity"`
		} `json:"lines"`
		HoldDays int `json:"hold_days"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Lines) == 0 {
		answer(w, http.StatusBadRequest, map[string]string{"error": "a reservation needs lines"})
		return
	}
	answer(w, http.StatusCreated, map[string]any{
		"reservation": "res-" + strings.ToLower(strconv.FormatInt(now.UnixNano(), 36)),
		"order":       request.Order,
		"expires_at":  now.UTC().AddDate(0, 0, request.HoldDays),
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
