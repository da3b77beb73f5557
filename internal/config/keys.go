package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Key is one setting that a flag or an input can give.
type Key struct {
	Path    string // as in the file, "latency.budget"
	Doc     string // one sentence without a full stop
	Default string // as it would be written; lists are joined by commas
	List    bool   // it takes many values
	Bool    bool
}

// Flag is the name of the key as a flag and as an input of the action.
func (k Key) Flag() string { return strings.ReplaceAll(k.Path, ".", "-") }

// Keys lists all settings that a flag can give, in the order of the
// documentation.
func Keys() []Key {
	var keys []Key
	walk(reflect.ValueOf(Default()).Elem(), "", func(path string, field reflect.StructField, v reflect.Value) {
		keys = append(keys, Key{
			Path: path, Doc: field.Tag.Get("doc"), Default: text(v),
			List: v.Kind() == reflect.Slice, Bool: v.Kind() == reflect.Bool,
		})
	})
	return keys
}

// Assign gives a key its values, as a flag or an input does: it replaces what the
// file said. Keys that are no list take exactly one value.
func (c *Config) Assign(path string, values ...string) error {
	err := fmt.Errorf("unknown key %q", path)
	walk(reflect.ValueOf(c).Elem(), "", func(p string, _ reflect.StructField, v reflect.Value) {
		if p == path {
			err = write(v, values)
		}
	})
	return err
}

// Get returns the text of a key, lists joined by commas, "" when unknown.
func (c *Config) Get(path string) string {
	got := ""
	walk(reflect.ValueOf(c).Elem(), "", func(p string, _ reflect.StructField, v reflect.Value) {
		if p == path {
			got = text(v)
		}
	})
	return got
}

// walk visits the fields that have a doc tag, those of nested sections
// included.
func walk(v reflect.Value, prefix string, visit func(path string, field reflect.StructField, v reflect.Value)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		path := prefix + field.Tag.Get("yaml")
		switch {
		case field.Tag.Get("doc") != "":
			visit(path, field, v.Field(i))
		case field.Type.Kind() == reflect.Struct:
			walk(v.Field(i), path+".", visit)
		}
	}
}

func write(v reflect.Value, values []string) error {
	if v.Kind() == reflect.Slice {
		v.Set(reflect.ValueOf(append([]string(nil), values...)))
		return nil
	}
	if len(values) != 1 {
		return fmt.Errorf("takes one value, not %d", len(values))
	}
	s := values[0]
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		switch s {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return fmt.Errorf("%q is neither true nor false", s)
		}
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", s)
		}
		v.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", s)
		}
		v.SetFloat(n)
	default:
		return errors.New("can be given only in the file")
	}
	return nil
}

func text(v reflect.Value) string {
	if list, ok := v.Interface().([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(v.Interface())
}
