package mock_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/reprise-ci/reprise/internal/mock"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// A call that carries SQL is matched by what it asks and by the values that it
// asks with.
func TestCallsThatCarrySQL(t *testing.T) {
	body := func(sql string) string {
		data, err := json.Marshal(map[string]any{"resourceArn": "arn:db", "sql": sql})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const run = "http://rds-data/Execute"
	for _, tt := range []struct {
		reason         string
		url            string
		recorded, live string // bodies
		header         string // Content-Type of both, if it is not JSON
		tier           traffic.Tier
		record         string
	}{
		{
			"space, comments, the case of keywords and the last semicolon mean nothing", run,
			body("SELECT id, name FROM users WHERE id = 7"), body("select id, name\n  from users -- by key\n where id=7;"), "", traffic.TierExact, "out-0000",
		},
		{
			"another literal is another call", run,
			body("SELECT id FROM users WHERE id = 7"), body("SELECT id FROM users WHERE id = 8"), "", traffic.TierMiss, "",
		},
		{
			"a literal that the service makes up is of a class", run,
			body("INSERT INTO orders (id, at) VALUES ('" + uuidA + "', '2026-03-01T12:00:00Z')"), body("insert into orders (id, at) values ('" + uuidB + "', '2026-03-04T09:30:00Z')"), "", traffic.TierClassed, "out-0000",
		},
		{
			"another statement with the same literal is another call", run,
			body("SELECT id FROM users WHERE id = 7"), body("SELECT id FROM orders WHERE id = 7"), "", traffic.TierMiss, "",
		},
		{
			"a longer list is another call", run,
			body("SELECT id FROM users WHERE id IN (7, 8)"), body("SELECT id FROM users WHERE id IN (7, 8, 9)"), "", traffic.TierMiss, "",
		},
		{
			"what is in quotes is kept as it is", run,
			body("SELECT id FROM users WHERE name = 'a  B'"), body("SELECT id FROM users WHERE name = 'a b'"), "", traffic.TierMiss, "",
		},
		{
			"a sentence is no SQL", run,
			body("Select a plan from the list"), body("select a plan  from the list"), "", traffic.TierMiss, "",
		},
		{
			"a whole body of text", "http://clickhouse/",
			"SELECT count() FROM events WHERE day = '2026-03-01' FORMAT JSON", "SELECT count()\nFROM events\nWHERE day = '2026-03-01'\nFORMAT JSON", "text/plain", traffic.TierExact, "out-0000",
		},
		{
			"a body that is declared to be SQL needs no more than a first word of it", "http://db/",
			"SHOW  TABLES", "show TABLES;", "application/sql", traffic.TierExact, "out-0000",
		},
		{
			"a field of a form", "http://db/",
			"sql=" + url.QueryEscape("SELECT a FROM t WHERE b = 1"), "sql=" + url.QueryEscape("select a from t where b=1"), "application/x-www-form-urlencoded", traffic.TierExact, "out-0000",
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			var rec recording
			x := rec.call("a", "POST", tt.url, tt.recorded, response(200, "{}"))
			var header []string
			if tt.header != "" {
				x.Request.Header.Set("Content-Type", tt.header)
				header = []string{"Content-Type", tt.header}
			}
			s := start(t, rec.exchanges, mock.Options{})
			s.BeginPass(1)
			s.Enter(1, "a")
			send(t, s.proxied(), "POST", tt.url, tt.live, header...)
			if m := s.Calls(1)[0].Match; m.Tier != tt.tier || m.Record != tt.record {
				t.Errorf("%s from %q (%s), want %s from %q", m.Tier, m.Record, m.Reason, tt.tier, tt.record)
			}
			s.balanced(1)
		})
	}
}

// A statement that changes nothing is a read, though it is posted: it may be
// repeated, and sees what was written before it.
func TestStatementsReadOrWrite(t *testing.T) {
	const run = "http://rds-data/Execute"
	read, write := `{"sql":"SELECT n FROM stock WHERE sku = 'x'"}`, `{"sql":"UPDATE stock SET n = n - 1 WHERE sku = 'x'"}`
	var rec recording
	rec.call("a", "POST", run, read, response(200, "5"))
	rec.call("a", "POST", run, read, response(200, "5"))
	rec.call("a", "POST", run, write, response(200, "{}"))
	rec.call("a", "POST", run, read, response(200, "4"))
	s := start(t, rec.exchanges, mock.Options{})
	s.BeginPass(1)
	s.Enter(1, "a")
	client := s.proxied()
	for i, step := range []struct{ body, want string }{
		{read, "5"}, {write, "{}"}, {read, "4"}, // one read less before the write
		{read, "4"}, // once more than recorded
	} {
		if got := send(t, client, "POST", run, step.body); got.StatusCode != 200 || got.body != step.want {
			t.Errorf("call %d: %d %q, want %q", i, got.StatusCode, got.body, step.want)
		}
	}
	if got := send(t, client, "POST", run, write); got.StatusCode != mock.StatusMiss {
		t.Errorf("a write more than recorded got status %d", got.StatusCode)
	}
	s.balanced(1)
}

func TestMissOfSQLExplainsItself(t *testing.T) {
	const run = "http://rds-data/Execute"
	var rec recording
	rec.call("a", "POST", run, `{"sql":"SELECT n FROM stock WHERE sku = 'x' AND n > 2"}`, response(200, "5"))
	s := start(t, rec.exchanges, mock.Options{})
	s.BeginPass(1)
	s.Enter(1, "a")
	send(t, s.proxied(), "POST", run, `{"sql":"SELECT n FROM stock WHERE sku = 'x' AND n > 3"}`)
	want := `the nearest recorded call differs in one place: request.body.sql.values[1] is "3", recorded was "2"`
	if m := s.Calls(1)[0].Match; m.Reason != want {
		t.Errorf("reason %q, want %q", m.Reason, want)
	}
}

// A rule sees SQL as it was written, and what was made of it.
func TestRulesMatchSQL(t *testing.T) {
	rules, err := mock.ReadRules("rules.yaml", strings.NewReader(`
version: 1
rules:
  - name: written
    match: {method: [POST], path: /written, body: {sql: "SELECT a FROM t  WHERE b = 1"}}
    answer: {body: written}
  - name: asked
    match: {method: [POST], path: /asked, body: {sql.statement: "SELECT a FROM t WHERE b = ?"}}
    answer: {body: asked}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, mock.Options{Rules: rules})
	client := s.proxied()
	for _, path := range []string{"written", "asked"} {
		if got := send(t, client, "POST", "http://db/"+path, `{"sql":"SELECT a FROM t  WHERE b = 1"}`); got.body != path {
			t.Errorf("/%s: %d %q", path, got.StatusCode, got.body)
		}
	}
}
