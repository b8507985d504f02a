package rebase

import (
	"fmt"
	"slices"
	"strings"

	"relive/tree"
)

// accountFiles are tables of accounts of which each line is a record by itself,
// by its first field (passwd(5), shadow(5), group(5), gshadow(5), subuid(5)). The
// fields that are lists of names are given by their numbers.
var accountFiles = map[string]accountTable{
	"etc/passwd":  {ids: true},
	"etc/group":   {ids: true, lists: []int{3}},
	"etc/shadow":  {},
	"etc/gshadow": {lists: []int{2, 3}},
	"etc/subuid":  {},
	"etc/subgid":  {},
}

// accountTable tells what the records of a table hold.
type accountTable struct {
	ids   bool  // the third field is an id, which no two records should share
	lists []int // fields with names, separated by commas
}

// maxAccounts bounds the size of a table that is merged, in bytes.
const maxAccounts = 4 << 20

// records are the lines of a table in their order, and by name.
type records struct {
	names []string
	line  map[string]string
}

// readRecords returns false for what is no table of distinct records.
func readRecords(text string) (r records, ok bool) {
	r.line = map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		name, _, _ := strings.Cut(line, ":")
		if _, twice := r.line[name]; twice || name == "" {
			return r, false
		}
		r.names = append(r.names, name)
		r.line[name] = line
	}
	return r, true
}

// mergedAccounts merges a table of accounts; false for another file, and for one
// that cannot be merged.
func mergedAccounts(path string, of ...*tree.Node) ([]byte, bool, error) {
	t, ok := accountFiles[path]
	if !ok {
		return nil, false, nil
	}
	var texts [3]string
	for i, n := range of {
		if n.Size > maxAccounts {
			return nil, false, nil
		}
		b, err := tree.ReadAll(n, maxAccounts)
		if err != nil {
			return nil, false, fmt.Errorf("%s: %w", tree.Quote(path), err)
		}
		texts[i] = string(b)
	}
	text, ok := t.merge(texts[0], texts[1], texts[2])
	return []byte(text), ok, nil
}

// merge merges a table record by record: those of theirs first, in their order,
// and then those that only ours has. It gives false where both sides did
// different things to a record, and where an id would come to have two names that
// share it on neither side.
func (t accountTable) merge(base, ours, theirs string) (string, bool) {
	b, okB := readRecords(base)
	o, okO := readRecords(ours)
	th, okT := readRecords(theirs)
	if !okB || !okO || !okT {
		return "", false
	}
	names := slices.Clone(th.names)
	for _, name := range o.names {
		if _, both := th.line[name]; !both {
			names = append(names, name)
		}
	}
	var out []string
	for _, name := range names {
		was, had := b.line[name]
		mine, kept := o.line[name]
		new, stays := th.line[name]
		switch {
		case kept && stays:
			line, ok := t.record(was, mine, new, had)
			if !ok {
				return "", false
			}
			out = append(out, line)
		case !had: // one side added it
			out = append(out, mine+new)
		case kept && mine != was, stays && new != was:
			return "", false // changed here, and deleted there
		}
	}
	if len(out) == 0 || t.ids && !sharedAlike(out, o, th) {
		return "", false
	}
	return strings.Join(out, "\n") + "\n", true
}

// record merges a line that both sides have.
func (t accountTable) record(was, mine, new string, had bool) (string, bool) {
	switch {
	case mine == new, had && mine == was:
		return new, true
	case had && new == was:
		return mine, true
	}
	w, m, n := strings.Split(was, ":"), strings.Split(mine, ":"), strings.Split(new, ":")
	if !had {
		w = make([]string, len(n))
	}
	if len(w) != len(n) || len(m) != len(n) {
		return "", false
	}
	for i := range n {
		switch {
		case m[i] == n[i], had && m[i] == w[i]:
		case had && n[i] == w[i]:
			n[i] = m[i]
		case slices.Contains(t.lists, i):
			n[i] = mergedNames(w[i], m[i], n[i])
		default:
			return "", false
		}
	}
	return strings.Join(n, ":"), true
}

// mergedNames merges lists of names.
func mergedNames(was, mine, new string) string {
	split := func(s string) []string {
		return slices.DeleteFunc(strings.Split(s, ","), func(name string) bool { return name == "" })
	}
	w, m, n := split(was), split(mine), split(new)
	out := slices.DeleteFunc(slices.Clone(n), func(name string) bool { return slices.Contains(w, name) && !slices.Contains(m, name) })
	for _, name := range m {
		if !slices.Contains(n, name) && !slices.Contains(w, name) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ",")
}

// sharedAlike tells that records that share an id do so on one of the sides
// already.
func sharedAlike(lines []string, ours, theirs records) bool {
	id := func(line string) string {
		fields := strings.SplitN(line, ":", 4)
		if len(fields) < 4 {
			return ""
		}
		return fields[2]
	}
	of := map[string][]string{}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		if at := id(line); at != "" {
			of[at] = append(of[at], name)
		}
	}
	for at, names := range of {
		if len(names) < 2 {
			continue
		}
		all := func(r records) bool {
			return !slices.ContainsFunc(names, func(name string) bool { return id(r.line[name]) != at })
		}
		if !all(ours) && !all(theirs) {
			return false
		}
	}
	return true
}
