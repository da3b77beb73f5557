package snapshot_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// The generators make what traffic really holds beside what it never should:
// any string may stand in any field.

func anyString() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringN(0, 20, 40),
		rapid.SampledFrom([]string{
			"", " ", "a b", "\"", "\"quoted\"", ": ", "+", "a=b", "### 1", "> x", "  indented", "line\nbreak", "cr\r\n",
			"\x00", "\xff\xfe", "\u202eright to left", "\u00fc\u4e16", "#", "body: json", "trailing ", "\u2028", "\ufeffbom", "\\",
		}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }),
	)
}

func token() *rapid.Generator[string] { return rapid.StringMatching(`[a-z][a-z0-9-]{0,12}`) }

func header() *rapid.Generator[traffic.Header] {
	field := rapid.Custom(func(t *rapid.T) traffic.Field {
		name := rapid.OneOf(token(), rapid.SampledFrom([]string{"Content-Type", "Set-Cookie", "Content-Encoding", ":path"}), anyString()).Draw(t, "name")
		value := rapid.OneOf(token(), rapid.SampledFrom([]string{"gzip", "application/json", "br"}), anyString()).Draw(t, "value")
		return traffic.Field{Name: name, Value: value}
	})
	return rapid.Map(rapid.SliceOfN(field, 0, 5), func(h []traffic.Field) traffic.Header {
		if len(h) == 0 {
			return nil
		}
		return h
	})
}

func payload() *rapid.Generator[[]byte] {
	return rapid.OneOf(
		rapid.Just[[]byte](nil),
		rapid.Map(anyString(), func(s string) []byte { return []byte(s) }),
		rapid.SliceOfN(rapid.Byte(), 0, 300),
		rapid.Map(rapid.SampledFrom([]string{
			`{}`, `[]`, `{"a":1.0,"a":1e400,"b":[true,null,"\u0041<&>"]}`, `{"a": 1, "b": [1, 2]}`, "{\"a\":1}\n", `{"a" :1}`, "{\n  \"a\": 1\n}",
			"{\"x\":\"\u202e\"}", `[[[]]]`, `{"a":{}}`, "{\"a\":1}\n\n", `12`, `"text"`, "{\"bad\":\"\xff\"}", `{"a":1}trailing`, "\n", "\n\n", "a\n\nb", "\t",
		}), func(s string) []byte { return []byte(s) }),
		rapid.Map(rapid.IntRange(4000, 9000), func(n int) []byte {
			return []byte(fmt.Sprintf(`{"big":"%0*d"}`, n, 7))
		}),
	)
}

func body(h traffic.Header) *rapid.Generator[traffic.Body] {
	return rapid.Custom(func(t *rapid.T) traffic.Body {
		raw := payload().Draw(t, "raw")
		coding := rapid.SampledFrom([]string{"", "", "gzip", "br", "zstd", "deflate", "gzip, br", "wrong"}).Draw(t, "coding")
		if rapid.Bool().Draw(t, "encode") && len(raw) > 0 {
			if encoded, err := traffic.Encode(raw, coding); err == nil {
				raw = encoded
			}
		}
		b := traffic.Body{Raw: raw, Coding: coding, Size: int64(len(raw))}
		if rapid.Bool().Draw(t, "by header") {
			b = traffic.NewBody(raw, h)
		}
		if rapid.IntRange(0, 9).Draw(t, "truncated") == 0 {
			b.Truncated, b.Size = true, rapid.Int64().Draw(t, "size")
		}
		if rapid.IntRange(0, 4).Draw(t, "timed") == 0 {
			b.Times = rapid.SliceOfN(span(), 1, 5).Draw(t, "times")
		}
		if len(b.Raw) == 0 {
			b.Raw = nil
		}
		return b
	})
}

func span() *rapid.Generator[time.Duration] {
	return rapid.OneOf(rapid.Just(time.Duration(0)), rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) }),
		rapid.Map(rapid.Int64Range(0, int64(time.Minute)), func(n int64) time.Duration { return time.Duration(n) }))
}

