package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
)

// The environment of an agent's pod.
const (
	EnvToken   = "REPRISE_AGENT_TOKEN"   // required
	EnvAddress = "REPRISE_AGENT_ADDRESS" // the pod's own address
	EnvListen  = "REPRISE_AGENT_LISTEN"  // of the control API; ":15900" if unset
)

// ControlPort is the port of the control API in a pod.
const ControlPort = 15900

// The roles of an agent.
const (
	RoleMock   = "mock"
	RoleReplay = "replay"
)

// Run serves the agent of a role until ctx ends, configured by its environment,
// and logs to log. Version is that of the program. It is what the command in the
// pod calls. It never returns nil: the work of an agent is not done when somebody
// stops it, and a Job whose pod was evicted must not take it for complete.
func Run(ctx context.Context, role, version string, getenv func(string) string, log io.Writer) error {
	opts := ServerOptions{Token: getenv(EnvToken), Version: version, Log: slog.New(slog.NewTextHandler(log, nil))}
	if err := opts.Validate(); err != nil {
		return fmt.Errorf("%s: %w", EnvToken, err)
	}
	if text := getenv(EnvAddress); text != "" {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("%s: %w", EnvAddress, err)
		}
		opts.Address = address
	}
	listen := getenv(EnvListen)
	if listen == "" {
		listen = fmt.Sprintf(":%d", ControlPort)
	}
	serve := ServeMock
	switch role {
	case RoleMock:
	case RoleReplay:
		serve = ServeReplay
	default:
		return fmt.Errorf("an agent is %s or %s, not %q", RoleMock, RoleReplay, role)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("open the control API: %w", err)
	}
	if err := serve(ctx, l, opts); err != nil {
		return err
	}
	return fmt.Errorf("the agent was stopped: %w", context.Cause(ctx))
}
