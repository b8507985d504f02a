package exclude

import (
	"errors"
	"testing"

	"relive/tree"
)

type badDir struct{ tree.List }

var errUnreadable = errors.New("its bytes are wrong")

func (d badDir) Children() ([]*tree.Node, error) {
	return tree.Partial(d.List, []tree.BadEntry{{Name: "bad", Err: errUnreadable}, {Name: "worse", Err: errUnreadable}})
}

// TestUnreadable leaves out what cannot be read where a rule names it, and hands
// on the rest.
func TestUnreadable(t *testing.T) {
	etc := tree.NewDir("etc", 0o755)
	etc.Dir = badDir{tree.List{tree.NewFile("good", 0o644, nil)}}
	root := tree.NewDir("", 0o755, etc)
	for _, c := range []struct {
		patterns []string
		bad      int
	}{{[]string{"etc/bad"}, 1}, {[]string{"etc/bad", "etc/w*"}, 0}, {[]string{"etc/good"}, 2}} {
		var rules []Rule
		for _, p := range c.patterns {
			rules = append(rules, Rule{Pattern: p})
		}
		set, err := New(rules)
		if err != nil {
			t.Fatal(err)
		}
		n, err := set.Apply(root).Lookup("etc")
		if err != nil {
			t.Fatal(err)
		}
		if _, bad, err := n.Readable(); err != nil || len(bad) != c.bad {
			t.Errorf("%s: %v, %v", c.patterns, bad, err)
		}
		counts, err := set.Count(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range counts {
			if rule.Matches != 1 || rule.Entries != 1 {
				t.Errorf("%s: %+v", c.patterns, rule)
			}
		}
	}
}
