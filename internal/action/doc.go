// Package action holds the tests of action.yml and of its launcher: they read
// the action as GitHub's runner does and run its steps with bash, in the
// environment that a runner gives, and in the one of act. It has no code
// besides its tests.
package action
