//go:build !linux

package mock

// preferHugePages does nothing where pages cannot be asked for.
func preferHugePages[T any]([]T) {}
