package fresh

import (
	"bytes"
	"encoding/json"
	"slices"
)

// member is a member of a JSON object: where its value lies in the text.
type member struct {
	name       string
	start, end int
}

// members lists the members of a JSON object in their order, or reports false
// for any other text.
func members(object []byte) ([]member, bool) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') || !json.Valid(object) {
		return nil, false
	}
	var all []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		end := int(d.InputOffset())
		text, _ := name.(string)
		all = append(all, member{text, end - len(value), end})
	}
	return all, true
}

// edit visits the members of a JSON object and puts what change returns in the
// place of their values, as JSON. All other bytes stay. Texts that are no
// object come back as they are.
func edit(object []byte, change func(name string, value []byte) ([]byte, bool)) []byte {
	all, _ := members(object)
	var out []byte
	at := 0
	for _, m := range all {
		if value, ok := change(m.name, object[m.start:m.end]); ok {
			out = append(append(out, object[at:m.start]...), value...)
			at = m.end
		}
	}
	if at == 0 {
		return object
	}
	return append(out, object[at:]...)
}

// SetMember sets a member of a JSON object: in its place if it is there, else
// as the last one. Anything that is no object comes back as it is.
func SetMember(object []byte, name string, value any) []byte {
	literal, err := json.Marshal(value)
	if err != nil {
		return object
	}
	all, ok := members(object)
	if !ok {
		return object
	}
	if slices.ContainsFunc(all, func(m member) bool { return m.name == name }) {
		return edit(object, func(n string, _ []byte) ([]byte, bool) { return literal, n == name })
	}
	key, err := json.Marshal(name)
	if err != nil {
		return object
	}
	end := bytes.LastIndexByte(object, '}')
	out := bytes.Clone(object[:end])
	if len(all) > 0 {
		out = append(out, ',')
	}
	out = append(append(append(out, key...), ':'), literal...)
	return append(out, object[end:]...)
}
