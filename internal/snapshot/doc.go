// Package snapshot is the form of recorded traffic on disk: a manifest,
// digests of everything, and the exchanges themselves in one of two tiers.
//
// The text tier is a directory that people review in a pull request:
//
//	manifest.yaml                            what this is, counts, digests
//	inbound/GET_v1_orders_{id}.http          one file per endpoint of the service
//	outbound/payments.example/POST_charges.http   one file per endpoint of a dependency
//	bodies/0f1e….json                        large and binary bodies, by content
//
// Nothing is stored that was not redacted: [NewWriter] takes the redactor as a
// required argument and calls it before a byte reaches the disk. Reading
// streams in order of time, and what is written comes back exactly, every
// header line and every byte of a compressed body included.
//
// A snapshot may come from a stranger's pull request. Readers take no path
// from it that leads elsewhere, follow no symbolic link, and bound what they
// keep in memory.
package snapshot
