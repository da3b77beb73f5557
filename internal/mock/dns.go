package mock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// DNSOptions say how the name server of an arm answers.
type DNSOptions struct {
	// Address is what names stand for: where this mock listens.
	Address netip.Addr
	// ClusterSuffixes end the names that belong to the cluster, such as
	// "cluster.local". They are asked of Upstream, unless they mean a recorded
	// dependency.
	ClusterSuffixes []string
	// Upstream is the cluster's own name server, host:port. Without one,
	// cluster names do not exist.
	Upstream string
}

// Validate reports the first option that cannot be used.
func (o DNSOptions) Validate() error {
	if !o.Address.IsValid() {
		return errors.New("the name server of the mock needs an address to answer with")
	}
	if o.Upstream != "" {
		if _, _, err := net.SplitHostPort(o.Upstream); err != nil {
			return fmt.Errorf("the cluster's name server %q must be host:port: %w", o.Upstream, err)
		}
	}
	return nil
}

// answerTTL is short, so that a resolver's cache never outlives a run.
const answerTTL = 1

// upstreamTimeout bounds a question to the cluster's name server. Resolvers
// give up after five seconds.
const upstreamTimeout = 4 * time.Second

// ServeDNS answers questions for names on pc, and over TCP on l, until ctx ends,
// and returns nil then. It closes both. Every name gets the mock's address, so
// that a call to a host that was never recorded becomes a miss that tells what
// was tried; [Mock.Names] lists all names asked for. Names of the cluster are
// passed on to its own name server, the only peer that the mock ever dials.
func (m *Mock) ServeDNS(ctx context.Context, pc net.PacketConn, l net.Listener, opts DNSOptions) error {
	closeBoth := func() { pc.Close(); l.Close() }
	if err := opts.Validate(); err != nil {
		closeBoth()
		return err
	}
	n := &nameServer{mock: m, opts: opts, ctx: ctx}
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	ended := make(chan error, 2)
	for _, server := range []*dns.Server{{PacketConn: pc, Handler: n}, {Listener: l, Handler: n, MaxTCPQueries: -1}} {
		go func() { ended <- server.ActivateAndServe() }()
	}
	err := <-ended
	closeBoth()
	err = cmp.Or(err, <-ended)
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve names on %s: %w", pc.LocalAddr(), cmp.Or(err, net.ErrClosed))
}

// nameServer answers the questions of one arm.
type nameServer struct {
	mock *Mock
	opts DNSOptions
	ctx  context.Context // of ServeDNS
}

// ServeDNS implements dns.Handler.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	answer := n.answer(question)
	if _, datagram := w.RemoteAddr().(*net.UDPAddr); datagram {
		answer.Truncate(size(question))
	}
	w.WriteMsg(answer) // a lost answer is asked for again
}

// size is how many bytes the asker takes.
func size(question *dns.Msg) int {
	if opt := question.IsEdns0(); opt != nil {
		return max(dns.MinMsgSize, int(opt.UDPSize()))
	}
	return dns.MinMsgSize
}

func (n *nameServer) answer(question *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	if len(question.Question) != 1 || question.Opcode != dns.OpcodeQuery {
		return reply.SetRcode(question, dns.RcodeNotImplemented)
	}
	q := question.Question[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name, "."))
	recorded := n.mock.index.deps.knows(name)
	cluster := !recorded && n.inCluster(name)
	if q.Qtype != dns.TypeTXT { // gRPC asks for a configuration beside each address
		n.mock.evidence.name(name, recorded, cluster)
	}
	if cluster {
		return n.forward(question)
	}
	if n.mock.faultName(FaultDNS, name) {
		return reply.SetRcode(question, dns.RcodeNameError)
	}
	reply.SetReply(question)
	reply.Authoritative = true
	reply.RecursionAvailable = true
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: answerTTL}
	address := n.opts.Address.Unmap()
	switch {
	case q.Qtype == dns.TypeA && address.Is4():
		reply.Answer = []dns.RR{&dns.A{Hdr: header, A: address.AsSlice()}}
	case q.Qtype == dns.TypeAAAA && address.Is6():
		reply.Answer = []dns.RR{&dns.AAAA{Hdr: header, AAAA: address.AsSlice()}}
	}
	// All else is answered empty: the name exists, but has no such record.
	return reply
}

func (n *nameServer) inCluster(name string) bool {
	for _, suffix := range n.opts.ClusterSuffixes {
		suffix = strings.ToLower(strings.Trim(suffix, "."))
		if suffix != "" && (name == suffix || strings.HasSuffix(name, "."+suffix)) {
			return true
		}
	}
	return false
}

// forward asks the cluster's name server.
func (n *nameServer) forward(question *dns.Msg) *dns.Msg {
	if n.opts.Upstream == "" {
		return new(dns.Msg).SetRcode(question, dns.RcodeNameError)
	}
	ctx, cancel := context.WithTimeout(n.ctx, upstreamTimeout)
	defer cancel()
	client := &dns.Client{Timeout: upstreamTimeout}
	reply, _, err := client.ExchangeContext(ctx, question, n.opts.Upstream)
	if err == nil && reply.Truncated {
		client.Net = "tcp"
		if whole, _, err := client.ExchangeContext(ctx, question, n.opts.Upstream); err == nil {
			reply = whole
		}
	}
	if err != nil {
		n.mock.opts.Log.Warn("the cluster's name server does not answer", "name", question.Question[0].Name, "error", err)
		return new(dns.Msg).SetRcode(question, dns.RcodeServerFailure)
	}
	reply.Id = question.Id
	return reply
}
