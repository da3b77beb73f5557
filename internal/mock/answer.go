package mock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// StatusMiss is the status of the answer to a call that nothing recorded
// answers. No server in use sends it.
const StatusMiss = 599

// MissHeader names a miss in the answer to it; its value is the id of the call
// in the journal.
const MissHeader = "X-Reprise-Miss"

// responder writes one answer in some protocol.
type responder interface {
	// context ends when the answer is not needed any more, as far as the
	// protocol can tell.
	context() context.Context
	// begin writes status and header fields.
	begin(req *traffic.Request, response *traffic.Response) error
	// write writes a piece of the body, unless the answer has none by nature.
	write(p []byte) error
	// flush sends what was written so far.
	flush() error
	// end writes the trailer, and sends all.
	end(response *traffic.Response) error
	// abort breaks the answer off. It need not return.
	abort()
}

// errAborted says that an answer ended as recorded: by breaking off.
var errAborted = errors.New("the recorded call broke off")

// respond answers a decided call and completes its journal entry. On an error
// the connection or stream is of no use any more.
func (m *Mock) respond(w responder, rec *record, o outcome, began time.Time) error {
	if o.fault != nil {
		if err := m.delay(w.context(), o.fault); err != nil {
			return err
		}
		w = &faulty{w, m, o.fault}
	}
	if o.entry == none {
		return m.makeUp(w, rec, o, began)
	}
	recorded, ok := m.answers.Get().(*answer)
	if !ok {
		recorded = &answer{}
	}
	defer m.answers.Put(recorded) // the journal reads its own when it is asked for
	said := m.index.store.read(o.said)
	said.answer(recorded)
	var took times
	if recorded.none || o.tempo != (tempo{}) {
		took = m.index.times(o.entry)
	}
	if recorded.none {
		if recorded.failure == traffic.FailureTimeout { // cut short, it still breaks off
			m.wait(w.context(), began, patience(took.last))
		} else {
			m.wait(w.context(), began, o.tempo.times(took).last)
		}
		rec.finish(nil, recorded.failure, 0, m.since(began))
		w.abort()
		return errAborted
	}
	response := &recorded.Response
	if response.Body.Coding != "" {
		response = fit(response, m.index.request(o.entry), &rec.x.Request)
	}
	response = m.renewed(rec, o, response)
	first, err := m.pace(w, rec, response, o.tempo, took, began)
	switch {
	case !rec.kept: // nobody asks for it
	case response == &recorded.Response:
		rec.replayed(failureOf(err), first, m.since(began))
	default:
		rec.finish(response, failureOf(err), first, m.since(began))
	}
	return err
}

// patience is how long a call is held whose recorded caller gave up: a little
// longer than the caller waited then, so that it is the caller who gives up
// again, and not the mock that breaks off.
func patience(recorded time.Duration) time.Duration {
	return recorded + recorded/4 + 100*time.Millisecond
}

// brokeOff reports whether the recorded server ended the answer before its
// end. A body that only the recorder cut short is not that.
func brokeOff(response *traffic.Response) bool {
	return response.Body.Truncated && response.Body.Size <= int64(len(response.Body.Raw))
}

// complete ends an answer as it ended when it was recorded.
func complete(w responder, response *traffic.Response) error {
	if !brokeOff(response) {
		return w.end(response)
	}
	if err := w.flush(); err != nil {
		return err
	}
	return errAborted
}

// makeUp answers a call that no recorded one answers: by a rule, a fault or a
// miss.
func (m *Mock) makeUp(w responder, rec *record, o outcome, began time.Time) error {
	response := o.response
	switch grpc := rec.x.Request.Proto == "HTTP/2.0" && isGRPC(mediaType(rec.x.Request.Header.Get("Content-Type"))); {
	case response != nil:
		delay := o.delay
		if delay == 0 {
			delay = o.tempo.drawn
		}
		if err := m.wait(w.context(), began, delay); err != nil {
			return err
		}
	case o.fault != nil && o.fault.Kind == FaultStatus:
		response = plainResponse(o.fault.status(), "reprise: "+o.fault.describe()+"\n")
	case o.fault != nil:
		rec.finish(nil, traffic.FailureReset, 0, m.since(began))
		if o.fault.Kind == FaultReset {
			w.abort()
		}
		return errAborted
	case grpc:
		response = grpcMiss(&rec.x)
	default:
		response = missResponse(&rec.x)
	}
	err := send(w, &rec.x.Request, response)
	rec.finish(response, failureOf(err), m.since(began), m.since(began))
	return err
}

