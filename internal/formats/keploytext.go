package formats

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// keployText is a body: a text, or the chunks of a stream, which Keploy writes
// as a list of fields with the time of each.
type keployText struct {
	text   string
	chunks [][]keployField
}

type keployField struct{ key, value string }

// UnmarshalText takes the text of JSON, which knows no chunks.
func (t *keployText) UnmarshalText(text []byte) error {
	t.text = string(text)
	return nil
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *keployText) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.SequenceNode {
		return node.Decode(&t.text)
	}
	for _, item := range node.Content {
		var chunk struct {
			Data yaml.Node `yaml:"data"`
		}
		if err := item.Decode(&chunk); err != nil {
			return err
		}
		fields := []keployField{}
		if chunk.Data.Kind == yaml.MappingNode { // names may repeat
			for i := 0; i+1 < len(chunk.Data.Content); i += 2 {
				var f keployField
				if err := chunk.Data.Content[i].Decode(&f.key); err != nil {
					return err
				}
				if err := chunk.Data.Content[i+1].Decode(&f.value); err != nil {
					return err
				}
				fields = append(fields, f)
			}
		}
		t.chunks = append(t.chunks, fields)
	}
	return nil
}

// plain returns the body as it was sent, as far as its chunks tell: events of a
// text/event-stream, else lines. Keploy trims the end of a stream; an event
// ends with an empty line, so that one is put back.
func (t keployText) plain(header traffic.Header) []byte {
	if t.chunks == nil {
		return []byte(t.text)
	}
	events := traffic.MediaType(header) == "text/event-stream"
	var b strings.Builder
	for i, chunk := range t.chunks {
		if !events {
			if i > 0 {
				b.WriteByte('\n')
			}
			if len(chunk) > 0 {
				b.WriteString(chunk[0].value)
			}
			continue
		}
		for _, field := range chunk {
			if field.key != "comment" {
				b.WriteString(field.key)
			}
			b.WriteString(":" + field.value + "\n")
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}
