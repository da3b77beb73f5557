package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// making is a cluster whose creation goes on until the test ends it.
func making(name string) *Cluster {
	return &Cluster{Owned: true, docker: docker{os.Environ()}, creation: &creation{done: make(chan struct{}), now: newAttempt(name)}}
}

// text is an archive that can be opened again and again.
func text(s string) func() io.ReadCloser {
	return func() io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }
}

// TestKindFailsTwice has a docker that starts no container: the second attempt
// has a name of its own, both are removed, and the user is told.
func TestKindFailsTwice(t *testing.T) {
	calls := fakeDocker(t, `case "$1" in
run) echo 'docker: Error response from daemon: port is already allocated' >&2; exit 125;;
inspect|exec) exit 1;;
info) echo '{}';;
esac`)
	var said []string
	c, err := Start(t.Context(), Options{Name: "reprise-first", KubeconfigDir: t.TempDir(), Env: os.Environ(), Progress: func(s string) { said = append(said, s) }})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Ready(t.Context())
	var failed *CreateError
	if !errors.As(err, &failed) || failed.Name == "reprise-first" || failed.Name != c.Name() {
		t.Errorf("got %v, want the failure of a second cluster, %s", err, c.Name())
	}
	for _, name := range []string{"reprise-first", c.Name()} {
		if !slices.ContainsFunc(calls(), func(s string) bool { return strings.HasPrefix(s, "rm ") && strings.Contains(s, name) }) {
			t.Errorf("cluster %s was not removed: %q", name, calls())
		}
	}
	if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "trying once more, as cluster "+c.Name()) }) {
		t.Errorf("the user was told %q", said)
	}
	if err := c.LoadImages(t.Context(), text("")); !errors.As(err, &failed) {
		t.Errorf("loading ended with %v, want the failed creation", err)
	}
}

// TestLoadsFollowTheNode loses the node while images are loaded onto it.
func TestLoadsFollowTheNode(t *testing.T) {
	c := making("reprise-a")
	close(c.creation.now.engine)
	var nodes []string
	begun := make(chan struct{})
	p := func(ctx context.Context, onto []string) error {
		nodes = append(nodes, onto...)
		if len(nodes) > 1 {
			return nil
		}
		close(begun)
		return errors.New("the node went away")
	}
	loaded := make(chan error, 1)
	go func() { loaded <- c.load(t.Context(), p) }()
	<-begun
	again := c.creation.renew()
	c.creation.now = newAttempt("reprise-b")
	if len(again) != 1 {
		t.Fatalf("%d loads are to be done again, want the one", len(again))
	}
	if err := again[0](t.Context(), []string{c.node()}); err != nil {
		t.Fatal(err)
	}
	close(c.creation.done)
	if err := <-loaded; err != nil || !slices.Equal(nodes, []string{"reprise-a-control-plane", "reprise-b-control-plane"}) {
		t.Errorf("loaded onto %q, %v; want both nodes", nodes, err)
	}
}

// TestLoadWaitsForTheNextNode asks for a load while the first node has no
// container engine yet, and never will.
func TestLoadWaitsForTheNextNode(t *testing.T) {
	c := making("reprise-a")
	loaded := make(chan error, 1)
	onto := make(chan []string, 1)
	go func() {
		loaded <- c.load(t.Context(), func(_ context.Context, nodes []string) error { onto <- nodes; return nil })
	}()
	c.creation.renew()
	close(c.creation.current().engine)
	if nodes := <-onto; nodes[0] != c.node() {
		t.Errorf("loaded onto %q, want %s", nodes, c.node())
	}
	if err := <-loaded; err != nil {
		t.Error(err)
	}
}

// TestLoadIsTriedTwice has an import that the node refuses the first time.
func TestLoadIsTriedTwice(t *testing.T) {
	for name, tc := range map[string]struct {
		cluster *Cluster
		refuses int
		fails   bool
	}{
		"refused once, on a cluster made here": {making("reprise-a"), 1, false},
		"refused once, on a given cluster":     {&Cluster{nodes: []string{"n"}}, 1, false},
		"refused twice":                        {&Cluster{nodes: []string{"n"}}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.cluster.Owned {
				close(tc.cluster.creation.now.engine)
				close(tc.cluster.creation.done)
			}
			asked := 0
			err := tc.cluster.load(t.Context(), func(context.Context, []string) error {
				if asked++; asked <= tc.refuses {
					return errors.New("content digest not found")
				}
				return nil
			})
			if asked != 2 || (err != nil) != tc.fails {
				t.Errorf("tried %d times, %v", asked, err)
			}
		})
	}
}

// TestBuildTellsTheDaemonFromTheService builds with a docker that fails a few
// times.
func TestBuildTellsTheDaemonFromTheService(t *testing.T) {
	for name, tc := range map[string]struct {
		says   string
		times  int
		builds int
		fails  bool
		daemon bool
	}{
		"the service does not compile": {"main.go:3: undefined: x", 9, 1, true, false},
		"the daemon failed once":       {"rpc error: code = Unavailable desc = closing transport", 1, 2, false, false},
		"the daemon fails":             {"rpc error: code = Unavailable desc = closing transport", 9, 2, true, true},
		"a registry was not reached":   {"failed to resolve source metadata for docker.io/library/alpine: dial tcp: i/o timeout", 9, 2, true, true},
		"no such base image":           {"failed to resolve source metadata for docker.io/library/alpin: not found", 9, 1, true, false},
		"the disk is full":             {"write /out: no space left on device", 9, 2, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			calls := fakeDocker(t, fmt.Sprintf(`n=$(grep -c ^build "$(dirname "$0")/calls"); if [ "$n" -le %d ]; then echo '%s' >&2; exit 1; fi`, tc.times, tc.says))
			err := BuildImage(t.Context(), os.Environ(), Build{Context: t.TempDir(), Dockerfile: "Dockerfile", Ref: "a:1"}, io.Discard)
			if (err != nil) != tc.fails || errors.Is(err, ErrDaemon) != tc.daemon || len(calls()) != tc.builds {
				t.Errorf("%v after %q, want %d builds", err, calls(), tc.builds)
			}
		})
	}
}

// TestRemoveBelievesOnlyDocker removes a container with a docker that fails: only
// its own word that there is none counts as success.
func TestRemoveBelievesOnlyDocker(t *testing.T) {
	for name, tc := range map[string]struct {
		inspect string
		fails   bool
	}{
		"gone already":            {"echo 'Error: No such container: a' >&2; exit 1", false},
		"gone, as newer ones say": {"echo 'error: no such container: a' >&2; exit 1", false},
		"still there":             {"echo a", true},
		"Docker does not answer":  {"echo 'Cannot connect to the Docker daemon' >&2; exit 1", true},
		"Docker takes too long":   {"exec sleep 5", true},
	} {
		t.Run(name, func(t *testing.T) {
			fakeDocker(t, "case $1 in rm) exit 1;; inspect) "+tc.inspect+";; esac")
			limit := 20 * time.Second
			if tc.fails {
				limit = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := (docker{os.Environ()}).remove(ctx, "a"); (err != nil) != tc.fails {
				t.Errorf("got %v", err)
			}
		})
	}
}
