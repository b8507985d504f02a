package overlay

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

func difference(t testing.TB, lower, merged *tree.Node, o DifferenceOptions) *tree.Node {
	t.Helper()
	u, err := Difference(t.Context(), lower, merged, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// clean returns a tree of storage as a mount shows it, but for escaping.
func clean(t testing.TB, n *tree.Node) *tree.Node {
	return merge(t, []Option{CleanBase(), KeepEscaped()}, Layer{Root: n})
}

// TestDifferenceLaw: Merge(Difference(l, m), l) is m, and Difference(l, l) is
// nothing but a root.
func TestDifferenceLaw(t *testing.T) {
	for _, seed := range seeds(t, 1200) {
		g := &modeller{r: rand.New(rand.NewPCG(seed, 3))}
		g.marks = seed%2 == 0
		o := DifferenceOptions{Escaped: g.marks, TrustInode: seed%4 < 2, XattrWhiteouts: seed%8 < 4, Origins: seed%16 < 8,
			Plain: seed%32 < 16}
		l, m := g.pair(o.TrustInode)
		var opts []Option
		want := m
		if o.Escaped {
			opts = []Option{CleanBase(), KeepEscaped()}
			want = clean(t, m)
		}
		u := difference(t, l, m, o)
		diff(t, "merged", "law", want, merge(t, opts, Layer{Root: u, Namespace: Trusted}, Layer{Root: l}))
		lookups(t, u)
		whiteouts(t, u)
		if o.Plain && !o.XattrWhiteouts {
			diff(t, "merged", "law, without attributes", want, merge(t, opts, Layer{Root: unmarked(u), Namespace: Trusted}, Layer{Root: l}))
		}
		none := difference(t, l, l, o)
		if kids, err := none.Children(); err != nil || len(kids) > 0 {
			t.Errorf("%d differences of a tree with itself, %v", len(kids), err)
		}
		if t.Failed() {
			a, _ := text(t, l)
			b, _ := text(t, m)
			c, _ := text(t, u)
			t.Fatalf("OVERLAY_SEED=%d %+v\nlower\n%smerged\n%supper\n%s", seed, o, a, b, c)
		}
	}
}

// unmarked is a layer of which the marks in attributes got lost.
func unmarked(n *tree.Node) *tree.Node {
	c := *n
	c.Xattrs = n.Xattrs.Filter(func(x tree.Xattr) bool {
		return !strings.HasPrefix(x.Name, "trusted.overlay.") || strings.HasPrefix(x.Name, "trusted.overlay.overlay.")
	})
	if n.Type == tree.Directory {
		c.Dir = unmarkedDir{n}
	}
	return &c
}

type unmarkedDir struct{ n *tree.Node }

func (d unmarkedDir) Children() ([]*tree.Node, error) {
	kids, err := d.n.Children()
	out := make([]*tree.Node, 0, len(kids))
	for _, k := range kids {
		out = append(out, unmarked(k))
	}
	return out, err
}

// lookups: a name that is looked up is the one that is listed, and no other.
func lookups(t testing.TB, dir *tree.Node) {
	t.Helper()
	kids, err := dir.Children()
	if err != nil {
		t.Error(err)
	}
	for _, k := range kids {
		n, err := dir.Child(k.Name)
		if err != nil || n == nil || show(n) != show(k) {
			t.Errorf("%q is listed as %s, looked up as %s, %v", k.Name, show(k), show(n), err)
			continue
		}
		if n.Type == tree.Directory && n.Inode != (tree.Inode{}) {
			t.Errorf("%q: a directory of the layer passes for another", k.Name)
		}
		lookups(t, n)
	}
	// What is not listed is not there: names that are gone, and marks of others.
	for _, name := range append([]string{"none"}, modelNames...) {
		for _, name := range []string{name, aufsWhiteout + name} {
			if n, err := dir.Child(name); tree.Find(kids, name) == nil && (n != nil || err != nil) {
				t.Errorf("%q is not listed, and looked up as %s, %v", name, show(n), err)
			}
		}
	}
}

// whiteouts: a whiteout depends on nothing but its name and its directory's time.
func whiteouts(t testing.TB, dir *tree.Node) {
	t.Helper()
	kids, err := dir.Children()
	if err != nil {
		t.Error(err)
	}
	for _, k := range kids {
		if k.Type == tree.CharDevice && k.Rdev == (tree.Rdev{}) && (k.Mtime != dir.Mtime || k.Perm != 0 || k.UID != 0 || k.Nlink != 1) {
			t.Errorf("%q: a whiteout that is %s in %s", k.Name, show(k), show(dir))
		}
		whiteouts(t, k)
	}
}

var errDiffers = errors.New("differs")

// TestDifferenceMinimal: nothing can be left out of the layer.
func TestDifferenceMinimal(t *testing.T) {
	for _, seed := range seeds(t, 100) {
		g := &modeller{r: rand.New(rand.NewPCG(seed, 4))}
		l, m := g.pair(false)
		u := difference(t, l, m, DifferenceOptions{XattrWhiteouts: seed%2 == 0})
		var leaves []string
		err := tree.Walk(t.Context(), u, func(path string, n *tree.Node) error {
			kids, err := n.Children()
			if path != "" && len(kids) == 0 {
				leaves = append(leaves, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range leaves {
			var e tree.Edits
			e.Remove(path)
			less, err := e.Apply(u)
			if err != nil {
				t.Fatal(err)
			}
			less.Inode = u.Inode
			got := merge(t, nil, Layer{Root: less, Namespace: Trusted}, Layer{Root: l})
			err = tree.Compare(t.Context(), m, got, tree.CompareOptions{Links: true}, func(tree.Change) error { return errDiffers })
			if err == nil {
				a, _ := text(t, l)
				b, _ := text(t, m)
				c, _ := text(t, u)
				t.Fatalf("OVERLAY_SEED=%d: %q is not needed\nlower\n%smerged\n%supper\n%s", seed, path, a, b, c)
			} else if err != errDiffers {
				t.Fatal(err)
			}
		}
	}
}

// TestDifferenceRules: what goes up, told by hand.
func TestDifferenceRules(t *testing.T) {
	for _, tt := range []struct {
		name          string
		lower, merged lines
		o             DifferenceOptions
		want          lines
	}{
		{name: "nothing", lower: lines{"a =1", "d/x =x"}, merged: lines{"a =1", "d/x =x"}},
		{name: "a directory on the way", lower: lines{"d/ +user.k=1", "d/e/x =x", "d/y =y"}, merged: lines{"d/ +user.k=1", "d/e/x =z",
			"d/y =y"},
			want: lines{"d/ +user.k=1", "d/e/", "d/e/x =z"}},
		{name: "metadata alone", lower: lines{"d/x =x", "f =f"}, merged: lines{"d/ +user.k=1", "d/x =x", "f =f +user.k=2"},
			want: lines{"d/ +user.k=1", "f =f +user.k=2"}},
		{name: "whiteouts", lower: lines{"a =1", "d/x =x", "d/y =y", "k =1"}, merged: lines{"d/x =x", "k =1"},
			want: lines{"a c0:0", "d/", "d/y c0:0"}},
		{name: "whiteouts as attributes", lower: lines{"a =1", "d/x =x", "d/y =y"}, merged: lines{"d/x =x"},
			o:    DifferenceOptions{XattrWhiteouts: true},
			want: lines{"a = @whiteout=y", "d/ @opaque=x", "d/y = @whiteout=y"}},
		{name: "emptied", lower: lines{"d/x =x", "e/y/z =1"}, merged: lines{"d/", "e/y/"},
			want: lines{"d/ @opaque=y", "e/ @opaque=y", "e/y/"}},
		{name: "replaced at every level", lower: lines{"d/e/x =1", "d/e/y =1", "d/z =1"}, merged: lines{"d/e/x =2", "d/z =2"},
			want: lines{"d/ @opaque=y", "d/e/", "d/e/x =2", "d/z =2"}},
		{name: "all new, nothing gone", lower: lines{"d/x =1"}, merged: lines{"d/x =2", "d/y =2"},
			want: lines{"d/", "d/x =2", "d/y =2"}},
		{name: "an empty directory remains", lower: lines{"d/e/", "d/x =1", "d/y =1"}, merged: lines{"d/e/"},
			want: lines{"d/", "d/x c0:0", "d/y c0:0"}},
		{name: "other types", lower: lines{"a =1", "b/x =1", "c ->a"}, merged: lines{"a/x =1", "b =1", "c =a"},
			want: lines{"a/ @opaque=y", "a/x =1", "b =1", "c =a"}},
		{name: "new directories are not opaque", lower: lines{"a =1"}, merged: lines{"a =1", "n/m/x =1"},
			want: lines{"n/", "n/m/", "n/m/x =1"}},
		{name: "the root is not opaque", lower: lines{"a =1", "b =1"}, merged: lines{"c =1"},
			want: lines{"a c0:0", "b c0:0", "c =1"}},
		{name: "escaped", lower: lines{"d/x =1"}, merged: lines{"d/ @opaque=y", "d/x =1 @overlay.foo=1 +user.overlay.opaque=y"},
			want: lines{"d/ @overlay.opaque=y", "d/x =1 @overlay.overlay.foo=1 +user.overlay.opaque=y"}},
		{name: "the other namespace", lower: lines{"d/x =1"}, merged: lines{"d/ @opaque=y", "d/y =1 +user.overlay.foo=y"},
			o:    DifferenceOptions{Namespace: User},
			want: lines{"d/ @opaque=y +user.overlay.opaque=y", "d/y =1 +user.overlay.overlay.foo=y"}},
		{name: "escaped already", lower: lines{"d/x =1", "w =1", "v c0:0"}, merged: lines{"d/ @overlay.opaque=y @opaque=y", "d/x =1 @foo",
			"w c0:0"},
			o:    DifferenceOptions{Escaped: true},
			want: lines{"d/ @overlay.opaque=y", "w c0:0"}},
		{name: "origins", lower: lines{"d/x =1", "e/y =1", "f =1"}, merged: lines{"d/x =2", "e/z =1", "f/g =1"},
			o:    DifferenceOptions{Origins: true},
			want: lines{"d/ @origin", "d/x =2", "e/ @opaque=y", "e/z =1", "f/ @opaque=y", "f/g =1"}},
		{name: "links that stay", lower: lines{"a =1 #7 %2", "b =1 #7 %2", "c =1"}, merged: lines{"a =1 #9 %2", "b =1 #9 %2", "c =1"}},
		{name: "a link made", lower: lines{"a =1", "b =1"}, merged: lines{"a =1 #9 %2", "b =1 #9 %2"},
			want: lines{"a =1", "b =1"}},
		{name: "a link more", lower: lines{"a =1 #7 %2", "b =1 #7 %2"}, merged: lines{"a =1 #9 %3", "b =1 #9 %3", "d/c =1 #9 %3"},
			want: lines{"a =1", "b =1", "d/", "d/c =1"}},
		{name: "a link fewer", lower: lines{"a =1 #7 %3", "b =1 #7 %3", "c =1 #7 %3"}, merged: lines{"a =1 #9 %2", "b =1 #9 %2"},
			want: lines{"c c0:0"}},
		{name: "a link broken", lower: lines{"a =1 #7 %3", "b =1 #7 %3", "c =1 #7 %3"}, merged: lines{"a =1", "b =1 #9 %2", "c =1 #9 %2"},
			want: lines{"a =1"}},
		{name: "two groups become one", lower: lines{"a =1 #7 %2", "b =1 #7 %2", "c =1 #8 %2", "d =1 #8 %2"},
			merged: lines{"a =1 #9 %4", "b =1 #9 %4", "c =1 #9 %4", "d =1 #9 %4"}, want: lines{"a =1", "b =1", "c =1", "d =1"}},
		{name: "a group with a changed member", lower: lines{"a =1 #7 %2", "b =2"}, merged: lines{"a =1 #9 %2", "b =1 #9 %2"},
			want: lines{"a =1", "b =1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := build(t, tt.lower...)
			got, err := text(t, difference(t, l, build(t, tt.merged...), tt.o))
			want, _ := text(t, build(t, tt.want...))
			if err != nil || got != want {
				t.Errorf("got %v\n%swant\n%s", err, got, want)
			}
		})
	}
}

// TestDifferenceDevice00: what a layer cannot hold is refused.
func TestDifferenceDevice00(t *testing.T) {
	for _, tt := range []struct{ lower, merged lines }{
		{lines{"a =1"}, lines{"a =1", "d/x c0:0"}},
		{lines{"a =1"}, lines{"a c0:0"}},
		{lines{"a c0:0"}, lines{"a c0:0 +user.k=1"}},
		{lines{"a c0:0 #7 %2", "b =1"}, lines{"a c0:0 #9 %2", "b c0:0 #9 %2"}},
		{lines{"a c0:0", "b c0:0"}, lines{"a c0:0 #9 %2", "b c0:0 #9 %2"}},
	} {
		_, err := Difference(t.Context(), build(t, tt.lower...), build(t, tt.merged...), DifferenceOptions{})
		if !errors.Is(err, tree.ErrUnsupported) || !strings.Contains(err.Error(), "character device 0:0") {
			t.Errorf("%v: %v", tt.merged, err)
		}
	}
	if u := difference(t, build(t, "a c0:0"), build(t, "a c0:0"), DifferenceOptions{}); u != nil {
		if kids, _ := u.Children(); len(kids) > 0 {
			t.Error("an equal device goes up")
		}
	}
	if _, err := Difference(t.Context(), build(t), tree.NewFile("", 0, nil), DifferenceOptions{}); err == nil {
		t.Error("a file is taken for a root")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Difference(ctx, build(t), build(t), DifferenceOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// TestDifferenceSkips: directories that are the same are not listed, unless
// links call for it, and then what goes up of them does.
func TestDifferenceSkips(t *testing.T) {
	g := &modeller{numbers: map[any]uint64{}, r: rand.New(rand.NewPCG(1, 1))}
	leaf := func(s string) *file { return &file{meta: tree.Meta{Type: tree.Regular}, data: s} }
	dir := func(kids map[string]*file) *file {
		return &file{meta: tree.Meta{Type: tree.Directory}, kids: kids}
	}
	shared, like := leaf("shared"), leaf("shared")
	a := dir(map[string]*file{
		"same":    dir(map[string]*file{"deep": dir(map[string]*file{"s": shared}), "x": leaf("x")}),
		"changed": dir(map[string]*file{"y": leaf("y"), "s": shared}),
		"links":   dir(map[string]*file{"p": shared, "q": shared, "r": shared}),
		"likes":   dir(map[string]*file{"like": like, "like2": like}),
		"part":    dir(map[string]*file{"kept": dir(map[string]*file{"k": leaf("k")}), "gone": leaf("gone")}),
	})
	for _, tt := range []struct {
		name   string
		change func(b *file)
		listed string
		want   lines
	}{
		{"a file", func(b *file) { b.kids["changed"].kids["y"] = leaf("z") }, "/ /changed", lines{"changed/", "changed/y =z"}},
		{"copied up", func(b *file) { b.kids["changed"].kids["s"] = leaf("z") }, "/ /changed", lines{"changed/", "changed/s =z"}},
		{"one more name", func(b *file) { b.kids["changed"].kids["t"] = shared },
			"/ /changed /likes /links /part /part/kept /same /same/deep",
			lines{"changed/", "changed/s =shared", "changed/t =shared", "links/", "links/p =shared", "links/q =shared", "links/r =shared",
				"same/", "same/deep/", "same/deep/s =shared"}},
		{"a name elsewhere", func(b *file) { delete(b.kids["changed"].kids, "s"); b.kids["t"] = shared },
			"/ /changed /likes /links /part /part/kept /same /same/deep",
			lines{"changed/", "changed/s c0:0", "links/", "links/p =shared", "links/q =shared", "links/r =shared", "same/", "same/deep/",
				"same/deep/s =shared", "t =shared"}},
		{"equal, but another", func(b *file) { c := *shared; b.kids["changed"].kids["s"] = &c }, "/ /changed",
			lines{"changed/", "changed/s =shared"}},
		{"a name for an equal file", func(b *file) { b.kids["likes"].kids["like"] = shared },
			"/ /changed /likes /links /part /part/kept /same /same/deep",
			lines{"changed/", "changed/s =shared", "likes/", "likes/like =shared", "links/", "links/p =shared", "links/q =shared",
				"links/r =shared",
				"same/", "same/deep/", "same/deep/s =shared"}},
		{"most names become another's", func(b *file) { c := *shared; b.kids["links"].kids["p"], b.kids["links"].kids["q"] = &c, &c },
			"/ /links",
			lines{"links/", "links/p =shared", "links/q =shared"}},
		{"metadata beside a whiteout", func(b *file) { b.kids["part"].kids["kept"].meta.Perm = 0o700; delete(b.kids["part"].kids, "gone") },
			"/ /part",
			lines{"part/", "part/gone c0:0", "part/kept/"}},
		{"only metadata", func(b *file) { b.kids["same"].meta.Perm = 0o700 }, "/", lines{"same/"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := a.clone()
			tt.change(b)
			source := new(int)
			l := g.tree(a, source, nil)
			seen := map[string]bool{}
			m := g.tree(b, source, func(path string) { seen["/"+path] = true })
			u := difference(t, l, m, DifferenceOptions{TrustInode: true})
			if got := strings.Join(slices.Sorted(maps.Keys(seen)), " "); got != tt.listed {
				t.Errorf("listed %s, want %s", got, tt.listed)
			}
			got, err := text(t, u)
			if want, _ := text(t, build(t, tt.want...)); err != nil || got != want {
				t.Errorf("got %v\n%swant\n%s", err, got, want)
			}
			diff(t, "merged", "law", m, merge(t, nil, Layer{Root: u}, Layer{Root: l}))
		})
	}
}

// TestDifferenceSame: the caller's word for equal content is taken, its doubt is not.
func TestDifferenceSame(t *testing.T) {
	broken := func(root *tree.Node) *tree.Node {
		n := *at(t, root, "d/a")
		n.Data = unreadable{}
		var e tree.Edits
		e.Put("d/a", &n)
		out, err := e.Apply(root)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	l, m := broken(build(t, "d/a =1", "b =2")), build(t, "d/a =1", "b =2")
	_, err := Difference(t.Context(), l, m, DifferenceOptions{})
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "/d/a") {
		t.Errorf("unreadable: %v", err)
	}
	asked := ""
	u := difference(t, l, m, DifferenceOptions{SameContent: func(path string, a, b *tree.Node) (bool, error) {
		asked += path + " "
		return path == "d/a", nil
	}})
	if kids, err := u.Children(); err != nil || len(kids) != 0 || asked != "b d/a " {
		t.Errorf("%d changes, %v, asked for %s", len(kids), err, asked)
	}
}

type unreadable struct{}

func (unreadable) Open() (tree.Content, error) { return nil, os.ErrPermission }

// TestDifferenceOrigins: a layer with origins does not look as if it had lost
// its attributes.
func TestDifferenceOrigins(t *testing.T) {
	l, m := build(t, "d/e/x =1", "f/y =1", "f/z =1"), build(t, "d/e/x =2", "f/y =1")
	for _, origins := range []bool{true, false} {
		u, err := Merge([]Layer{{Root: difference(t, l, m, DifferenceOptions{Origins: origins})}, {Root: l}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := u.Report()
		if err != nil || (r.MaybeLostOpaque == 0) != origins || r.Merged != 4 || r.OriginMismatches != 0 || r.Whiteouts != 1 {
			t.Errorf("with origins %v: %+v, %v", origins, r, err)
		}
	}
}

// TestDifferenceWas: a file over another carries the lower one's content as a hint.
func TestDifferenceWas(t *testing.T) {
	u := difference(t, build(t, "a =1", "s ->x"), build(t, "a =2", "n =2", "s =1"), DifferenceOptions{})
	for path, want := range map[string]string{"a": "1", "n": "", "s": ""} {
		got, _ := at(t, u, path).Was.(tree.Bytes)
		if string(got) != want {
			t.Errorf("%s was %q, want %q", path, got, want)
		}
	}
}
