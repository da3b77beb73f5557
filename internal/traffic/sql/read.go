package sql

import (
	"strings"
)

// Read takes text apart as SQL. It reports false where it is none: where it was
// declared to be SQL, the first word is enough to be some; elsewhere the whole text
// must have the grammar of a query or of a change of rows, and something that prose
// does not have.
func Read(text string, declared bool) (*Statement, bool) {
	if len(text) > maxStatement || !Begins(text) {
		return nil, false
	}
	tokens, ok := lexemes(text)
	if !ok || !declared && !isSQL(tokens) {
		return nil, false
	}
	return newStatement(tokens)
}

// IsMedia reports whether a media type is that of SQL (RFC 6922), or one that
// was used before.
func IsMedia(media string) bool {
	switch media {
	case "application/sql", "application/x-sql", "text/sql", "text/x-sql":
		return true
	}
	return false
}

// maxCommand is longer than any of sqlCommands.
const maxCommand = 12

// sqlCommands are the words that SQL begins with.
var sqlCommands = wordSet(`
	SELECT INSERT UPDATE DELETE WITH REPLACE UPSERT MERGE CREATE ALTER DROP TRUNCATE CALL EXEC EXECUTE SHOW DESCRIBE
	DESC EXPLAIN SET USE BEGIN COMMIT ROLLBACK GRANT REVOKE OPTIMIZE VALUES TABLE COPY UNLOAD REFRESH ANALYZE VACUUM
	DECLARE START`)

// Begins reports whether the first word of a text, after comments and
// parentheses, is one that SQL begins with. It is cheap, for it is asked of nearly
// every text.
func Begins(text string) bool {
	for {
		text = strings.TrimLeft(text, " \t\r\n(;\ufeff")
		end := ""
		switch {
		case strings.HasPrefix(text, "--"):
			end = "\n"
		case strings.HasPrefix(text, "/*"):
			end = "*/"
		}
		if end != "" {
			_, rest, ok := strings.Cut(text, end)
			if !ok {
				return false
			}
			text = rest
			continue
		}
		var word [maxCommand]byte // in capitals
		n := 0
		for n < len(text) && n < len(word) && (text[n] >= 'a' && text[n] <= 'z' || text[n] >= 'A' && text[n] <= 'Z') {
			word[n] = text[n] &^ 0x20
			n++
		}
		return n > 1 && (n == len(text) || strings.IndexByte("_-'.", text[n]) < 0) && sqlCommands[string(word[:n])]
	}
}

// isSQL reports whether tokens are surely SQL: of the grammar of SELECT, WITH,
// INSERT, UPDATE, DELETE or MERGE, and with a mark that sentences do not have.
func isSQL(tokens []lexeme) bool {
	for len(tokens) > 0 && tokens[0].text == "(" {
		tokens = tokens[1:]
	}
	g := grammar{tokens}
	if !g.marked() || g.prose() {
		return false
	}
	switch g.at(0).text {
	case "SELECT":
		return g.query()
	case "WITH":
		return g.with()
	case "INSERT", "REPLACE", "UPSERT":
		return g.insert()
	case "UPDATE": // UPDATE name [alias] SET name =
		i := g.name(1)
		if g.at(i).kind == lexName || g.at(i).text == "AS" {
			i++
		}
		return i > 1 && g.at(i).text == "SET" && g.at(i+1).kind == lexName && g.at(i+2).text == "="
	case "DELETE": // DELETE FROM name [alias] WHERE
		i := g.name(2)
		if g.at(i).kind == lexName {
			i++
		}
		return g.at(1).text == "FROM" && i > 2 && g.at(i).text == "WHERE" && g.compares(i)
	case "MERGE":
		i := g.name(2)
		return g.at(1).text == "INTO" && i > 2 && g.has("USING") && g.has("ON") && g.has("MATCHED")
	}
	return false
}

// grammar looks at tokens for the shape of statements.
type grammar struct{ tokens []lexeme }

func (g grammar) at(i int) lexeme {
	if i < 0 || i >= len(g.tokens) {
		return lexeme{}
	}
	return g.tokens[i]
}

