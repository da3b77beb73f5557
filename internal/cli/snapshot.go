package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/snapshot"
)

func newSnapshot(s Surroundings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Check a snapshot, or convert it between its two tiers",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotVerify(s), newSnapshotConvert(s, "pack"), newSnapshotConvert(s, "unpack"),
		newSnapshotRecover(s), newSnapshotCat(s))
	return cmd
}

func newSnapshotVerify(s Surroundings) *cobra.Command {
	return &cobra.Command{
		Use:     "verify SNAPSHOT...",
		Short:   "Read whole snapshots and check every digest, count and exchange",
		Example: `  reprise snapshot verify snapshots/shop`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var mistakes []error
			for _, path := range args {
				m, err := verify(s.abs(path))
				if err != nil {
					mistakes = append(mistakes, fmt.Errorf("%s: %w", path, err))
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d inbound and %d outbound exchanges, %s\n", path, m.Inbound, m.Outbound, m.Digest)
			}
			return badInput(errors.Join(mistakes...))
		},
	}
}

func verify(path string) (snapshot.Manifest, error) {
	reader, err := snapshot.Open(path)
	if err != nil {
		return snapshot.Manifest{}, err
	}
	return reader.Manifest(), errors.Join(reader.Verify(), reader.Close())
}

// newSnapshotConvert makes the commands pack and unpack.
func newSnapshotConvert(s Surroundings, verb string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pack SNAPSHOT [FILE.rpk]",
		Short:   "Write a snapshot as one packed file",
		Long:    "Write a snapshot as one packed file, by default beside it with the ending .rpk.\nUnpacking it gives the same exchanges, counts and layout.",
		Example: `  reprise snapshot pack snapshots/shop shop.rpk`,
		Args:    cobra.RangeArgs(1, 2),
	}
	convert := snapshot.Pack
	if verb == "unpack" {
		cmd.Use, cmd.Short = "unpack SNAPSHOT [DIR]", "Write a snapshot as a directory that people can review"
		cmd.Long = "Write a packed snapshot as a directory, by default beside it without its ending."
		cmd.Example = `  reprise snapshot unpack shop.rpk snapshots/shop`
		convert = snapshot.Unpack
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		src := s.abs(args[0])
		dst := strings.TrimSuffix(src, ".rpk")
		if verb == "pack" {
			dst = src + ".rpk"
		}
		if len(args) == 2 {
			dst = s.abs(args[1])
		}
		if _, err := os.Lstat(dst); err == nil {
			return badInput(fmt.Errorf("%s exists already; name another place", dst))
		}
		m, err := convert(src, dst)
		if err != nil {
			return badInput(err)
		}
		fmt.Fprintf(s.Stderr, "%s: %d inbound and %d outbound exchanges\n", dst, m.Inbound, m.Outbound)
		return nil
	}
	return cmd
}

func newSnapshotRecover(s Surroundings) *cobra.Command {
	return &cobra.Command{
		Use:   "recover SNAPSHOT",
		Short: "Make a snapshot of a recording that was cut off",
		Long: `Make a snapshot of a recording that was cut off, up to the last part that is
whole. SNAPSHOT is the place that the recording was to become.`,
		Example: `  reprise snapshot recover snapshots/shop`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := snapshot.Recover(s.abs(args[0]))
			if err != nil {
				return badInput(err)
			}
			fmt.Fprintf(s.Stderr, "%s: %d inbound and %d outbound exchanges\n", args[0], m.Inbound, m.Outbound)
			return nil
		},
	}
}

func newSnapshotCat(s Surroundings) *cobra.Command {
	return &cobra.Command{
		Use:   "cat SNAPSHOT",
		Short: "Print a snapshot as text, so that git can show how a packed one changed",
		Example: `  reprise snapshot cat shop.rpk
  echo '*.rpk diff=reprise' >> .gitattributes
  git config diff.reprise.textconv 'reprise snapshot cat'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			dir, err := os.MkdirTemp(tempDir(s), "reprise-cat-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			text := filepath.Join(dir, "snapshot")
			if _, err := snapshot.Unpack(s.abs(args[0]), text); err != nil {
				return badInput(err)
			}
			return catFiles(cmd.OutOrStdout(), text)
		},
	}
}

// catFiles prints the files of the endpoints in order of their names.
func catFiles(w io.Writer, dir string) error {
	return filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".http" {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", bytes.TrimRight(data, "\n"))
		return err
	})
}
