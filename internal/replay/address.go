package replay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// HostError refuses a target that is neither loopback nor private nor allowed
// by name: recorded traffic must not reach production by a slip.
type HostError struct {
	Host string
	IP   netip.Addr
}

func (e *HostError) Error() string {
	return fmt.Sprintf("%s (%s) is a public address; to replay against it, allow it with --allow-host %s", e.Host, e.IP, e.Host)
}

// TargetOf returns the target of a URL such as http://localhost:8080. Its host
// must be loopback, private or one of allowed. The target holds the address that
// was checked, not the name, so that the name cannot come to mean another one.
func TargetOf(ctx context.Context, arm, rawURL string, allowed []string) (Target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Target{}, fmt.Errorf("target: %w", err)
	}
	host, port := u.Hostname(), u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || host == "":
		return Target{}, fmt.Errorf("target %q must be a URL such as http://localhost:8080", rawURL)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
		return Target{}, fmt.Errorf("target %q must be scheme, host and port only; paths come from the snapshot", rawURL)
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return Target{}, fmt.Errorf("target %q: %w", rawURL, err)
	}
	free := slices.ContainsFunc(allowed, func(name string) bool {
		return strings.EqualFold(name, host) || strings.EqualFold(name, u.Host)
	})
	for i, ip := range addresses {
		addresses[i] = ip.Unmap()
		if !free && !isLocal(ip) {
			return Target{}, &HostError{host, ip.Unmap()}
		}
	}
	slices.SortStableFunc(addresses, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() }) // IPv4 first
	return Target{Arm: arm, Addr: net.JoinHostPort(addresses[0].String(), port), Host: u.Host, TLS: u.Scheme == "https"}, nil
}

// isLocal reports whether an address is of this machine or of a private
// network. Link-local addresses are not: clouds serve credentials there.
func isLocal(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate()
}
