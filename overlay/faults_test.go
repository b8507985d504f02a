package overlay

import (
	"errors"
	"strings"
	"testing"

	"relive/tree"
)

var errFault = errors.New("a fault of the medium")

// faults lets one call of many fail: the reading of a directory, a look-up in
// it, the opening of a file.
type faults struct {
	calls, fail int
}

func (f *faults) call() error {
	if f.calls++; f.calls == f.fail {
		return errFault
	}
	return nil
}

// on returns a tree whose calls count. Nodes and their inodes stay what they are.
func (f *faults) on(n *tree.Node) *tree.Node {
	c := *n
	if n.Dir != nil {
		c.Dir = faultyDir{n.Dir, f}
	}
	if n.Data != nil {
		c.Data = faultyData{n.Data, f}
	}
	return &c
}

type faultyDir struct {
	of tree.Dir
	f  *faults
}

func (d faultyDir) Children() ([]*tree.Node, error) {
	if err := d.f.call(); err != nil {
		return nil, err
	}
	kids, err := d.of.Children()
	out := make([]*tree.Node, len(kids))
	for i, k := range kids {
		out[i] = d.f.on(k)
	}
	return out, err
}

func (d faultyDir) Lookup(name string) (*tree.Node, error) {
	if err := d.f.call(); err != nil {
		return nil, err
	}
	kids, err := d.of.Children()
	if n := tree.Find(kids, name); n != nil {
		return d.f.on(n), err
	}
	return nil, err
}

type faultyData struct {
	of tree.Data
	f  *faults
}

func (d faultyData) Open() (tree.Content, error) {
	if err := d.f.call(); err != nil {
		return nil, err
	}
	return d.of.Open()
}

// readAll lists a tree, looks every name up, and one that is not there, and
// opens every file.
func readAll(n *tree.Node) error {
	kids, err := n.Children()
	if err != nil {
		return err
	}
	for _, k := range kids {
		found, err := n.Child(k.Name)
		if err != nil {
			return err
		}
		if found == nil {
			return errors.New(k.Name + " is listed and not found")
		}
		for _, data := range []tree.Data{k.Data, k.Was} {
			if data == nil {
				continue
			}
			c, err := data.Open()
			if err != nil {
				return err
			}
			if err := c.Close(); err != nil {
				return err
			}
		}
		if err := readAll(k); err != nil {
			return err
		}
	}
	for _, name := range []string{"not there", ".wh.not there"} {
		if _, err := n.Child(name); err != nil {
			return err
		}
	}
	return nil
}

// TestFaults: whichever single read of a layer fails, that is the error; none
// is taken for an empty directory or a missing name.
func TestFaults(t *testing.T) {
	stacks := map[string][]Layer{
		"two layers": {{Root: build(t, "d/n =n", "d/x c0:0", "e/f/g =2", "a =2")},
			{Root: build(t, "d/x =x", "d/y =y", "e/f/g =1", "a =1", "k/l =l")}},
		"redirects": {{Root: build(t, "new/ @redirect=/p/old", "new/f s1 @metacopy @redirect=/p/q/f", "z =z @redirect=/p/q/f",
			"z2 =z @redirect=f")}, {Root: build(t, "p/old/m =m", "p/q/f s1 @metacopy", "f =1")},
			{Root: build(t, "p/old/a =1", "p/q/f =f")}},
		"opaque": {{Root: build(t, "d/ @opaque=y", "d/n =n", "e/ @opaque=x", "e/x @whiteout")},
			{Root: build(t, "d/x =x", "e/x =x", "e/y =y")}},
		"fuse": {{Root: build(t, "d/.wh..opq c0:0", "d/n =n", "f/.wh..wh..opq c0:0", ".wh..opq c0:0")},
			{Root: build(t, "d/x =x", "f/.wh..wh..opq =n", ".wh..opq =n")}},
		"aufs": {{Root: build(t, "d/.wh..wh..opq", "d/n =n", ".wh.a", "e/.wh.x", "e/y =2", ".wh..wh.plnk/12.34 =x"), Form: Aufs},
			{Root: build(t, "d/x =x", "a =1", "e/x =x", "e/y =1")}},
		"aufs, opaque": {{Root: build(t, "n =n"), Form: Aufs}, {Root: build(t, ".wh..wh..opq", "m =m"), Form: Aufs},
			{Root: build(t, "a =1")}},
		"a base alone": {{Root: build(t, "d/x =x", "w c0:0")}},
		"three of aufs": {{Root: build(t, "d/n =n", ".wh.a"), Form: Aufs}, {Root: build(t, "d/m =m", "d/.wh.x"), Form: Aufs},
			{Root: build(t, "d/x =x", "a =1")}},
	}
	indexed := stacks["two layers"]
	indexed[0].Index = build(t)
	stacks["an index"] = indexed
	for name, stack := range stacks {
		for _, opts := range [][]Option{nil, {CleanBase()}} {
			every(t, name, func(f *faults) error {
				var in []Layer
				for _, l := range stack {
					l.Root = f.on(l.Root)
					if l.Index != nil {
						l.Index = f.on(l.Index)
					}
					in = append(in, l)
				}
				m, err := Merge(in, opts...)
				if err != nil {
					return err
				}
				if _, err := m.Report(); err != nil {
					return err
				}
				return readAll(m.Root())
			})
		}
	}
	every(t, "detect", func(f *faults) error {
		d, err := Detect(f.on(build(t, "upper/a =1", "work/index/", "work/work/")))
		if err != nil {
			return err
		}
		_, err = d.Layer()
		return err
	})
	every(t, "without origins", func(f *faults) error { return readAll(WithoutOrigins(f.on(build(t, someBase...)))) })
}

