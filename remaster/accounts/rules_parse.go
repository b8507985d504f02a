package accounts

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxRules bounds a rules file, in bytes.
const maxRules = 1 << 20

// ParseRules reads a rules file; docs/accounts.md describes the format. name is
// the file's, for errors, which are RulesErrors.
func ParseRules(name string, text []byte) (*Rules, error) {
	if len(text) > maxRules {
		return nil, place{name, 1}.errorf("a rules file of more than %d bytes", maxRules)
	}
	p := &ruleParser{out: &Rules{}}
	n := 0
	for l := range strings.Lines(string(text)) {
		n++
		p.at = place{name, n}
		if err := p.line(strings.TrimRight(l, "\r\n")); err != nil {
			return nil, err
		}
	}
	if err := p.endRule(); err != nil {
		return nil, err
	}
	return p.out, nil
}

type ruleParser struct {
	out       *Rules
	at        place
	family    *family
	rule      *rule
	statement *statement
}

func (p *ruleParser) line(s string) error {
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] == '#' {
		return nil
	}
	if s[0] == '|' {
		return p.contentLine(s[1:])
	}
	word, rest, _ := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
	if word == "~" || word == "=" {
		// An expression's tabs are its own.
		rest = strings.Trim(s[1:], " \t")
	}
	rest = strings.Trim(rest, " ")
	switch word {
	case "family":
		return p.newFamily(rest)
	case "rule":
		return p.newRule(rest)
	case "disable":
		if err := p.endRule(); err != nil {
			return err
		}
		if !isRuleName(rest) {
			return p.at.errorf("disable: %q is no name of a rule", rest)
		}
		p.out.disabled = append(p.out.disabled, disabled{rest, p.at})
		return nil
	}
	switch {
	case p.family != nil:
		return p.setting(word, rest)
	case p.rule != nil:
		return p.inRule(word, rest)
	}
	return p.at.errorf("%q stands neither in a rule nor in a family", word)
}

// isRuleName takes a-z, 0-9 and '-'.
func isRuleName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func (p *ruleParser) newFamily(name string) error {
	if err := p.endRule(); err != nil {
		return err
	}
	if !isRuleName(name) {
		return p.at.errorf("family %q: a name has 1 to 64 of a-z, 0-9 and '-'", name)
	}
	if slices.ContainsFunc(p.out.families, func(f *family) bool { return f.name == name }) {
		return p.at.errorf("family %s is there twice", name)
	}
	p.family = &family{name: name, at: p.at}
	p.out.families = append(p.out.families, p.family)
	return nil
}

func (p *ruleParser) newRule(s string) error {
	if err := p.endRule(); err != nil {
		return err
	}
	name, mode, _ := strings.Cut(s, " ")
	mode = strings.TrimLeft(mode, " ")
	if !isRuleName(name) || name == accountsRule {
		return p.at.errorf("rule %q: a name has 1 to 64 of a-z, 0-9 and '-', and is not %q", name, accountsRule)
	}
	if mode != "reset" && mode != "secure" {
		return p.at.errorf("rule %s: %q is neither reset nor secure", name, mode)
	}
	if i := slices.IndexFunc(p.out.rules, func(r *rule) bool { return r.name == name }); i >= 0 {
		return p.at.errorf("rule %s is there twice, first in line %d", name, p.out.rules[i].at.line)
	}
	p.rule = &rule{name: name, secure: mode == "secure", at: p.at}
	p.out.rules = append(p.out.rules, p.rule)
	return nil
}

// endRule checks that what came before is complete.
func (p *ruleParser) endRule() error {
	r := p.rule
	if err := p.endStatement(); err != nil {
		return err
	}
	p.rule, p.family = nil, nil
	if r == nil {
		return nil
	}
	if r.why == "" {
		return r.at.errorf("rule %s does not say why", r.name)
	}
	if len(r.does) == 0 {
		return r.at.errorf("rule %s does nothing", r.name)
	}
	return nil
}

func (p *ruleParser) endStatement() error {
	s := p.statement
	p.statement = nil
	if s != nil && s.op.takesExpressions() && len(s.expressions) == 0 {
		return s.at.errorf("an expression is missing: a line that begins with '~'")
	}
	return nil
}

func (p *ruleParser) inRule(word, rest string) error {
	r := p.rule
	switch word {
	case "why":
		if rest == "" || r.why != "" {
			return p.at.errorf("rule %s: why must stand once and give a reason", r.name)
		}
		r.why = rest
		return nil
	case "only":
		r.families = append(r.families, strings.Fields(rest)...)
		if len(r.families) == 0 {
			return p.at.errorf("only: names no family")
		}
		return nil
	case "all-names":
		if rest != "" {
			return p.at.errorf("all-names takes nothing")
		}
		r.allNames = true
		return nil
	case "~":
		return p.expression(rest)
	case "=":
		return p.replacement(rest)
	}
	o, ok := opNames[word]
	if !ok {
		return p.at.errorf("%q is no statement of a rule", word)
	}
	if rest == "" {
		return p.at.errorf("%s: a path is missing", word)
	}
	patterns, err := parsePattern(rest)
	if err != nil {
		return p.at.errorf("%s %s: %v", word, rest, err)
	}
	// Several paths in a row share the expressions that follow.
	if s := p.statement; s != nil && o.takesExpressions() && s.op == o && len(s.expressions) == 0 {
		s.patterns = append(s.patterns, patterns...)
		return nil
	}
	if err := p.endStatement(); err != nil {
		return err
	}
	p.statement = &statement{op: o, patterns: patterns, at: p.at}
	r.does = append(r.does, p.statement)
	return nil
}

