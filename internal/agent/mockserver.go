package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// MockSettings are the options of a mock that can travel, with the snapshot.
type MockSettings struct {
	Arm     string                 `json:"arm,omitempty"`
	OneLane bool                   `json:"one_lane,omitempty"`
	Headers []string               `json:"headers,omitempty"`
	Repeat  map[string]mock.Repeat `json:"repeat,omitempty"`
	Fuzzy   mock.Fuzzy             `json:"fuzzy"`
	// Descriptors is a protobuf FileDescriptorSet.
	Descriptors []byte       `json:"descriptors,omitempty"`
	Latency     mock.Latency `json:"latency"`
	Rules       []mock.Rule  `json:"rules,omitempty"`
	MaxBody     int64        `json:"max_body,omitempty"`
	MaxJournal  int          `json:"max_journal,omitempty"`
	// Issuer is that of tokens, and IssuerKeys its private keys in PEM.
	Issuer     *fresh.Issuer `json:"issuer,omitempty"`
	IssuerKeys string        `json:"issuer_keys,omitempty"`
	// Routes are the route templates by which near misses are found.
	Routes []string `json:"routes,omitempty"`

	// CertPEM and KeyPEM are the certificate authority of the run.
	CertPEM []byte `json:"cert_pem"`
	KeyPEM  []byte `json:"key_pem"`

	// Ports are the TCP ports to answer on; 0 lets the system choose.
	Ports []int `json:"ports"`
	// DNS makes the mock the name server of its arm; nil serves no names.
	DNS *DNSSettings `json:"dns,omitempty"`
}

// DNSSettings say how names are served. Names that end in a suffix of the
// cluster are asked of Upstream; every other one is the mock's own address.
type DNSSettings struct {
	Port            int      `json:"port"` // 53; 0 lets the system choose
	ClusterSuffixes []string `json:"cluster_suffixes,omitempty"`
	Upstream        string   `json:"upstream,omitempty"` // host:port
}

func (s MockSettings) options(server ServerOptions) (mock.Options, error) {
	router, err := traffic.NewRouter(s.Routes)
	if err != nil {
		return mock.Options{}, err
	}
	issuer := s.Issuer
	if issuer != nil {
		keyed := *issuer
		keyed.Private, issuer = s.IssuerKeys, &keyed
	}
	return mock.Options{
		Issuer: issuer,
		Arm:    s.Arm, OneLane: s.OneLane, Headers: s.Headers, Repeat: s.Repeat, Fuzzy: s.Fuzzy, Descriptors: s.Descriptors, Latency: s.Latency, Rules: s.Rules,
		MaxBody: s.MaxBody, MaxJournal: s.MaxJournal, Routes: router, Log: server.Log,
	}, nil
}

// Listening is where a mock answers.
type Listening struct {
	TCP []string `json:"tcp"`           // host:port, in the order of the ports asked for
	DNS string   `json:"dns,omitempty"` // host:port
}

// mockServer is a mock behind the control API.
type mockServer struct {
	*control
	ctx     context.Context
	serving sync.WaitGroup

	mu   sync.Mutex
	mock *mock.Mock
}

// ServeMock serves a mock on l, and on the ports it is told of, until ctx ends;
// it returns nil then. It closes l.
func ServeMock(ctx context.Context, l net.Listener, opts ServerOptions) error {
	if err := opts.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &mockServer{control: newControl("mock", opts), ctx: ctx}
	s.handle("POST /v1/load", s.load)
	s.on("POST /v1/begin", func(m *mock.Mock, r *http.Request, pass uint32) (any, error) { m.BeginPass(pass); return nil, nil })
	s.on("POST /v1/enter", func(m *mock.Mock, r *http.Request, pass uint32) (any, error) {
		m.Enter(pass, laneOf(r))
		return nil, nil
	})
	s.on("POST /v1/leave", func(m *mock.Mock, r *http.Request, pass uint32) (any, error) {
		m.Leave(pass, laneOf(r))
		return nil, nil
	})
	s.on("POST /v1/forget", func(m *mock.Mock, r *http.Request, pass uint32) (any, error) { m.Forget(pass); return nil, nil })
	s.on("POST /v1/bind", bind)
	s.on("POST /v1/faults", setFaults)
	s.on("GET /v1/account", func(m *mock.Mock, r *http.Request, pass uint32) (any, error) { return newAccount(m.Account(pass)), nil })
	s.on("GET /v1/evidence", func(m *mock.Mock, r *http.Request, _ uint32) (any, error) {
		return Evidence{Names: m.Names(), Refusals: m.Refusals()}, nil
	})
	s.handle("GET /v1/calls", s.calls)
	err := s.serve(ctx, l)
	cancel()
	s.serving.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mock != nil {
		err = errors.Join(err, s.mock.Close())
	}
	return err
}

// on adds a call on the loaded mock for one pass. A nil answer is an empty one.
func (s *mockServer) on(pattern string, do func(*mock.Mock, *http.Request, uint32) (any, error)) {
	s.handle(pattern, func(w http.ResponseWriter, r *http.Request) error {
		m, err := s.current()
		if err != nil {
			return err
		}
		pass, err := passOf(r)
		if err != nil {
			return err
		}
		answer, err := do(m, r, pass)
		if err != nil || answer == nil {
			return err
		}
		return writeJSON(w, answer)
	})
}

func (s *mockServer) current() (*mock.Mock, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mock == nil {
		return nil, errNotLoaded
	}
	return s.mock, nil
}

