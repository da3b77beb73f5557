package compare_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/compare"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// asked returns the fingerprint and the values of a text that is the body of a
// request to an SQL service, declared as such.
func asked(text string) (fingerprint string, values []string) {
	x := call("POST", "http://db/", text, "Content-Type: application/sql")
	for p, v := range (compare.Reading{}).RequestValues(x) {
		switch s := p.String(); {
		case s == "request.body.statement":
			fingerprint = v
		case strings.HasPrefix(s, "request.body.values"):
			values = append(values, strings.TrimPrefix(s, "request.body.values")+"="+v)
		}
	}
	return fingerprint, values
}

func TestFingerprints(t *testing.T) {
	for _, tt := range []struct {
		reason, text, want, values string
	}{
		{"literals are values", "SELECT * FROM users WHERE id = 1 AND name = 'it''s'", "SELECT * FROM users WHERE id = ? AND name = ?", "[0]=1 [1]=it's"},
		{"spaces, case and comments mean nothing", "select  *\n from users -- all\n where /* one */ id=1;", "SELECT * FROM users WHERE id = ?", "[0]=1"},
		{"the length of a list after IN means nothing", "select a from t where id in (1,2,3)", "SELECT a FROM t WHERE id IN (?)", "[0][0]=1 [0][1]=2 [0][2]=3"},
		{"one element is a list too", "select a from t where id in (1)", "SELECT a FROM t WHERE id IN (?)", "[0][0]=1"},
		{"a list of tuples", "select a from t where (x, y) in ((1,2),(3,4))", "SELECT a FROM t WHERE (x, y) IN ((?, ?))", "[0][0][0]=1 [0][0][1]=2 [0][1][0]=3 [0][1][1]=4"},
		{"a query in IN stays", "select a from t where id in (select b from u where c = 2)", "SELECT a FROM t WHERE id IN (SELECT b FROM u WHERE c = ?)", "[0][0]=2"},
		{"rows are written once", "insert into t (a, b) values (1,'x'),(2,'y')", "INSERT INTO t(a, b) VALUES (?, ?)", "[0][0][0]=1 [0][0][1]=x [0][1][0]=2 [0][1][1]=y"},
		{"another number of columns is another statement", "insert into t (a) values (1)", "INSERT INTO t(a) VALUES (?)", "[0][0][0]=1"},
		{"arguments of a function are not a list", "select f(1, 2) from t", "SELECT f(?, ?) FROM t", "[0]=1 [1]=2"},
		{"a sign after a name is an operator", "update t set a=a-1 where b = -5", "UPDATE t SET a = a - ? WHERE b = ?", "[0]=1 [1]=-5"},
		{"numbered placeholders are alike", "select a from t where b in ($1, $2) and c=?", "SELECT a FROM t WHERE b IN (?) AND c = ?", ""},
		{"named ones have names", "select a from t where b=:from and c = @to", "SELECT a FROM t WHERE b = :from AND c = @to", ""},
		{"IS NULL is no value", "select a from t where b is not null and c is null and d = null and e = true", "SELECT a FROM t WHERE b IS NOT NULL AND c IS NULL AND d = ? AND e = ?", "[0]=null [1]=true"},
		{"BigQuery's quotes", "select `a b` from `p.d.t` where c = \"x\"", "SELECT `a b` FROM `p.d.t` WHERE c = ?", "[0]=x"},
		{"ClickHouse's format and parameters", "select count() from e where d >= {from:Date} format JSONEachRow", "SELECT count() FROM e WHERE d >= { from : Date } FORMAT JSONEachRow", ""},
		{"several statements", "delete from a where x = 1; delete from b where y = 2;", "DELETE FROM a WHERE x = ?; DELETE FROM b WHERE y = ?", "[0]=1 [1]=2"},
		{"keywords that the lexer does not know", "select a from t cross join u order by a nulls last", "SELECT a FROM t CROSS JOIN u ORDER BY a NULLS LAST", ""},
		{"a number that JSON has not", "select a from t where b = 0xFF", "SELECT a FROM t WHERE b = ?", "[0]=0xFF"},
		{"a text without an end is no SQL", "select a from t where b = 'x", "", ""},
		{"nor are parentheses that do not match", "select a from t where (b = 1", "", ""},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			fingerprint, values := asked(tt.text)
			if fingerprint != tt.want || strings.Join(values, " ") != tt.values {
				t.Errorf("%q\n%s\nwith %s, want\n%s\nwith %s", tt.text, fingerprint, strings.Join(values, " "), tt.want, tt.values)
			}
		})
	}
}