func match() *rapid.Generator[*traffic.Match] {
	return rapid.Custom(func(t *rapid.T) *traffic.Match {
		if rapid.IntRange(0, 3).Draw(t, "matched") > 0 {
			return nil
		}
		m := &traffic.Match{Tier: traffic.Tier(anyString().Draw(t, "tier")), Record: anyString().Draw(t, "record"), Pass: rapid.Uint32().Draw(t, "pass"), Reason: anyString().Draw(t, "reason")}
		for range rapid.IntRange(0, 2).Draw(t, "near") {
			n := traffic.Near{Record: anyString().Draw(t, "near record"), Score: rapid.Float64Range(0, 1).Draw(t, "score")}
			for range rapid.IntRange(0, 2).Draw(t, "differences") {
				p := traffic.At("request", "body").Elem(rapid.IntRange(0, 9).Draw(t, "index")).Child(rapid.String().Draw(t, "member"))
				n.Differences = append(n.Differences, traffic.Disagreement{Path: p, Recorded: anyString().Draw(t, "a"), Live: anyString().Draw(t, "b")})
			}
			m.Nearest = append(m.Nearest, n)
		}
		return m
	})
}

func request() *rapid.Generator[traffic.Request] {
	return rapid.Custom(func(t *rapid.T) traffic.Request {
		r := traffic.Request{
			Method: rapid.OneOf(rapid.SampledFrom([]string{"GET", "POST"}), anyString()).Draw(t, "method"), Scheme: rapid.OneOf(rapid.Just("http"), anyString()).Draw(t, "scheme"),
			Authority: rapid.OneOf(token(), rapid.Just("[::1]:8080"), anyString()).Draw(t, "authority"), Target: rapid.OneOf(rapid.StringMatching(`(/[a-z0-9=&?%_]{1,8}){1,4}`), rapid.SampledFrom([]string{"/", "*", "", "//x"}), anyString()).Draw(t, "target"),
			Proto: rapid.OneOf(rapid.Just("HTTP/1.1"), anyString()).Draw(t, "proto"), Header: header().Draw(t, "header"), Trailer: header().Draw(t, "trailer"),
		}
		r.Body = body(r.Header).Draw(t, "body")
		return r
	})
}

// exchanges makes a list with unique ids in any order of time.
func exchanges(limit int) *rapid.Generator[[]*traffic.Exchange] {
	return rapid.Custom(func(t *rapid.T) []*traffic.Exchange {
		n := rapid.IntRange(0, limit).Draw(t, "n")
		list := make([]*traffic.Exchange, 0, n)
		for i := range n {
			x := &traffic.Exchange{
				ID: fmt.Sprintf("%06d", i), Direction: rapid.SampledFrom([]traffic.Direction{traffic.Inbound, traffic.Outbound}).Draw(t, "direction"),
				Recorded: anyString().Draw(t, "recorded"), Start: time.Unix(rapid.Int64Range(0, 3).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC(),
				FirstByte: span().Draw(t, "first byte"), Duration: span().Draw(t, "duration"),
				Request: request().Draw(t, "request"), Failure: traffic.Failure(anyString().Draw(t, "failure")),
				Origin: traffic.Origin{Source: anyString().Draw(t, "source"), Connection: anyString().Draw(t, "connection"), Certainty: traffic.Certainty(anyString().Draw(t, "certainty"))},
				Match:  match().Draw(t, "match"),
			}
			x.Lane = traffic.Lane(rapid.OneOf(rapid.Just(x.ID), anyString()).Draw(t, "lane"))
			for range rapid.IntRange(0, 2).Draw(t, "incomplete") {
				x.Incomplete = append(x.Incomplete, anyString().Draw(t, "phrase"))
			}
			if rapid.Bool().Draw(t, "answered") {
				r := &traffic.Response{Status: rapid.Int().Draw(t, "status"), Proto: anyString().Draw(t, "proto"), Header: header().Draw(t, "header"), Trailer: header().Draw(t, "trailer")}
				r.Body = body(r.Header).Draw(t, "body")
				x.Response = r
			}
			list = append(list, x)
		}
		return list
	})
}
