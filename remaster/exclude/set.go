package exclude

import (
	"fmt"
	"strings"
)

// Set is a compiled list of rules. It may be used by several goroutines at
// once.
type Set struct {
	rules    []Rule
	anchored *level
	sticky   *level // nil where no rule is sticky
}

// level is what the components of rules at one depth look for: rules that begin
// with equal components share them.
type level struct {
	plain map[string]*branch // components that match one name
	wild  []*branch
	index map[string]*branch // wild by their text
}

// branch is one component and what may follow it.
type branch struct {
	pattern pattern
	rule    int    // the first rule that ends here, or -1
	rules   []int  // all of them
	next    *level // nil where no rule goes on
}

// New compiles rules. The index of a rule in the list is its number in all
// that the Set tells.
func New(rules []Rule) (*Set, error) {
	s := &Set{rules: append([]Rule(nil), rules...), anchored: new(level)}
	for i, r := range rules {
		if r.path == "" {
			// A Rule that was not made by this package's functions.
			read := ParsePattern
			if r.Plain {
				read = Plain
			}
			var err error
			if r, err = read(r.Pattern, r.Source); err != nil {
				return nil, err
			}
			s.rules[i] = r
		}
		at := s.anchored
		if r.Sticky {
			if s.sticky == nil {
				s.sticky = new(level)
			}
			at = s.sticky
		}
		parts := r.components()
		if len(parts) == 0 {
			return nil, fmt.Errorf("%s: exclude %q: names no file", r.Source, r.Pattern)
		}
		for k, part := range parts {
			b := at.branch(part, r.Plain)
			if k == len(parts)-1 {
				b.end(i)
				break
			}
			if b.next == nil {
				b.next = new(level)
			}
			at = b.next
		}
	}
	return s, nil
}

func (b *branch) end(rule int) {
	if b.rule < 0 {
		b.rule = rule
	}
	b.rules = append(b.rules, rule)
}

// branch finds or makes the branch of a component.
func (l *level) branch(part string, plain bool) *branch {
	var p pattern
	if !plain {
		p = compile(part)
		part, plain = plainOr(p, part)
	}
	if plain {
		if l.plain == nil {
			l.plain = map[string]*branch{}
		}
		b := l.plain[part]
		if b == nil {
			b = &branch{rule: -1}
			l.plain[part] = b
		}
		return b
	}
	if b := l.index[part]; b != nil {
		return b
	}
	if l.index == nil {
		l.index = map[string]*branch{}
	}
	b := &branch{pattern: p, rule: -1}
	l.index[part] = b
	l.wild = append(l.wild, b)
	return b
}

func plainOr(p pattern, part string) (string, bool) {
	if name, ok := p.plain(); ok {
		return name, true
	}
	return part, false
}

// Rules are the rules of the set.
func (s *Set) Rules() []Rule { return append([]Rule(nil), s.rules...) }

// live are the levels that names of one directory are matched against. No
// levels means that nothing in the directory or below can be excluded.
type live []*level

// top is what lives in the root.
func (s *Set) top() live {
	var l live
	if len(s.anchored.plain)+len(s.anchored.wild) > 0 {
		l = append(l, s.anchored)
	}
	if s.sticky != nil {
		l = append(l, s.sticky)
	}
	return l
}

// each calls f for all branches that match the name.
func (l live) each(name string, f func(*branch)) {
	for _, at := range l {
		if b := at.plain[name]; b != nil {
			f(b)
		}
		for _, b := range at.wild {
			if b.pattern.match(name) {
				f(b)
			}
		}
	}
}

// step matches one name: the first rule that excludes it, or -1 and what lives
// in the directory of that name.
func (s *Set) step(l live, name string) (rule int, below live) {
	rule = -1
	l.each(name, func(b *branch) {
		if b.rule >= 0 && (rule < 0 || b.rule < rule) {
			rule = b.rule
		}
		if b.next != nil {
			below = append(below, b.next)
		}
	})
	if rule >= 0 {
		return rule, nil
	}
	if s.sticky != nil {
		below = append(below, s.sticky)
	}
	return -1, below
}

// Excluded reports whether a path is excluded, itself or by a directory above it,
// and by which rule. The path is from the root, joined by '/'; empty components
// are skipped. The root itself is never excluded.
func (s *Set) Excluded(path string) (rule int, ok bool) {
	l := s.top()
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if len(l) == 0 {
			return -1, false
		}
		var hit int
		if hit, l = s.step(l, name); hit >= 0 {
			return hit, true
		}
	}
	return -1, false
}
