package pipeline

// chaosPass is what was seen of base and head while their dependencies went
// wrong in the same way.
type chaosPass struct{ base, head *observation }
