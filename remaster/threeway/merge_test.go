package threeway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

func file(name, content string) *tree.Node {
	n := tree.NewFile(name, 0o644, []byte(content))
	n.Mtime = tree.Time{Sec: 1000}
	return n
}

func dir(name string, kids ...*tree.Node) *tree.Node {
	tree.Sort(kids)
	n := tree.NewDir(name, 0o755, kids...)
	n.Mtime = tree.Time{Sec: 1000}
	return n
}

func with(n *tree.Node, change func(*tree.Node)) *tree.Node {
	c := *n
	change(&c)
	return &c
}

func mode(n *tree.Node, perm uint16) *tree.Node {
	return with(n, func(n *tree.Node) { n.Perm = perm })
}
func at(n *tree.Node, sec int64) *tree.Node {
	return with(n, func(n *tree.Node) { n.Mtime = tree.Time{Sec: sec} })
}
func xattr(n *tree.Node, kv ...string) *tree.Node {
	return with(n, func(n *tree.Node) {
		n.Xattrs = nil
		for i := 0; i < len(kv); i += 2 {
			n.Xattrs = append(n.Xattrs, tree.Xattr{Name: kv[i], Value: kv[i+1]})
		}
	})
}

// flat tells of each path what it holds.
func flat(t testing.TB, root *tree.Node, times bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		s := fmt.Sprintf("%s %o %d:%d %v", n.Type, n.Perm, n.UID, n.GID, n.Xattrs)
		if n.Type == tree.Regular {
			b, err := tree.ReadAll(n, 1<<20)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %q", b)
			if times {
				s += fmt.Sprintf(" @%d", n.Mtime.Sec)
			}
		}
		out[path] = s + n.Target
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// merge merges, and lists the conflicts; side decides all.
func merge(t testing.TB, base, ours, theirs *tree.Node, side Side, o Options) (*Result, []string) {
	t.Helper()
	var conflicts []string
	o.Decide = func(c Conflict) (Side, error) {
		name := c.Path
		if c.Unit != "" {
			name = "unit " + c.Unit
		}
		conflicts = append(conflicts, fmt.Sprintf("%s: %s; %s", name, c.Ours, c.Theirs))
		return side, nil
	}
	res, err := Merge(t.Context(), base, ours, theirs, o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Conflicts != len(conflicts) || (res.Root == nil) != (side == Undecided && len(conflicts) > 0) {
		t.Errorf("%d conflicts of %d, root %v", res.Conflicts, len(conflicts), res.Root)
	}
	return res, conflicts
}

func TestMerge(t *testing.T) {
	f := file
	l := func(name, target string) *tree.Node {
		return with(tree.NewSymlink(name, target), func(n *tree.Node) { n.Mtime = tree.Time{Sec: 1000} })
	}
	type nodes []*tree.Node
	for name, c := range map[string]struct {
		base, ours, theirs nodes
		conflicts          string
		want               nodes // decided for ours
		wantTheirs         nodes // decided for theirs, where there are conflicts
	}{
		"nothing": {nil, nil, nil, "", nil, nil},
		"only ours": {nodes{f("a", "1")}, nodes{f("a", "2"), f("b", "1")}, nodes{f("a", "1")}, "",
			nodes{f("a", "2"), f("b", "1")}, nil},
		"only theirs": {nodes{f("a", "1"), f("b", "1")}, nodes{f("a", "1"), f("b", "1")}, nodes{f("a", "2")}, "",
			nodes{f("a", "2")}, nil},
		"both the same": {nodes{f("a", "1")}, nodes{at(f("a", "2"), 5)}, nodes{at(f("a", "2"), 7)}, "", nodes{at(f("a", "2"), 7)},
			nil},
		"content": {nodes{f("a", "1")}, nodes{f("a", "2")}, nodes{f("a", "3")}, "a: changed: content; changed: content",
			nodes{f("a", "2")}, nodes{f("a", "3")}},
		"added":               {nil, nodes{f("a", "2")}, nodes{f("a", "3")}, "a: added; added", nodes{f("a", "2")}, nodes{f("a", "3")}},
		"added alike":         {nil, nodes{f("a", "2")}, nodes{f("a", "2")}, "", nodes{f("a", "2")}, nil},
		"added, another time": {nil, nodes{at(f("a", "2"), 5)}, nodes{at(f("a", "2"), 7)}, "", nodes{at(f("a", "2"), 7)}, nil},
		"added, another mode": {nil, nodes{f("a", "2")}, nodes{mode(f("a", "2"), 0o600)}, "a: added; added", nodes{f("a", "2")},
			nodes{mode(f("a", "2"), 0o600)}},
		"replaced alike": {nodes{dir("a", f("b", "1"))}, nodes{at(f("a", "2"), 5)}, nodes{at(f("a", "2"), 7)}, "",
			nodes{at(f("a", "2"), 7)}, nil},
		"link, another time": {nil, nodes{at(l("a", "2"), 5)}, nodes{at(l("a", "2"), 7)}, "", nodes{at(l("a", "2"), 7)}, nil},
		"changed, deleted":   {nodes{f("a", "1")}, nodes{f("a", "2")}, nil, "a: changed: content; deleted", nodes{f("a", "2")}, nil},
		"deleted, changed":   {nodes{f("a", "1")}, nil, nodes{f("a", "2")}, "a: deleted; changed: content", nil, nodes{f("a", "2")}},
		"deleted by both":    {nodes{f("a", "1")}, nil, nil, "", nil, nil},
		"touched, changed": {nodes{f("a", "1")}, nodes{at(f("a", "1"), 2000)}, nodes{at(f("a", "3"), 1500)}, "",
			nodes{at(f("a", "3"), 1500)}, nil},
		"changed, touched": {nodes{f("a", "1")}, nodes{at(f("a", "2"), 1500)}, nodes{at(f("a", "1"), 2000)}, "",
			nodes{at(f("a", "2"), 1500)}, nil},
		"touched by both": {nodes{f("a", "1")}, nodes{at(f("a", "1"), 3000)}, nodes{at(f("a", "1"), 2000)}, "",
			nodes{at(f("a", "1"), 3000)}, nil},
		"mode, content": {nodes{f("a", "1")}, nodes{mode(f("a", "1"), 0o600)}, nodes{at(f("a", "3"), 7)}, "",
			nodes{mode(at(f("a", "3"), 7), 0o600)}, nil},
		"content, mode": {nodes{f("a", "1")}, nodes{at(f("a", "2"), 7)}, nodes{mode(f("a", "1"), 0o600)}, "",
			nodes{mode(at(f("a", "2"), 7), 0o600)}, nil},
		"mode, mode": {nodes{f("a", "1")}, nodes{mode(f("a", "1"), 0o600)}, nodes{mode(f("a", "1"), 0o640)},
			"a: changed: mode; changed: mode", nodes{mode(f("a", "1"), 0o600)}, nodes{mode(f("a", "1"), 0o640)}},
		"attributes apart": {nodes{xattr(f("a", "1"), "user.a", "1", "user.b", "1")},
			nodes{xattr(f("a", "1"), "user.a", "2", "user.b", "1")}, nodes{xattr(f("a", "1"), "user.a", "1", "user.c", "1")}, "",
			nodes{xattr(f("a", "1"), "user.a", "2", "user.c", "1")}, nil},
		"attribute of both": {nodes{f("a", "1")}, nodes{xattr(f("a", "1"), "user.a", "2")}, nodes{xattr(f("a", "1"), "user.a", "3")},
			"a: changed: xattrs; changed: xattrs", nodes{xattr(f("a", "1"), "user.a", "2")}, nodes{xattr(f("a", "1"), "user.a", "3")}},
		"link": {nodes{l("a", "1")}, nodes{l("a", "2")}, nodes{l("a", "3")}, "a: changed: target; changed: target",
			nodes{l("a", "2")}, nodes{l("a", "3")}},
		"names of a directory": {nodes{dir("d", f("a", "1"), f("b", "1"), f("c", "1"))},
			nodes{dir("d", f("a", "2"), f("b", "1"), f("x", "1"))}, nodes{dir("d", f("a", "1"), f("b", "2"), f("c", "1"), f("y", "1"))}, "",
			nodes{dir("d", f("a", "2"), f("b", "2"), f("x", "1"), f("y", "1"))}, nil},
		"modes of a directory": {nodes{dir("d", f("a", "1"))}, nodes{mode(dir("d", f("a", "2")), 0o700)},
			nodes{mode(dir("d", f("a", "1")), 0o750)}, "d: changed: mode; changed: mode", nodes{mode(dir("d", f("a", "2")), 0o700)},
			nodes{mode(dir("d", f("a", "2")), 0o750)}},
		"mode, name": {nodes{dir("d", f("a", "1"))}, nodes{mode(dir("d", f("a", "1")), 0o700)},
			nodes{dir("d", f("a", "1"), f("b", "1"))}, "", nodes{mode(dir("d", f("a", "1"), f("b", "1")), 0o700)}, nil},
		"both added it": {nil, nodes{dir("d", f("a", "1"))}, nodes{dir("d", f("b", "1"))}, "",
			nodes{dir("d", f("a", "1"), f("b", "1"))}, nil},
		"dir deleted, changed": {nodes{dir("d", f("a", "1"), f("b", "1"))}, nil, nodes{dir("d", f("a", "2"), f("b", "1"))},
			"d: deleted; changed below", nil, nodes{dir("d", f("a", "2"), f("b", "1"))}},
		"dir deleted, same": {nodes{dir("d", f("a", "1"))}, nil, nodes{dir("d", f("a", "1"))}, "", nil, nil},
		"added, dir deleted": {nodes{dir("d", f("a", "1"), f("b", "1"))}, nodes{dir("d", f("a", "1"), f("c", "1"))}, nil, "",
			nodes{dir("d", f("c", "1"))}, nil},
		"changed, dir deleted": {nodes{dir("d", f("a", "1"), f("b", "1"))}, nodes{dir("d", f("a", "2"), f("b", "1"))}, nil,
			"d/a: changed: content; deleted", nodes{dir("d", f("a", "2"))}, nil},
		"mode, dir deleted": {nodes{dir("d", f("a", "1"))}, nodes{mode(dir("d", f("a", "1")), 0o700)}, nil, "d: changed: mode; deleted",
			nodes{mode(dir("d"), 0o700)}, nil},
		"touched, dir deleted": {nodes{dir("d", f("a", "1"))}, nodes{at(dir("d", f("a", "1")), 9)}, nil, "", nil, nil},
		"made a dir, changed": {nodes{f("a", "1")}, nodes{dir("a", f("b", "1"))}, nodes{f("a", "2")},
			"a: made a directory; changed: content", nodes{dir("a", f("b", "1"))}, nodes{f("a", "2")}},
		"made a dir by both": {nodes{f("a", "1")}, nodes{dir("a", f("b", "1"))}, nodes{dir("a", f("c", "1"))}, "",
			nodes{dir("a", f("b", "1"), f("c", "1"))}, nil},
		"changed, made a file": {nodes{dir("d", f("a", "1"))}, nodes{dir("d", f("a", "2"))}, nodes{f("d", "x")},
			"d: changed below; made a file", nodes{dir("d", f("a", "2"))}, nodes{f("d", "x")}},
		"same dir, made a file": {nodes{dir("d", f("a", "1"))}, nodes{at(dir("d", f("a", "1")), 9)}, nodes{f("d", "x")}, "",
			nodes{f("d", "x")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			top := func(n nodes) *tree.Node { return dir("", n...) }
			res, conflicts := merge(t, top(c.base), top(c.ours), top(c.theirs), Ours, Options{})
			if got := strings.Join(conflicts, " | "); got != c.conflicts {
				t.Errorf("conflicts %q, not %q", got, c.conflicts)
			}
			if got, want := flat(t, res.Root, true), flat(t, top(c.want), true); !maps.Equal(got, want) {
				t.Errorf("for ours\n%v\nnot\n%v", got, want)
			}
			if c.conflicts == "" {
				return
			}
			res, _ = merge(t, top(c.base), top(c.ours), top(c.theirs), Theirs, Options{})
			if got, want := flat(t, res.Root, true), flat(t, top(c.wantTheirs), true); !maps.Equal(got, want) {
				t.Errorf("for theirs\n%v\nnot\n%v", got, want)
			}
			merge(t, top(c.base), top(c.ours), top(c.theirs), Undecided, Options{})
		})
	}
}

// TestNodes: what is one side's stays its node, so that nobody need look at it
// again, and what is linked stays so.
func TestNodes(t *testing.T) {
	source := new(int)
	number := uint64(0)
	id := func(n *tree.Node) *tree.Node {
		return with(n, func(n *tree.Node) { number++; n.Inode, n.Nlink = tree.Inode{Source: source, Number: number}, 1 })
	}
	same := id(dir("same", file("x", "1")))
	base := dir("", same, id(file("a", "1")), id(file("b", "1")))
	linked := func(name string, n *tree.Node) *tree.Node {
		return with(n, func(n *tree.Node) { n.Name, n.Nlink = name, 2 })
	}
	of := func(n *tree.Node) *tree.Node {
		n = id(n)
		return dir("", same, linked("a", n), linked("b", n))
	}
	ours, theirs := of(mode(file("a", "1"), 0o600)), of(file("a", "2"))
	with2 := linked("c", with(file("c", "1"), func(n *tree.Node) {}))
	theirs.Dir = append(theirs.Dir.(tree.List), with2)
	tree.Sort(theirs.Dir.(tree.List))
	linkedBase := of(file("a", "1"))
	res, err := Merge(t.Context(), linkedBase, ours, theirs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) *tree.Node {
		n, err := res.Root.Lookup(name)
		if err != nil || n == nil {
			t.Fatal(name, err)
		}
		return n
	}
	if a, b := get("a"), get("b"); a.Inode == (tree.Inode{}) || a.Inode != b.Inode || a.Nlink < 2 {
		t.Errorf("mixed files are not linked: %v, %v", a.Inode, b.Inode)
	}
	if get("c") != with2 || get("same").Inode != same.Inode {
		t.Error("other nodes than those of the sides")
	}
	// A file gets another name in ours, and is the same everywhere.
	kept, up := id(file("a", "1")), id(file("a", "1"))
	res, err = Merge(t.Context(), dir("", kept), dir("", linked("a", up), linked("z", up)), dir("", id(file("a", "1"))), Options{})
	if err != nil || get("a").Inode != get("z").Inode {
		t.Errorf("a new link to a file is a copy: %v", err)
	}
	res, err = Merge(t.Context(), base, base, theirs, Options{})
	if err != nil || res.Root != theirs {
		t.Errorf("no change of ours is not theirs: %v", err)
	}
	res, err = Merge(t.Context(), base, ours, base, Options{})
	if err != nil || !maps.Equal(flat(t, res.Root, true), flat(t, ours, true)) {
		t.Errorf("no change of theirs is not ours: %v", err)
	}
}

// mode1 changes the mode of a directory in a database.
func mode1(root *tree.Node) *tree.Node {
	var e tree.Edits
	n, _ := root.Lookup("var/db/info")
	e.Put("var/db/info", mode(n, 0o700))
	out, _ := e.Apply(root)
	return out
}

func TestUnits(t *testing.T) {
	db := func(status, lock, list string) *tree.Node {
		return dir("", dir("var", dir("db", file("status", status), file("lock", lock), dir("info", file(list, "")))),
			file("extra", status))
	}
	units := Options{Units: []Unit{{Name: "db", Paths: []string{"var/db", "extra"}, Told: func(path string) bool {
		return path != "var/db/lock"
	}}}, Theirs: []string{"id"}}
	for name, c := range map[string]struct {
		base, ours, theirs *tree.Node
		conflict           bool
		want               *tree.Node
	}{
		"only ours":     {db("1", "", "a"), db("2", "x", "b"), db("1", "y", "a"), false, db("2", "x", "b")},
		"only theirs":   {db("1", "", "a"), db("1", "x", "a"), db("2", "y", "a"), false, db("2", "y", "a")},
		"both":          {db("1", "", "a"), db("2", "x", "b"), db("3", "y", "c"), true, db("2", "x", "b")},
		"both the same": {db("1", "", "a"), db("2", "x", "b"), db("2", "y", "b"), false, db("2", "y", "b")},
		"only a lock":   {db("1", "", "a"), mode1(db("1", "x", "a")), db("1", "y", "a"), false, mode1(db("1", "y", "a"))},
		"none there":    {dir(""), dir(""), db("2", "y", "b"), false, db("2", "y", "b")},
		"another place": {dir("", file("extra", "1")), dir("", file("extra", "2")), dir("", file("extra", "3")), true,
			dir("", file("extra", "2"))},
		"deleted": {db("1", "", "a"), dir(""), db("2", "y", "b"), true, nil},
	} {
		res, conflicts := merge(t, c.base, c.ours, c.theirs, Ours, units)
		if got := strings.Join(conflicts, ""); (got != "") != c.conflict || c.conflict &&
			!strings.HasPrefix(got, "unit db: changed; changed") {
			t.Errorf("%s: conflicts %q", name, got)
		}
		if c.want == nil {
			continue
		}
		if got, want := flat(t, res.Root, false), flat(t, c.want, false); !maps.Equal(got, want) {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
	}
	res, conflicts := merge(t, dir("", file("id", "1")), dir("", file("id", "2")), dir("", file("id", "3")), Undecided, units)
	if len(conflicts) != 0 || flat(t, res.Root, false)["id"] != flat(t, dir("", file("id", "3")), false)["id"] {
		t.Errorf("%v", conflicts)
	}
}

// grove makes random small trees.
type grove struct{ r uint64 }

func (g *grove) next(n uint64) uint64 {
	g.r ^= g.r << 13
	g.r ^= g.r >> 7
	g.r ^= g.r << 17
	return g.r % n
}

func (g *grove) node(name string, depth int) *tree.Node {
	if depth > 0 && g.next(2) == 0 {
		return dir(name, g.tree(depth-1)...)
	}
	return file(name, string(rune('0'+g.next(3))))
}

func (g *grove) tree(depth int) (out []*tree.Node) {
	for _, name := range []string{"a", "b", "c", "d"} {
		if g.next(4) > 0 {
			out = append(out, g.node(name, depth))
		}
	}
	return out
}

// edit changes little of a tree.
func (g *grove) edit(kids []*tree.Node) (out []*tree.Node) {
	for _, k := range kids {
		switch n := g.next(12); {
		case n == 0: // gone
		case n == 1:
			out = append(out, g.node(k.Name, 1))
		case n == 2:
			out = append(out, mode(k, uint16(0o700+g.next(2))))
		case n == 3:
			out = append(out, xattr(k, "user.a", string(rune('0'+g.next(2)))))
		case k.Type == tree.Directory:
			out = append(out, with(k, func(n *tree.Node) { n.Dir = tree.List(g.edit(k.Dir.(tree.List))) }))
		default:
			out = append(out, k)
		}
	}
	if g.next(5) == 0 {
		out = append(out, g.node(fmt.Sprintf("e%d", g.next(3)), 1))
	}
	return out
}

// TestLaws holds the laws of the package over random trees.
func TestLaws(t *testing.T) {
	clean, conflicting := 0, 0
	for seed := range uint64(4000) {
		g := &grove{r: seed*2654435761 + 1}
		was := g.tree(3)
		base, ours, theirs := dir("", was...), dir("", g.edit(was)...), dir("", g.edit(was)...)
		b, o, th := flat(t, base, false), flat(t, ours, false), flat(t, theirs, false)
		for _, side := range []Side{Ours, Theirs} {
			res, conflicts := merge(t, base, ours, theirs, side, Options{})
			if len(conflicts) == 0 {
				clean++
			} else {
				conflicting++
			}
			var at []string
			for _, c := range conflicts {
				path, _, _ := strings.Cut(c, ":")
				at = append(at, path)
			}
			got := flat(t, res.Root, false)
			for path := range union(b, o, th, got) {
				in := slices.ContainsFunc(at, func(c string) bool { return path == c || strings.HasPrefix(path, c+"/") || c == "" })
				above := slices.ContainsFunc(at, func(c string) bool { return strings.HasPrefix(c, path+"/") || path == "" })
				holds := slices.ContainsFunc(slices.Collect(maps.Keys(got)), func(p string) bool { return strings.HasPrefix(p, path+"/") })
				switch {
				case in || above:
				case b[path] == o[path] && got[path] == th[path], b[path] == th[path] && got[path] == o[path], o[path] == th[path] &&
					got[path] == o[path]:
				// ours has added something there
				case th[path] == "" && strings.HasPrefix(o[path], "directory") && holds && got[path] == o[path]:
				case o[path] != "" && th[path] != "" && b[path] != "" && got[path] != "": // attributes of both, see TestMerge
				default:
					t.Fatalf("seed %d: %q is %q\nbase %q, ours %q, theirs %q\nconflicts %v", seed, path, got[path], b[path], o[path],
						th[path], conflicts)
				}
			}
			// The other way round there are the same conflicts or more, and a merge that has
			// none is the same.
			if len(conflicts) == 0 {
				back, more := merge(t, base, theirs, ours, side, Options{})
				if len(more) == 0 && !maps.Equal(flat(t, back.Root, false), got) {
					t.Fatalf("seed %d: the other way round it is\n%v\nnot\n%v", seed, flat(t, back.Root, false), got)
				}
			}
		}
		for _, c := range [][4]*tree.Node{{base, base, theirs, theirs}, {base, ours, base, ours}, {base, ours, ours, ours}} {
			res, conflicts := merge(t, c[0], c[1], c[2], Undecided, Options{})
			if len(conflicts) > 0 || !maps.Equal(flat(t, res.Root, true), flat(t, c[3], true)) {
				t.Fatalf("seed %d: %v\n%v\nnot\n%v", seed, conflicts, res.Root, flat(t, c[3], true))
			}
		}
	}
	if clean < 1000 || conflicting < 1000 {
		t.Errorf("%d clean, %d conflicting: no test", clean, conflicting)
	}
}

func union(all ...map[string]string) map[string]bool {
	out := map[string]bool{}
	for _, m := range all {
		for k := range m {
			out[k] = true
		}
	}
	return out
}

// TestStopped: a merge that is stopped, or told to stop, gives that.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := fmt.Errorf("enough")
	cancel(why)
	if _, err := Merge(ctx, dir(""), dir(""), dir(""), Options{}); err != why {
		t.Error(err)
	}
	_, err := Merge(t.Context(), dir("", file("a", "1")), dir("", file("a", "2")), dir("", file("a", "3")),
		Options{Decide: func(Conflict) (Side, error) { return Ours, why }})
	if err != why {
		t.Error(err)
	}
}
