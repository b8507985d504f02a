package exclude

import "strings"

// classes are the character classes of the C locale.
var classes = map[string]func(c byte) bool{
	"alnum":  func(c byte) bool { return isAlpha(c) || isDigit(c) },
	"alpha":  isAlpha,
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
	"digit":  isDigit,
	"graph":  func(c byte) bool { return c > ' ' && c < 0x7f },
	"lower":  func(c byte) bool { return c >= 'a' && c <= 'z' },
	"print":  func(c byte) bool { return c >= ' ' && c < 0x7f },
	"punct":  func(c byte) bool { return c > ' ' && c < 0x7f && !isAlpha(c) && !isDigit(c) },
	"space":  func(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' },
	"upper":  func(c byte) bool { return c >= 'A' && c <= 'Z' },
	"xdigit": func(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' },
}

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// bracketList reads the members of a bracket expression.
type bracketList struct {
	s       string
	i       int
	members [4]uint64
	// broken: a class is unknown. What came before it matches, nothing else
	// does, not even in a complement.
	broken bool
}

// bracket reads the bracket expression whose '[' stands before s[i], and gives
// the bytes that it matches and where it ends. It is not ok where the bracket
// never closes; '[' then stands for itself.
func bracket(s string, i int) (members *[4]uint64, end int, ok bool) {
	if strings.IndexByte(s[i:], ']') < 0 {
		return nil, 0, false
	}
	l := bracketList{s: s, i: i}
	not := i < len(s) && (s[i] == '!' || s[i] == '^')
	if not {
		l.i++
	}
	for first := true; ; first = false {
		if l.i >= len(s) {
			return nil, 0, false
		}
		if s[l.i] == ']' && !first {
			break
		}
		if !l.member() {
			return nil, 0, false
		}
	}
	switch {
	case not && l.broken:
		l.members = [4]uint64{}
	case not:
		for k := range l.members {
			l.members[k] = ^l.members[k]
		}
	}
	return &l.members, l.i + 1, true
}

// member reads one member: a class, a byte, or a range of bytes. It is false
// where the string ends in it.
func (l *bracketList) member() bool {
	if strings.HasPrefix(l.s[l.i:], "[:") {
		if name, ok := l.className(); ok {
			l.i += len("[:") + len(name) + len(":]")
			in := classes[name]
			if in == nil {
				l.broken = true
				return true
			}
			for c := range 256 {
				if in(byte(c)) {
					l.add(byte(c), byte(c))
				}
			}
			return true
		}
	}
	// An equivalence class holds one byte here, and begins no range.
	if rest := l.s[l.i:]; len(rest) >= 5 && rest[:2] == "[=" && rest[3:5] == "=]" {
		l.add(rest[2], rest[2])
		l.i += 5
		return true
	}
	lo, ok := l.bound()
	if !ok {
		return false
	}
	hi := lo
	if rest := l.s[l.i:]; len(rest) >= 2 && rest[0] == '-' && rest[1] != ']' {
		l.i++
		if hi, ok = l.bound(); !ok {
			return false
		}
	}
	l.add(lo, hi)
	return true
}

// className returns the name in "[:name:]", which begins at the list's place; no
// other form than that of lower-case letters is a class.
func (l *bracketList) className() (string, bool) {
	rest := l.s[l.i+2:]
	n := 0
	for n < len(rest) && rest[n] >= 'a' && rest[n] <= 'z' {
		n++
	}
	return rest[:n], strings.HasPrefix(rest[n:], ":]")
}

// bound reads one byte, as itself, escaped, or as a collating symbol [.x.].
func (l *bracketList) bound() (byte, bool) {
	rest := l.s[l.i:]
	switch {
	case rest == "" || rest == "\\":
		return 0, false
	case rest[0] == '\\':
		l.i += 2
		return rest[1], true
	case strings.HasPrefix(rest, "[."):
		name, _, ok := strings.Cut(rest[2:], ".]")
		if !ok {
			return 0, false
		}
		l.i += 2 + len(name) + 2
		if len(name) != 1 {
			// The C locale has no collating symbols but single bytes.
			l.broken = true
			return 0, true
		}
		return name[0], true
	}
	l.i++
	return rest[0], true
}

func (l *bracketList) add(lo, hi byte) {
	if l.broken {
		return
	}
	for c := int(lo); c <= int(hi); c++ {
		l.members[c>>6] |= 1 << (c & 63)
	}
}
