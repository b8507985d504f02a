package overlay

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"relive/tree"
)

// build makes a tree of lines "path word…": a path that ends in '/' is a
// directory, any other a file. The words: =text is content, ->text a link
// target, c0:0 a character device, @name=value an overlay attribute, +name=value
// any attribute, #n the inode's number, %n the link count. Directories on the
// way need no line of their own. _ stands for a blank in a path.
func build(t testing.TB, lines ...string) *tree.Node {
	t.Helper()
	type dir struct {
		node *tree.Node
		kids map[string]*dir
	}
	source := new(int)
	number := uint64(1000)
	add := func() *tree.Node {
		number++
		return &tree.Node{Meta: tree.Meta{Type: tree.Directory, Perm: 0o755}, Nlink: 1,
			Inode: tree.Inode{Source: source, Number: number}}
	}
	root := &dir{add(), map[string]*dir{}}
	for _, line := range lines {
		words := strings.Fields(line)
		path := strings.ReplaceAll(words[0], "_", " ")
		at := root
		for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
			if name == "" {
				continue
			}
			if at.kids[name] == nil {
				at.kids[name] = &dir{add(), map[string]*dir{}}
				at.kids[name].node.Name = name
			}
			at = at.kids[name]
		}
		n := at.node
		if !strings.HasSuffix(path, "/") {
			n.Type, n.Perm, n.Data = tree.Regular, 0o644, tree.Bytes(nil)
		}
		for _, w := range words[1:] {
			rest := w[1:]
			switch w[0] {
			case '=':
				n.Data, n.Size = tree.Bytes(rest), int64(len(rest))
			case '-':
				n.Type, n.Data, n.Target, n.Size = tree.Symlink, nil, rest[1:], int64(len(rest)-1)
			case 'c':
				n.Type, n.Data = tree.CharDevice, nil
				if _, err := fmt.Sscanf(rest, "%d:%d", &n.Rdev.Major, &n.Rdev.Minor); err != nil {
					t.Fatal(err)
				}
			case '@', '+':
				name, value, _ := strings.Cut(rest, "=")
				if w[0] == '@' {
					name = "trusted.overlay." + name
				}
				value, err := strconv.Unquote(`"` + value + `"`)
				if err != nil {
					t.Fatal(err)
				}
				n.Xattrs = append(n.Xattrs, tree.Xattr{Name: name, Value: value})
				tree.SortXattrs(n.Xattrs)
			case '#':
				n.Inode.Number, _ = strconv.ParseUint(rest, 10, 64)
			case '%':
				c, _ := strconv.Atoi(rest)
				n.Nlink = uint32(c)
			case 's': // a size that is not the content's
				n.Size, _ = strconv.ParseInt(rest, 10, 64)
			default:
				t.Fatalf("word %q", w)
			}
		}
	}
	var finish func(d *dir) *tree.Node
	finish = func(d *dir) *tree.Node {
		if d.node.Type == tree.Directory {
			kids := []*tree.Node{}
			for _, k := range d.kids {
				kids = append(kids, finish(k))
			}
			tree.Sort(kids)
			d.node.Dir = tree.List(kids)
		}
		return d.node
	}
	return finish(root)
}

// text returns a tree as lines, the root left out.
func text(t testing.TB, root *tree.Node) (string, error) {
	var b strings.Builder
	err := tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		if path == "" {
			return nil
		}
		b.WriteString(path)
		switch n.Type {
		case tree.Directory:
			b.WriteString("/")
		case tree.Regular:
			data, err := tree.ReadAll(n, 1<<20)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " =%s", data)
		case tree.Symlink:
			fmt.Fprintf(&b, " ->%s", n.Target)
		default:
			fmt.Fprintf(&b, " c%d:%d", n.Rdev.Major, n.Rdev.Minor)
		}
		for _, x := range n.Xattrs {
			fmt.Fprintf(&b, " +%s=%s", x.Name, x.Value)
		}
		b.WriteString("\n")
		return nil
	})
	return b.String(), err
}

type lines = []string

