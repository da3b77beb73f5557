package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/config"
)

var update = flag.Bool("update", false, "rewrite the table of docs/configuration.md")

// The table of keys in the documentation is made from the schema.
func TestDocumentationListsEveryKey(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "configuration.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- keys -->\n", "<!-- /keys -->"
	before, rest, ok1 := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s lacks the marks of its table", path)
	}
	var table strings.Builder
	table.WriteString("| key | default | meaning |\n|:--|:--|:--|\n")
	for _, key := range config.Keys() {
		value := ""
		if key.Default != "" {
			value = "`" + key.Default + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", key.Path, value, strings.ReplaceAll(key.Doc, "|", `\|`))
	}
	want := before + begin + table.String() + end + after
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(data) != want {
		t.Errorf("%s is not what the schema says; run go test ./internal/config -update", path)
	}
}
