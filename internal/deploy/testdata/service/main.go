// Command service is a small service for tests on a cluster. GET /orders/N asks
// http://inventory for stock and https://api.payments.example for a price;
// GET /stray asks a host that nobody recorded; GET /peer asks a Service of its
// own chart. MODE=crash makes it end at the start.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	if os.Getenv("MODE") == "crash" {
		fmt.Fprintln(os.Stderr, "FATAL: no database at all")
		os.Exit(3)
	}
	client := &http.Client{Timeout: 5 * time.Second}
	ask := func(r *http.Request, url string) string {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
		if err != nil {
			return err.Error()
		}
		if trace := r.Header.Get("Traceparent"); trace != "" {
			req.Header.Set("Traceparent", trace)
		}
		resp, err := client.Do(req)
		if err != nil {
			return "error: " + err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return "error: " + err.Error()
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(body)))
	}
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if os.Getenv("MODE") == "unready" {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, ask(r, "http://inventory:8080/stock/"+r.PathValue("id")))
		fmt.Fprintln(w, ask(r, "https://api.payments.example/price/"+r.PathValue("id")))
	})
	http.HandleFunc("GET /stray", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, ask(r, "https://never.recorded.example/secret"))
	})
	http.HandleFunc("GET /peer", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, ask(r, "http://orders/healthz"))
	})
	fmt.Fprintln(os.Stderr, "listening on 8080")
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
	os.Exit(1)
}
