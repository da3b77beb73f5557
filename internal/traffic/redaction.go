package traffic

// RedactionInfo says how a set of exchanges was made safe to keep. It stands
// in the manifest of a snapshot, so it never holds a key or a value.
type RedactionInfo struct {
	// Version names the rules and the form of the pseudonyms
	// ("reprise.redact/v1").
	Version string `json:"version" yaml:"version"`
	// KeyID tells two keys apart without giving either away: snapshots with
	// the same id have the same pseudonyms for the same values.
	KeyID string `json:"key_id" yaml:"key_id"`
}
