package sql

import (
	"encoding/json"
	"slices"
	"strings"

	sqllexer "github.com/DataDog/go-sqllexer"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// Statement is SQL that a call carries, taken apart into what is asked and the
// values that it is asked with.
type Statement struct {
	// Fingerprint is the text without what does not tell statements apart: a
	// literal or an unnamed placeholder is ?, a list after IN and the rows after
	// VALUES are written once, comments are left out, keywords are in capitals
	// and spaces are single.
	Fingerprint string
	// Command is the first word in capitals: SELECT, INSERT, WITH.
	Command string
	// Tables are the names after FROM, JOIN, INTO, UPDATE and TABLE, in lower
	// case, each once.
	Tables []string
	// Values holds the literals as one JSON list; the elements of a list after
	// IN, and the rows after VALUES, are a list of their own.
	Values []byte
}

// Writes reports whether the statement may change anything: whether it is no
// plain question.
func (s *Statement) Writes() bool { return !Reads(s.Fingerprint) }

// Reads reports whether a statement with a fingerprint is a plain question.
func Reads(fingerprint string) bool {
	switch command(fingerprint) {
	case "SELECT", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "VALUES", "TABLE":
		return true
	case "WITH": // WITH … INSERT, UPDATE or DELETE
		for word := range strings.FieldsSeq(fingerprint) {
			switch strings.Trim(word, "()") {
			case "INSERT", "UPDATE", "DELETE", "MERGE":
				return false
			}
		}
		return true
	}
	return false
}

// maxStatement is how long SQL may be to be looked into, and maxNesting how deep
// its parentheses; what lies beyond is text.
const (
	maxStatement = 1 << 20
	maxNesting   = 100
)

// lexeme is a token of SQL that means something. Keywords are in capitals.
type lexeme struct {
	kind lexemeKind
	text string
}

type lexemeKind byte

const (
	lexOther       lexemeKind = iota // an operator or punctuation
	lexName                          // a name of something, quoted or not
	lexKeyword                       // SELECT, FROM, AS
	lexText                          // a literal
	lexNumber                        //
	lexConstant                      // TRUE, FALSE and NULL
	lexPlaceholder                   // ?, $1, :name, @name
)

func (l lexeme) literal() bool {
	return l.kind == lexText || l.kind == lexNumber || l.kind == lexConstant
}

// lexemes splits SQL. It reports false for what no dialect can read: a text that
// does not end, or characters that SQL does not have.
func lexemes(text string) ([]lexeme, bool) {
	lexer := sqllexer.New(text)
	if strings.ContainsRune(text, '`') { // names as in MySQL and BigQuery, where "…" is a text
		lexer = sqllexer.New(text, sqllexer.WithDBMS(sqllexer.DBMSMySQL))
	}
	var out []lexeme
	for {
		t := lexer.Scan()
		last := lexeme{}
		if len(out) > 0 {
			last = out[len(out)-1]
		}
		switch t.Type {
		case sqllexer.EOF:
			return out, true
		case sqllexer.SPACE, sqllexer.COMMENT, sqllexer.MULTILINE_COMMENT:
		case sqllexer.ERROR, sqllexer.UNKNOWN, sqllexer.INCOMPLETE_STRING:
			return nil, false
		case sqllexer.STRING, sqllexer.DOLLAR_QUOTED_STRING, sqllexer.DOLLAR_QUOTED_FUNCTION:
			out = append(out, lexeme{lexText, unquoted(t.Value)})
		case sqllexer.NUMBER:
			out = appendNumber(out, last, t.Value)
		case sqllexer.BOOLEAN:
			out = append(out, lexeme{lexConstant, strings.ToLower(t.Value)})
		case sqllexer.NULL:
			if last.text == "IS" || last.text == "NOT" {
				out = append(out, lexeme{lexKeyword, "NULL"})
			} else {
				out = append(out, lexeme{lexConstant, "null"})
			}
		case sqllexer.POSITIONAL_PARAMETER:
			out = append(out, lexeme{lexPlaceholder, "?"})
		case sqllexer.BIND_PARAMETER:
			out = append(out, lexeme{lexPlaceholder, t.Value})
		case sqllexer.QUOTED_IDENT, sqllexer.SYSTEM_VARIABLE:
			out = append(out, lexeme{lexName, t.Value})
		case sqllexer.IDENT, sqllexer.FUNCTION:
			out = appendWord(out, last, t.Value, false)
		case sqllexer.OPERATOR, sqllexer.WILDCARD, sqllexer.PUNCTUATION, sqllexer.JSON_OP:
			out = appendOperator(out, t.Value)
		default:
			out = appendWord(out, last, t.Value, true)
		}
	}
}

// appendNumber appends a number. A sign after a value is an operator: a-1 is
// a - 1.
func appendNumber(out []lexeme, last lexeme, text string) []lexeme {
	value := last.kind == lexName || last.kind == lexPlaceholder || last.literal() || last.text == ")" || last.text == "]"
	if value && (text[0] == '-' || text[0] == '+') {
		out, text = append(out, lexeme{lexOther, text[:1]}), text[1:]
	}
	return append(out, lexeme{lexNumber, text})
}

// appendWord appends a keyword or a name. After a colon it names a placeholder, and
// after a brace a parameter of ClickHouse's ({name:type}).
func appendWord(out []lexeme, last lexeme, text string, keyword bool) []lexeme {
	switch {
	case last.kind == lexOther && last.text == "{":
		return append(out, lexeme{lexName, text})
	case last.kind == lexOther && last.text == ":":
		before := lexeme{}
		if len(out) > 1 {
			before = out[len(out)-2]
		}
		if before.kind != lexName { // as in {name:type}
			return append(out[:len(out)-1], lexeme{lexPlaceholder, ":" + text})
		}
		return append(out, lexeme{lexName, text})
	}
	if upper := strings.ToUpper(text); keyword || moreKeywords[upper] {
		return append(out, lexeme{lexKeyword, upper})
	}
	return append(out, lexeme{lexName, text})
}

// appendOperator appends an operator. The lexer takes operators that touch each
// other, and a placeholder that touches one, as one.
func appendOperator(out []lexeme, text string) []lexeme {
	if rest, ok := strings.CutSuffix(text, "?"); ok {
		if rest != "" {
			out = append(out, lexeme{lexOther, rest})
		}
		return append(out, lexeme{lexPlaceholder, "?"})
	}
	if rest, ok := strings.CutSuffix(text, ":"); ok && rest != "" && rest != ":" {
		return append(out, lexeme{lexOther, rest}, lexeme{lexOther, ":"})
	}
	return append(out, lexeme{lexOther, text})
}

// moreKeywords are reserved words that the lexer takes for names.
var moreKeywords = wordSet(`
	CROSS FULL NATURAL EXCEPT INTERSECT MINUS WHEN THEN OVER PARTITION INTERVAL ROWS RANGE PRECEDING FOLLOWING
	UNBOUNDED CURRENT FETCH FIRST NEXT NULLS LAST CAST FOR CONFLICT DO NOTHING DUPLICATE MATCHED FORMAT SETTINGS
	PREWHERE FINAL SAMPLE QUALIFY UNNEST TABLESAMPLE OVERWRITE UPSERT SHOW DESCRIBE CALL OPTIMIZE COLLATE SIMILAR
	REGEXP RLIKE XOR DIV MOD FILTER WITHIN GROUPING SETS PIVOT UNPIVOT`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// unquoted returns what is between the quotes of a literal.
func unquoted(s string) string {
	if strings.HasPrefix(s, "$") {
		if end := strings.IndexByte(s[1:], '$'); end >= 0 {
			tag := s[:end+2]
			return strings.TrimSuffix(strings.TrimPrefix(s, tag), tag)
		}
		return s
	}
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		quote := s[:1]
		return strings.ReplaceAll(s[1:len(s)-1], quote+quote, quote)
	}
	return s
}

// newStatement takes SQL apart. It reports false where parentheses do not match
// or are nested too deep.
func newStatement(tokens []lexeme) (*Statement, bool) {
	for len(tokens) > 0 && tokens[len(tokens)-1].text == ";" {
		tokens = tokens[:len(tokens)-1]
	}
	if len(tokens) == 0 {
		return nil, false
	}
	w := &statementWriter{tokens: tokens}
	words, values, ok := w.sequence("", 0)
	if !ok {
		return nil, false
	}
	fingerprint := spell(words)
	return &Statement{Fingerprint: fingerprint, Command: command(fingerprint), Values: list(values), Tables: tables(tokens)}, true
}

// command is the first word of a fingerprint.
func command(fingerprint string) string {
	first := strings.TrimLeft(fingerprint, "(")
	if end := strings.IndexAny(first, " (,;)"); end >= 0 {
		first = first[:end]
	}
	return first
}

// tables returns the names that follow the words before tables.
func tables(tokens []lexeme) []string {
	var out []string
	for i, t := range tokens[:len(tokens)-1] {
		if t.kind != lexKeyword || !beforeTable[t.text] {
			continue
		}
		for k := i + 1; k < len(tokens) && tokens[k].kind == lexName; k += 2 {
			name := strings.ToLower(strings.Trim(tokens[k].text, "\"`"))
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
			if k+1 >= len(tokens) || tokens[k+1].text != "," || t.text != "FROM" {
				break
			}
		}
	}
	return out
}

var beforeTable = wordSet("FROM JOIN INTO UPDATE TABLE OVERWRITE")

// statementWriter writes the fingerprint of a statement.
type statementWriter struct {
	tokens []lexeme
	at     int
}

// sequence reads up to and past a token of stop, or to the end if stop is "",
// and returns what is there for the fingerprint, and its literals.
func (w *statementWriter) sequence(stop string, depth int) (words []lexeme, values [][]byte, ok bool) {
	if depth > maxNesting {
		return nil, nil, false
	}
	for w.at < len(w.tokens) {
		t := w.tokens[w.at]
		switch {
		case stop != "" && strings.Contains(stop, t.text) && t.kind == lexOther:
			return words, values, true
		case t.literal():
			values = append(values, t.json())
			words = append(words, lexeme{lexPlaceholder, "?"})
			w.at++
		case t.text == "(" && t.kind == lexOther:
			var before lexeme
			if len(words) > 0 {
				before = words[len(words)-1]
			}
			inner, found, ok := w.parentheses(before, depth)
			if !ok {
				return nil, nil, false
			}
			words, values = append(words, inner...), append(values, found...)
		case t.text == ")" && t.kind == lexOther:
			return nil, nil, false
		default:
			words = append(words, t)
			w.at++
		}
	}
	return words, values, stop == ""
}

// parentheses reads what stands in parentheses: a list after IN, rows after
// VALUES, or anything.
func (w *statementWriter) parentheses(before lexeme, depth int) (words []lexeme, values [][]byte, ok bool) {
	opened, closed := lexeme{lexOther, "("}, lexeme{lexOther, ")"}
	keyword := ""
	if before.kind == lexKeyword {
		keyword = before.text
	}
	switch keyword {
	case "IN":
		var items []item
		for {
			w.at++ // the parenthesis, or the comma
			inner, found, ok := w.sequence(",)", depth+1)
			if !ok {
				return nil, nil, false
			}
			items = append(items, item{inner, found})
			if w.tokens[w.at].text == ")" {
				break
			}
		}
		w.at++
		words, values = once(items)
		return append(append([]lexeme{opened}, words...), closed), values, true
	case "VALUES":
		var rows []item
		for {
			w.at++
			inner, found, ok := w.sequence(")", depth+1)
			if !ok {
				return nil, nil, false
			}
			w.at++
			rows = append(rows, item{append(append([]lexeme{opened}, inner...), closed), [][]byte{list(found)}})
			if w.at+1 >= len(w.tokens) || w.tokens[w.at].text != "," || w.tokens[w.at+1].text != "(" {
				break
			}
			w.at++
		}
		words, values = once(rows)
		return words, values, true
	}
	w.at++
	inner, found, ok := w.sequence(")", depth+1)
	if !ok {
		return nil, nil, false
	}
	w.at++
	return append(append([]lexeme{opened}, inner...), closed), found, true
}

// item is one element of a list, or one row.
type item struct {
	words  []lexeme
	values [][]byte
}

// once writes items that follow each other and are alike once, with a list of
// the values of all.
func once(items []item) (words []lexeme, values [][]byte) {
	var all [][]byte
	for i, it := range items {
		if i == 0 || !slices.Equal(it.words, items[i-1].words) {
			if i > 0 {
				words = append(words, lexeme{lexOther, ","})
			}
			words = append(words, it.words...)
		}
		switch len(it.values) {
		case 0:
		case 1:
			all = append(all, it.values[0])
		default:
			all = append(all, list(it.values))
		}
	}
	if len(all) == 0 {
		return words, nil
	}
	return words, [][]byte{list(all)}
}

// list writes values as a JSON list.
func list(values [][]byte) []byte {
	out := []byte{'['}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, v...)
	}
	return append(out, ']')
}

// json writes a literal as JSON; a number that JSON does not have is a text.
func (l lexeme) json() []byte {
	switch l.kind {
	case lexConstant:
		return []byte(l.text)
	case lexNumber:
		if text := []byte(l.text); json.Valid(text) {
			return text
		}
	}
	return traffic.AppendText(nil, l.text)
}

// spell joins words as people write SQL.
func spell(words []lexeme) string {
	var b strings.Builder
	for i, w := range words {
		tight := i == 0
		if i > 0 {
			last := words[i-1]
			switch {
			case w.kind == lexOther && strings.Contains(",;)]", w.text),
				last.kind == lexOther && (last.text == "(" || last.text == "["),
				w.text == "(" && last.kind == lexName,
				strings.HasPrefix(w.text, ".") || strings.HasSuffix(last.text, "."):
				tight = true
			}
		}
		if !tight {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}
