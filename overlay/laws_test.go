package overlay

import (
	"strings"
	"sync"
	"testing"

	"relive/tree"
)

func merge(t testing.TB, opts []Option, in ...Layer) *tree.Node {
	t.Helper()
	m, err := Merge(in, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Root()
}

func at(t testing.TB, root *tree.Node, path string) *tree.Node {
	t.Helper()
	n, err := root.Lookup(path)
	if err != nil || n == nil {
		t.Fatalf("%s: %v, %v", path, n, err)
	}
	return n
}

var someBase = lines{"a =1", "d/x =x +user.k=v", "d/e/f/g =g", "l ->a", "c c1:3", "h1 =h #77 %2", "h2 =h #77 %2"}

// TestEmptyUpper: an empty upper over a base gives the base's own nodes.
func TestEmptyUpper(t *testing.T) {
	base, upper := build(t, someBase...), build(t)
	root := merge(t, nil, Layer{Root: upper}, Layer{Root: base})
	if root.Inode != upper.Inode {
		t.Errorf("the root's inode is %v", root.Inode)
	}
	kids, err := root.Children()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := base.Children()
	if len(kids) != len(want) {
		t.Fatalf("%d children, want %d", len(kids), len(want))
	}
	for i := range kids {
		if kids[i] != want[i] {
			t.Errorf("%q is not the base's node", kids[i].Name)
		}
	}
	if only := merge(t, nil, Layer{Root: base}); only != base {
		t.Error("a base alone is not itself")
	}
	if clean := merge(t, []Option{CleanBase()}, Layer{Root: base}); clean.Inode == base.Inode {
		t.Error("a base that is shown clean passes for the base itself")
	}
	diff(t, "base", "clean base", base, merge(t, []Option{CleanBase()}, Layer{Root: base}))
}

// TestUntouched: what only the base has is the base's own node, next to what
// the upper changes too; what both have takes the upper's identity.
func TestUntouched(t *testing.T) {
	base, upper := build(t, someBase...), build(t, "d/e/n =n", "d/y =y")
	root := merge(t, nil, Layer{Root: upper}, Layer{Root: base})
	for _, path := range []string{"a", "d/x", "d/e/f", "l"} {
		if at(t, root, path) != at(t, base, path) {
			t.Errorf("%s is not the base's node", path)
		}
	}
	for _, path := range []string{"d", "d/e", "d/e/n"} {
		if at(t, root, path).Inode != at(t, upper, path).Inode {
			t.Errorf("%s has not the upper's inode", path)
		}
	}
	clean := merge(t, []Option{CleanBase()}, Layer{Root: upper}, Layer{Root: base})
	if at(t, clean, "d/e/f").Inode == at(t, base, "d/e/f").Inode {
		t.Error("a base's directory that is shown clean passes for the base's own")
	}
	if at(t, clean, "h1").Inode != at(t, base, "h2").Inode {
		t.Error("a clean base loses its hard links")
	}
}

// TestTwice: the same upper once more changes nothing.
func TestTwice(t *testing.T) {
	for _, tt := range ruleTests {
		if tt.err != "" || len(tt.layers) != 2 || tt.name == "both namespaces" {
			continue
		}
		if strings.Contains(tt.name, "redirect") || strings.Contains(tt.name, "metacopy") || strings.Contains(tt.name, "fuse") {
			continue // these ask for the base that they were made over
		}
		t.Run(tt.name, func(t *testing.T) {
			opts := []Option{KeepEscaped()}
			once := merge(t, opts, Layer{Root: build(t, tt.layers[0]...)}, Layer{Root: build(t, tt.layers[1]...)})
			a, err := text(t, once)
			if err != nil {
				t.Fatal(err)
			}
			b, err := text(t, merge(t, opts, Layer{Root: build(t, tt.layers[0]...)}, Layer{Root: once}))
			if err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Errorf("once\n%stwice\n%s", a, b)
			}
		})
	}
}

func TestKeepEscaped(t *testing.T) {
	upper := build(t, "d/ @overlay.opaque=y @opaque=y", "d/f @overlay.overlay.x=1 @origin")
	root := merge(t, []Option{KeepEscaped()}, Layer{Root: upper}, Layer{Root: build(t)})
	got, err := text(t, root)
	want := "d/ +trusted.overlay.overlay.opaque=y\nd/f = +trusted.overlay.overlay.overlay.x=1\n"
	if err != nil || got != want {
		t.Errorf("got %v\n%swant\n%s", err, got, want)
	}
}

