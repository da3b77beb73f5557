// Package house holds the one test of the project's shape: which room may
// import which, and why.
package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/reprise-ci/reprise/"

// house is the list of rooms, the deepest first. A room may import only the
// rooms named beside it, all of which stand above it in this list: arrows
// point down, and there is no circle.
var house = []struct {
	room    string
	imports []string
	because string
}{
	{"internal/traffic", nil, "the vocabulary knows nobody"},
	{"internal/stats", nil, "arithmetic knows no traffic"},
	{"internal/timing", nil, "waiting knows no traffic"},
	{"internal/command", nil, "external tools under a context"},
	{"internal/workdir", nil, "what a run has started, on disk"},
	{"internal/authority", nil, "certificates for a run or a recording"},
	{"internal/github", nil, "all that knows GitHub, and nothing that GitHub need not know"},
	{"internal/github/githubtest", nil, "a stand-in of GitHub's API"},
	{"internal/action", nil, "tests of action.yml and its launcher"},
	{"internal/source", []string{"internal/command"}, "git is an external tool"},
	{"internal/traffic/messages", []string{"internal/traffic"}, "where messages in a body end, for those who note when they came"},
	{"internal/traffic/http1", []string{"internal/traffic", "internal/traffic/messages"}, "reads HTTP/1 messages off the wire, for those who record and those who import"},
	{"internal/traffic/lanes", []string{"internal/traffic"}, "reads the marks by which calls name their lane, for the same two"},
	{"internal/traffic/protobuf", nil, "reads protobuf messages by their descriptors, for those who match, those who compare and those who put live values in"},
	{"internal/traffic/sql", []string{"internal/traffic"}, "takes SQL apart, for those who match and those who compare: what is one statement to one must be one to the other"},
	{"internal/redact", []string{"internal/traffic", "internal/traffic/messages"}, "makes exchanges safe"},
	{"internal/snapshot", []string{"internal/traffic"}, "keeps exchanges; the redactor is an argument"},
	{"internal/formats", []string{"internal/traffic", "internal/traffic/http1", "internal/traffic/lanes", "internal/traffic/messages"}, "reads exchanges"},
	{"internal/capture", []string{"internal/traffic", "internal/traffic/http1", "internal/traffic/lanes", "internal/traffic/messages", "internal/authority"}, "makes exchanges of live traffic; TLS interception needs leaves"},
	{"internal/fresh", []string{"internal/traffic"}, "renews what has expired, for the replayer and the mock alike: they must sign with the same keys"},
	{"internal/transform", []string{"internal/traffic", "internal/traffic/messages", "internal/traffic/protobuf", "internal/fresh"}, "makes exchanges fit"},
	{"internal/mock", []string{"internal/traffic", "internal/traffic/messages", "internal/traffic/protobuf", "internal/traffic/sql", "internal/timing", "internal/authority", "internal/fresh"}, "answers exchanges, on time, over TLS"},
	{"internal/replay", []string{"internal/traffic", "internal/traffic/messages", "internal/timing"}, "sends exchanges on time; the rewriter is an argument"},
	{"internal/compare", []string{"internal/traffic", "internal/traffic/protobuf", "internal/traffic/sql"}, "compares exchanges"},
	{"internal/cluster", []string{"internal/command"}, "kind and Docker are external tools"},
	{"internal/process", []string{"internal/command"}, "a service is an external tool"},
	{"internal/deploy", []string{"internal/command", "internal/cluster"}, "puts a release onto a cluster"},
	{"internal/agent", []string{"internal/traffic", "internal/mock", "internal/replay", "internal/transform", "internal/fresh", "internal/authority", "internal/cluster"}, "mock and replay as pods"},
	{"internal/analysis", []string{"internal/traffic", "internal/traffic/sql", "internal/compare", "internal/stats"}, "judges"},
	{"internal/report", []string{"internal/traffic", "internal/analysis", "internal/compare", "internal/stats"}, "shows a judgement, decides nothing"},
	{"internal/pipeline", []string{
		"internal/traffic", "internal/workdir", "internal/authority", "internal/source", "internal/snapshot", "internal/fresh", "internal/transform",
		"internal/mock", "internal/replay", "internal/cluster", "internal/process", "internal/deploy", "internal/agent", "internal/analysis", "internal/command",
	}, "puts the stages in order; it neither reads configuration nor renders"},
	{"internal/config", []string{
		"internal/traffic", "internal/traffic/protobuf", "internal/redact", "internal/fresh", "internal/transform", "internal/mock", "internal/replay", "internal/process",
		"internal/deploy", "internal/cluster", "internal/analysis", "internal/compare", "internal/pipeline",
	}, "composes the options of the rooms"},
	{"internal/e2e", nil, "tests that run the real command"},
	{"internal/conformance", nil, "tests with clients and servers that nobody here wrote"},
	{"internal/bench", []string{"internal/command"}, "runs the rooms' benchmarks beside their peers"},
	{"internal/eval/diffy", []string{"internal/traffic", "internal/compare", "internal/analysis"}, "another tool's rule on the same answers"},
	{"internal/eval/mutation", []string{
		"internal/command", "internal/analysis", "internal/pipeline", "internal/config", "internal/eval/diffy",
	}, "breaks the example and runs the whole job on it"},
	{"internal/eval", []string{
		"internal/traffic", "internal/timing", "internal/compare", "internal/stats", "internal/analysis", "internal/replay",
		"internal/eval/diffy", "internal/eval/mutation",
	}, "experiments on the judgement: how often it errs, and what it misses"},
	{"internal/cli", []string{"*"}, "one file a command"},
	{"cmd/reprise", []string{"internal/cli"}, "a signal context and a call"},
}

func TestImportsPointDown(t *testing.T) {
	root := filepath.Join("..", "..")
	above := map[string]bool{}
	rooms := map[string][]string{}
	for _, h := range house {
		for _, name := range h.imports {
			if name != "*" && !above[name] {
				t.Errorf("%s may not import %s, which does not stand above it", h.room, name)
			}
		}
		above[h.room], rooms[h.room] = true, h.imports
	}
	for path, imports := range importsBelow(t, root) {
		room := roomOf(path, rooms)
		if room == "" {
			t.Errorf("%s is in no room of the list; add the room and say why it exists", path)
			continue
		}
		for _, name := range imports {
			target := roomOf(name, rooms)
			allowed := rooms[room]
			if target != room && !slices.Contains(allowed, target) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s: not an arrow of the list", path, name)
			}
		}
	}
}

// roomOf finds the room that a package lies in: itself or its nearest parent.
func roomOf(path string, rooms map[string][]string) string {
	for p := path; p != "." && p != "/"; p = filepath.Dir(p) {
		if _, ok := rooms[p]; ok {
			return p
		}
	}
	return ""
}

// importsBelow lists, by package directory, the imports of this module that
// its files make; tests are free to import what they test with.
func importsBelow(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, top := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			dir, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			found[dir] = append(found[dir], nil...)
			for _, spec := range file.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				if rest, ok := strings.CutPrefix(name, module); ok {
					found[dir] = append(found[dir], rest)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) < 5 {
		t.Fatalf("only %d packages found below %s", len(found), root)
	}
	return found
}
