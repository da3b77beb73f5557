package pipeline

import "errors"

// newTarget picks the target that the options ask for.
func (r *run) newTarget() (target, error) {
	if r.options.Process != nil {
		return newLocal(r), nil
	}
	return nil, badInput("check the target", errors.New("target: only process works in this build"))
}
