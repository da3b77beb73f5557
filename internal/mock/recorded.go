package mock

import "github.com/reprise-ci/reprise/internal/traffic"

// keep puts all that the entries say into the store.
func (ix *index) keep(calls []*traffic.Exchange) {
	var b []byte
	ix.said = make([]address, len(calls))
	preferHugePages(ix.said)
	for i, x := range calls {
		b = appendCall(b[:0], x)
		ix.entries[i].call = ix.store.add(b)
		b = appendAnswer(b[:0], x)
		ix.said[i] = ix.store.addOnce(b)
	}
	ix.store.known = table{}
}

// laneName returns the name of the lane of an entry.
func (ix *index) laneName(i int32) traffic.Lane { return ix.ranges[ix.entries[i].lane].name }

// id returns the id of a recorded call.
func (ix *index) id(i int32) string {
	r := ix.store.read(ix.entries[i].call)
	return r.string()
}

// times returns how long a recorded answer took.
func (ix *index) times(i int32) times {
	r := ix.store.read(ix.entries[i].call)
	r.bytes()
	return r.times()
}

// request returns the request of a recorded call.
func (ix *index) request(i int32) *traffic.Request {
	r := ix.store.read(ix.entries[i].call)
	r.bytes()
	r.times()
	req := r.request()
	return &req
}

// response returns the response to a recorded call, nil if there was none.
func (ix *index) response(i int32) *traffic.Response {
	var a answer
	r := ix.store.read(ix.said[i])
	if r.answer(&a); a.none {
		return nil
	}
	return &a.Response
}

// inboundOf returns the inbound request of a lane.
func (ix *index) inboundOf(lane traffic.Lane) (req traffic.Request, ok bool) {
	at, ok := ix.inbound[lane]
	if !ok {
		return req, false
	}
	r := ix.store.read(at)
	return r.request(), true
}
