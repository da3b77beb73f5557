package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// saveTrial writes a trial as a file of its own below dir, whole or not at all.
func saveTrial(dir string, t trial) error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("store a trial: %w", err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		return fmt.Errorf("store a trial: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("store a trial: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("store a trial: %w", err)
	}
	name := filepath.Join(dir, fmt.Sprintf("%s-%d.json.gz", t.Started.Format("20060102T150405.000"), t.Seed))
	if err := os.WriteFile(name+".part", packed.Bytes(), 0o644); err != nil {
		return fmt.Errorf("store a trial: %w", err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		return fmt.Errorf("store a trial: %w", err)
	}
	return nil
}

// eachTrial reads the trials below dir in the order of their time.
func eachTrial(dir string, f func(trial) error) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.json.gz"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		t, err := readTrial(name)
		if err != nil {
			return fmt.Errorf("trial %s: %w", name, err)
		}
		if err := f(t); err != nil {
			return fmt.Errorf("trial %s: %w", name, err)
		}
	}
	return nil
}

func readTrial(name string) (t trial, err error) {
	file, err := os.Open(name)
	if err != nil {
		return t, err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return t, err
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(data, &t)
}

// newSeed is different for each trial of a machine; the seed of a trial is
// stored with it.
func newSeed() uint64 { return uint64(time.Now().UnixNano()) }
