package sql_test

import (
	"testing"

	"github.com/reprise-ci/reprise/internal/traffic/sql"
)

func TestReads(t *testing.T) {
	for _, tt := range []struct {
		reason, text string
		want         bool
	}{
		{"a question", "select a from t", true},
		{"one in parentheses", "(select a from t) union all (select b from u)", true},
		{"what a name begins with", "with r as (select id from t) select * from r", true},
		{"a change after a name", "with r as (select id from t) delete from u where id in (select id from r)", false},
		{"a change of rows", "update t set a = 1", false},
		{"a look at the tables", "show tables", true},
		{"a procedure may do anything", "call f(1)", false},
		{"a transaction is no question", "begin", false},
	} {
		s, ok := sql.Read(tt.text, true)
		if !ok {
			t.Errorf("%s: %q is not read as SQL", tt.reason, tt.text)
			continue
		}
		if sql.Reads(s.Fingerprint) != tt.want || s.Writes() == tt.want {
			t.Errorf("%s: %q reads: %t, want %t", tt.reason, s.Fingerprint, !tt.want, tt.want)
		}
	}
}

// Two texts that differ in bytes that are no characters differ as values.
func TestValuesKeepBytesApart(t *testing.T) {
	var values []string
	for _, text := range []string{"a\xff", "a\xfe", "a\uFFFD", `<b>"`} {
		s, ok := sql.Read("select a from t where b = '"+text+"'", false)
		if !ok {
			t.Fatalf("%q is not read as SQL", text)
		}
		values = append(values, string(s.Values))
	}
	want := []string{`["a\ufffdff"]`, `["a\ufffdfe"]`, "[\"a\uFFFD\"]", `["<b>\""]`}
	for i := range want {
		if values[i] != want[i] {
			t.Errorf("value %d: %s, want %s", i, values[i], want[i])
		}
	}
}
