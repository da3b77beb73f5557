package redact_test

import (
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/redact"
	"github.com/reprise-ci/reprise/internal/traffic"
	"github.com/reprise-ci/reprise/internal/traffic/messages"
)

// TestMessagesOfWebSockets has personal data leave the messages of both sides,
// and the frames stay frames.
func TestMessagesOfWebSockets(t *testing.T) {
	const mail = "ann.smith@corp-mail.com"
	secret := `{"email":"` + mail + `"}`
	frame := func(first byte, text string, client bool) string {
		return string(messages.AppendFrame(nil, first, []byte(text), client))
	}
	masked := "\x81\x83\x01\x01\x01\x01" + "`cb" // "abc"
	tests := []struct {
		why, raw string
		texts    int    // whole messages that are left
		keeps    string // some of it
	}{
		{"a text, masked with zeros", frame(0x81, secret, true) + frame(0x81, "second", true), 2, "second"},
		{"in two frames with a ping between", frame(0x01, secret[:20], false) + frame(0x89, "", false) + frame(0x80, secret[20:], false) + masked, 2, masked},
		{"a binary message that is JSON", frame(0x82, secret, false), 1, "\x82"},
		{"the reason of a close", frame(0x81, "x", false) + frame(0x88, "\x03\xe8"+mail, false), 1, "\x03\xe8"},
		{"a frame that is cut off", frame(0x81, "whole", false) + frame(0x81, secret, false)[:30], 1, "whole"},
		{"compressed messages", frame(0x81, "whole", false) + frame(0xc1, secret, false), 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			r, err := redact.New(redact.Options{Key: []byte("0123456789abcdef0123456789abcdef")})
			if err != nil {
				t.Fatal(err)
			}
			upgrade := traffic.Header{{Name: "Upgrade", Value: "websocket"}}
			x := &traffic.Exchange{
				ID: "a", Direction: traffic.Inbound, Request: traffic.Request{Method: "GET", Scheme: "http", Authority: "a", Target: "/ws", Header: upgrade},
				Response: &traffic.Response{Status: 101, Header: upgrade.Clone()},
			}
			x.Request.Body, x.Response.Body = traffic.NewBody([]byte(tt.raw), nil), traffic.NewBody([]byte(tt.raw), nil)
			if _, err := r.Redact(x); err != nil {
				t.Fatal(err)
			}
			for side, b := range map[string]traffic.Body{"request": x.Request.Body, "response": x.Response.Body} {
				if strings.Contains(string(b.Raw), "ann.smith") || !strings.Contains(string(b.Raw), tt.keeps) {
					t.Errorf("%s: %q", side, b.Raw)
				}
				times := messages.Times{Kind: messages.WebSocket}
				times.Add(b.Raw, time.Second)
				whole := len(times.List())
				if strings.Contains(tt.why, "close") {
					whole-- // it has a time too
				}
				if whole != tt.texts {
					t.Errorf("%s: %d messages in %q, want %d", side, whole, b.Raw, tt.texts)
				}
			}
		})
	}
}
