package snapshot

import (
	"bytes"
	"encoding/json"
)

// prettyJSON returns raw with one member a line, and the name of the way back
// from there, or false when there is none that gives raw again byte by byte.
func prettyJSON(raw []byte) (pretty []byte, form string, ok bool) {
	if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' || !json.Valid(raw) {
		return nil, "", false
	}
	var buf bytes.Buffer
	if json.Indent(&buf, raw, "", "  ") != nil {
		return nil, "", false
	}
	pretty = buf.Bytes()
	for _, form := range []string{formJSON, formJSONSpaced} {
		if back, err := unprettyJSON(pretty, form); err == nil && bytes.Equal(back, raw) {
			return pretty, form, true
		}
	}
	return nil, "", false
}

// unprettyJSON undoes prettyJSON: no space outside strings, or for the spaced
// form one after each comma and colon.
func unprettyJSON(pretty []byte, form string) ([]byte, error) {
	if !json.Valid(pretty) {
		return nil, errNotJSON
	}
	out := make([]byte, 0, len(pretty))
	for i := 0; i < len(pretty); i++ {
		switch c := pretty[i]; c {
		case ' ', '\t', '\r', '\n':
		case ',', ':':
			out = append(out, c)
			if form == formJSONSpaced {
				out = append(out, ' ')
			}
		case '"':
			end := i + 1
			for ; pretty[end] != '"'; end++ { // ends: the text is valid JSON
				if pretty[end] == '\\' {
					end++
				}
			}
			out = append(out, pretty[i:end+1]...)
			i = end
		default:
			out = append(out, c)
		}
	}
	return out, nil
}
