// Package e2e holds the tests that run the whole of reprise on the example in
// examples/shop, and those that keep the example fit for it. It has no code
// besides its tests.
package e2e
