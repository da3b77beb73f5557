// Command reprise replays recorded production traffic against two versions of
// a service and says what changed.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/reprise-ci/reprise/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the run in good order; a second one kills.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args[1:], cli.System()))
}
