// Command shop serves the orders API of a small web shop. It keeps its orders
// in memory and depends on three other services: inventory and, over gRPC,
// shipping inside the cluster, and the payments provider outside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"example.com/shop/internal/api"
	"example.com/shop/internal/orders"
	"example.com/shop/internal/upstream"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then lets requests in flight finish.
func run(ctx context.Context, getenv func(string) string, logs io.Writer) error {
	cfg, err := readConfig(getenv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(logs, nil))

	// One client for all that speaks HTTP/1.1. The default transport honours
	// HTTP_PROXY, HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
	client := &http.Client{Timeout: cfg.upstreamTimeout}
	shipping, err := upstream.NewShipping(cfg.shippingAddr, cfg.upstreamTimeout)
	if err != nil {
		return err
	}
	defer shipping.Close()
	handler := api.New(api.Services{
		Orders:    orders.NewStore(orders.Seed()),
		Inventory: upstream.NewInventory(cfg.inventoryURL, cfg.inventoryKey, client),
		Payments:  upstream.NewPayments(cfg.paymentsURL, cfg.paymentsKey, client),
		Shipping:  shipping,
		TokenKey:  cfg.tokenKey,
		Log:       log,
		Now:       time.Now,
	})

	listener, err := net.Listen("tcp", ":"+cfg.port)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.Info("listening", "addr", listener.Addr().String())

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
