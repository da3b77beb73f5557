package traffic_test

import (
	"slices"
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic"
)

func TestSessions(t *testing.T) {
	x := func(connection, authorization, cookie, setCookie string) *traffic.Exchange {
		e := &traffic.Exchange{Origin: traffic.Origin{Connection: connection}, Response: &traffic.Response{}}
		for name, value := range map[string]string{"Authorization": authorization, "Cookie": cookie} {
			if value != "" {
				e.Request.Header.Add(name, value)
			}
		}
		if setCookie != "" {
			e.Response.Header.Add("Set-Cookie", setCookie)
		}
		return e
	}
	tests := []struct {
		why  string
		give []*traffic.Exchange
		want []int
	}{
		{"nothing shared", []*traffic.Exchange{x("", "", "", ""), x("", "", "", "")}, []int{0, 1}},
		{"a connection", []*traffic.Exchange{x("a", "", "", ""), x("b", "", "", ""), x("a", "", "", "")}, []int{0, 1, 0}},
		{"credentials", []*traffic.Exchange{x("", "Bearer 1", "", ""), x("", "Bearer 2", "", ""), x("", "Bearer 1", "", "")}, []int{0, 1, 0}},
		{"a cookie sent twice", []*traffic.Exchange{x("", "", "a=1; sid=0123456789ab", ""), x("", "", "sid=0123456789ab", "")}, []int{0, 0}},
		{"a cookie given and sent", []*traffic.Exchange{x("", "", "", "sid=0123456789ab; Path=/"), x("", "", "sid=0123456789ab", "")}, []int{0, 0}},
		{"a short cookie tells nothing", []*traffic.Exchange{x("", "", "lang=en", ""), x("", "", "lang=en", "")}, []int{0, 1}},
		{"chains join", []*traffic.Exchange{x("a", "", "", ""), x("b", "", "", ""), x("b", "Bearer 1", "", ""), x("a", "Bearer 1", "", "")}, []int{0, 0, 0, 0}},
	}
	for _, tt := range tests {
		if got := traffic.Sessions(tt.give); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}
