package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/github"
)

func TestStandInDumpsComments(t *testing.T) {
	dump := filepath.Join(t.TempDir(), "comments.json")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-repo", "acme/shop", "-dump", dump}, w) }()
	address, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, err := github.NewClient(github.ClientOptions{APIURL: strings.TrimSpace(address), Owner: "acme", Repo: "shop", Token: "any"})
	if err != nil {
		t.Fatal(err)
	}
	for i, body := range []string{"one", "two"} {
		if _, err := c.Upsert(t.Context(), github.Report{Pull: 1, Body: body, Run: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Comments []struct {
			Body  string
			Edits int
		}
		Mistakes []string
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Comments) != 1 || !strings.HasSuffix(got.Comments[0].Body, "\ntwo") || got.Comments[0].Edits != 1 || len(got.Mistakes) != 0 {
		t.Errorf("dump: %s", data)
	}
	if run(t.Context(), nil, io.Discard) == nil {
		t.Error("no repository, no error")
	}
}
