// Package workdir is the directory of one run, and the record of what the run
// has started that must not outlive it. Everything is written down before it
// is made, so that `reprise cleanup` can remove what a killed run left, and
// only that.
package workdir

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// prefix starts the name of every run's directory.
const prefix = "reprise-"

// ledger is the file that holds the record, one line an entry.
const ledger = "started"

// Kind is what an entry of the record names.
type Kind string

// The kinds of things that a run starts. Clusters that it makes are not among
// them: they carry the mark of their owner themselves.
const (
	Owner    Kind = "owner"    // the run itself: "pid starttime"
	Group    Kind = "group"    // a process group: "pgid starttime"
	Worktree Kind = "worktree" // the repository that a worktree below the directory belongs to
	// Namespaces are those of the run on a cluster that stays, as JSON.
	Namespaces Kind = "namespaces"
)

// Entry is one line of the record.
type Entry struct {
	Kind  Kind
	Value string
}

// Dir is the directory of one run. It is safe for concurrent use.
type Dir struct {
	path string
	mu   sync.Mutex
}

// New makes a directory below parent for the calling process. Only its owner
// may read it: logs and bodies pass through it.
func New(parent string) (*Dir, error) {
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, fmt.Errorf("make the run's directory: %w", err)
	}
	// Paths are compared with what git and /proc report, which are resolved.
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	d := &Dir{path: path}
	if err := d.NoteProcess(Owner, os.Getpid()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	return d, nil
}

// Path joins names to the directory.
func (d *Dir) Path(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

// Note records that a thing is about to be made.
func (d *Dir) Note(kind Kind, value string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := os.OpenFile(d.Path(ledger), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("record %s %s: %w", kind, value, err)
	}
	_, err = fmt.Fprintf(f, "%s %s\n", kind, value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("record %s %s: %w", kind, value, err)
	}
	return nil
}

// NoteProcess records a process, or its group, by id and time of start, so
// that a later process that got the same id is never taken for it.
func (d *Dir) NoteProcess(kind Kind, pid int) error {
	return d.Note(kind, strconv.Itoa(pid)+" "+startTime(pid))
}

// Entries reads the record back, the oldest first. A torn last line is left
// out.
func (d *Dir) Entries() ([]Entry, error) {
	f, err := os.Open(d.Path(ledger))
	if err != nil {
		return nil, fmt.Errorf("read the run's record: %w", err)
	}
	defer f.Close()
	var entries []Entry
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if kind, value, ok := strings.Cut(lines.Text(), " "); ok {
			entries = append(entries, Entry{Kind(kind), value})
		}
	}
	return entries, nil
}

// Remove deletes the directory and everything in it.
func (d *Dir) Remove() error {
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("remove the run's directory: %w", err)
	}
	return nil
}

// Abandoned returns the directories below parent whose runs have ended without
// removing them. Directories of other makers, and of other users, are left
// out.
func Abandoned(parent string) ([]*Dir, error) {
	paths, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return nil, err
	}
	var dirs []*Dir
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Getuid() {
			continue
		}
		d := &Dir{path: path}
		entries, err := d.Entries()
		if err != nil || len(entries) == 0 || entries[0].Kind != Owner || Alive(entries[0].Value) {
			continue
		}
		dirs = append(dirs, d)
	}
	return dirs, nil
}

// Alive reports whether the process that NoteProcess recorded as value still
// runs.
func Alive(value string) bool {
	id, started, _ := strings.Cut(value, " ")
	pid, err := strconv.Atoi(id)
	return err == nil && pid > 0 && started == startTime(pid) && syscall.Kill(pid, 0) == nil
}

// KillGroup ends the process group that NoteProcess recorded, if its leader is
// still the same process, and reports whether it did.
func KillGroup(value string) bool {
	if !Alive(value) {
		return false
	}
	id, _, _ := strings.Cut(value, " ")
	pgid, err := strconv.Atoi(id)
	return err == nil && pgid > 1 && syscall.Kill(-pgid, syscall.SIGKILL) == nil
}

// startTime returns what /proc says of when a process began, in clock ticks
// since boot, or "-" where there is no such file.
func startTime(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "-"
	}
	// The command name, in parentheses, may hold spaces; starttime is the
	// 22nd field of the line and so the 20th after it (proc(5)).
	_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "-"
	}
	return fields[19]
}
