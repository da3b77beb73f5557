package traffic

// Values are the values of one header field of a mock rule, in the order in
// which they are sent, a line each. In YAML one value is a text, several are a
// list.
type Values []string

// UnmarshalYAML takes a text or a list of texts.
func (v *Values) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*v = Values{one}
		return nil
	}
	return unmarshal((*[]string)(v))
}

// MarshalYAML writes what UnmarshalYAML reads.
func (v Values) MarshalYAML() (any, error) {
	if len(v) == 1 {
		return v[0], nil
	}
	return []string(v), nil
}
