//go:build !linux

package mock

import "errors"

const floorEnv = "REPRISE_BENCH_FLOOR"

// floor is a peer that waits for its connections as only Linux can.
func floor() peer { return peer{name: "floor", needs: []string{"epoll"}} }

func serveFloor(string) error { return errors.ErrUnsupported }
