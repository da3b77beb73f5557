package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// Mock is a mock somewhere else: the client of [ServeMock]. Its methods are
// those of [mock.Mock]. They have no errors, so the first failure is kept and
// told by Err; after it, journals and accounts say less than happened. It is
// safe for concurrent use.
type Mock struct {
	client
	ctx context.Context

	mu  sync.Mutex
	err error
}

// NewMock returns a client whose calls all end with ctx. Nothing is sent yet.
func NewMock(ctx context.Context, at Endpoint) *Mock { return &Mock{client: newClient(at), ctx: ctx} }

// Endpoint is where the mock is reached.
func (m *Mock) Endpoint() Endpoint { return m.at }

// Err returns the first failure of a call, or nil. It is nil for a nil Mock.
func (m *Mock) Err() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *Mock) keep(err error) {
	if err == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = fmt.Errorf("mock: %w", err)
	}
}

// Load hands the recording over and opens the mock's ports. It can be done
// once. An error of the sequence ends the load with that error.
func (m *Mock) Load(settings MockSettings, recorded iter.Seq2[*traffic.Exchange, error]) (Listening, error) {
	var at Listening
	err := m.load(m.ctx, settings, recorded, &at)
	return at, err
}

// callTimeout bounds one small call: the pod may be gone.
const callTimeout = 30 * time.Second

// tell sends a call of a pass that has no answer. One that changes nothing when
// it comes twice is repeated where its connection fails.
func (m *Mock) tell(what string, pass uint32, lane traffic.Lane, body []byte) {
	ctx, cancel := context.WithTimeout(m.ctx, callTimeout)
	defer cancel()
	query := url.Values{"pass": {strconv.FormatUint(uint64(pass), 10)}}
	if lane != "" {
		query.Set("lane", string(lane))
	}
	send := func() error {
		answer, err := m.do(ctx, http.MethodPost, "/v1/"+what+"?"+query.Encode(), bytes.NewReader(body))
		if err == nil {
			_, err = io.Copy(io.Discard, answer)
			answer.Close()
		}
		return err
	}
	switch what {
	case "begin", "forget", "faults":
		m.keep(m.again(ctx, send))
	default: // the order of calls from beside the service counts
		m.keep(send())
	}
}

// BeginPass is [mock.Mock.BeginPass].
func (m *Mock) BeginPass(pass uint32) { m.tell("begin", pass, "", nil) }

// Enter is [mock.Mock.Enter].
func (m *Mock) Enter(pass uint32, lane traffic.Lane) { m.tell("enter", pass, lane, nil) }

// Leave is [mock.Mock.Leave].
func (m *Mock) Leave(pass uint32, lane traffic.Lane) { m.tell("leave", pass, lane, nil) }

// Forget is [mock.Mock.Forget].
func (m *Mock) Forget(pass uint32) { m.tell("forget", pass, "", nil) }

// Bind is [mock.Mock.Bind].
func (m *Mock) Bind(pass uint32, lane traffic.Lane, recorded, live string) {
	var e encoder // not JSON: a value may be no UTF-8
	e.string(recorded)
	e.string(live)
	m.tell("bind", pass, lane, e.b)
}

// SetFaults is [mock.Mock.SetFaults].
func (m *Mock) SetFaults(pass uint32, faults *mock.Faults) {
	body, err := json.Marshal(faults)
	if err != nil {
		m.keep(err)
		return
	}
	m.tell("faults", pass, "", body)
}

// Calls is [mock.Mock.Calls]. It returns nil after a failure.
func (m *Mock) Calls(pass uint32) []*traffic.Exchange {
	var calls []*traffic.Exchange
	m.keep(m.again(m.ctx, func() error {
		body, err := m.do(m.ctx, http.MethodGet, "/v1/calls?pass="+strconv.FormatUint(uint64(pass), 10), nil)
		if err != nil {
			return err
		}
		defer body.Close()
		calls, err = NewStreamReader(body).All()
		return err
	}))
	return calls
}

// Account is [mock.Mock.Account]. After a failure its Err says so.
func (m *Mock) Account(pass uint32) mock.Account {
	var wire account
	if err := m.get(m.ctx, "/v1/account?pass="+strconv.FormatUint(uint64(pass), 10), &wire); err != nil {
		m.keep(err)
		return mock.Account{Err: err}
	}
	return wire.local()
}

// Evidence returns the names that were asked for and the TLS handshakes that
// clients broke off.
func (m *Mock) Evidence() (Evidence, error) {
	var e Evidence
	err := m.get(m.ctx, "/v1/evidence?pass=0", &e)
	return e, err
}
