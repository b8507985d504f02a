package remaster

import (
	"context"
	"fmt"
	"strings"

	"relive/remaster/exclude"
	"relive/remaster/nearest"
	"relive/tree"
)

// unmatched collects what people have named and what is not there. A name that
// is not there is a mistake, or it was meant for another system; whatever is
// done without it is not what was asked for. So it is refused before anything is
// written. Lists that come with relive know many places, of which no system has
// all, and do not count.
type unmatched struct {
	facts []string
	hint  string // of the first for which something near was found
	mild  string // where the first would have to be, if nothing near was found
}

// path takes up a path or pattern that matches nothing in the trees. fact tells
// so. What is near to it is shown as a path from the root, with a prefix.
func (u *unmatched) path(fact, pattern, prefix string, trees ...*tree.Node) {
	u.facts = append(u.facts, fact)
	if u.hint != "" {
		return
	}
	switch near, above := nearest.Pattern(pattern, trees...); {
	case near != "":
		u.hint = "did you mean " + prefix + tree.Escape(near) + "?"
	case above != "" && u.mild == "":
		u.mild = fmt.Sprintf("there is a %s%s, with no such thing in it", prefix, tree.Escape(above))
	}
}

// name takes up a name that is none of those that there are.
func (u *unmatched) name(fact, name string, names []string) {
	u.facts = append(u.facts, fact)
	if u.hint == "" {
		u.hint = didYouMean(name, names)
	}
}

// didYouMean asks for the nearest of several names, "" where none is near.
func didYouMean(name string, names []string) string {
	if near := nearest.Name(name, names); near != "" {
		return "did you mean " + tree.Escape(near) + "?"
	}
	return ""
}

// joinHints puts hints into one line; empty ones are left out.
func joinHints(hints ...string) string {
	out := ""
	for _, h := range hints {
		switch {
		case h == "":
		case out == "":
			out = h
		case strings.HasSuffix(out, "?"):
			out += " " + h
		default:
			out += "; " + h
		}
	}
	return out
}

// unmatchedShown is how many names a refusal lists.
const unmatchedShown = 5

// check refuses where there is anything. With allow, as --allow-unmatched has it,
// it returns the facts as warnings instead.
func (u *unmatched) check(where string, allow bool) (warnings []string, err error) {
	if len(u.facts) == 0 || allow {
		return u.facts, nil
	}
	text := strings.Join(u.facts[:min(len(u.facts), unmatchedShown)], "; ")
	if more := len(u.facts) - unmatchedShown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	hint := u.hint
	if hint == "" {
		hint = u.mild
	}
	return nil, refuse(joinHints(hint, "--allow-unmatched goes on without it"), "%s: %s", where, text)
}

// excludes takes up the rules of excludes that match nothing, from the one with
// that number on.
func (u *unmatched) excludes(counts []exclude.RuleCount, from int, prefix string, trees ...*tree.Node) {
	for i, c := range counts {
		if i < from || c.Matches > 0 {
			continue
		}
		pattern := c.Rule.Pattern
		if c.Rule.Sticky {
			pattern = "" // a name at any depth is near to many
		}
		u.path(fmt.Sprintf("the exclude %q (%s) matches nothing", c.Rule.Pattern, c.Rule.Source), pattern, prefix, trees...)
	}
}

// NoSuchPath is the refusal of a path that a source has not.
func NoSuchPath(source, path string, root *tree.Node) error {
	var u unmatched
	u.path("", path, "/", root)
	hint := u.hint
	if hint == "" {
		hint = u.mild
	}
	return refuse(hint, "%s: no %s in it", source, tree.Quote(path))
}

// CheckPaths refuses paths and patterns that match nothing, neither in the base nor in
// what base and overlay show, unless allow turns that into warnings.
func (l *Live) CheckPaths(ctx context.Context, paths []string, allow bool) (warnings []string, err error) {
	var u unmatched
	trees := []*tree.Node{l.Merged, l.Base.Root}
	for _, p := range paths {
		n := 0
		for _, t := range trees {
			if n == 0 {
				if n, err = keepMatches(ctx, t, p, map[string]bool{}); err != nil {
					return nil, err
				}
			}
		}
		if n == 0 {
			u.path(fmt.Sprintf("%q: there is no such path in the system, neither in the base nor in the overlay", p), p, "/", trees...)
			if isDir(host{}, p) && u.hint == "" {
				u.mild = "a PATH is one of the system that is looked at, and not of the host: relive diff compares an overlay with its base, not two directories"
			}
		}
	}
	return u.check(l.Dir, allow)
}