// TestDifferenceFaults: the same of the two trees that Difference compares, and
// of the layer that it gives.
func TestDifferenceFaults(t *testing.T) {
	lower := lines{"d/x =x", "d/y =y", "e/f/g =1", "a =1", "k/l =l", "s/t/h1 =h #77 %3", "s/t/u/h2 =h #77 %3", "gone =1"}
	merged := lines{"d/x =z", "d/n/o =o", "e/f/g =2", "a/b =1", "k/l =l", "s/t/h1 =h #77 %3", "s/t/u/h2 =h #77 %3", "h3 =h #77 %3"}
	l, m := build(t, lower...), build(t, merged...)
	same := func(n *tree.Node, path string) { at(t, n, path).Inode = tree.Inode{Source: l.Inode.Source, Number: 5} }
	for _, n := range []*tree.Node{l, m} {
		same(n, "s")
		for _, h := range []string{"s/t/h1", "s/t/u/h2"} {
			at(t, n, h).Inode = tree.Inode{Source: l.Inode.Source, Number: 77}
		}
	}
	at(t, m, "h3").Inode = tree.Inode{Source: l.Inode.Source, Number: 77}
	for _, o := range []DifferenceOptions{{}, {Form: Aufs}, {Escaped: true, Plain: true}, {TrustInode: true, Origins: true}} {
		every(t, "difference", func(f *faults) error {
			u, err := Difference(t.Context(), f.on(l), f.on(m), o)
			if err != nil {
				return err
			}
			return readAll(u)
		})
	}
}

// every lets each call of run fail once.
func every(t *testing.T, name string, run func(*faults) error) {
	t.Helper()
	var sound faults
	if err := run(&sound); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for i := range sound.calls {
		if err := run(&faults{fail: i + 1}); !errors.Is(err, errFault) {
			t.Errorf("%s: call %d of %d fails, and the error is %v", name, i+1, sound.calls, err)
		}
	}
}

// TestDepth: directories that nest deeper than anything can hold are an error,
// also where only the layer above has them.
func TestDepth(t *testing.T) {
	deep := func(depth int) *tree.Node { return build(t, strings.Repeat("d/", depth)+"f =1") }
	for depth, ok := range map[int]bool{tree.MaxDepth: true, tree.MaxDepth + 1: false} {
		check := func(what string, err error) {
			if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "nest deeper") {
				t.Errorf("%s of %d directories: %v", what, depth, err)
			}
		}
		for _, ns := range []Namespace{AnyNamespace, Trusted} {
			m, err := Merge([]Layer{{Root: deep(depth), Namespace: ns}, {Root: build(t)}})
			if ns == AnyNamespace {
				check("merge", err)
			}
			if err == nil {
				_, err = m.Report()
				check("report", err)
			}
		}
		_, err := Difference(t.Context(), build(t), deep(depth), DifferenceOptions{})
		check("difference", err)
		_, err = Difference(t.Context(), deep(depth), deep(depth), DifferenceOptions{})
		check("difference of equals", err)
	}
}