// What is SQL is told without being declared only where it surely is.
func TestSQLIsTold(t *testing.T) {
	for _, tt := range []struct {
		text string
		want bool
	}{
		{"SELECT * FROM users", true},
		{"select u.id, count(*) from users u join orders o on o.user = u.id group by 1", true},
		{"SELECT name FROM users WHERE id = ?", true},
		{"select id, name as label from shop.users order by name limit 10", true},
		{"SELECT count() FROM events WHERE day = today() FORMAT JSON", true},
		{"(SELECT a.x FROM a) UNION ALL (SELECT b.x FROM b)", true},
		{"-- report\nWITH recent AS (SELECT id FROM t WHERE day > '2026-01-01') SELECT * FROM recent", true},
		{"insert into carts (id, sku) values (:id, :sku)", true},
		{"INSERT INTO logs.raw FORMAT JSONEachRow", true},
		{"UPDATE carts SET total = total + 1 WHERE id = 7", true},
		{"DELETE FROM carts WHERE id = 'c-1'", true},
		{"MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET x = 1", true},

		{"select name from users", false}, // it might be a sentence
		{"Select your seat from the map (row 3)", false},
		{"Select a plan from the list where price = 5", false},
		{"Select one from 3 options", false},
		{"select", false},
		{"SELECT 1", false},
		{"Update the address set in your profile (page 2)", false},
		{"update: set x = 1", false},
		{"Delete from cart where you like (or not)", false},
		{"Delete from cart", false},
		{"Insert into the slot, then push.", false},
		{"With love, as always (select one): x", false},
		{"Merge into main, please (using rebase)", false},
		{"create table reservation (for 5)", false},
		{"select-all", false},
		{"{\"select\": \"* from x\"}", false},
		{"query { users(where: {id: 1}) { name } }", false},
		{"mutation { insert_into_users(values: 1) { id } }", false},
		{"DROP TABLE users; --", false}, // an argument of some form, as a rule
		{"<p>select * from x</p>", false},
		{"", false},
	} {
		x := call("POST", "http://db/", "", "Content-Type: application/json")
		x.Request.Body = traffic.NewBody([]byte(`{"text":`+quoted(tt.text)+`}`), x.Request.Header)
		if got := len(compare.Reading{}.Statements(x)) == 1; got != tt.want {
			t.Errorf("%q: SQL is %t, want %t", tt.text, got, tt.want)
		}
	}
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(s) + `"`
}

