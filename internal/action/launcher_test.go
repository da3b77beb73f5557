package action

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// release is a server of release archives, and the file that names them.
type release struct {
	*httptest.Server
	file     string
	requests []string
}

// publish serves an archive for every platform; sum overrides its checksum.
func publish(t *testing.T, archive []byte, sum string) *release {
	t.Helper()
	r := &release{file: filepath.Join(t.TempDir(), "release.env")}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.requests = append(r.requests, req.URL.Path)
		_, _ = w.Write(archive)
	}))
	t.Cleanup(r.Close)
	if sum == "" {
		digest := sha256.Sum256(archive)
		sum = hex.EncodeToString(digest[:])
	}
	text := "# a comment\nversion=1.2.3\r\n"
	for _, p := range []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64"} {
		text += fmt.Sprintf("sha256_%s=%s\n", p, sum)
	}
	if err := os.WriteFile(r.file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

// archive packs a program that becomes this test binary.
func archive(t *testing.T, name string) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", self)
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(script))}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write([]byte(script)); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// only is a PATH with nothing but the named tools.
func only(t *testing.T, tools ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, tool := range append(tools, "bash", "sh", "cat", "chmod", "cut", "dirname", "head", "mkdir", "mktemp", "mv", "printf", "rm", "sed", "tr", "tar", "gzip", "uname", "sha256sum") {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("%s is missing", tool)
		}
		if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tool adds a script to a PATH made by only.
func tool(t *testing.T, dir, name, script string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestReleaseIsDownloadedOnce(t *testing.T) {
	rel := publish(t, archive(t, "reprise"), "")
	r := newRunner(t)
	read := r.record("ACTION_TEST_VERDICT=pass", "REPRISE_RELEASE_FILE="+rel.file, "PATH="+only(t, "curl"))
	r.inputs["download-url"] = rel.URL + "/mirror"
	r.run(t.Context())
	r.run(t.Context())
	if all := read(); len(all) != 2 || all[0].Args[0] != "run" {
		t.Fatalf("processes %+v\n%s", all, r.log.String())
	}
	if len(rel.requests) != 1 || !strings.HasPrefix(rel.requests[0], "/mirror/v1.2.3/reprise_1.2.3_") {
		t.Errorf("requests %q", rel.requests)
	}
	for _, want := range []string{"using 1.2.3, downloaded and verified", "using 1.2.3 from the tool cache"} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("log says not %q:\n%s", want, r.log.String())
		}
	}
	left, err := filepath.Glob(filepath.Join(r.temp, "tools/reprise/1.2.3/*/download.*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}

func TestADownloadThatIsNotTheReleaseIsRefused(t *testing.T) {
	good := archive(t, "reprise")
	for _, c := range []struct {
		reason  string
		archive []byte
		sum     string
		want    string
	}{
		{"another checksum", good, strings.Repeat("0", 64), "has the checksum"},
		{"cut short, with the checksum of the whole", good[:len(good)/2], sumOf(good), "has the checksum"},
		{"the right checksum of the wrong content", archive(t, "something"), "", "holds no file reprise"},
	} {
		rel := publish(t, c.archive, c.sum)
		r := newRunner(t)
		// Go is there, and must not paper over a wrong download.
		path := only(t, "curl")
		tool(t, path, "go", "echo go was called\nexit 1\n")
		read := r.record("REPRISE_RELEASE_FILE="+rel.file, "PATH="+path)
		r.inputs["download-url"] = rel.URL
		got := r.run(t.Context())
		if !r.failed || got["verdict"] != "error" || len(read()) != 0 || !strings.Contains(r.log.String(), c.want) || strings.Contains(r.log.String(), "go was called") {
			t.Errorf("%s: outputs %v\n%s", c.reason, got, r.log.String())
		}
		if _, err := os.Stat(filepath.Join(r.temp, "tools/reprise/1.2.3")); err == nil {
			if found, _ := filepath.Glob(filepath.Join(r.temp, "tools/reprise/1.2.3/*/.complete")); len(found) > 0 {
				t.Errorf("%s: it is in the tool cache", c.reason)
			}
		}
	}
}

func sumOf(b []byte) string {
	digest := sha256.Sum256(b)
	return hex.EncodeToString(digest[:])
}

func TestBuildFromSource(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := only(t, "curl")
	// The last argument but one of -o is where the binary goes.
	tool(t, path, "go", `echo "go $* in $PWD with GOFLAGS=$GOFLAGS GOWORK=$GOWORK"
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\nexec "`+self+`" "$@"\n' >"$2"
chmod +x "$2"
`)
	r := newRunner(t)
	read := r.record("PATH="+path, "GOFLAGS=-mod=vendor", "GOWORK=/somewhere/go.work") // and no verdict: a cleanup follows
	r.run(t.Context())
	all := read()
	if len(all) != 2 || all[0].Args[0] != "run" || all[1].Args[0] != "cleanup" {
		t.Fatalf("processes %+v\n%s", all, r.log.String())
	}
	log := r.log.String()
	if strings.Count(log, "go build ") != 1 || !strings.Contains(log, "in "+root(t)+" with GOFLAGS=-mod=readonly GOWORK=off") {
		t.Errorf("build:\n%s", log)
	}

	tool(t, path, "go", "echo no such package >&2\nexit 1\n")
	r = newRunner(t)
	read = r.record("PATH=" + path)
	if got := r.run(t.Context()); got["verdict"] != "error" || len(read()) != 0 || !strings.Contains(r.log.String(), "go build of reprise failed") {
		t.Errorf("outputs %v\n%s", got, r.log.String())
	}
}

func TestNothingToStart(t *testing.T) {
	rel := publish(t, archive(t, "reprise"), "")
	odd := only(t, "curl")
	tool(t, odd, "uname", "[ \"$1\" = -s ] && echo Plan9 || echo mips\n")
	down := only(t)
	tool(t, down, "curl", "echo 'curl: (7) Failed to connect' >&2\nexit 7\n")
	for _, c := range []struct{ reason, path, file, url, want string }{
		{"no release, no Go", only(t, "curl"), "/nonexistent", "", "set up Go before this step"},
		{"a release, no curl", only(t), rel.file, rel.URL, "curl is missing"},
		{"a platform without releases", odd, rel.file, rel.URL, "found no reprise for Plan9 mips"},
		{"the server does not answer", down, rel.file, rel.URL, "cannot download"},
	} {
		r := newRunner(t)
		read := r.record("PATH="+c.path, "REPRISE_RELEASE_FILE="+c.file)
		r.inputs["download-url"] = c.url
		got := r.run(t.Context())
		if !r.failed || got["verdict"] != "error" || len(read()) != 0 || !strings.Contains(r.log.String(), c.want) {
			t.Errorf("%s: outputs %v\n%s", c.reason, got, r.log.String())
		}
	}
	r := newRunner(t)
	r.inputs["binary"] = "/nonexistent/reprise"
	r.run(t.Context())
	if !strings.Contains(r.log.String(), "input binary: /nonexistent/reprise is not an executable file") {
		t.Errorf("log %s", r.log.String())
	}
}

func TestShellcheck(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("shellcheck is not installed")
	}
	out, err := exec.CommandContext(t.Context(), "shellcheck", filepath.Join(root(t), ".github/action/launch.sh")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
