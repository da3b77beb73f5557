//go:build !linux

package replay

import "context"

// runLoop reports that this system has no event loop here; the transport with
// a goroutine for each connection serves every target.
func (e *Engine) runLoop(context.Context, *driver) (bool, error) { return false, nil }
