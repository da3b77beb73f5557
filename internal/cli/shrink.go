package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/snapshot"
)

func newShrink(s Surroundings) *cobra.Command {
	var size string
	var budget time.Duration
	cmd := &cobra.Command{
		Use:   "shrink SNAPSHOT SMALLER",
		Short: "Keep the smallest part of a snapshot that shows the same",
		Long: `Write a smaller snapshot that covers the same endpoints, statuses, shapes of
bodies and shapes of calls. A request stays together with the calls that it
caused, and with the requests whose answers it uses. Where --size or --budget
leave no room for that, what is let go is listed, the most important first.`,
		Example: `  reprise shrink snapshots/shop snapshots/shop-small
  reprise shrink full.rpk snapshots/shop --size 500KiB --budget 30s`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts := snapshot.ShrinkOptions{Budget: budget}
			var err error
			if opts.Size, err = parseBytes(size); err != nil {
				return badInput(fmt.Errorf("--size: %w", err))
			}
			if budget < 0 {
				return badInput(fmt.Errorf("--budget %s: must not be negative", budget))
			}
			dst := s.abs(args[1])
			if _, err := os.Lstat(dst); err == nil {
				return badInput(fmt.Errorf("%s exists already; name another place", args[1]))
			}
			shrunk, err := snapshot.Shrink(s.abs(args[0]), dst, opts)
			if err != nil {
				return badInput(err)
			}
			return writeShrunk(cmd.OutOrStdout(), shrunk)
		},
	}
	cmd.Flags().StringVar(&size, "size", "", "most bytes of requests and responses together, such as 500KiB")
	cmd.Flags().DurationVar(&budget, "budget", 0, "most time that the recorded requests took together")
	return cmd
}

func writeShrunk(w io.Writer, s snapshot.Shrunk) error {
	fmt.Fprintf(w, "before: %s\nafter:  %s\n", extent(s.Before), extent(s.After))
	if len(s.LetGo) == 0 {
		_, err := fmt.Fprintln(w, "everything that it showed is still there")
		return err
	}
	_, err := fmt.Fprintf(w, "let go (%d):\n", len(s.LetGo))
	for _, c := range s.LetGo {
		_, more := fmt.Fprintf(w, "  %s: %s (%d)\n", c.Kind, c.Name, c.Count)
		err = errors.Join(err, more)
	}
	return err
}

func extent(e snapshot.Extent) string {
	return fmt.Sprintf("%d exchanges, %s, %s", e.Exchanges, byteSize(e.Bytes), e.Time.Round(time.Millisecond))
}

// parseBytes reads a size such as 500KiB; empty is zero.
func parseBytes(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number, factor := text, int64(1)
	for _, unit := range []struct {
		name string
		size int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}} {
		if n, ok := strings.CutSuffix(text, unit.name); ok {
			number, factor = n, unit.size
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n <= 0 || n > (1<<62)/factor {
		return 0, fmt.Errorf("%q is no size; write a whole number of bytes, KiB, MiB, GiB, kB, MB or GB", text)
	}
	return n * factor, nil
}
