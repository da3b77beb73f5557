package cli

import (
	"github.com/spf13/cobra"

	"github.com/reprise-ci/reprise/internal/agent"
)

// newAgent is what runs in the pods that reprise makes; people have no use for
// it.
func newAgent(s Surroundings) *cobra.Command {
	return &cobra.Command{
		Use:       "agent ROLE",
		Short:     "Serve as a pod of a run",
		Hidden:    true,
		ValidArgs: []string{agent.RoleMock, agent.RoleReplay},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			return agent.Run(cmd.Context(), args[0], version(), s.env, s.Stderr)
		},
	}
}
