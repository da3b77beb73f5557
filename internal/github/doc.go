// Package github is all that reprise knows of GitHub: the event that started a
// run, the inputs of the action, its outputs, summary, log groups, masks and
// annotations, and the one comment that a pull request gets.
//
// Nothing in it is needed to run reprise elsewhere, and nothing in it may fail
// a run: where GitHub refuses, the caller gets a typed error that says what is
// missing, and goes on.
package github
