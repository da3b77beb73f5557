package workdir_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/reprise-ci/reprise/internal/workdir"
)

func TestRecordIsReadBack(t *testing.T) {
	d, err := workdir.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Note(workdir.Worktree, "/src/shop"); err != nil {
		t.Fatal(err)
	}
	entries, err := d.Entries()
	if err != nil || len(entries) != 2 || entries[0].Kind != workdir.Owner || !workdir.Alive(entries[0].Value) {
		t.Fatalf("the record starts with its living owner: %v, %v", entries, err)
	}
	if diff := cmp.Diff(workdir.Entry{Kind: workdir.Worktree, Value: "/src/shop"}, entries[1]); diff != "" {
		t.Error(diff)
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.Path()); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestAbandonedFindsOnlyDeadRuns(t *testing.T) {
	parent := t.TempDir()
	living, err := workdir.New(parent)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, record string) string {
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "started"), []byte(record), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dead := write("reprise-dead", "owner 2147483646 12345\nworktree /src/x\n")
	// The id of this very process, but another time of start: the id was
	// handed out again.
	reused := write("reprise-reused", "owner "+strconv.Itoa(os.Getpid())+" 1\n")
	write("reprise-foreign", "something else\n")
	if err := os.Mkdir(filepath.Join(parent, "reprise-empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	dirs, err := workdir.Abandoned(parent)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range dirs {
		got = append(got, d.Path())
	}
	if diff := cmp.Diff([]string{dead, reused}, got); diff != "" {
		t.Errorf("abandoned (and not %s): %s", living.Path(), diff)
	}
}

func TestKillGroupSparesStrangers(t *testing.T) {
	d, err := workdir.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if workdir.KillGroup(strconv.Itoa(cmd.Process.Pid) + " 1") {
		t.Error("a process with another time of start was killed")
	}
	if err := d.NoteProcess(workdir.Group, cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	entries, err := d.Entries()
	if err != nil {
		t.Fatal(err)
	}
	if !workdir.KillGroup(entries[1].Value) {
		t.Error("the recorded group was not killed")
	}
	cmd.Wait()
	if workdir.KillGroup(entries[1].Value) {
		t.Error("a group that is gone was killed")
	}
}