var ruleTests = []struct {
	name   string
	layers []lines // uppermost first
	want   lines
	err    string
	report func(*Report) bool
}{
	{name: "files of both",
		layers: []lines{{"b =2", "d/y =y"}, {"a =1", "b =1", "c =1", "d/x =x"}},
		want:   lines{"a =1", "b =2", "c =1", "d/", "d/x =x", "d/y =y"},
		report: func(r *Report) bool { return r.Merged == 2 && r.MaybeLostOpaque == 1 }},
	{name: "modules made without an overlay",
		layers: []lines{{"d/n =n"}, {"d/e/m =m"}, {"d/a =1", "d/e/b =1"}},
		want:   lines{"d/", "d/a =1", "d/e/", "d/e/b =1", "d/e/m =m", "d/n =n"},
		report: func(r *Report) bool { return r.Merged == 3 && r.MaybeLostOpaque == 1 }},
	{name: "whiteout",
		layers: []lines{{"a c0:0", "d c0:0", "no c0:0", "k c0:1"}, {"a =1", "d/x =x", "k =1"}},
		want:   lines{"k c0:1"},
		report: func(r *Report) bool { return r.Whiteouts == 2 && r.DeadWhiteouts == 1 }},
	{name: "attribute whiteout",
		layers: []lines{{"d/ @opaque=x", "d/a @whiteout", "d/b =full @whiteout", "d/c @whiteout=y"}, {"d/a =1", "d/b =1", "d/c/x =1"}},
		want:   lines{"d/", "d/b =full"},
		report: func(r *Report) bool { return r.XattrWhiteouts == 2 && r.Whiteouts == 2 && r.Opaque == 0 }},
	{name: "whiteout in a middle layer",
		layers: []lines{{"d/n =n"}, {"d/a c0:0", "e c0:0"}, {"d/a =1", "e =1", "d/z =z"}},
		want:   lines{"d/", "d/n =n", "d/z =z"}},
	{name: "whiteout over a whiteout",
		layers: []lines{{"a c0:0"}, {"a c0:0"}, {"a =1", "b =1"}},
		want:   lines{"b =1"},
		report: func(r *Report) bool { return r.Whiteouts == 1 && r.DeadWhiteouts == 1 }},
	{name: "opaque",
		layers: []lines{{"d/ @opaque=y @origin", "d/n =n", "e/ @opaque=n", "e/n =n"}, {"d/a =1", "e/a =1"}},
		want:   lines{"d/", "d/n =n", "e/", "e/a =1", "e/n =n"},
		report: func(r *Report) bool { return r.Opaque == 1 && r.Merged == 2 }},
	{name: "opaque in a middle layer",
		layers: []lines{{"d/n =n"}, {"d/ @opaque=y", "d/m =m"}, {"d/a =1"}},
		want:   lines{"d/", "d/m =m", "d/n =n"}},
	{name: "opaque root is the kernel's no matter",
		layers: []lines{{"/ @opaque=y", "n =n"}, {"a =1"}},
		want:   lines{"a =1", "n =n"}},
	{name: "other types hide",
		layers: []lines{{"d =file", "f/n =n", "l ->t"}, {"d/a =1", "f =1", "l/x =1"}},
		want:   lines{"d =file", "f/", "f/n =n", "l ->t"}},
	{name: "a file in a middle layer ends a directory",
		layers: []lines{{"d/n =n"}, {"d =file"}, {"d/a =1"}},
		want:   lines{"d/", "d/n =n"}},
	{name: "private attributes",
		layers: []lines{{
			"d/ @origin=x @impure=y +security.capability=c", "f =1 @origin=x @nlink=U+1 @upper=u @uuid=u @protattr=a @made.up=1 +user.k=v",
			"pure/ @opaque=y @overlay.opaque=y", "pure/f =1 @origin=x", "n @overlay.overlay.x=1 @overlay.=2"},
			{"d/ +user.base=gone", "d/b =1 +user.base=kept"}},
		want: lines{"d/ +security.capability=c", "d/b =1 +user.base=kept", "f =1 +user.k=v",
			"n = +trusted.overlay.=2 +trusted.overlay.overlay.x=1", "pure/ +trusted.overlay.opaque=y", "pure/f =1"},
		report: func(r *Report) bool { return r.Escaped == 2 && r.Foreign == 0 }},
	{name: "redirect to a sibling",
		layers: []lines{{"new/ @redirect=old @origin=x", "new/n =n", "new/b c0:0", "old c0:0"}, {"old/a =1", "old/b =1"}},
		want:   lines{"new/", "new/a =1", "new/n =n"},
		report: func(r *Report) bool { return r.Redirects == 1 && r.MaybeLostOpaque == 0 }},
	{name: "redirect from the root",
		layers: []lines{{"x/y/new/ @redirect=/d/old", "d/old c0:0"}, {"d/old/sub/a =1", "d/k =k"}},
		want:   lines{"d/", "d/k =k", "x/", "x/y/", "x/y/new/", "x/y/new/sub/", "x/y/new/sub/a =1"}},
	{name: "redirect out of an opaque directory",
		layers: []lines{{"o/ @opaque=y", "o/m/ @redirect=/d"}, {"o/gone =1", "d/a =1"}},
		want:   lines{"d/", "d/a =1", "o/", "o/m/", "o/m/a =1"}},
	{name: "redirect out of an opaque directory of a middle layer",
		layers: []lines{
			{"x/ @redirect=/p/q"},
			{"p/ @opaque=y", "p/q/ @redirect=/z", "p/q/m =m", "w/ @opaque=y"},
			{"z/f =1", "p/q/no =1"}},
		want: lines{"p/", "p/q/", "p/q/f =1", "p/q/m =m", "w/", "x/", "x/f =1", "x/m =m", "z/", "z/f =1"}},
	{name: "redirects of two layers",
		layers: []lines{
			{"c/ @redirect=b", "b c0:0"},
			{"b/ @redirect=/p/a", "b/m =m", "p/a c0:0"},
			{"p/a/f =1", "b/no =1", "c/no =1"}},
		want: lines{"c/", "c/f =1", "c/m =m", "p/"}},
	{name: "redirect through a parent that was renamed below",
		layers: []lines{
			{"z/ @redirect=/q/s"},
			{"q/ @redirect=p", "q/s/m =m"},
			{"p/s/f =1", "q/s/no =1"}},
		// the others stay: nobody whited them out
		want:   lines{"p/", "p/s/", "p/s/f =1", "q/", "q/s/", "q/s/f =1", "q/s/m =m", "z/", "z/f =1", "z/m =m"},
		report: func(r *Report) bool { return r.Shared > 0 }},
	{name: "redirect to nowhere",
		layers: []lines{{"d/ @redirect=/none/at/all", "d/n =n", "e/ @redirect=f", "g/ @redirect=" + strings.Repeat("x", 256)},
			{"d/a =1", "f =file", "g/a =1"}},
		want: lines{"d/", "d/n =n", "e/", "f =file", "g/"}},
	{name: "redirect through a symlink",
		layers: []lines{{"d/ @redirect=/l/a"}, {"l ->t", "t/a/f =1"}},
		want:   lines{"d/", "l ->t", "t/", "t/a/", "t/a/f =1"}},
	{name: "redirect that is no path", layers: []lines{{"d/ @redirect=a/b"}, {"a/b/f =1"}}, err: `/d: redirect "a/b"`},
	{name: "redirect with an empty name", layers: []lines{{"d/ @redirect=/a//b"}, {"a/b/f =1"}}, err: "empty name"},
	{name: "redirect without a value", layers: []lines{{"d/ @redirect"}, {"a/b/f =1"}}, err: "empty"},
	{name: "redirect upwards", layers: []lines{{"d/ @redirect=/a/../b"}, {"a/f =1"}}, err: `redirected to "/a/../b"`},
	{name: "redirect to nothing", layers: []lines{{`d/ @redirect=\x00`}, {"a/f =1"}}, err: `redirected to ""`},
	{name: "redirect in the base counts for nothing",
		layers: []lines{{"d/n =n"}, {"d/ @redirect=/a//b", "d/a =1"}},
		want:   lines{"d/", "d/a =1", "d/n =n"}},
	{name: "metacopy",
		layers: []lines{{"f s4 @metacopy +user.k=v"}, {"f =data +user.k=old"}},
		want:   lines{"f =data +user.k=v"},
		report: func(r *Report) bool { return r.Metacopies == 1 && r.Digests == 0 }},
	{name: "metacopy through redirects and layers",
		layers: []lines{
			{"x/g s4 @metacopy @redirect=/f"},
			{`f s4 @metacopy=\x00\x08\x00\x01abcd @redirect=e`, "e c0:0"},
			{"e =data"}},
		want:   lines{"f =data", "x/", "x/g =data"},
		report: func(r *Report) bool { return r.Metacopies == 2 && r.Digests == 2 }},
	{name: "metacopy without data", layers: []lines{{"f s4 @metacopy"}, {"g =data"}}, err: "/f: is a metacopy, and no layer below"},
	{name: "metacopy over a whiteout", layers: []lines{{"f s4 @metacopy"}, {"f c0:0"}, {"f =data"}}, err: "/f: is a metacopy"},
	{name: "metacopy over a directory", layers: []lines{{"f s4 @metacopy"}, {"f/x =data"}}, err: "/f: is a metacopy"},
	{name: "metacopy of a metacopy in the base", layers: []lines{{"f s4 @metacopy"}, {"f =data @metacopy"}}, err: "/f: is a metacopy"},
	{name: "metacopy of another size", layers: []lines{{"f s5 @metacopy"}, {"f =data"}}, err: "metacopy of 5 bytes"},
	{name: "metacopy mark cut short", layers: []lines{{`f s4 @metacopy=\x00`}, {"f =data"}}, err: "metacopy attribute of 1 bytes"},
	{name: "metacopy mark of another length", layers: []lines{{`f s4 @metacopy=\x00\x05\x00\x00`}, {"f =data"}}, err: "says that it has 5"},
	{name: "metacopy mark of another version", layers: []lines{{`f s4 @metacopy=\x01\x04\x00\x00`}, {"f =data"}}, err: "version 1"},
	{name: "metacopy with the longest digest",
		layers: []lines{{`f s4 @metacopy=\x00\x44\x00\x02` + strings.Repeat("d", 64)}, {"f =data"}},
		want:   lines{"f =data"},
		report: func(r *Report) bool { return r.Digests == 1 }},
	{name: "metacopy with a longer digest", layers: []lines{{`f s4 @metacopy=\x00\x45\x00\x02` + strings.Repeat("d", 65)}, {"f =data"}},
		err: "metacopy attribute of 69 bytes"},
	{name: "names of aufs are names here",
		layers: []lines{{".wh.a =1", ".wh..wh..opq =1", ".wh. =1"}, {"a =1"}},
		want:   lines{".wh. =1", ".wh..wh..opq =1", ".wh.a =1", "a =1"}},
	{name: "opaque as fuse-overlayfs leaves it",
		layers: []lines{{"d/.wh..opq c0:0", "d/n =n", "e/.wh..wh..opq c0:0", "f/.wh..opq c0:0"}, {"d/a =1", "e/a =1", "f/.wh..opq =name",
			"f/a =1"}},
		want: lines{"d/", "d/n =n", "e/", "f/", "f/a =1"}},
	{name: "the base keeps what a nested overlay stored",
		layers: []lines{{"var/x =x"}, {"var/lib/d/ @opaque=y", "var/lib/d/w c0:0", "var/w c0:0"}},
		want:   lines{"var/", "var/lib/", "var/lib/d/ +trusted.overlay.opaque=y", "var/lib/d/w c0:0", "var/w c0:0", "var/x =x"}},
	{name: "user namespace",
		layers: []lines{{"d/ +user.overlay.opaque=y", "d/n =n +user.overlay.origin"}, {"d/a =1"}},
		want:   lines{"d/", "d/n =n"},
		report: func(r *Report) bool { return r.Namespaces[0] == User }},
	{name: "both namespaces",
		layers: []lines{{"d/ +user.overlay.opaque=y", "e/ @opaque=y"}, {"d/a =1"}},
		err:    "trusted.overlay.* on /e, user.overlay.* on /d"},
}

