package snapshot_test

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// shop is a small recording with one of everything that a reviewer meets.
func shop() []*traffic.Exchange {
	at := func(ms int) time.Time { return clock().Add(time.Duration(ms) * time.Millisecond) }
	jsonHeader := traffic.Header{{Name: "Host", Value: "shop.example"}, {Name: "Content-Type", Value: "application/json"}}
	order := []byte(`{"sku":"SKU-0042","quantity":2,"price":10.50,"note":"gr\u00fc\u00dfe"}`)
	// {"id":"ord_8f3k2","status":"paid"} and a newline, as one version of gzip
	// wrote it: another version may write other bytes.
	zipped, _ := hex.DecodeString("1f8b08000000000000ffaa56ca4c51b252ca2f4a89b74833ce3652d2512a2e492c292d56b2522a48cc4c51aae502040000ffffff37f55d23000000")
	zippedHeader := traffic.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "Content-Encoding", Value: "gzip"}}
	page := []byte("<ul>\n" + strings.Repeat("<li>an item of the catalogue</li>\n", 200) + "</ul>\n")
	return []*traffic.Exchange{
		{
			ID: "000001", Direction: traffic.Inbound, Lane: "000001", Start: at(0), FirstByte: 11 * time.Millisecond, Duration: 12500 * time.Microsecond,
			Request:  traffic.Request{Method: "POST", Scheme: "http", Authority: "shop.example", Target: "/v1/orders", Proto: "HTTP/1.1", Header: jsonHeader, Body: traffic.NewBody(order, jsonHeader)},
			Response: &traffic.Response{Status: 201, Proto: "HTTP/1.1", Header: zippedHeader, Body: traffic.NewBody(zipped, zippedHeader)},
			Origin:   traffic.Origin{Source: "proxy", Connection: "c1"},
		},
		{
			ID: "000002", Direction: traffic.Outbound, Lane: "000001", Start: at(3), FirstByte: 2 * time.Millisecond, Duration: 2 * time.Millisecond,
			Request:  traffic.Request{Method: "POST", Scheme: "https", Authority: "payments.example", Target: "/charges?dry=false", Proto: "HTTP/2.0", Header: traffic.Header{{Name: "content-type", Value: "application/x-www-form-urlencoded"}}, Body: traffic.NewBody([]byte("amount=2100&order=ord_8f3k2"), nil)},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/2.0", Body: traffic.NewBody([]byte(`{"ok": true, "ids": [1, 2]}`), nil), Trailer: traffic.Header{{Name: "grpc-status", Value: "0"}}},
			Origin:   traffic.Origin{Source: "proxy", Connection: "c7", Certainty: traffic.ByTrace},
		},
		{
			ID: "000003", Direction: traffic.Outbound, Lane: traffic.LaneBackground, Start: at(5), Duration: time.Second, Failure: traffic.FailureTimeout, Incomplete: []string{"request body truncated"},
			Request: traffic.Request{Method: "PUT", Scheme: "http", Authority: "files.example:8080", Target: "/Upload_it", Proto: "HTTP/1.1", Header: traffic.Header{{Name: "X-Note", Value: " padded "}, {Name: "X-Empty"}}, Body: traffic.Body{Raw: []byte{0, 1, 2, 0xff}, Truncated: true, Size: 1 << 20}},
		},
		{
			ID: "000004", Direction: traffic.Inbound, Lane: "000004", Start: at(9), FirstByte: time.Millisecond, Duration: 2 * time.Millisecond,
			Request:  traffic.Request{Method: "GET", Scheme: "http", Authority: "shop.example", Target: "/v1/orders/ord_8f3k2", Proto: "HTTP/1.1"},
			Response: &traffic.Response{Status: 200, Proto: "HTTP/1.1", Body: traffic.NewBody(page, nil)},
		},
		{
			ID: "000005", Direction: traffic.Inbound, Lane: "000005", Start: at(12),
			Request:  traffic.Request{Method: "POST", Scheme: "http", Authority: "shop.example", Target: "/", Proto: "HTTP/1.1", Body: traffic.NewBody([]byte("line one\r\nhidden \u202e direction\r\n"), nil)},
			Response: &traffic.Response{Status: 400, Proto: "HTTP/1.1", Body: traffic.NewBody([]byte("bad request\n\nsee the docs\n"), nil)},
		},
	}
}