// pace sends a response at its times: the head when its first
// byte is due, the body when its last one is. Differences below a millisecond
// are not worth two packets: both are waited for before the head. It returns
// when the head went out.
func (m *Mock) pace(w responder, rec *record, response *traffic.Response, t tempo, recorded times, began time.Time) (first time.Duration, err error) {
	took := t.times(recorded)
	if took == (times{}) {
		if rec.kept {
			first = m.since(began)
		}
		return first, send(w, &rec.x.Request, response)
	}
	split := took.last-took.first >= time.Millisecond
	due := took.first
	if !split {
		due = max(due, took.last)
	}
	if err := m.wait(w.context(), began, due); err != nil {
		return 0, err
	}
	first = m.since(began)
	if !split {
		return first, send(w, &rec.x.Request, response)
	}
	if err := w.begin(&rec.x.Request, response); err != nil {
		return first, err
	}
	pieces := piecesOf(response)
	for i, piece := range pieces {
		if err := w.flush(); err != nil {
			return first, err
		}
		// Where the recording does not say when each piece came, they are spread
		// evenly, the last one at the end.
		due := took.first + (took.last-took.first)*time.Duration(i+1)/time.Duration(len(pieces))
		if i < len(response.Body.Times) {
			due = t.scaled(response.Body.Times[i], recorded)
		}
		if err := m.wait(w.context(), began, due); err != nil {
			return first, err
		}
		if err := w.write(piece); err != nil {
			return first, err
		}
	}
	return first, complete(w, response)
}

// send writes a whole response.
func send(w responder, req *traffic.Request, response *traffic.Response) error {
	if response.Status < 200 || response.Status > 999 {
		response = plainResponse(http.StatusBadGateway, fmt.Sprintf("reprise: the recorded status %d cannot be sent\n", response.Status))
	}
	if err := w.begin(req, response); err != nil {
		return err
	}
	if err := w.write(response.Body.Raw); err != nil {
		return err
	}
	return complete(w, response)
}

// failureOf says how the end of a response looked to its caller.
func failureOf(err error) traffic.Failure {
	if err != nil {
		return traffic.FailureReset
	}
	return traffic.FailureNone
}

// fit returns a recorded response with a coded body as this caller can read it:
// as it is, unless the caller accepts no coded content and the recorded one did.
func fit(response *traffic.Response, recorded, live *traffic.Request) *traffic.Response {
	if accepts(live.Header, recorded.Header, response.Body.Coding) {
		return response
	}
	plain, err := response.Body.Decoded()
	if err != nil {
		return response
	}
	fitted := *response
	fitted.Header = response.Header.Clone()
	fitted.Trailer = response.Trailer.Clone()
	fitted.Header.Del("Content-Encoding")
	if fitted.Header.Has("Content-Length") && live.Method != http.MethodHead {
		fitted.Header.Set("Content-Length", strconv.Itoa(len(plain)))
	}
	fitted.Body = traffic.Body{Raw: plain, Size: int64(len(plain))}
	return &fitted
}

// accepts reports whether a caller takes a content coding. A caller that does
// not say takes what it took when it was recorded.
func accepts(live, recorded traffic.Header, coding string) bool {
	if !live.Has("Accept-Encoding") {
		return !recorded.Has("Accept-Encoding")
	}
	offered := map[string]bool{}
	for _, value := range live.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(value, ",") {
			name, q, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(item, " ", "")), ";")
			offered[name] = strings.Trim(strings.TrimPrefix(q, "q="), "0.") != "" || q == ""
		}
	}
	for c := range strings.SplitSeq(coding, ",") {
		c = strings.TrimPrefix(strings.TrimSpace(c), "x-")
		ok, named := offered[c]
		if !named {
			ok = offered["*"]
		}
		if !ok {
			return false
		}
	}
	return true
}

// missResponse explains a miss to whoever reads the answer.
func missResponse(x *traffic.Exchange) *traffic.Response {
	body, err := json.Marshal(map[string]string{
		"error":  "reprise: no recorded call answers this one",
		"miss":   x.ID,
		"call":   x.Request.Method + " " + x.Request.URL(),
		"lane":   string(x.Lane),
		"reason": x.Match.Reason,
	})
	if err != nil { // maps of strings always encode
		body = []byte("{}")
	}
	response := plainResponse(StatusMiss, string(body)+"\n")
	response.Header.Set("Content-Type", "application/json")
	response.Header.Add(MissHeader, x.ID)
	return response
}

func plainResponse(status int, body string) *traffic.Response {
	return &traffic.Response{
		Status: status, Proto: "HTTP/1.1",
		Header: traffic.Header{{Name: "Content-Type", Value: "text/plain; charset=utf-8"}, {Name: "Content-Length", Value: strconv.Itoa(len(body))}},
		Body:   traffic.Body{Raw: []byte(body), Size: int64(len(body))},
	}
}
