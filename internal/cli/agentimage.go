package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/agent"
)

func newAgentImage(s Surroundings) *cobra.Command {
	var output, executable string
	cmd := &cobra.Command{
		Use:   "agent-image [REF]",
		Short: "Push the image of reprise that target kubernetes runs",
		Long: `Make the image that the pods of a run use, from this executable alone, and push it
to a registry under the name REF, with the credentials that docker login stored.
The name with its digest is printed; give it to agent-image of reprise.yaml. With
--output the image is written to a file for docker load instead.

Clusters that reprise makes, and kind clusters of this machine, need none of this.`,
		Example: `  reprise agent-image registry.example.com/tools/reprise:1.4
  reprise agent-image --output reprise.tar`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&output, "output", "", "file that the image is written to")
	cmd.Flags().StringVar(&executable, "executable", "", "static Linux build of reprise to put into it; this one if empty")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (len(args) == 0) == (output == "") {
			return badInput(fmt.Errorf("give either the name to push to or --output"))
		}
		if executable == "" {
			var err error
			if executable, err = os.Executable(); err != nil {
				return fmt.Errorf("find the running executable: %w", err)
			}
		} else if !filepath.IsAbs(executable) {
			executable = filepath.Join(s.Dir, executable)
		}
		image, err := agent.NewImage(executable)
		if err != nil {
			return badInput(err)
		}
		if output == "" {
			ref, err := image.Push(cmd.Context(), args[0])
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), ref)
			}
			return err
		}
		if !filepath.IsAbs(output) {
			output = filepath.Join(s.Dir, output)
		}
		return writeImage(image, output)
	}
	return cmd
}

func writeImage(image *agent.Image, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the agent image: %w", err)
	}
	archive := image.Archive()
	defer archive.Close()
	_, err = io.Copy(f, archive)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write the agent image: %w", err)
	}
	return nil
}