// name returns the index after a name at i, or i.
func (g grammar) name(i int) int {
	if g.at(i).kind != lexName {
		return i
	}
	for i++; strings.HasSuffix(g.at(i-1).text, ".") && g.at(i).kind == lexName; {
		i++
	}
	return i
}

func (g grammar) has(keyword string) bool {
	for _, t := range g.tokens {
		if t.kind == lexKeyword && t.text == keyword {
			return true
		}
	}
	return false
}

// compares reports whether anything is compared after i.
func (g grammar) compares(i int) bool {
	for ; i < len(g.tokens); i++ {
		switch t := g.at(i); {
		case t.kind == lexOther && (strings.ContainsAny(t.text, "=<>")), t.text == "IN" && g.at(i+1).text == "(":
			return true
		}
	}
	return false
}

// marked reports whether there is anything that sentences do not have: an
// operator, a parenthesis, a placeholder, a quoted or compound name.
func (g grammar) marked() bool {
	for _, t := range g.tokens {
		switch t.kind {
		case lexPlaceholder, lexText:
			return true
		case lexOther:
			if !strings.Contains(",;:.!?-", t.text) {
				return true
			}
		case lexName:
			if strings.ContainsAny(t.text, "._\"`") {
				return true
			}
		}
	}
	return false
}

// prose reports whether three names follow each other, which no SQL has.
func (g grammar) prose() bool {
	run := 0
	for _, t := range g.tokens {
		if t.kind != lexName {
			run = 0
			continue
		}
		if run++; run == 3 {
			return true
		}
	}
	return false
}

// query reports whether the tokens are SELECT, a list, FROM, a table, and
// nothing after it but what may follow a table.
func (g grammar) query() bool {
	from, depth := 0, 0
	for i, t := range g.tokens {
		switch {
		case t.kind == lexOther && t.text == "(":
			depth++
		case t.kind == lexOther && t.text == ")":
			depth--
		case depth == 0 && t.kind == lexKeyword && t.text == "FROM":
			from = i
		case depth == 0 && t.kind == lexName && g.at(i+1).kind == lexName && !strings.HasSuffix(t.text, "."):
			return false // names in a list have commas between them
		}
		if from > 0 {
			break
		}
	}
	if from < 2 {
		return false
	}
	i := from + 1
	if g.at(i).text == "(" || g.at(i).text == "UNNEST" || g.at(i).text == "LATERAL" || g.at(i).kind == lexPlaceholder {
		return true
	}
	after := g.name(i)
	if after == i {
		return false
	}
	next := g.at(after)
	if next.kind == lexName { // an alias
		next = g.at(after + 1)
	}
	switch {
	case next.kind == lexKeyword && next.text != "IF" && next.text != "DO", next == lexeme{}:
		return true
	case next.kind == lexOther:
		return strings.Contains(",;()[", next.text)
	}
	return false
}

// with reports whether the tokens are WITH name AS ( … SELECT.
func (g grammar) with() bool {
	i := 1
	if g.at(i).text == "RECURSIVE" {
		i++
	}
	if g.at(i).kind != lexName || !g.has("SELECT") {
		return false
	}
	for i++; i < len(g.tokens) && g.at(i).text != "AS"; i++ {
		if t := g.at(i); t.kind != lexName && !strings.Contains("(,)", t.text) {
			return false
		}
	}
	return g.at(i+1).text == "(" || g.at(i+1).text == "MATERIALIZED" || g.at(i+2).text == "MATERIALIZED"
}

// insert reports whether the tokens are INSERT INTO name, maybe columns, and
// where the rows come from.
func (g grammar) insert() bool {
	i := 1
	if t := g.at(i).text; t != "INTO" && t != "OVERWRITE" {
		return false
	}
	if g.at(i+1).text == "TABLE" {
		i++
	}
	after := g.name(i + 1)
	if after == i+1 {
		return false
	}
	if g.at(after).text == "(" {
		for after < len(g.tokens) && g.at(after).text != ")" {
			after++
		}
		after++
	}
	switch g.at(after).text {
	case "VALUES", "SELECT", "WITH", "FORMAT", "DEFAULT", "SET":
		return true
	}
	return false
}
