package unmatched

import (
	"context"
	"fmt"
	"path"
	"strings"

	"relive/remaster/exclude"
	"relive/remaster/nearest"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// Names collects what people have named and what is not there. A name that
// is not there is a mistake, or it was meant for another system; whatever is
// done without it is not what was asked for. So it is refused before anything is
// written. Lists that come with relive know many places, of which no system has
// all, and do not count.
type Names struct {
	Facts []string
	Hint  string // of the first for which something near was found
	Mild  string // where the first would have to be, if nothing near was found
}

// Path takes up a path or pattern that matches nothing in the trees. fact tells
// so. What is near to it is shown as a path from the root, with a prefix.
func (u *Names) Path(fact, pattern, prefix string, trees ...*tree.Node) {
	u.Facts = append(u.Facts, fact)
	if u.Hint != "" {
		return
	}
	switch near, above := nearest.Pattern(pattern, trees...); {
	case near != "":
		u.Hint = "did you mean " + prefix + tree.Escape(near) + "?"
	case above != "" && u.Mild == "":
		u.Mild = fmt.Sprintf("there is a %s%s, with no such thing in it", prefix, tree.Escape(above))
	}
}

// Name takes up a name that is none of those that there are.
func (u *Names) Name(fact, name string, names []string) {
	u.Facts = append(u.Facts, fact)
	if u.Hint == "" {
		u.Hint = nearest.DidYouMean(name, names)
	}
}

// unmatchedShown is how many names a refusal lists.
const unmatchedShown = 5

// Check refuses where there is anything. With allow, as --allow-unmatched has it,
// it returns the facts as warnings instead.
func (u *Names) Check(where string, allow bool) (warnings []string, err error) {
	if len(u.Facts) == 0 || allow {
		return u.Facts, nil
	}
	text := strings.Join(u.Facts[:min(len(u.Facts), unmatchedShown)], "; ")
	if more := len(u.Facts) - unmatchedShown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	hint := u.Hint
	if hint == "" {
		hint = u.Mild
	}
	return nil, refusal.New(refusal.Unmatched, refusal.JoinHints(hint, say.AllowUnmatched+" goes on without it"), "%s: %s", where, text)
}

// Excludes takes up the rules of excludes that match nothing, from the one with
// that number on.
func (u *Names) Excludes(counts []exclude.RuleCount, from int, prefix string, trees ...*tree.Node) {
	for i, c := range counts {
		if i < from || c.Matches > 0 {
			continue
		}
		pattern := c.Rule.Pattern
		if c.Rule.Sticky {
			pattern = "" // a name at any depth is near to many
		}
		u.Path(fmt.Sprintf("the exclude %q (%s) matches nothing", c.Rule.Pattern, c.Rule.Source), pattern, prefix, trees...)
	}
}

// NoSuchPath is the refusal of a path that a source has not.
func NoSuchPath(source, path string, root *tree.Node) error {
	var u Names
	u.Path("", path, "/", root)
	hint := u.Hint
	if hint == "" {
		hint = u.Mild
	}
	return refusal.New(refusal.Unmatched, hint, "%s: no %s in it", source, tree.Quote(path))
}

// KeepMatches marks the paths that a pattern names itself, and gives how many
// there are. What is below a directory that matches is not looked at.
func KeepMatches(ctx context.Context, root *tree.Node, pattern string, keep map[string]bool) (n int, err error) {
	exact := strings.Trim(path.Clean("/"+pattern), "/")
	at, err := root.Lookup(exact)
	if err != nil {
		return 0, err
	}
	if at != nil {
		keep[exact] = true
		return 1, nil
	}
	if _, err := path.Match(exact, ""); err != nil {
		return 0, refusal.Option(fmt.Errorf("%s: not a shell pattern", tree.Quote(pattern)))
	}
	if !strings.ContainsAny(exact, `*?[\`) {
		return 0, nil
	}
	depth := strings.Count(exact, "/")
	matches := func(p string) bool {
		ok, _ := path.Match(exact, p)
		if ok {
			keep[p] = true
			n++
		}
		return ok
	}
	err = tree.WalkReadable(ctx, root, func(p string, at *tree.Node) error {
		if p == "" {
			return nil
		}
		if matches(p) {
			return tree.SkipDir
		}
		if strings.Count(p, "/") >= depth {
			return tree.SkipDir
		}
		return nil
	}, func(p string, _ error) error {
		matches(p) // whoever reads the result meets it
		return nil
	})
	return n, err
}
