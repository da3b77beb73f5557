package main

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// config is what the environment says; see chart/values.yaml for the same
// settings on a cluster.
type config struct {
	port            string
	inventoryURL    string
	inventoryKey    string
	paymentsURL     string
	paymentsKey     string
	shippingAddr    string
	tokenKey        []byte
	upstreamTimeout time.Duration
}

func readConfig(getenv func(string) string) (config, error) {
	cfg := config{
		port:         cmp.Or(getenv("PORT"), "8080"),
		inventoryURL: strings.TrimSuffix(cmp.Or(getenv("INVENTORY_URL"), "http://inventory:8080"), "/"),
		inventoryKey: getenv("INVENTORY_API_KEY"),
		paymentsURL:  strings.TrimSuffix(cmp.Or(getenv("PAYMENTS_URL"), "https://api.payments.example"), "/"),
		paymentsKey:  getenv("PAYMENTS_API_KEY"),
		shippingAddr: cmp.Or(getenv("SHIPPING_ADDR"), "shipping:9090"),
		tokenKey:     []byte(getenv("TOKEN_KEY")),
	}
	for name, value := range map[string]string{"INVENTORY_URL": cfg.inventoryURL, "PAYMENTS_URL": cfg.paymentsURL} {
		if u, err := url.Parse(value); err != nil || u.Host == "" {
			return config{}, fmt.Errorf("%s: %q is not an absolute URL", name, value)
		}
	}
	if _, port, err := net.SplitHostPort(cfg.shippingAddr); err != nil || port == "" {
		return config{}, fmt.Errorf("SHIPPING_ADDR: %q is not a host and a port", cfg.shippingAddr)
	}
	for name, value := range map[string]string{
		"INVENTORY_API_KEY": cfg.inventoryKey,
		"PAYMENTS_API_KEY":  cfg.paymentsKey,
		"TOKEN_KEY":         string(cfg.tokenKey),
	} {
		if value == "" {
			return config{}, fmt.Errorf("%s must be set", name)
		}
	}
	timeout, err := time.ParseDuration(cmp.Or(getenv("UPSTREAM_TIMEOUT"), "3s"))
	if err != nil {
		return config{}, fmt.Errorf("UPSTREAM_TIMEOUT: %w", err)
	}
	cfg.upstreamTimeout = timeout
	return cfg, nil
}
