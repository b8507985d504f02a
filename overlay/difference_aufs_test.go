package overlay

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"relive/tree"
)

// plainNames is a tree without the names that aufs keeps to itself.
func plainNames(n *tree.Node) *tree.Node {
	c := *n
	if n.Dir != nil {
		c.Dir = plainDir{n.Dir}
	}
	return &c
}

type plainDir struct{ of tree.Dir }

func (d plainDir) Children() ([]*tree.Node, error) {
	kids, err := d.of.Children()
	var out []*tree.Node
	for _, k := range kids {
		if !isAufsName(k.Name) {
			out = append(out, plainNames(k))
		}
	}
	return out, err
}

// TestDifferenceAufsLaw: Merge(Difference(l, m), l) is m for layers of aufs, too,
// with all devices and attributes that mean something to overlayfs alone, and
// nothing in such a layer can be left out.
func TestDifferenceAufsLaw(t *testing.T) {
	met := map[string]int{}
	for _, seed := range seeds(t, 400) {
		g := &modeller{r: rand.New(rand.NewPCG(seed, 8)), marks: seed%2 == 0}
		o := DifferenceOptions{Form: Aufs, Escaped: seed%4 < 2, TrustInode: seed%3 == 0, Origins: true}
		l, m := g.pair(o.TrustInode)
		l, m = plainNames(l), plainNames(m)
		u := difference(t, l, m, o)
		again := func(u *tree.Node) *tree.Node {
			return merge(t, []Option{KeepEscaped()}, Layer{Root: u, Form: Aufs}, Layer{Root: l})
		}
		diff(t, "merged", "law", m, again(u))
		lookups(t, u)
		if kids, err := difference(t, l, l, o).Children(); err != nil || len(kids) > 0 {
			t.Errorf("%d differences of a tree with itself, %v", len(kids), err)
		}
		err := tree.Walk(t.Context(), u, func(path string, n *tree.Node) error {
			switch {
			case n.Name == aufsOpaqueNm:
				met["opaque"]++
			case isAufsName(n.Name):
				met["whiteout"]++
			default:
				return nil
			}
			if dir := at(t, u, path[:max(0, strings.LastIndexByte(path, '/'))]); n.Mtime != dir.Mtime || n.Perm != 0o444 || n.Size != 0 {
				t.Errorf("%s is %s, in %s", path, show(n), show(dir))
			}
			if seed%8 > 0 {
				return nil
			}
			var e tree.Edits
			e.Remove(path)
			less, err := e.Apply(u)
			if err != nil {
				return err
			}
			err = tree.Compare(t.Context(), m, again(less), tree.CompareOptions{}, func(tree.Change) error { return errDiffers })
			if n.Name != aufsOpaqueNm && !errors.Is(err, errDiffers) {
				t.Errorf("%s is there for nothing: %v", path, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if t.Failed() {
			a, _ := text(t, l)
			b, _ := text(t, m)
			c, _ := text(t, u)
			t.Fatalf("OVERLAY_SEED=%d %+v\nlower\n%smerged\n%supper\n%s", seed, o, a, b, c)
		}
	}
	if met["opaque"] == 0 || met["whiteout"] == 0 {
		t.Errorf("met: %v", met)
	}
}

// TestDifferenceAufsNames: what aufs has no names for is refused.
func TestDifferenceAufsNames(t *testing.T) {
	long := strings.Repeat("n", 252)
	for _, tt := range []struct {
		name          string
		lower, merged lines
		fact          string
	}{
		{"a new name", nil, lines{"d/.wh.x ="}, "keeps to itself"},
		{"a name that stays", lines{"d/.wh.x ="}, lines{"d/.wh.x ="}, ""},
		{"a name that is gone", lines{"d/.wh.x ="}, lines{"d/"}, "no whiteout"},
		{"a long name that is gone", lines{long + " ="}, nil, "252 bytes"},
		{"a long name that stays", lines{long + " ="}, lines{long + " =x"}, ""},
	} {
		_, err := Difference(t.Context(), build(t, tt.lower...), build(t, tt.merged...), DifferenceOptions{Form: Aufs})
		if tt.fact == "" && err != nil || tt.fact != "" && (!errors.Is(err, tree.ErrUnsupported) ||
			!strings.Contains(err.Error(), tt.fact)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
