// Package authority is a certificate authority made for one run or one
// recording. It mints a leaf certificate for every name that a client asks
// for, so that a recorder can look into TLS and a mock can stand in for any
// host. Its key never leaves the process unless the caller writes it.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// Authority signs leaf certificates. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	der  []byte
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// Lifetimes. Leaves are backdated against clocks that run behind; the authority
// outlives any run but is useless soon after.
const (
	backdate = time.Hour
	lifetime = 7 * 24 * time.Hour
	// maxLeaves bounds the cache, so that a flood of names costs time and not
	// memory.
	maxLeaves = 4096
)

// New makes an authority with a fresh key, valid from an hour before now.
func New(now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the authority's key: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "reprise authority of " + now.UTC().Format(time.DateOnly), Organization: []string{"reprise"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority: %w", err)
	}
	return assemble(der, key)
}

// Parse reads an authority from the PEM of its certificate and key (PKCS #8 or
// SEC 1), as [Authority.CertPEM] and [Authority.KeyPEM] write them.
func Parse(certPEM, keyPEM []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("read the authority: its key must be ECDSA")
	}
	a, err := assemble(pair.Certificate[0], key)
	if err != nil {
		return nil, err
	}
	if !a.cert.IsCA {
		return nil, errors.New("read the authority: the certificate is not an authority's (CA:FALSE)")
	}
	return a, nil
}

func assemble(der []byte, key *ecdsa.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	return &Authority{cert: cert, der: der, key: key, leaves: map[string]*tls.Certificate{}}, nil
}

// CertPEM returns the certificate that clients must trust.
func (a *Authority) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.der})
}

// KeyPEM returns the private key, for the one place that hands the authority
// to another process of the same run.
func (a *Authority) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("write the authority's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// Pool returns a pool that holds the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// ServerConfig returns a TLS configuration that presents a leaf for the name
// the client asks for by SNI, or for fallback when it asks for none. protos
// are offered by ALPN.
func (a *Authority) ServerConfig(fallback string, protos ...string) *tls.Config {
	return &tls.Config{
		NextProtos: protos,
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name := hello.ServerName
			if name == "" {
				name = fallback
			}
			if name == "" {
				name, _, _ = net.SplitHostPort(hello.Conn.LocalAddr().String())
			}
			return a.Leaf(name)
		},
	}
}

// Leaf returns a certificate for a host name or an IP address. The same name
// gets the same certificate.
func (a *Authority) Leaf(name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if leaf, ok := a.leaves[name]; ok {
		return leaf, nil
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	// One key serves all leaves: they all live and die with this process.
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(name) > 64 { // the upper bound of a common name (RFC 5280)
		template.Subject.CommonName = "reprise leaf"
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %q: %w", name, err)
	}
	leaf := &tls.Certificate{Certificate: [][]byte{der, a.der}, PrivateKey: a.key}
	if len(a.leaves) < maxLeaves {
		a.leaves[name] = leaf
	}
	return leaf, nil
}

func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return n, nil
}
