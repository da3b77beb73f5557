//go:build !unix

package replay

import "net"

// direct returns c: blocking sockets are not used on this system.
func direct(c net.Conn) net.Conn { return c }
