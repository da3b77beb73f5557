package mock

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/reprise-ci/reprise/internal/authority"
	"github.com/reprise-ci/reprise/internal/traffic"
)

const proofLanes = 200

// proofRecording is 200 lanes whose calls have the same signatures and
// different answers, with ids that the service draws, calls that only some
// lanes make, and calls that the background made.
func proofRecording() (recorded []*traffic.Exchange, ca *authority.Authority, err error) {
	n := 0
	add := func(lane traffic.Lane, method, target, body string) {
		n++
		header := traffic.Header{{Name: "Content-Type", Value: "application/json"}}
		answer := fmt.Sprintf(`{"lane":%q,"call":%d}`, lane, n)
		if strings.HasPrefix(target, "/shared") {
			answer = `{}`
		}
		recorded = append(recorded, &traffic.Exchange{
			ID: fmt.Sprintf("out-%05d", n), Direction: traffic.Outbound, Lane: lane, Start: time.Unix(int64(n), 0),
			Request:  traffic.Request{Method: method, Scheme: "http", Authority: "dep", Target: target, Header: header, Body: traffic.NewBody([]byte(body), header)},
			Response: &traffic.Response{Status: 200, Header: header, Body: traffic.NewBody([]byte(answer), header)},
		})
	}
	for i := range 5 {
		add(traffic.LaneBackground, "GET", "/shared/flags", fmt.Sprint(i))
	}
	for i := range proofLanes {
		lane := proofLane(i)
		recorded = append(recorded, &traffic.Exchange{ID: string(lane), Direction: traffic.Inbound, Lane: lane, Request: traffic.Request{Method: "GET", Target: "/" + string(lane)}})
		add(lane, "GET", "/state", "")
		add(lane, "POST", "/orders", fmt.Sprintf(`{"id":"00000000-0000-4000-8000-%012d"}`, i))
		add(lane, "GET", fmt.Sprintf("/orders/00000000-0000-4000-8000-%012d", i), "")
		add(lane, "GET", "/state", "")
		add(lane, "GET", "/never-called-again", "")
	}
	ca, err = authority.New(time.Now())
	return recorded, ca, err
}

func proofLane(i int) traffic.Lane { return traffic.Lane(fmt.Sprintf("in-%04d", i)) }

// proofCalls returns what lane i does when it is replayed: fresh ids, one read
// too many, and now and then a call that nobody recorded or another lane did.
func proofCalls(i int, random uint64) []*traffic.Request {
	header := traffic.Header{{Name: "Content-Type", Value: "application/json"}}
	header.Add("Traceparent", traffic.Mark{Pass: 1, Lane: traffic.LaneNumber(proofLane(i))}.Traceparent())
	request := func(method, target, body string) *traffic.Request {
		return &traffic.Request{Method: method, Scheme: "http", Authority: "dep", Target: target, Header: header, Body: traffic.NewBody([]byte(body), header)}
	}
	id := fmt.Sprintf("%08x-1111-4111-8111-%012x", uint32(random), i)
	calls := []*traffic.Request{
		request("GET", "/state", ""), request("POST", "/orders", `{"id":"`+id+`"}`), request("GET", "/orders/"+id, ""),
		request("GET", "/state", ""), request("GET", "/state", ""),
	}
	if i%10 == 0 {
		calls = append(calls, request("DELETE", "/state", ""))
	}
	if i%25 == 0 { // eight lanes ask for what the background made five times
		calls = append(calls, request("GET", "/shared/flags", fmt.Sprint(i/25%5)))
	}
	return calls
}

// 200 lanes at once, in fifty orders: the account is the same each time, and no
// lane ever gets another one's answer.
func TestAccountDoesNotDependOnOrder(t *testing.T) {
	recorded, ca, err := proofRecording()
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(recorded, ca, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var first Account
	for round := range 50 {
		m.Forget(1)
		m.BeginPass(1)
		var wg sync.WaitGroup
		for _, i := range rand.Perm(proofLanes) {
			calls := proofCalls(i, rand.Uint64())
			wg.Go(func() {
				m.Enter(1, proofLane(i))
				defer m.Leave(1, proofLane(i))
				for _, req := range calls {
					_, o := m.decide(req, arrival{connection: fmt.Sprint(i), start: time.Now()})
					if o.entry != none && !strings.HasPrefix(req.Target, "/shared") && m.index.laneName(o.entry) != proofLane(i) {
						t.Errorf("lane %d got an answer of lane %s (%s)", i, m.index.laneName(o.entry), o.tier)
					}
				}
			})
		}
		wg.Wait()
		a := m.Account(1)
		if a.Err != nil {
			t.Fatalf("round %d: %v", round, a.Err)
		}
		// Which of the eight lanes borrowed the five calls is a matter of luck;
		// what they got is not.
		for i := 0; i < proofLanes; i += 25 {
			delete(a.Lanes, proofLane(i))
		}
		if round == 0 {
			first = a
			want := map[traffic.Tier]int{traffic.TierExact: 2 * proofLanes, traffic.TierClassed: proofLanes, traffic.TierBound: proofLanes,
				traffic.TierRepeat: proofLanes + 3, traffic.TierOtherLane: 5, traffic.TierMiss: proofLanes / 10}
			if !maps.Equal(a.Tiers, want) {
				t.Errorf("tiers %v, want %v", a.Tiers, want)
			}
			continue
		}
		if !reflect.DeepEqual(a, first) {
			t.Fatalf("round %d: %+v, round 0: %+v", round, a, first)
		}
	}
}

// The same over real connections, each used by many lanes in turn.
func TestLanesShareConnections(t *testing.T) {
	recorded, ca, err := proofRecording()
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(recorded, ca, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(t.Context(), l) }()
	for _, unencrypted2 := range []bool{false, true} {
		transport := &http.Transport{MaxIdleConnsPerHost: 16, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!unencrypted2)
		transport.Protocols.SetUnencryptedHTTP2(unencrypted2)
		client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
		m.Forget(1)
		m.BeginPass(1)
		var wg sync.WaitGroup
		room := make(chan struct{}, 32)
		for _, i := range rand.Perm(proofLanes) {
			wg.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				m.Enter(1, proofLane(i))
				defer m.Leave(1, proofLane(i))
				for _, call := range proofCalls(i, rand.Uint64()) {
					req, err := http.NewRequest(call.Method, "http://"+l.Addr().String()+call.Target, strings.NewReader(string(call.Body.Raw)))
					if err != nil {
						t.Error(err)
						return
					}
					req.Host, req.Header = "dep", call.Header.HTTP()
					resp, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					own := strings.Contains(string(body), string(proofLane(i)))
					if err != nil || !own && resp.StatusCode == 200 && !strings.HasPrefix(call.Target, "/shared") {
						t.Errorf("lane %d got %d %s: %v", i, resp.StatusCode, body, err)
					}
				}
			})
		}
		wg.Wait()
		transport.CloseIdleConnections()
		a := m.Account(1)
		if a.Err != nil || a.Live != 5*proofLanes+proofLanes/10+proofLanes/25 || a.Missed != proofLanes/10 || a.Attributed[traffic.ByTrace] != a.Live {
			t.Errorf("account: %+v", a)
		}
	}
	l.Close()
	if err := <-served; err == nil {
		t.Error("Serve returned nil although its listener was closed under it")
	}
}