func TestRules(t *testing.T) {
	for _, tt := range ruleTests {
		t.Run(tt.name, func(t *testing.T) {
			var in []Layer
			for _, l := range tt.layers {
				in = append(in, Layer{Root: build(t, l...)})
			}
			check(t, in, tt.want, tt.err, tt.report)
		})
	}
}

func check(t *testing.T, in []Layer, want lines, wantErr string, report func(*Report) bool) {
	t.Helper()
	m, err := Merge(in)
	got := ""
	if err == nil {
		got, err = text(t, m.Root())
	}
	if wantErr != "" {
		if err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("error %v, want one with %q", err, wantErr)
		}
		if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("error %v is of no kind", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(want, "\n") + "\n"; got != w {
		t.Errorf("got\n%swant\n%s", got, w)
	}
	r, err := m.Report()
	if err != nil {
		t.Fatal(err)
	}
	if report != nil && !report(r) {
		t.Errorf("report %+v", *r)
	}
	eachLookup(t, m.Root())
}

// TestHiddenLookup: what is not listed is not found either.
func TestHiddenLookup(t *testing.T) {
	base := build(t, "a =1", "d/x =x", ".wh.b =1")
	for form, upper := range [][]string{
		OverlayFS: {"a c0:0", "d/x @whiteout"},
		Aufs:      {".wh.a =", "d/.wh.x =", ".wh..wh.plnk/", "d/.wh..wh.x ="},
	} {
		m, err := Merge([]Layer{{Root: build(t, upper...), Form: Form(form)}, {Root: base}})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"a", "d/x", ".wh.a", "d/.wh.x", ".wh..wh.plnk", "d/.wh..wh.x", "no", "."} {
			if n, err := m.Root().Lookup(path); n != nil || err != nil {
				t.Errorf("%v: %s is found: %s, %v", Form(form), path, show(n), err)
			}
		}
		d := at(t, m.Root(), "d")
		for _, name := range []string{"", ".", "..", "a/b", strings.Repeat("x", 256)} {
			if n, err := d.Child(name); n != nil || err != nil {
				t.Errorf("%v: %q is found: %s, %v", Form(form), name, show(n), err)
			}
		}
	}
}

