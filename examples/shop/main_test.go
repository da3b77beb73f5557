package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestConfigNamesWhatIsWrong(t *testing.T) {
	good := map[string]string{"INVENTORY_API_KEY": "a", "PAYMENTS_API_KEY": "b", "TOKEN_KEY": "c"}
	for _, row := range []struct{ name, value, want string }{
		{"TOKEN_KEY", "", "TOKEN_KEY"},
		{"PAYMENTS_URL", "api.payments.example", "PAYMENTS_URL"},
		{"SHIPPING_ADDR", "shipping", "SHIPPING_ADDR"},
		{"UPSTREAM_TIMEOUT", "soon", "UPSTREAM_TIMEOUT"},
	} {
		_, err := readConfig(func(name string) string {
			if name == row.name {
				return row.value
			}
			return good[name]
		})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s=%q: %v", row.name, row.value, err)
		}
	}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestRunEndsCleanly(t *testing.T) {
	env := map[string]string{"PORT": "0", "INVENTORY_API_KEY": "a", "PAYMENTS_API_KEY": "b", "TOKEN_KEY": "c"}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var logs buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, func(name string) string { return env[name] }, &logs) }()
	for !strings.Contains(logs.String(), "listening") {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(logs.String(), "shutting down") {
		t.Errorf("logs: %s", logs.String())
	}
}