func (p *ruleParser) contentLine(s string) error {
	if p.statement == nil || p.statement.op != opContent {
		return p.at.errorf("a line of content stands behind no 'content'")
	}
	s = strings.TrimPrefix(s, " ")
	if strings.Contains(s, "\x00") {
		return p.at.errorf("content holds a NUL")
	}
	p.statement.content += s + "\n"
	return nil
}

func (p *ruleParser) expression(text string) error {
	s := p.statement
	if s == nil || !s.op.takesExpressions() {
		return p.at.errorf("an expression belongs behind drop-line, replace or scan")
	}
	probe := &values{people: []string{"x"}, former: []string{"x"}, user: "x", hostname: "x"}
	shown, _ := probe.inExpression(text)
	if text == "" {
		return p.at.errorf("the expression is empty")
	}
	re, err := regexp.Compile(shown)
	if err != nil {
		return p.at.errorf("%v", err)
	}
	if s.op == opReplace && re.NumSubexp() == 0 {
		return p.at.errorf("the expression has no group that says what is replaced")
	}
	s.expressions = append(s.expressions, &expression{text: text, at: p.at})
	return nil
}

func (p *ruleParser) replacement(with string) error {
	s := p.statement
	if s == nil || s.op != opReplace || len(s.expressions) == 0 {
		return p.at.errorf("'=' belongs behind the expression of a replace")
	}
	e := s.expressions[len(s.expressions)-1]
	if e.with != "" {
		return p.at.errorf("a second '=' for one expression")
	}
	e.with = with
	return nil
}

func (p *ruleParser) setting(word, rest string) error {
	f := p.family
	words := strings.Fields(rest)
	if rest == "" {
		return p.at.errorf("%s: a value is missing", word)
	}
	switch word {
	case "inherits":
		f.inherits = rest
	case "id":
		f.ids = append(f.ids, words...)
	case "file":
		f.files = append(f.files, rest)
	case "hostname":
		if !isHostname(rest) {
			return p.at.errorf("hostname: %q is none", rest)
		}
		f.hostname = rest
	case "shell":
		if rest[0] != '/' || strings.Contains(rest, ":") {
			return p.at.errorf("shell: %q is no absolute path", rest)
		}
		f.shell = rest
	case "groups":
		f.groups = append(f.groups, words...)
	case "guessed":
		f.guessed = append(f.guessed, words...)
	case "system":
		f.system = append(f.system, words...)
	case "uids":
		if len(words) != 2 {
			return p.at.errorf("uids: two numbers, the first and the last uid of people")
		}
		for i, w := range words {
			n, err := strconv.ParseUint(w, 10, 32)
			if err != nil {
				return p.at.errorf("uids: %q is no uid", w)
			}
			f.uids[i] = uint32(n)
		}
		if f.uids[0] < minPeople || f.uids[1] < f.uids[0] {
			return p.at.errorf("uids: the range is empty or begins below %d", minPeople)
		}
	case "selinux":
		if len(words) != 2 {
			return p.at.errorf("selinux: two labels, of a home and of what is in it")
		}
		f.selinux = [2]string(words)
	default:
		return p.at.errorf("%q is no setting of a family", word)
	}
	return nil
}

// values are what placeholders stand for.
type values struct {
	people, former []string
	user, hostname string
}

// inText fills in user and host name.
func (v *values) inText(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, userMark, v.user), hostMark, v.hostname)
}

// inExpression fills in names as expressions that match them; ok is false where
// people are meant and there are none.
func (v *values) inExpression(s string) (text string, ok bool) {
	for mark, names := range map[string][]string{personMark: v.people, formerMark: v.former} {
		if !strings.Contains(s, mark) {
			continue
		}
		var quoted []string
		for _, p := range names {
			if utf8.ValidString(p) { // expressions know no other names
				quoted = append(quoted, regexp.QuoteMeta(p))
			}
		}
		if len(quoted) == 0 {
			return "", false
		}
		s = strings.ReplaceAll(s, mark, "(?:"+strings.Join(quoted, "|")+")")
	}
	s = strings.ReplaceAll(s, userMark, regexp.QuoteMeta(v.user))
	return strings.ReplaceAll(s, hostMark, regexp.QuoteMeta(v.hostname)), true
}
