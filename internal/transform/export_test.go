package transform

// Remember sets how many identities and browsers are remembered.
func (w *Windows) Remember(identities, browsers int) { w.most, w.browsers.most = identities, browsers }

// Remembered returns how many identities and browsers are remembered.
func (w *Windows) Remembered() (identities, browsers int) {
	return max(len(w.known), len(w.l.used), len(w.l.own), len(w.l.given)), max(len(w.browsers.seen), len(w.browsers.names))
}
