package redact

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"
	gitleaks "github.com/zricethezav/gitleaks/v8/config"
)

// secretRule is a rule of gitleaks for one kind of credential.
type secretRule struct {
	id       string
	keywords []string // in lower case; one must occur
	entropy  float64
	group    int
	compile  func() *regexp.Regexp
	allow    func() []*regexp.Regexp
	stop     []string
}

// ownRules are left out: they judge by the names of fields, which the scanner
// does itself with the knowledge of what is a field.
var ownRules = map[string]bool{"generic-api-key": true, "jwt": true, "jwt-base64": true, "curl-auth-header": true, "curl-auth-user": true}

// secretRules reads the rules that gitleaks ships. Their expressions are
// compiled when a keyword first asks for them, as most never do.
func secretRules() ([]*secretRule, error) {
	type allowlist struct {
		Regexes   []string `toml:"regexes"`
		StopWords []string `toml:"stopwords"`
	}
	var file struct {
		Rules []struct {
			ID         string      `toml:"id"`
			Regex      string      `toml:"regex"`
			Path       string      `toml:"path"`
			Entropy    float64     `toml:"entropy"`
			Group      int         `toml:"secretGroup"`
			Keywords   []string    `toml:"keywords"`
			Allowlists []allowlist `toml:"allowlists"`
		} `toml:"rules"`
	}
	if err := toml.Unmarshal([]byte(gitleaks.DefaultConfig), &file); err != nil {
		return nil, fmt.Errorf("read the rules of gitleaks: %w", err)
	}
	var rules []*secretRule
	for _, r := range file.Rules {
		if r.Regex == "" || r.Path != "" || len(r.Keywords) == 0 || ownRules[r.ID] {
			continue
		}
		rule := &secretRule{id: r.ID, entropy: r.Entropy, group: r.Group, compile: sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(r.Regex) })}
		for _, k := range r.Keywords {
			rule.keywords = append(rule.keywords, strings.ToLower(k))
		}
		rule.allow = sync.OnceValue(func() (list []*regexp.Regexp) {
			for _, a := range r.Allowlists {
				for _, expr := range a.Regexes {
					if re, err := regexp.Compile(expr); err == nil {
						list = append(list, re)
					}
				}
			}
			return list
		})
		for _, a := range r.Allowlists {
			rule.stop = append(rule.stop, a.StopWords...)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// finds reports whether the rule matches a credential in text that is no
// pseudonym; lower is text in lower case.
func (r *secretRule) finds(text, lower string) bool {
	possible := false
	for _, k := range r.keywords {
		if strings.Contains(lower, k) {
			possible = true
			break
		}
	}
	if !possible {
		return false
	}
	for _, m := range r.compile().FindAllStringSubmatch(text, 8) {
		secret := m[0]
		if r.group > 0 && r.group < len(m) {
			secret = m[r.group]
		} else {
			for _, g := range m[1:] {
				if g != "" {
					secret = g
					break
				}
			}
		}
		if entropy(secret) >= r.entropy && !isSecretPseudonym(secret) && !isSecretPseudonym(m[0]) && !r.allowed(secret) {
			return true
		}
	}
	return false
}

func (r *secretRule) allowed(secret string) bool {
	for _, re := range r.allow() {
		if re.MatchString(secret) {
			return true
		}
	}
	lower := strings.ToLower(secret)
	for _, word := range r.stop {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// entropy is Shannon's, in bits for each character.
func entropy(s string) float64 {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
