package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// usage tells what the machine did beside a trial, where the system has
// /proc/stat.
type usage struct {
	load        float64
	total, busy float64 // ticks of all processors
	own         float64 // seconds of this process and its children that ended
	at          time.Time
}

func startUsage() usage {
	u := usage{load: loadAverage(), own: ownSeconds(), at: time.Now()}
	u.total, u.busy = processorTicks()
	return u
}

// end returns the load average at the start, and the share of all processors
// that other programs used since; -1 for what is not known.
func (u usage) end() (load, others float64) {
	total, busy := processorTicks()
	if total <= u.total {
		return u.load, -1
	}
	seconds := time.Since(u.at).Seconds()
	// Ticks of all processors in that time make the number of processors.
	perSecond := (total - u.total) / seconds
	own := (ownSeconds() - u.own) / seconds * ticksPerSecond / perSecond
	return u.load, max(0, (busy-u.busy)/(total-u.total)-own)
}

// ticksPerSecond is the unit of /proc/stat on every architecture that Go knows.
const ticksPerSecond = 100

func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	first, _, _ := strings.Cut(string(data), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return -1
	}
	return v
}

func processorTicks() (total, busy float64) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	for i, field := range strings.Fields(line) {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil || i > 8 { // guest time is in user time already
			continue
		}
		total += v
		if i != 4 && i != 5 { // idle, waiting for a disk
			busy += v
		}
	}
	return total, busy
}

// startBursts starts a process that keeps one core busy now and then.
func startBursts(ctx context.Context, seed uint64) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-burst", strconv.FormatUint(seed, 10))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the load beside: %w", err)
	}
	return func() {
		stdin.Close()
		_ = cmd.Wait() // it ends with its input
	}, nil
}

// burst is that process: busy for 0.2 to 2 s, idle for as long, until its
// standard input ends.
func burst(seed uint64) {
	end := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	rng := rand.New(rand.NewPCG(seed, 3))
	span := func() time.Duration { return time.Duration(200+rng.IntN(1800)) * time.Millisecond }
	for {
		for until := time.Now().Add(span()); time.Now().Before(until); {
			spin(1000)
			select {
			case <-end:
				return
			default:
			}
		}
		select {
		case <-end:
			return
		case <-time.After(span()):
		}
	}
}
