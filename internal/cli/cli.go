// Package cli is the command line: one file a command. It turns arguments
// into options, calls the rooms, and turns what comes back into words, hints
// and exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit codes. What the runner broke never looks like a regression.
const (
	exitOK        = 0   // the gates hold, or the run could not tell
	exitGate      = 1   // a gate failed
	exitConfig    = 2   // the configuration or the input is wrong; nothing was started
	exitInfra     = 3   // Docker, the cluster, the network or the machine failed
	exitCancelled = 130 // a signal ended the run
)

// Surroundings are what the program touches of its process, so that tests run
// it with their own.
type Surroundings struct {
	Environ        []string
	Dir            string // the working directory
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal says that Stderr is a terminal that a person looks at, Width
	// how many columns it has.
	Terminal bool
	Width    int
}

// System returns the surroundings of this process.
func System() Surroundings {
	s := Surroundings{Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Width: 100}
	s.Dir, _ = os.Getwd() // without one, relative paths fail with their own error
	// act gives its steps a terminal that nobody looks at.
	if s.env("CI") == "" && s.env("GITHUB_ACTIONS") == "" && s.env("ACT") == "" && s.env("TERM") != "dumb" {
		if fd := int(os.Stderr.Fd()); term.IsTerminal(fd) {
			s.Terminal = true
			if width, _, err := term.GetSize(fd); err == nil && width > 0 {
				s.Width = width
			}
		}
	}
	return s
}

// env returns a variable of the environment, "" when it is not set.
func (s Surroundings) env(name string) string {
	for _, e := range s.Environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// failure is an error with the exit code it means and, where there is one, a
// hint how to go on.
type failure struct {
	code int
	hint string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// badInput marks an error of configuration or input.
func badInput(err error) error {
	if err == nil {
		return nil
	}
	return &failure{code: exitConfig, err: err}
}

// errSilent ends the program with a code when all has been said already.
type errSilent int

func (e errSilent) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Run runs one command line and returns its exit code. It prints errors to
// Stderr; data goes to Stdout.
func Run(ctx context.Context, args []string, s Surroundings) int {
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(s.Stdin)
	root.SetOut(s.Stdout)
	root.SetErr(s.Stderr)
	err := root.ExecuteContext(ctx)
	var silent errSilent
	var failed *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return int(silent)
	case ctx.Err() != nil:
		fmt.Fprintln(s.Stderr, "reprise: cancelled")
		return exitCancelled
	case errors.As(err, &failed):
		printError(s.Stderr, err)
		if failed.hint != "" {
			fmt.Fprintf(s.Stderr, "hint: %s\n", failed.hint)
		}
		return failed.code
	default:
		printError(s.Stderr, err)
		return exitInfra
	}
}

// printError writes every error of a join on a line of its own.
func printError(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "reprise: %s\n", strings.TrimRight(line, "\n"))
	}
}

func newRoot(s Surroundings) *cobra.Command {
	root := &cobra.Command{
		Use:   "reprise",
		Short: "Replay recorded production traffic against every pull request",
		Long: `reprise deploys the base and the head of a change side by side, stands in for
every dependency with recorded answers, replays recorded traffic against both,
and says which responses and outbound calls changed and what got slower.

Exit codes: 0 the gates hold or the run could not tell, 1 a gate failed,
2 wrong configuration or input, 3 the infrastructure failed, 130 cancelled.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &failure{code: exitConfig, err: err, hint: cmd.CommandPath() + " --help lists the flags"}
	})
	root.AddCommand(
		newRun(s), newRecord(s), newMock(s), newComment(s), newGate(s), newCleanup(s), newVersion(),
		newAgent(s), newAgentImage(s), newInspect(s), newSnapshot(s), newScan(s),
		newImport(s), newExport(s), newShrink(s), newReplay(s), newAccept(s), newRepro(s), newExplain(s),
	)
	asInput(root)
	return root
}

// asInput makes wrong arguments of a command and its children an error of
// input.
func asInput(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error { return badInput(check(cmd, args)) }
	}
	for _, child := range cmd.Commands() {
		asInput(child)
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "reprise "+version())
			return err
		},
	}
}

// release is the version of a release, set by its linker and by nobody else: a
// release is tagged after it was built, so Go cannot know it.
var release string

// version is the release, or what the Go toolchain recorded about this build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := release
	if v == "" {
		v = info.Main.Version
	}
	if v == "" {
		v = "(devel)"
	}
	return v + " " + info.GoVersion
}
