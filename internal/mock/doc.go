// Package mock stands in for every dependency of a service: it answers calls
// from recorded ones, keeps a journal of what was asked, and accounts for it.
//
// The listener ([Mock.Serve]) speaks protocols and knows nothing of matching;
// the matcher takes a request and returns the recorded exchange that answers
// it, or a miss. Matching goes by hashes of a canonical form, in tiers, and
// each answer is labelled with its tier. State is kept per pass and lane, so
// that concurrent lanes never take each other's answers.
//
// There is no code path to a real dependency. The forwarder for names inside
// a cluster ([Mock.ServeDNS]) is the only thing here that dials.
package mock
