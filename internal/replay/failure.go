package replay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// protocolError says what in an answer is not HTTP.
type protocolError struct{ what string }

func (e *protocolError) Error() string { return "not a valid answer: " + e.what }

func protocolErrorf(format string, args ...any) error {
	return &protocolError{fmt.Sprintf(format, args...)}
}

// requestError says why a recorded request cannot be sent.
type requestError struct{ what string }

func (e *requestError) Error() string { return "request cannot be sent: " + e.what }

// failureOf names an error as a client would see it. ctx is the context of the
// run: once it has ended, every failure is its doing.
func failureOf(ctx context.Context, err error) traffic.Failure {
	if err == nil { // first, so that the usual case allocates nothing
		return traffic.FailureNone
	}
	var (
		protocol *protocolError
		request  *requestError
		dns      *net.DNSError
		netErr   net.Error
	)
	switch {
	case ctx.Err() != nil:
		return traffic.FailureCanceled
	case errors.As(err, &protocol), errors.As(err, &request):
		return traffic.FailureProtocol
	case outOfFiles(err), errors.Is(err, syscall.EADDRNOTAVAIL):
		return traffic.FailureLimit
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return traffic.FailureTimeout
	case errors.As(err, &dns):
		return traffic.FailureDNS
	case errors.Is(err, syscall.ECONNREFUSED):
		return traffic.FailureRefused
	case isTLS(err):
		return traffic.FailureTLS
	case errors.As(err, &netErr) && netErr.Timeout():
		return traffic.FailureTimeout
	}
	return traffic.FailureReset // ECONNRESET, EPIPE, an early end
}

func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// remedy says what is missing when a connection could not be opened for want of
// something on this side; "" otherwise.
func remedy(err error) string {
	switch {
	case outOfFiles(err):
		return " (no file can be opened any more: raise the limit with ulimit -n, or use fewer connections)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (no local port is free: keep connections open, use fewer, widen net.ipv4.ip_local_port_range, or send from more addresses)"
	}
	return ""
}

func isTLS(err error) bool {
	var (
		handshake *handshakeError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		verify    *tls.CertificateVerificationError
		unknown   x509.UnknownAuthorityError
	)
	return errors.As(err, &handshake) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &verify) || errors.As(err, &unknown)
}

// handshakeError wraps what broke a TLS handshake.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }
