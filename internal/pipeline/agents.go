package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/reprise-ci/reprise/internal/agent"
	"github.com/reprise-ci/reprise/internal/deploy"
	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// describe is the pod of an agent in the namespace of an arm.
func (c *onCluster) describe(arm Arm, name, role string, pull []string) deploy.Agent {
	return deploy.Agent{
		Namespace: c.namespace(arm), Name: name, Image: c.agent, Args: []string{"agent", role}, PullSecrets: pull,
		Secret: map[string]string{agent.EnvToken: c.token}, AddressEnv: agent.EnvAddress,
	}
}

// startAgent starts the pod of an agent, and returns where its control API
// answers here.
func (c *onCluster) startAgent(ctx context.Context, a deploy.Agent) (deploy.Pod, agent.Endpoint, error) {
	pod, err := c.kube.StartAgent(ctx, a)
	if err != nil {
		return pod, agent.Endpoint{}, cmp.Or(c.noAgent(err), err)
	}
	at, err := c.reach(ctx, pod)
	return pod, at, err
}

// noAgent blames the name of the agents' image, if that is what is wrong.
func (c *onCluster) noAgent(err error) error {
	if c.o.Given == nil {
		return nil
	}
	return noImage("start the target", "agent-image", c.o.Given.AgentImage,
		"push it with reprise agent-image, and name the registry's credentials with copy-secrets", err)
}

// reach forwards a port to an agent and waits until it answers.
func (c *onCluster) reach(ctx context.Context, pod deploy.Pod) (agent.Endpoint, error) {
	forwarding, err := c.cluster.Forward(context.WithoutCancel(ctx), pod.Namespace, pod.Name, agent.ControlPort)
	if err != nil {
		return agent.Endpoint{}, err
	}
	c.r.atOnce(func(context.Context) error { forwarding.Hurry(); return nil })
	c.r.later(func(context.Context) error { forwarding.Close(); return nil })
	at := agent.Endpoint{Addr: forwarding.Addr, Token: c.token}
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	if err := agent.Healthy(ctx, at); err != nil {
		return at, err
	}
	return at, c.sameVersion(ctx, at)
}

// sameVersion blames the image of the agents if it has another version.
func (c *onCluster) sameVersion(ctx context.Context, at agent.Endpoint) error {
	if c.r.options.Version == "" {
		return nil
	}
	err := agent.SameVersion(ctx, at, c.r.options.Version)
	var other *agent.VersionError
	if errors.As(err, &other) {
		return badInput("start the target", fmt.Errorf("agent-image: %w", err))
	}
	return err
}

// agentTime is how long an agent may take to answer once its pod runs.
const agentTime = 2 * time.Minute

func (c *onCluster) startReplayer(ctx context.Context) error {
	pull, err := c.makeNamespace(ctx, replaying)
	if err != nil {
		return err
	}
	_, at, err := c.startAgent(ctx, c.describe(replaying, "reprise-replay", agent.RoleReplay, pull))
	if err != nil {
		return err
	}
	c.replayer = agent.NewReplayer(at)
	if _, err = c.replayer.Load(ctx, c.settings(), agent.List(inboundOf(c.r.recorded))); err != nil {
		return err
	}
	err = c.startWorkers(ctx, pull)
	return cmp.Or(c.noAgent(err), err)
}

func (c *onCluster) settings() agent.ReplaySettings {
	o := c.r.options
	return agent.ReplaySettings{
		Concurrency: o.Replay.Concurrency, Timeout: o.Replay.Timeout, MaxBody: o.Replay.MaxBody, KeepHost: o.Replay.KeepHost, HTTP2: o.Replay.HTTP2,
		Routes: o.Replay.Router.Templates(), Transform: o.Transform,
	}
}

func (c *onCluster) startMock(ctx context.Context, arm Arm) error {
	pull, err := c.makeNamespace(ctx, arm)
	if err != nil {
		return err
	}
	pod, at, err := c.startAgent(ctx, c.describe(arm, "reprise-mock", agent.RoleMock, pull))
	if err != nil {
		return err
	}
	key, err := c.r.authority.KeyPEM()
	if err != nil {
		return err
	}
	o := c.r.options.Mock
	issuerKeys := ""
	if o.Issuer != nil {
		issuerKeys = o.Issuer.Private
	}
	// The client outlives this step; its calls end with their own.
	standIn := agent.NewMock(context.WithoutCancel(ctx), at)
	c.r.atOnce(func(context.Context) error { standIn.Hurry(); return nil })
	_, err = standIn.Load(agent.MockSettings{
		Arm: string(arm), Headers: o.Headers, Repeat: o.Repeat, Fuzzy: o.Fuzzy, Descriptors: o.Descriptors, Rules: o.Rules, Latency: o.Latency, MaxBody: o.MaxBody, MaxJournal: o.MaxJournal,
		Issuer: o.Issuer, IssuerKeys: issuerKeys,
		Routes: o.Routes.Templates(), CertPEM: c.r.authority.CertPEM(), KeyPEM: key, Ports: portsOf(c.r.recorded, o.Issuer),
		DNS: &agent.DNSSettings{Port: 53, ClusterSuffixes: []string{c.dns.Domain}, Upstream: c.dns.Address},
	}, agent.List(c.r.recorded))
	if err != nil {
		return err
	}
	standIn.BeginPass(bootPass)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arms[arm] = &podArm{
		mock: standIn, pod: pod, pull: pull,
		control: agent.Endpoint{Addr: pod.Address + ":" + strconv.Itoa(agent.ControlPort), Token: c.token},
	}
	return standIn.Err()
}

// portsOf lists the ports on which dependencies and issuers of tokens were
// called, and the two that new ones are most likely called on.
func portsOf(recorded []*traffic.Exchange, issuer *fresh.Issuer) []int {
	seen := map[int]bool{80: true, 443: true}
	ports := []int{80, 443}
	add := func(authority string) {
		_, text := traffic.SplitAuthority(authority)
		if port, err := strconv.Atoi(text); err == nil && port > 0 && port < 1<<16 && port != agent.ControlPort && !seen[port] {
			seen[port] = true
			ports = append(ports, port)
		}
	}
	for _, x := range recorded {
		if x.Direction == traffic.Outbound {
			add(x.Request.Authority)
		}
	}
	if issuer != nil {
		for _, known := range issuer.Known {
			if u, err := url.Parse(known); err == nil {
				add(u.Host)
			}
		}
	}
	return ports
}
