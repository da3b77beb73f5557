package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
)

// ReadLimit is the size that a report may have: far above any real one, far
// below what would hurt a reader.
const ReadLimit = 32 << 20

// ErrTooLarge is wrapped by errors of [ReadJSON] for input over [ReadLimit].
var ErrTooLarge = errors.New("report is too large")

// WriteJSON writes the document as indented JSON of schema [SchemaV1]. Figures
// that are no numbers, which JSON cannot hold, become 0, which means "not
// measured" everywhere in a report; lists that are nil become empty ones.
func (d *Document) WriteJSON(w io.Writer) error {
	out := *d
	out.Schema = SchemaV1
	cleanValue := reflect.ValueOf(&out).Elem()
	clean(cleanValue)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(true)
	if err := enc.Encode(&out); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// clean makes a value fit for JSON, copying every slice, map and pointer that
// it changes.
func clean(v reflect.Value) {
	switch v.Kind() {
	case reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			v.SetFloat(0)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				clean(v.Field(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			clean(v.Index(i))
		}
	case reflect.Slice:
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		for i := range c.Len() {
			clean(c.Index(i))
		}
		v.Set(c)
	case reflect.Map:
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(it.Value())
			clean(e)
			c.SetMapIndex(it.Key(), e)
		}
		v.Set(c)
	case reflect.Pointer:
		if !v.IsNil() {
			c := reflect.New(v.Type().Elem())
			c.Elem().Set(v.Elem())
			clean(c.Elem())
			v.Set(c)
		}
	}
}

// ReadJSON reads one document and refuses what is not one: another schema,
// unknown keys, an unknown verdict, anything behind it, or more than
// [ReadLimit] bytes. What it returns may still come from a stranger.
func ReadJSON(r io.Reader) (*Document, error) {
	data, err := io.ReadAll(io.LimitReader(r, ReadLimit+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(data) > ReadLimit {
		return nil, fmt.Errorf("read report: %w: over %d bytes", ErrTooLarge, ReadLimit)
	}
	// The schema comes first: keys of a newer one would only confuse.
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if head.Schema != SchemaV1 {
		return nil, fmt.Errorf("read report: schema is %q, this version reads %q", visible(head.Schema, 60), SchemaV1)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	d := new(Document)
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return d, nil
}
