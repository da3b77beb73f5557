package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/snapshot"
	"github.com/reprise-ci/reprise/internal/traffic"
)

const recorded = "../../snapshots/shop"

// TestSnapshotCoversTheExample keeps the snapshot of the example as large and
// as wide as the documentation says.
func TestSnapshotCoversTheExample(t *testing.T) {
	reader, err := snapshot.Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	answers := make(map[string]map[int]int) // by endpoint and status
	var router *traffic.Router
	inbound, lanes := 0, make(map[traffic.Lane]bool)
	var outbound []*traffic.Exchange
	for x, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		if x.Direction == traffic.Outbound {
			outbound = append(outbound, x)
			continue
		}
		inbound++
		lanes[x.Lane] = true
		endpoint := router.Endpoint(&x.Request)
		if answers[endpoint] == nil {
			answers[endpoint] = make(map[int]int)
		}
		answers[endpoint][x.Response.Status]++
	}
	if inbound < 300 {
		t.Errorf("%d inbound exchanges, want at least 300", inbound)
	}
	for endpoint, statuses := range map[string][]int{
		"GET /healthz":                 {200},
		"GET /v1/catalog":              {200},
		"GET /v1/export":               {200},
		"GET /v1/me":                   {200, 401},
		"GET /v1/orders":               {200, 400},
		"GET /v1/orders/{id}":          {200, 404},
		"GET /v1/orders/{id}/summary":  {200, 404},
		"GET /v1/orders/{id}/delivery": {200, 404, 409},
		"GET /v1/quote":                {200, 400, 404},
		"POST /v1/orders":              {201, 400, 402, 409, 422, 502},
		"POST /v1/orders/{id}/refund":  {200, 409},
	} {
		for _, status := range statuses {
			if answers[endpoint][status] == 0 {
				t.Errorf("%s never answers %d", endpoint, status)
			}
		}
	}
	hosts, statuses := make(map[string]int), make(map[string]int) // the latter of gRPC
	for _, x := range outbound {
		hosts[x.Request.Scheme+"://"+x.Request.Authority]++
		if x.Request.Authority == "shipping:9090" {
			statuses[x.Response.Header.Get("grpc-status")+x.Response.Trailer.Get("grpc-status")]++
		}
		if !lanes[x.Lane] || x.Origin.Certainty != traffic.ByTrace {
			t.Errorf("%s: lane %q found by %q", x.ID, x.Lane, x.Origin.Certainty)
		}
	}
	if len(hosts) != 3 || hosts["http://inventory:8080"] == 0 || hosts["https://api.payments.example"] == 0 {
		t.Errorf("calls: %v", hosts)
	}
	if len(statuses) != 2 || statuses["0"] == 0 || statuses["5"] == 0 {
		t.Errorf("calls of gRPC by status: %v", statuses)
	}
}

// TestSnapshotHoldsNothingPersonal looks for every person of the example, by
// what is written in its sources and not by what a detector believes. What is
// stored compressed is looked into as well.
func TestSnapshotHoldsNothingPersonal(t *testing.T) {
	values := personalValues(t)
	if len(values) < 45 {
		t.Fatalf("only %d values found in the sources: %q", len(values), values)
	}
	// The ids of a trace hold many zeros, as one of the card numbers does.
	trace := regexp.MustCompile(`00-[0-9a-f]{32}-[0-9a-f]{16}-`)
	var size int64
	err := filepath.WalkDir(recorded, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		size += int64(len(data))
		texts := []string{string(data)}
		if strings.HasSuffix(path, ".gz") {
			plain, err := traffic.Body{Raw: data, Coding: "gzip"}.Decoded()
			if err != nil {
				return err
			}
			texts = append(texts, string(plain))
		}
		for _, text := range texts {
			text = trace.ReplaceAllString(text, "")
			for _, value := range values {
				if strings.Contains(text, value) {
					t.Errorf("%s holds %q", path, value)
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if size > 2<<20 {
		t.Errorf("the snapshot has %d bytes; keep it under 2 MiB", size)
	}
}

// personalValues returns the names, addresses, phone and card numbers of the
// people in the example's sources.
func personalValues(t *testing.T) []string {
	t.Helper()
	person := regexp.MustCompile(`(?m)^\s*\{(?:ID: "\w+", Name: )?"([A-Z][\w']+ [A-Z][\w']+)", (?:Email: )?"([^"@]+@[^"]+)", (?:Phone: )?"([^"]*)"(?:, "(\d+)")?\},?$`)
	var values []string
	for _, name := range []string{"internal/orders/seed.go", "traffic/visitors.go"} {
		source, err := os.ReadFile(filepath.Join(shop, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range person.FindAllStringSubmatch(string(source), -1) {
			for _, value := range match[1:] {
				if value != "" {
					values = append(values, value)
				}
			}
		}
	}
	return append(values, "4000000000000002", "@login.example.com")
}
