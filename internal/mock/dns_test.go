package mock_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/mock"
)

// names starts a name server on loopback and returns its address.
func names(t *testing.T, serve func(net.PacketConn)) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go serve(pc)
	return pc.LocalAddr().String()
}

func TestServeDNS(t *testing.T) {
	upstream := names(t, func(pc net.PacketConn) {
		server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			reply := new(dns.Msg).SetReply(q)
			if q.Question[0].Name == "postgres.base.svc.cluster.local." {
				rr, err := dns.NewRR(q.Question[0].Name + " 5 IN A 10.9.8.7")
				if err != nil {
					t.Error(err)
				}
				reply.Answer = append(reply.Answer, rr)
			} else {
				reply.Rcode = dns.RcodeNameError
			}
			w.WriteMsg(reply)
		})}
		server.ActivateAndServe() // ends with the socket
	})
	var rec recording
	rec.call("a", "GET", "http://inventory.shop.svc.cluster.local:8080/x", "", response(200, ""))
	rec.call("a", "GET", "https://api.payments.example/x", "", response(200, ""))
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m, err := mock.New(rec.exchanges, ca, mock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	streams, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := names(t, func(pc net.PacketConn) {
		done <- m.ServeDNS(ctx, pc, streams, mock.DNSOptions{
			Address: netip.MustParseAddr("10.1.2.3"), ClusterSuffixes: []string{"cluster.local"}, Upstream: upstream,
		})
	})
	tests := []struct {
		name   string
		qtype  uint16
		rcode  int
		want   string
		reason string
	}{
		{"api.payments.example.", dns.TypeA, dns.RcodeSuccess, "10.1.2.3", "a recorded dependency outside"},
		{"API.Payments.Example.", dns.TypeA, dns.RcodeSuccess, "10.1.2.3", "in any case"},
		{"api.payments.example.", dns.TypeAAAA, dns.RcodeSuccess, "", "no IPv6, but the name exists"},
		{"unheard.example.", dns.TypeA, dns.RcodeSuccess, "10.1.2.3", "never recorded: evidence"},
		{"inventory.base.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, "10.1.2.3", "a recorded dependency wins over the cluster"},
		{"postgres.base.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, "10.9.8.7", "a Service that was not recorded"},
		{"api.payments.example.base.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, "", "the search list of a pod"},
		{"api.payments.example.", dns.TypeTXT, dns.RcodeSuccess, "", "another type, which is no call of the name"},
	}
	for network, at := range map[string]string{"udp": server, "tcp": streams.Addr().String()} {
		for _, tt := range tests {
			t.Run(network+": "+tt.reason, func(t *testing.T) {
				client := &dns.Client{Net: network}
				reply, _, err := client.Exchange(new(dns.Msg).SetQuestion(tt.name, tt.qtype), at)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, rr := range reply.Answer {
					if a, ok := rr.(*dns.A); ok {
						got += a.A.String()
					}
				}
				if reply.Rcode != tt.rcode || got != tt.want {
					t.Errorf("%s: %s %q, want %s %q", tt.name, dns.RcodeToString[reply.Rcode], got, dns.RcodeToString[tt.rcode], tt.want)
				}
			})
		}
	}
	want := map[string]mock.Name{
		"api.payments.example":             {Name: "api.payments.example", Recorded: true, Count: 6},
		"unheard.example":                  {Name: "unheard.example", Count: 2},
		"inventory.base.svc.cluster.local": {Name: "inventory.base.svc.cluster.local", Recorded: true, Count: 2},
		"postgres.base.svc.cluster.local":  {Name: "postgres.base.svc.cluster.local", Cluster: true, Count: 2},
	}
	seen := 0
	for _, n := range m.Names() {
		if w, ok := want[n.Name]; ok {
			seen++
			if n != w {
				t.Errorf("evidence %+v, want %+v", n, w)
			}
		}
	}
	if seen != len(want) {
		t.Errorf("evidence lacks names: %+v", m.Names())
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ServeDNS returned %v after its context ended", err)
	}
}