// eachLookup: looking a name up gives what listing gives.
func eachLookup(t *testing.T, n *tree.Node) {
	t.Helper()
	kids, err := n.Children()
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, k := range kids {
		if k.Name <= last {
			t.Errorf("%q follows %q", k.Name, last)
		}
		last = k.Name
		l, err := n.Child(k.Name)
		if err != nil || l == nil || l.Type != k.Type || l.Inode != k.Inode || !l.Xattrs.Equal(k.Xattrs) || l.Size != k.Size {
			t.Errorf("%q listed as %s, looked up as %s, %v", k.Name, show(k), show(l), err)
		}
		eachLookup(t, k)
	}
}

func TestNamespaceGiven(t *testing.T) {
	upper := lines{"d/ +user.overlay.opaque=y", "d/n =n", "e/ @opaque=y"}
	base := lines{"d/a =1", "e/a =1"}
	for _, tt := range []struct {
		ns   Namespace
		want lines
	}{
		{Trusted, lines{"d/ +user.overlay.opaque=y", "d/a =1", "d/n =n", "e/"}},
		{User, lines{"d/", "d/n =n", "e/ +trusted.overlay.opaque=y", "e/a =1"}},
	} {
		check(t, []Layer{{Root: build(t, upper...), Namespace: tt.ns}, {Root: build(t, base...)}}, tt.want, "",
			func(r *Report) bool { return r.Foreign == 1 && len(r.Warnings()) == 2 })
	}
	_, err := Merge([]Layer{{Root: build(t, upper...)}, {Root: build(t, base...)}})
	if !errors.Is(err, ErrMixedNamespaces) || !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

func TestAufs(t *testing.T) {
	for _, tt := range []struct {
		name        string
		upper, base lines
		want        lines
		err         string
		report      func(*Report) bool
	}{
		{name: "whiteouts",
			upper: lines{".wh.a", "d/.wh.b", "d/n =n", ".wh.gone", ".wh..pwd.lock", "c c0:0"},
			base:  lines{"a/x =1", "d/b =1", "d/k =k", ".pwd.lock =1", "c =1"},
			want:  lines{"c c0:0", "d/", "d/k =k", "d/n =n"},
			report: func(r *Report) bool {
				return r.Whiteouts == 3 && r.DeadWhiteouts == 1 && r.Namespaces[0] == AnyNamespace && r.MaybeLostOpaque == 0
			}},
		{name: "opaque",
			upper: lines{"d/.wh..wh..opq", "d/n =n", "e/n =n"},
			base:  lines{"d/a =1", "e/a =1"},
			want:  lines{"d/", "d/n =n", "e/", "e/a =1", "e/n =n"}},
		{name: "opaque root",
			upper: lines{".wh..wh..opq", "n =n"}, base: lines{"a =1"}, want: lines{"n =n"}},
		{name: "internals",
			upper: lines{".wh..wh.aufs =", ".wh..wh.plnk/12.34 =x", ".wh..wh.orph/x =1", "a =1"},
			base:  lines{"b =1"}, want: lines{"a =1", "b =1"},
			report: func(r *Report) bool { return r.AufsInternal == 3 && r.AufsPlinks == 1 && len(r.Warnings()) == 1 }},
		{name: "a whiteout wins over what lies beside it",
			upper: lines{".wh.a", "a =1", ".wh.t.1a2b/x =1", "t.1a2b =k"}, base: lines{"a =2"}, want: lines{"t.1a2b =k"}},
		{name: "overlay attributes are content",
			upper: lines{"d/ @opaque=y"}, base: lines{"d/a =1"}, want: lines{"d/ +trusted.overlay.opaque=y", "d/a =1"}},
		{name: "a whiteout of nothing", upper: lines{"d/.wh. ="}, base: lines{"a =1"}, err: "/d: a whiteout \".wh.\" without a name"},
		{name: "long names",
			upper: lines{strings.Repeat("x", 255) + " =1"}, base: lines{strings.Repeat("y", 255) + " =1"},
			want: lines{strings.Repeat("x", 255) + " =1", strings.Repeat("y", 255) + " =1"}},
		{name: "names of the base are kept", upper: lines{"a =1"}, base: lines{".wh.b =1", "b =1"},
			want: lines{".wh.b =1", "a =1", "b =1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, []Layer{{Root: build(t, tt.upper...), Form: Aufs}, {Root: build(t, tt.base...)}}, tt.want, tt.err, tt.report)
		})
	}
}
