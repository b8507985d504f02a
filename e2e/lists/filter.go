package lists

import (
	"regexp"
	"strings"
)

// Filter returns what a line becomes before lists are compared, or that it is left out.
type Filter func(line string) (becomes string, kept bool)

func pass(line string, filters []Filter) (string, bool) {
	for _, f := range filters {
		var kept bool
		if line, kept = f(line); !kept {
			return "", false
		}
	}
	return line, true
}

// Without leaves out lines that a pattern matches.
func Without(pattern string) Filter {
	leave := regexp.MustCompile(pattern)
	return func(line string) (string, bool) { return line, !leave.MatchString(line) }
}

// Replace puts a text, with the groups of the pattern, in place of the first match.
func Replace(pattern, with string) Filter {
	find := regexp.MustCompile(pattern)
	return func(line string) (string, bool) {
		at := find.FindStringSubmatchIndex(line)
		if at == nil {
			return line, true
		}
		return line[:at[0]] + string(find.ExpandString(nil, with, line, at)) + line[at[1]:], true
	}
}

// WholeSeconds makes a list as a squashfs has it, in which times have no fractions.
func WholeSeconds(line string) (string, bool) { return wholeSeconds(line) }

var wholeSeconds = Replace(`\t([a-z] [0-7]+ [0-9]+ [0-9]+ [0-9]+)\.[0-9]+`, "\t$1")

// Uncut leaves out what the step of a power cut (make_cut) goes on changing.
func Uncut(line string) (string, bool) { return uncut(line) }

var uncut = Without(`^(/(root|etc)\td |/root/cut(/.*)?\t|/etc/pam\.conf\t)`)

// UntimedRoot leaves out the time of the root, in which a boot makes something.
func UntimedRoot(line string) (string, bool) { return untimedRoot(line) }

var untimedRoot = Replace(`^(/\td [0-7]+ [0-9]+ [0-9]+) .*`, "$1")

// Squashed makes what is the same on both sides of a squashfs, which has whole seconds
// and no ACLs. Homes are in homefs and lose nothing.
func Squashed(line string) (string, bool) {
	if strings.HasPrefix(line, "/home/") || strings.HasPrefix(line, "/home\t") {
		return line, true
	}
	if strings.Contains(line, "\tsystem.posix_acl") {
		return "", false
	}
	return WholeSeconds(line)
}

// WithoutMark leaves out the version ids, which come with every base and whose
// directories init makes.
func WithoutMark(line string) (string, bool) { return withoutMark(line) }

var withoutMark = Without(`^/etc/live(/version(/.*)?)?\t`)
