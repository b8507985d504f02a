package exclude

import "strings"

// kind is what an item of a pattern matches.
type kind uint8

const (
	literal kind = iota // one byte
	anyByte             // '?'
	set                 // [...]
	star                // '*'
	group               // ?(..) *(..) +(..) @(..) !(..)
	never               // nothing: an escape or a class that is broken
)

// item is one element of a pattern.
type item struct {
	kind kind
	b    byte       // literal: the byte; group: its operator
	skip int        // star: bytes that it takes at least
	set  *[4]uint64 // set: the bytes that it matches
	alts []pattern  // group
}

// pattern is the compiled form of one component.
type pattern []item

// compile reads a pattern as glibc's fnmatch does with FNM_EXTMATCH. Every
// string is a pattern: what is broken stands for itself or matches nothing.
func compile(s string) pattern {
	var p pattern
	for i := 0; i < len(s); {
		c := s[i]
		if alts, end, ok := splitGroup(s, i); ok {
			g := item{kind: group, b: c}
			for _, a := range alts {
				g.alts = append(g.alts, compile(a))
			}
			p = append(p, g)
			i = end
			continue
		}
		i++
		switch c {
		case '?':
			p = append(p, item{kind: anyByte})
		case '*':
			// What follows of stars and optional groups adds nothing to a star;
			// each '?' adds one byte to what it takes.
			st := item{kind: star}
			for i < len(s) && (s[i] == '*' || s[i] == '?') {
				if _, end, ok := splitGroup(s, i); ok {
					i = end
					continue
				}
				if s[i] == '?' {
					st.skip++
				}
				i++
			}
			p = append(p, st)
		case '\\':
			if i == len(s) {
				p = append(p, item{kind: never})
				break
			}
			p = append(p, item{kind: literal, b: s[i]})
			i++
		case '[':
			members, end, ok := bracket(s, i)
			if !ok {
				p = append(p, item{kind: literal, b: '['})
				break
			}
			p = append(p, item{kind: set, set: members})
			i = end
		default:
			p = append(p, item{kind: literal, b: c})
		}
	}
	return p
}

// splitGroup reports whether a group begins at s[i], and gives its alternatives
// and where it ends. A bracket hides parentheses and bars, a backslash does
// not: so glibc has it.
func splitGroup(s string, i int) (alts []string, end int, ok bool) {
	if !opensGroup(s, i) {
		return nil, 0, false
	}
	level, start := 0, i+2
	for j := start; j < len(s); j++ {
		switch c := s[j]; {
		case c == '[':
			j++
			if j < len(s) && (s[j] == '!' || s[j] == '^') {
				j++
			}
			if j < len(s) && s[j] == ']' {
				j++
			}
			n := strings.IndexByte(s[min(j, len(s)):], ']')
			if n < 0 {
				return nil, 0, false
			}
			j += n
		case opensGroup(s, j):
			level++
			j++
		case c == '|' && level == 0:
			alts = append(alts, s[start:j])
			start = j + 1
		case c == ')' && level == 0:
			return append(alts, s[start:j]), j + 1, true
		case c == ')':
			level--
		}
	}
	return nil, 0, false
}

func opensGroup(s string, i int) bool {
	return i+1 < len(s) && s[i+1] == '(' && strings.IndexByte("?*+@!", s[i]) >= 0
}

// plain returns the one name that the pattern matches, if there is no more than
// one.
func (p pattern) plain() (string, bool) {
	b := make([]byte, len(p))
	for i, it := range p {
		if it.kind != literal {
			return "", false
		}
		b[i] = it.b
	}
	return string(b), true
}

// grouped reports whether the pattern has groups.
func (p pattern) grouped() bool {
	for _, it := range p {
		if it.kind == group {
			return true
		}
	}
	return false
}

func (it *item) takes(c byte) bool {
	switch it.kind {
	case literal:
		return it.b == c
	case anyByte:
		return true
	case set:
		return it.set[c>>6]&(1<<(c&63)) != 0
	}
	return false
}
