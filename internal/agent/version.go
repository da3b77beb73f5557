package agent

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// versionName is the header in which an agent tells its version. Those of before
// it was told have none.
const versionName = "Reprise-Version"

// VersionError says that an agent is not of this version, so that neither may
// understand the other.
type VersionError struct {
	Agent string // "" for one that is too old to tell
	Here  string
}

func (e *VersionError) Error() string {
	there := e.Agent
	if there == "" {
		there = "older than any that tells its version"
	}
	return fmt.Sprintf("the image has a reprise that is %s, and this command is %s: make it anew with reprise agent-image", there, e.Here)
}

// SameVersion returns a [VersionError] when the agent is of another version than
// here. Builds that were never released do not tell one from another.
func SameVersion(ctx context.Context, at Endpoint, here string) error {
	c := newClient(at)
	defer c.http.CloseIdleConnections()
	var there string
	err := c.again(ctx, func() error {
		resp, err := c.answer(ctx, http.MethodGet, "/healthz", nil)
		if err != nil {
			return err
		}
		there = resp.Header.Get(versionName)
		return resp.Body.Close()
	})
	if err != nil {
		return err
	}
	a, b := number(there), number(here)
	if there == "" || a != "" && b != "" && a != b {
		return &VersionError{Agent: there, Here: here}
	}
	return nil
}

// number is the part of a version that tells one from another; "" when it has
// none.
func number(version string) string {
	name, _, _ := strings.Cut(version, " ") // the Go version follows
	if !strings.HasPrefix(name, "v") {
		return ""
	}
	return name
}
