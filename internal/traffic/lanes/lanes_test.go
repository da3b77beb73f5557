package lanes

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestKeys(t *testing.T) {
	const id = "trace:0af7651916cd43dd8448eb211c80319c"
	tests := []struct {
		name, value string
		want        []string
		reason      string
	}{
		{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", []string{id}, "W3C"},
		{"Traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01", nil, "all zero is invalid"},
		{"Traceparent", "rubbish", nil, "not one"},
		{"b3", "0AF7651916cd43dd8448eb211c80319c-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90", []string{id}, "B3 in one header, in any case"},
		{"b3", "0", nil, "B3 that only says: do not sample"},
		{"X-B3-TraceId", "8448eb211c80319c", []string{"trace:00000000000000008448eb211c80319c"}, "64 bits are padded"},
		{"uber-trace-id", "0af7651916cd43dd8448eb211c80319c:1:0:1", []string{id}, "Jaeger"},
		{"X-Amzn-Trace-Id", "Self=1-a-b;Root=1-67891233-abcdef012345678912345678", []string{"amzn:1-67891233-abcdef012345678912345678"}, "AWS"},
		{"X-Cloud-Trace-Context", "0af7651916cd43dd8448eb211c80319c/1;o=1", []string{id}, "Google"},
		{"X-Request-ID", " r-1 ", []string{"request:r-1"}, "meshes"},
		{"baggage", "userId=alice;p=1, env=prod", []string{"baggage:userid=alice", "baggage:env=prod"}, "properties may change"},
		{"x-other", "1", nil, "nothing"},
	}
	for _, test := range tests {
		if d := cmp.Diff(test.want, Keys(traffic.Header{{Name: test.name, Value: test.value}})); d != "" {
			t.Errorf("%s: %s: %s", test.name, test.reason, d)
		}
	}
}

func TestValues(t *testing.T) {
	r := &traffic.Request{
		Target: "/v1/orders/ord%2D42?user=alice&limit=5&q=%zz",
		Header: traffic.Header{{Name: "Authorization", Value: "Bearer abc.def"}, {Name: "Cookie", Value: "sid=s-1; theme=dark"}, {Name: "Content-Type", Value: "application/json"}},
	}
	r.Body = traffic.NewBody([]byte(`{"customer":{"id":"cus_9","tags":["red",true,null]},"total":12.50,"x":1}`), r.Header)
	want := []string{"ord-42", "alice", "abc.def", "s-1", "dark", "cus_9", "red", "12.50"}
	if d := cmp.Diff(want, Values(r)); d != "" {
		t.Error(d)
	}
	answer := &traffic.Response{Header: traffic.Header{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}}
	answer.Body = traffic.NewBody([]byte("token=t%2F1&ok=1"), answer.Header)
	if d := cmp.Diff([]string{"t/1"}, Answers(answer)); d != "" {
		t.Error(d)
	}
}

func FuzzValues(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"bcd"]}`, `[[[`, `"x"`, `}`, `{"a"`, ``, `]]`, `{"a":{}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		header := traffic.Header{{Name: "Content-Type", Value: "application/json"}}
		for _, v := range Answers(&traffic.Response{Header: header, Body: traffic.NewBody([]byte(body), header)}) {
			if len(v) < minValue || len(v) > maxValueBytes {
				t.Errorf("value of %d bytes", len(v))
			}
		}
	})
}
