// Package fresh renews what has expired since it was recorded: dates, JSON web
// tokens and the keys they are signed with, and the answers of those who issue
// tokens. The replayer renews what clients send, the mock what dependencies
// answer; both hold the keys of one [Issuer], which are made for a run and
// never kept.
package fresh