func TestStatements(t *testing.T) {
	json, plain := "Content-Type: application/json", "Content-Type: text/plain"
	for _, tt := range []struct {
		reason string
		a, b   *traffic.Exchange
		want   []string
	}{
		{
			"a raw body, as Trino and ClickHouse take it: another value is a value",
			call("POST", "http://db/v1/statement", "SELECT a FROM t\nWHERE b = 1", plain), call("POST", "http://db/v1/statement", "select a from t where b = 2", plain),
			[]string{"value request.body.values[0]: 1 -> 2"},
		},
		{
			"what is written otherwise is the same",
			call("POST", "http://db/", "SELECT a FROM t\nWHERE b = 1", plain), call("POST", "http://db/", "select a -- x\nfrom t where b=1;", plain), nil,
		},
		{
			"another statement is one difference, whatever its values",
			call("POST", "http://db/", `{"sql":"SELECT a FROM t WHERE b = 1"}`, json), call("POST", "http://db/", `{"sql":"SELECT a, c FROM t WHERE b = 2 AND d = 3"}`, json),
			[]string{"value request.body.sql.statement: SELECT a FROM t WHERE b = ? -> SELECT a, c FROM t WHERE b = ? AND d = ?"},
		},
		{
			"a longer list after IN is a list that is longer",
			call("POST", "http://db/", `{"QueryString":"SELECT a FROM t WHERE b IN (1,2)"}`, json), call("POST", "http://db/", `{"QueryString":"SELECT a FROM t WHERE b IN (1,2,3)"}`, json),
			[]string{"length request.body.QueryString.values[0]: 2 -> 3 (extra [2] 3)"},
		},
		{
			"a value that became a text",
			call("POST", "http://db/", "SELECT a FROM t WHERE b = 1", plain), call("POST", "http://db/", "SELECT a FROM t WHERE b = '1'", plain),
			[]string{`type request.body.values[0]: 1 -> "1"`},
		},
		{
			"ClickHouse's query parameter",
			call("POST", "http://db/?query=INSERT+INTO+a.t+FORMAT+JSONEachRow", "", plain), call("POST", "http://db/?query=INSERT+INTO+a.u+FORMAT+JSONEachRow", "", plain),
			[]string{"value request.query.query.statement: INSERT INTO a.t FORMAT JSONEachRow -> INSERT INTO a.u FORMAT JSONEachRow"},
		},
		{
			"a form",
			call("POST", "http://db/", "q=SELECT+a+FROM+t+WHERE+b%3D1", "Content-Type: application/x-www-form-urlencoded"),
			call("POST", "http://db/", "q=SELECT+a+FROM+t+WHERE+b%3D2", "Content-Type: application/x-www-form-urlencoded"),
			[]string{"value request.body.q.values[0]: 1 -> 2"},
		},
		{
			"SQL that is no SQL any more is another text",
			call("POST", "http://db/", `{"sql":"SELECT a FROM t WHERE b = 1"}`, json), call("POST", "http://db/", `{"sql":"SELEC a FROM t WHERE b = 1"}`, json),
			[]string{"value request.body.sql: SELECT a FROM t WHERE b = 1 -> SELEC a FROM t WHERE b = 1"},
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, show(compare.Requests(tt.a, tt.b, compare.Options{}))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	a, b := answer(200, `{"q":"SELECT a FROM t WHERE b = 1"}`), answer(200, `{"q":"SELECT a FROM t WHERE b = 2"}`)
	want := []string{"value response.body.q: SELECT a FROM t WHERE b = 1 -> SELECT a FROM t WHERE b = 2"}
	if diff := cmp.Diff(want, show(compare.Responses(a, b, compare.Options{}))); diff != "" {
		t.Errorf("answers are data, never calls: -want +got\n%s", diff)
	}
}

// A place that is declared to be SQL needs no more than a first word.
func TestDeclaredSQL(t *testing.T) {
	a := call("POST", "http://db/", `{"q":"select name from users","note":"select name from users"}`, "Content-Type: application/json")
	b := call("POST", "http://db/", `{"q":"SELECT name\nFROM users","note":"SELECT name FROM users"}`, "Content-Type: application/json")
	opts := compare.Options{Reading: compare.Reading{SQL: patterns(t, "request.body.q")}}
	want := []string{"value request.body.note: select name from users -> SELECT name FROM users"}
	if diff := cmp.Diff(want, show(compare.Requests(a, b, opts))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	found := opts.Reading.Statements(a)
	if len(found) != 1 || found[0].Command != "SELECT" || found[0].Writes() || compare.Asks(found) != "SELECT name FROM users" {
		t.Errorf("statements %+v", found)
	}
	if s := opts.Reading.Statements(call("POST", "http://db/", `{"q":"query { users }"}`, "Content-Type: application/json")); len(s) != 0 {
		t.Errorf("another language at the same place is SQL: %+v", s[0])
	}
}

func TestWrites(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT a FROM t": false, "(select 1)": false, "show tables": false,
		"insert into t values (1)": true, "update t set a = 1": true, "with x as (select 1) select * from x": false,
		"with x as (select 1) delete from t where a in (select * from x)": true, "call f(1)": true,
	} {
		s := compare.Reading{}.Statements(call("POST", "http://db/", text, "Content-Type: application/sql"))
		if len(s) != 1 || s[0].Writes() != want {
			t.Errorf("%s: writes is not %t", text, want)
		}
	}
}

// Values, spaces and case never change the fingerprint, and a fingerprint is its
// own.
func TestFingerprintProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`-?[1-9][0-9]{0,8}(\.[0-9]{1,3})?`)
		text := rapid.StringMatching(`'[a-z (),;?]{0,12}(''[a-z]{0,3})?'`)
		literal := func() string { return rapid.OneOf(number, text).Draw(t, "literal") }
		spaces := rapid.SampledFrom([]string{" ", "\n", "  ", "\t", " /* x */ ", " -- y\n"})
		write := func() string {
			parts := []string{"select", "a,b", "from", "t", "where", "c", "=", literal(), "and", "d", "in", "("}
			var list []string
			for range rapid.IntRange(1, 4).Draw(t, "n") {
				list = append(list, literal())
			}
			parts = append(parts, strings.Join(list, ","), ")", "order", "by", "a")
			var out strings.Builder
			for _, p := range parts {
				if strings.Trim(p, "abcdefghijklmnopqrstuvwxyz") == "" && len(p) > 1 && rapid.Bool().Draw(t, "capitals") {
					p = strings.ToUpper(p)
				}
				out.WriteString(p + spaces.Draw(t, "space"))
			}
			return out.String()
		}
		a, b := write(), write()
		fa, _ := asked(a)
		fb, _ := asked(b)
		if fa != fb || fa == "" {
			t.Fatalf("%q\n%q\nand\n%q\n%q", a, fa, b, fb)
		}
		if again, _ := asked(fa); again != fa {
			t.Fatalf("the fingerprint of %q is %q", fa, again)
		}
	})
}

// FuzzStatement feeds the recogniser what any body may hold: it neither panics
// nor forgets that equal texts are equal, and what it tells is what it compares.
func FuzzStatement(f *testing.F) {
	for _, s := range []string{
		"SELECT * FROM t WHERE a IN (1,2)", "insert into t values (1,'x'),(2,'y')", "with a as (select 1) select * from a",
		"select $$x$$, $f$y$f$ from t where a=?", "select `a` from [b].[c]", "update t set a=:b--", "((((", "select /*", "values", "in (", "VALUES (), (", "select 1e5e5 from a.b where @@x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []string{"text/plain", "application/sql"} {
			x := call("POST", "http://db/", text, "Content-Type: "+kind)
			if found := compare.Requests(x, x, compare.Options{}); len(found) > 0 {
				t.Errorf("%q differs from itself: %v", text, show(found))
			}
			statements := compare.Reading{}.Statements(x)
			for p, v := range (compare.Reading{}).RequestValues(x) {
				if p.String() == "request.body.statement" && (len(statements) == 0 || v != statements[0].Fingerprint) {
					t.Errorf("%q: %q is not among the statements", text, v)
				}
			}
			longer := call("POST", "http://db/", text+" ", "Content-Type: "+kind)
			if len(statements) == 1 && len(compare.Requests(x, longer, compare.Options{})) > 0 {
				t.Errorf("%q: a space at the end is a difference", text)
			}
		}
	})
}
