package accounts

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// anyDepth is the part of a pattern that stands for any number of directories.
const anyDepth = "**"

// The placeholders of patterns, contents and expressions.
const (
	personMark = "{person}" // who is taken out, and whoever had the new user's name
	formerMark = "{former}" // who is taken out, but for who has the new user's name
	userMark   = "{user}"
	hostMark   = "{hostname}"
)

// maxAlternatives bounds what one pattern with braces stands for.
const maxAlternatives = 256

// parsePattern reads a path pattern: its braces {a,b} are taken apart, each
// alternative split at the slashes.
func parsePattern(s string) ([][]string, error) {
	if strings.ContainsRune(s, 0) || len(s) > 4096 {
		return nil, errors.New("the pattern holds a NUL or has more than 4096 bytes")
	}
	alts, err := expandBraces(s)
	if err != nil {
		return nil, err
	}
	if strings.Contains(s, personMark) && strings.Contains(s, formerMark) {
		return nil, fmt.Errorf("%s and %s in one pattern", personMark, formerMark)
	}
	var out [][]string
	for _, a := range alts {
		var parts []string
		deep := 0
		for part := range strings.SplitSeq(a, "/") {
			switch part {
			case "", ".":
				continue
			case "..":
				return nil, errors.New("'..' in a pattern")
			case anyDepth:
				deep++
			default:
				if _, err := path.Match(strings.ReplaceAll(strings.ReplaceAll(part, personMark, "x"), formerMark, "x"), ""); err != nil {
					return nil, fmt.Errorf("%q is no pattern: a bracket or an escape is not closed", part)
				}
			}
			parts = append(parts, part)
		}
		switch {
		case len(parts) == 0:
			return nil, errors.New("the pattern names no file")
		case deep > 1:
			return nil, errors.New("'**' stands more than once")
		case parts[len(parts)-1] == anyDepth:
			parts = append(parts, "*")
		}
		out = append(out, parts)
	}
	return out, nil
}

// expandBraces does what the shell does with {a,b}. A brace without a comma, a
// placeholder among them, stands for itself.
func expandBraces(s string) ([]string, error) {
	out, todo := []string{}, []string{s}
	for len(todo) > 0 {
		if len(out)+len(todo) > maxAlternatives {
			return nil, fmt.Errorf("the braces stand for more than %d patterns", maxAlternatives)
		}
		s = todo[0]
		todo = todo[1:]
		alts, start, end := firstBraces(s)
		if alts == nil {
			out = append(out, s)
			continue
		}
		var next []string
		for _, a := range alts {
			next = append(next, s[:start]+a+s[end:])
		}
		todo = append(next, todo...)
	}
	return out, nil
}

// firstBraces finds the first pair of braces with a comma of their own.
func firstBraces(s string) (alts []string, start, end int) {
	for start = 0; start < len(s); start++ {
		if s[start] != '{' {
			continue
		}
		level, from := 0, start+1
		alts = nil
	scan:
		for i := start; i < len(s); i++ {
			switch s[i] {
			case '{':
				level++
			case ',':
				if level == 1 {
					alts = append(alts, s[from:i])
					from = i + 1
				}
			case '}':
				if level--; level == 0 {
					if alts == nil {
						break scan
					}
					return append(alts, s[from:i]), start, i + 1
				}
			}
		}
	}
	return nil, 0, 0
}

// isLiteral tells a part that matches one name, itself.
func isLiteral(part string) bool { return !strings.ContainsAny(part, `*?[\`) }

// withPeople returns the parts for each of the people; those without a
// placeholder as they are.
func withPeople(parts []string, v *values) [][]string {
	has := func(mark string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(p, mark) })
	}
	mark, names := personMark, v.people
	if has(formerMark) {
		mark, names = formerMark, v.former
	} else if !has(personMark) {
		return [][]string{parts}
	}
	var out [][]string
	for _, name := range names {
		if strings.ContainsAny(name, "/\x00") || name == "." || name == ".." {
			continue // no file has that name
		}
		mine := make([]string, len(parts))
		for i, p := range parts {
			if p == mark && isLiteral(name) {
				mine[i] = name
				continue
			}
			mine[i] = strings.ReplaceAll(p, mark, escapeGlob(name))
		}
		out = append(out, mine)
	}
	return out
}

func escapeGlob(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(`*?[\`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
