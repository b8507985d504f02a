package accounts

import (
	"fmt"
	"regexp"
	"slices"
)

// Rules are what a rules file says. They are not modified once read.
type Rules struct {
	families []*family
	rules    []*rule
	disabled []disabled
}

type disabled struct {
	name string
	at   place
}

// place is where in a rules file something stands.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// RulesError is the error of a rules file.
type RulesError struct {
	File string
	Line int // from 1
	Fact string
}

func (e *RulesError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Fact) }

func (p place) errorf(format string, args ...any) error {
	return &RulesError{p.file, p.line, fmt.Sprintf(format, args...)}
}

// rule is one rule.
type rule struct {
	name     string
	secure   bool     // only for Secure
	families []string // empty: all
	why      string
	allNames bool // other hard links of what is dropped are dropped as well
	does     []*statement
	at       place
}

// op is what a statement does with the paths that it names.
type op uint8

const (
	opKeep     op = iota // nothing drops them
	opExcept             // this rule leaves them alone
	opDrop               // out, with all below
	opDropFile           // out, if they are regular files
	opEmpty              // regular files lose their content
	opContent            // the file, if it is there, gets this content
	opHosts              // a hosts file loses the former host name
	opDropLine           // lines that an expression matches go out
	opReplace            // what the first group of an expression matches is replaced
	opDoubt              // they are reported
	opScan               // files at and below them that an expression matches are reported
	opSkip               // what the rule's scans leave out
)

var opNames = map[string]op{
	"keep": opKeep, "except": opExcept, "drop": opDrop, "drop-file": opDropFile, "empty": opEmpty, "content": opContent, "hosts": opHosts,
	"drop-line": opDropLine, "replace": opReplace, "doubt": opDoubt, "scan": opScan, "skip": opSkip,
}

// takesExpressions tells the statements that "~" lines belong to.
func (o op) takesExpressions() bool { return o == opDropLine || o == opReplace || o == opScan }

// follows tells the statements that act on the file behind a symlink.
func (o op) follows() bool {
	return o == opEmpty || o == opContent || o == opHosts || o == opDropLine || o == opReplace
}

type statement struct {
	op          op
	patterns    [][]string
	content     string
	expressions []*expression
	at          place
}

// expression is one "~" line and the "=" line below it. What it matches on may
// depend on names that only the system tells.
type expression struct {
	text string
	with string // replace: what comes in the place of the first group
	at   place
}

// compile puts the names in; nil where the expression is about people and there
// are none.
func (e *expression) compile(v *values) (*regexp.Regexp, error) {
	text, ok := v.inExpression(e.text)
	if !ok {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, e.at.errorf("expression with the names of people: %v", err)
	}
	return re, nil
}

// family is a kind of distributions: how one is told, and what is so in it.
type family struct {
	name     string
	inherits string
	ids      []string // of os-release's ID and ID_LIKE
	files    []string // that only such a system has
	hostname string
	shell    string
	groups   []string // those that a live system's user is in
	guessed  []string // passwords that its boot guesses, to have them changed
	system   []string // accounts that are nobody's, whatever they look like
	uids     [2]uint32
	selinux  [2]string // label of a home and of what is in it
	at       place
}

// over returns the family with what the other says put over it.
func (f family) over(o *family) *family {
	take := func(dst *string, src string) {
		if src != "" {
			*dst = src
		}
	}
	takeList := func(dst *[]string, src []string) {
		if src != nil {
			*dst = src
		}
	}
	take(&f.inherits, o.inherits)
	take(&f.hostname, o.hostname)
	take(&f.shell, o.shell)
	takeList(&f.ids, o.ids)
	takeList(&f.files, o.files)
	takeList(&f.groups, o.groups)
	takeList(&f.guessed, o.guessed)
	f.system = append(slices.Clone(f.system), o.system...)
	if o.uids != [2]uint32{} {
		f.uids = o.uids
	}
	if o.selinux != [2]string{} {
		f.selinux = o.selinux
	}
	return &f
}

// merge puts rules over rules, in order: a rule of the same name takes the
// place of the former one, a family's settings those that it names, a disabled
// rule goes.
func merge(all []*Rules) (*Rules, error) {
	out := &Rules{}
	for _, r := range all {
		for _, f := range r.families {
			if i := slices.IndexFunc(out.families, func(g *family) bool { return g.name == f.name }); i >= 0 {
				out.families[i] = out.families[i].over(f)
			} else {
				out.families = append(out.families, f)
			}
		}
		for _, d := range r.disabled {
			i := slices.IndexFunc(out.rules, func(x *rule) bool { return x.name == d.name })
			if i < 0 {
				return nil, d.at.errorf("there is no rule %q to disable", d.name)
			}
			out.rules = slices.Delete(out.rules, i, i+1)
		}
		for _, x := range r.rules {
			if i := slices.IndexFunc(out.rules, func(y *rule) bool { return y.name == x.name }); i >= 0 {
				out.rules[i] = x
			} else {
				out.rules = append(out.rules, x)
			}
		}
	}
	known := func(name string) bool {
		return slices.ContainsFunc(out.families, func(f *family) bool { return f.name == name })
	}
	for _, f := range out.families {
		if f.inherits != "" && !known(f.inherits) {
			return nil, f.at.errorf("family %s inherits from %q, which there is none of", f.name, f.inherits)
		}
	}
	for _, x := range out.rules {
		for _, f := range x.families {
			if !known(f) {
				return nil, x.at.errorf("rule %s: there is no family %q", x.name, f)
			}
		}
	}
	for _, f := range out.families {
		if _, err := out.lineage(f); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lineage is a family and those that it inherits from, nearest first.
func (r *Rules) lineage(f *family) ([]*family, error) {
	line := []*family{f}
	for f.inherits != "" {
		i := slices.IndexFunc(r.families, func(g *family) bool { return g.name == f.inherits })
		if i < 0 {
			break
		}
		f = r.families[i]
		if slices.Contains(line, f) {
			return nil, line[0].at.errorf("family %s inherits from itself", line[0].name)
		}
		line = append(line, f)
	}
	return line, nil
}
