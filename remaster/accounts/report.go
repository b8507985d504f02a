package accounts

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"relive/tree"
)

// Action is what was done with a path.
type Action string

// The actions.
const (
	// Dropped: the path is not in the new tree.
	Dropped Action = "dropped"
	// Changed: its content is another.
	Changed Action = "changed"
	// Made: it is new.
	Made Action = "made"
	// KeptByDoubt: it is as it was, and a person should look at it.
	KeptByDoubt Action = "kept-by-doubt"
)

// Entry is one path of a report.
type Entry struct {
	// Path is from the root of the tree, joined by '/', without a leading one.
	Path string
	// Action is what was done.
	Action Action
	// Rule is the name of the rule that did it; "accounts" for what is no rule's.
	Rule string
	// Reason says why, for a person.
	Reason string
	// Detail says what, where the path alone does not: "line 3", "members alice
	// of group audio". Secrets other than names are never part of it.
	Detail string
	// Entries and Bytes are what was dropped: the path and all below, and the
	// Bytes of regular files.
	Entries, Bytes int64
}

// Report tells what a plan does. Entries are sorted by path; what happens to
// one path is in the order of happening.
type Report struct {
	Mode   Mode
	Family string
	// People are the accounts taken out, in the order of the account files.
	People []string
	// User is the account made, empty where none is.
	User    string
	Entries []Entry
}

func (r *Report) add(e Entry) { r.Entries = append(r.Entries, e) }

// finish puts entries in order, and leaves out what came to be below a dropped
// directory.
func (r *Report) finish(gone func(path string) bool) {
	r.Entries = slices.DeleteFunc(r.Entries, func(e Entry) bool {
		return e.Action != Made && gone(parent(e.Path)) || e.Action != Dropped && e.Action != Made && gone(e.Path)
	})
	slices.SortStableFunc(r.Entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
}

// Count returns the number of entries with that action.
func (r *Report) Count(a Action) int {
	n := 0
	for _, e := range r.Entries {
		if e.Action == a {
			n++
		}
	}
	return n
}

// WriteText writes the report for a person: a line an entry, by action, what
// needs a look last.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "accounts: %s", r.Mode)
	if r.Family != "" {
		fmt.Fprintf(&b, " (%s)", r.Family)
	}
	b.WriteByte('\n')
	if len(r.People) > 0 {
		fmt.Fprintf(&b, "people taken out: %s\n", show(strings.Join(r.People, ", ")))
	}
	if r.User != "" {
		fmt.Fprintf(&b, "account made: %s\n", r.User)
	}
	for _, a := range []Action{Dropped, Changed, Made, KeptByDoubt} {
		n := r.Count(a)
		if n == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s (%d):\n", a, n)
		for _, e := range r.Entries {
			if e.Action != a {
				continue
			}
			fmt.Fprintf(&b, "  %s", tree.Quote(e.Path))
			if e.Entries > 1 {
				fmt.Fprintf(&b, " (%d entries, %d bytes)", e.Entries, e.Bytes)
			}
			if e.Detail != "" {
				fmt.Fprintf(&b, ": %s", show(e.Detail))
			}
			fmt.Fprintf(&b, " [%s: %s]\n", e.Rule, e.Reason)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// show keeps control characters of names off a terminal.
func show(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// MarshalJSON returns an object with mode, family, people, user and entries. In
// names and paths every byte that is not printable ASCII, and '%', is %XX.
func (r *Report) MarshalJSON() ([]byte, error) {
	type entry struct {
		Path    string `json:"path"`
		Action  Action `json:"action"`
		Rule    string `json:"rule"`
		Reason  string `json:"reason"`
		Detail  string `json:"detail,omitempty"`
		Entries int64  `json:"entries,omitempty"`
		Bytes   int64  `json:"bytes,omitempty"`
	}
	out := struct {
		Mode    string   `json:"mode"`
		Family  string   `json:"family,omitempty"`
		People  []string `json:"people"`
		User    string   `json:"user,omitempty"`
		Entries []entry  `json:"entries"`
	}{r.Mode.String(), r.Family, []string{}, r.User, []entry{}}
	for _, p := range r.People {
		out.People = append(out.People, tree.Escape(p))
	}
	for _, e := range r.Entries {
		out.Entries = append(out.Entries, entry{tree.Escape(e.Path), e.Action, e.Rule, e.Reason, show(e.Detail), e.Entries, e.Bytes})
	}
	return json.Marshal(out)
}

// parent is the path of the directory that a path is in, "" for the root's.
func parent(path string) string {
	return path[:max(strings.LastIndexByte(path, '/'), 0)]
}
