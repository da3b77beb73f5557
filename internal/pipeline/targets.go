package pipeline

// newTarget picks the target that the options ask for.
func (r *run) newTarget() target {
	if r.options.Process != nil {
		return newLocal(r)
	}
	return newOnCluster(r)
}