// load makes the mock and opens its ports. It can be done once: a second mock
// would want the same ports.
func (s *mockServer) load(w http.ResponseWriter, r *http.Request) error {
	stream := NewStreamReader(r.Body)
	var settings MockSettings
	if err := stream.settings(&settings); err != nil {
		return err
	}
	recorded, err := stream.All()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mock != nil {
		return errors.New("this mock has its snapshot already")
	}
	ca, err := authority.Parse(settings.CertPEM, settings.KeyPEM)
	if err != nil {
		return err
	}
	opts, err := settings.options(s.opts)
	if err != nil {
		return err
	}
	m, err := mock.New(recorded, ca, opts)
	if err != nil {
		return err
	}
	listening, err := s.listen(m, settings)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	s.mock = m
	s.opts.Log.Info("loaded", "exchanges", len(recorded), "ports", listening.TCP, "dns", listening.DNS)
	return writeJSON(w, listening)
}

// listen opens every port before it serves the first one, so that a failure
// leaves nothing behind.
func (s *mockServer) listen(m *mock.Mock, settings MockSettings) (Listening, error) {
	var listening Listening
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	for _, port := range settings.Ports {
		l, err := net.Listen("tcp", net.JoinHostPort(s.opts.Bind, strconv.Itoa(port)))
		if err != nil {
			closeAll()
			return listening, fmt.Errorf("open port %d for the mock: %w", port, err)
		}
		listeners = append(listeners, l)
		listening.TCP = append(listening.TCP, l.Addr().String())
	}
	if settings.DNS != nil {
		dns := settings.DNS.options(s.opts.Address)
		if err := dns.Validate(); err != nil {
			closeAll()
			return listening, err
		}
		names, streams, err := listenNames(s.opts.Bind, settings.DNS.Port)
		if err != nil {
			closeAll()
			return listening, err
		}
		listening.DNS = names.LocalAddr().String()
		s.serving.Go(func() { s.report("names", m.ServeDNS(s.ctx, names, streams, dns)) })
	}
	for _, l := range listeners {
		s.serving.Go(func() { s.report(l.Addr().String(), m.Serve(s.ctx, l)) })
	}
	return listening, nil
}

// listenNames opens one port for questions of names, over UDP and TCP. Where the
// system chooses it, the port that is free for one may be taken for the other;
// then another one is tried.
func listenNames(bind string, port int) (net.PacketConn, net.Listener, error) {
	for tries := 1; ; tries++ {
		names, err := net.ListenPacket("udp", net.JoinHostPort(bind, strconv.Itoa(port)))
		if err != nil {
			return nil, nil, fmt.Errorf("open port %d for names: %w", port, err)
		}
		_, chosen, err := net.SplitHostPort(names.LocalAddr().String())
		if err != nil {
			return nil, nil, errors.Join(err, names.Close())
		}
		streams, err := net.Listen("tcp", net.JoinHostPort(bind, chosen))
		if err == nil {
			return names, streams, nil
		}
		names.Close()
		if port != 0 || tries == 10 {
			return nil, nil, fmt.Errorf("open port %d for names over TCP: %w", port, err)
		}
	}
}

func (s *mockServer) report(what string, err error) {
	if err != nil {
		s.opts.Log.Error("the mock stopped answering", "on", what, "error", err)
	}
}

func (d DNSSettings) options(address netip.Addr) mock.DNSOptions {
	return mock.DNSOptions{Address: address, ClusterSuffixes: d.ClusterSuffixes, Upstream: d.Upstream}
}

func bind(m *mock.Mock, r *http.Request, pass uint32) (any, error) {
	var pair traffic.Binding
	d := decoder{}
	var err error
	if d.b, err = readN(r.Body, int(min(max(r.ContentLength, 0), maxRequest))); err != nil {
		return nil, fmt.Errorf("read the binding: %w", err)
	}
	if pair.Recorded, pair.Live = d.string(), d.string(); d.err != nil {
		return nil, d.err
	}
	m.Bind(pass, laneOf(r), pair.Recorded, pair.Live)
	return nil, nil
}

func setFaults(m *mock.Mock, r *http.Request, pass uint32) (any, error) {
	var faults *mock.Faults
	if err := readJSON(r, &faults); err != nil {
		return nil, err
	}
	return nil, m.SetFaults(pass, faults)
}

// calls answers with a stream of the journal.
func (s *mockServer) calls(w http.ResponseWriter, r *http.Request) error {
	m, err := s.current()
	if err != nil {
		return err
	}
	pass, err := passOf(r)
	if err != nil {
		return err
	}
	out := NewStreamWriter(w)
	for _, x := range m.Calls(pass) {
		if err := out.Exchange(x); err != nil {
			return nil // the caller left
		}
	}
	_ = out.Close(nil) // likewise
	return nil
}

// Evidence is what clients of a mock tried beside complete calls.
type Evidence struct {
	Names    []mock.Name    `json:"names"`
	Refusals []mock.Refusal `json:"refusals"`
}

// account carries a mock.Account, whose error is no JSON.
type account struct {
	Account mock.Account `json:"account"`
	Err     string       `json:"err,omitempty"`
}

func newAccount(a mock.Account) account {
	wire := account{Account: a}
	if a.Err != nil {
		wire.Account.Err, wire.Err = nil, a.Err.Error()
	}
	return wire
}

func (a account) local() mock.Account {
	if a.Err != "" {
		a.Account.Err = &RemoteError{a.Err}
	}
	return a.Account
}
