// Package sql tells SQL from other texts and takes it apart into what is asked and
// the values that it is asked with, for those who match calls and those who
// compare them.
package sql