// TestWas: a file that covers another carries the content below as a hint.
func TestWas(t *testing.T) {
	root := merge(t, nil,
		Layer{Root: build(t, "a =new", "s ->x", "n =n", "d/f =new", "moved/ @redirect=old", "moved/f =new", "old c0:0",
			"was/metacopy =new @redirect=/x/y", "x/y =mine", "o/ @opaque=y", "o/f =new", "bad =new @redirect=a/b",
			"worse =new @redirect=/../x", "dir =file", "three =3")},
		Layer{Root: build(t, "three =2", "mid =m")},
		Layer{Root: build(t, "a =a", "s =s", "d/f =d/f", "old/f =old/f", "x/y =x/y", "o/f =o/f", "bad =bad", "worse =1", "dir/f =1",
			"three =1", "mid =base")})
	for path, want := range map[string]string{
		"a": "a", "d/f": "d/f", "moved/f": "old/f", "was/metacopy": "x/y", "three": "2", "mid": "base", "bad": "bad", "worse": "-",
		"x/y": "x/y",
		"s":   "-", "n": "-", "o/f": "-", "dir": "-",
	} {
		n, got := at(t, root, path), "-"
		if n.Was != nil {
			got = string(n.Was.(tree.Bytes))
		}
		if got != want {
			t.Errorf("%s: was %q, want %q", path, got, want)
		}
	}
}

func TestMergeRefuses(t *testing.T) {
	if _, err := Merge(nil); err == nil {
		t.Error("no layers are merged")
	}
	if _, err := Merge([]Layer{{Root: tree.NewFile("f", 0, nil)}}); err == nil {
		t.Error("a file is merged")
	}
	if _, err := Merge([]Layer{{Root: build(t), Form: 7}, {Root: build(t)}}); err == nil {
		t.Error("an unknown form is merged")
	}
	if _, err := Merge([]Layer{{Root: build(t), Form: Aufs, Index: build(t)}, {Root: build(t)}}); err == nil {
		t.Error("an index of aufs is taken")
	}
}

// TestParallel: the union may be read by many at once (with -race).
func TestParallel(t *testing.T) {
	root := merge(t, nil, Layer{Root: build(t, "d/e/n =n", "d/y =y", "d/x c0:0", "r/ @redirect=d")}, Layer{Root: build(t, someBase...)})
	want, err := text(t, root)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got, err := text(t, root); err != nil || got != want {
					t.Errorf("got %v\n%s", err, got)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   lines
		form Form
		want string // path of the upper, "-" for none
		work bool
		void bool
		err  string
	}{
		{"overlay", lines{"upper/etc/a =1", "work/work/", "lost+found/"}, OverlayFS, "upper", true, false, ""},
		{"overlay with an empty upper", lines{"upper/", "work/"}, OverlayFS, "upper", true, true, ""},
		{"overlay without work", lines{"upper/a =1"}, OverlayFS, "upper", false, false, ""},
		{"aufs", lines{"etc/a =1", ".wh.b", "lost+found/"}, Aufs, "", false, false, ""},
		{"aufs wins, as antiX's init has it", lines{"etc/a =1", "upper/x =1"}, Aufs, "", false, false, ""},
		{"etc as a file is no aufs", lines{"etc =1", "upper/x =1"}, OverlayFS, "upper", false, false, ""},
		{"new", lines{"lost+found/"}, OverlayFS, "-", false, true, ""},
		{"nothing at all", nil, OverlayFS, "-", false, true, ""},
		{"new aufs", lines{".wh..wh.aufs", ".wh..wh.orph/", ".wh..wh.plnk/", "lost+found/"}, Aufs, "", false, true, ""},
		{"something else", lines{"home/demo/x =1"}, 0, "", false, false, "neither /etc (aufs) nor /upper (overlayfs), but /home"},
		{"upper is a file", lines{"upper =1"}, 0, "", false, false, "/upper: is a file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := build(t, tt.in...)
			d, err := Detect(root)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var upper *tree.Node
			if tt.want != "-" {
				upper = at(t, root, tt.want)
			}
			if d.Form != tt.form || d.Upper != upper || (d.Work != nil) != tt.work || d.Empty != tt.void {
				t.Errorf("detected %+v", d)
			}
		})
	}
	root := build(t, "upper/a =1", "work/index/", "work/work/")
	d, err := Detect(root)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Layer()
	if err != nil || l.Root != at(t, root, "upper") || l.Index != at(t, root, "work/index") || l.Form != OverlayFS {
		t.Errorf("layer %+v, %v", l, err)
	}
}
