// Command payments stands in for the payments provider while a snapshot is
// recorded. It speaks TLS with a certificate that it is given, or with one that
// it makes and writes down for its callers to trust.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

func run() error {
	addr := flag.String("listen", "127.0.0.1:8443", "`address` to listen on")
	key := flag.String("api-key", os.Getenv("PAYMENTS_API_KEY"), "the `key` that callers must send as bearer token")
	host := flag.String("host", "api.payments.example", "the `name` in a certificate that is made")
	certFile := flag.String("tls-cert", "", "`file` with the certificate (PEM); made when there is no -tls-key")
	keyFile := flag.String("tls-key", "", "`file` with the key of the certificate (PEM)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	certificate, err := loadOrMake(*certFile, *keyFile, *host)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:              *addr,
		Handler:           newProvider(*key, time.Now),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 5 * time.Second,
	}
	go func() {
		<-ctx.Done()
		server.Close()
	}()
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
