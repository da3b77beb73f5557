package authority_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
)

// A client that trusts only the authority must accept every name it serves,
// over a real handshake.
func TestClientTrustsMintedLeaves(t *testing.T) {
	a, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := a.KeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := authority.Parse(a.CertPEM(), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		signer *authority.Authority
		reason string
	}{
		{"api.payments.example", a, "an ordinary host name"},
		{"127.0.0.1", a, "an address needs an IP entry, not a DNS name"},
		{strings.Repeat("a", 60) + ".very.long.example", a, "over the 64 characters of a common name"},
		{"second.example", again, "an authority read back from PEM signs for the same trust"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			listener, err := tls.Listen("tcp", "127.0.0.1:0", tt.signer.ServerConfig("127.0.0.1"))
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				if conn, err := listener.Accept(); err == nil {
					conn.(*tls.Conn).Handshake() // its failure shows on the client's side
					conn.Close()
				}
			}()
			conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: a.Pool(), ServerName: tt.name})
			if err != nil {
				t.Fatalf("%s: %v", tt.reason, err)
			}
			conn.Close()
		})
	}
}

func TestParseRefusesWhatIsNotAnAuthority(t *testing.T) {
	a, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Parse(a.CertPEM(), []byte("no key")); err == nil {
		t.Error("Parse accepted a missing key")
	}
}
