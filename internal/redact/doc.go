// Package redact makes an exchange safe to keep, before a byte of it reaches a
// disk.
//
// It replaces credentials and personal data by pseudonyms: an e-mail address
// stays an e-mail address, a card number keeps its length and its check digit,
// a JWT stays a JWT with its times and its claims that are about nobody. A
// pseudonym is made from the value with a secret key, so equal values have
// equal pseudonyms wherever they stand (header, cookie, path, query, body;
// inbound and outbound), which is what matching, correlation and validation
// live from. Without the key nobody can try values against them.
//
// Pseudonyms lie in ranges that no real value uses or carry a check of their
// own, so they are recognised without the key: redacting twice changes nothing,
// and a scan does not report them.
//
// Identifiers, amounts and times are left alone: they are what recorded and
// replayed traffic is matched by.
package redact
