package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// changes lists what Compare reports, one line each.
func changes(t testing.TB, a, b *Node, o CompareOptions) string {
	t.Helper()
	var out []string
	err := Compare(context.Background(), a, b, o, func(c Change) error {
		if (c.A == nil) != (c.Diff == Only) || (c.B == nil) != (c.Diff == Absent) {
			t.Errorf("%s: %v with nodes %v, %v", c.Path, c.Diff, c.A, c.B)
		}
		out = append(out, "/"+c.Path+": "+c.Diff.String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func with(n *Node, change func(*Node)) *Node {
	out := *n
	change(&out)
	return &out
}

// Each difference is found for itself, and has its name.
func TestCompareDifferences(t *testing.T) {
	file := NewFile("n", 0o644, []byte("content"))
	device := &Node{Name: "n", Meta: Meta{Type: CharDevice, Perm: 0o600, Rdev: Rdev{1, 3}}}
	for _, c := range []struct {
		a, b *Node
		want string
	}{
		{file, file, ""},
		{file, with(file, func(n *Node) { n.Perm = 0o4644 }), "mode"},
		{file, with(file, func(n *Node) { n.UID = 1 }), "owner"},
		{file, with(file, func(n *Node) { n.GID = 1 }), "owner"},
		{file, with(file, func(n *Node) { n.Mtime.Sec = 1 }), "mtime"},
		{file, with(file, func(n *Node) { n.Mtime.Nsec = 1 }), "mtime"},
		{file, with(file, func(n *Node) { n.Xattrs = Xattrs{{"user.a", ""}} }), "xattrs"},
		{file, NewFile("n", 0o644, []byte("contenT")), "content"},
		{file, NewFile("n", 0o644, []byte("content!")), "content"},
		{file, NewFile("n", 0o600, nil), "mode, content"},
		{file, with(device, func(n *Node) { n.Perm = 0o644 }), "type, rdev"},
		{device, with(device, func(n *Node) { n.Rdev.Major = 2 }), "rdev"},
		{device, with(device, func(n *Node) { n.Rdev.Minor = 2 }), "rdev"},
		{device, with(device, func(n *Node) { n.Type = BlockDevice }), "type"},
		{NewSymlink("n", "a"), NewSymlink("n", "b"), "target"},
		{NewDir("n", 0o755), NewDir("n", 0o700), "mode"},
		{file, with(file, func(n *Node) { n.Inode, n.Nlink = Inode{file, 5}, 9 }), ""},
	} {
		got := changes(t, NewDir("", 0o755, c.a), NewDir("", 0o755, c.b), CompareOptions{})
		want := c.want
		if want != "" {
			want = "/n: " + want
		}
		if got != want {
			t.Errorf("got %q, not %q", got, want)
		}
	}
	if got := changes(t, file, with(file, func(n *Node) { n.Perm = 0 }), CompareOptions{}); got != "/: mode" {
		t.Errorf("of roots: %q", got)
	}
}

// Names that only one tree has are told in walking order, with all below,
// also where a file stands in a directory's place.
func TestCompareNames(t *testing.T) {
	a := NewDir("", 0o755, NewFile("a", 0o644, nil), NewDir("b", 0o755, NewFile("x", 0o644, nil),
		NewDir("y", 0o755, NewFile("z", 0o644, nil))), NewFile("d", 0o644, nil))
	b := NewDir("", 0o755, NewFile("a.b", 0o644, nil), NewFile("b", 0o755, nil), NewDir("d", 0o644, NewFile("e", 0o644, nil)),
		NewDir("z", 0o755, NewFile("q", 0o644, nil)))
	want := `/a: only in first
/a.b: only in second
/b: type
/b/x: only in first
/b/y: only in first
/b/y/z: only in first
/d: type
/d/e: only in second
/z: only in second
/z/q: only in second`
	if got := changes(t, a, b, CompareOptions{}); got != want {
		t.Errorf("got\n%s", got)
	}
	shallow := strings.ReplaceAll(strings.ReplaceAll(want, "/b/y/z: only in first\n", ""), "\n/z/q: only in second", "")
	if got := changes(t, a, b, CompareOptions{ShallowDirs: true}); got != shallow {
		t.Errorf("shallow, got\n%s", got)
	}
	stop := errors.New("stop")
	n := 0
	if err := Compare(context.Background(), a, b, CompareOptions{}, func(Change) error { n++; return stop }); err != stop || n != 1 {
		t.Errorf("%v after %d changes", err, n)
	}
}

func TestCompareWholeSeconds(t *testing.T) {
	for _, c := range []struct {
		a, b Time
		same bool
	}{
		{Time{5, 1}, Time{5, 999999999}, true},
		{Time{5, 999999999}, Time{6, 0}, false},
		{Time{-7, 3}, Time{0, 0}, true},
		{Time{1 << 33, 0}, Time{1<<32 - 1, 0}, true},
		{Time{1 << 33, 0}, Time{1<<32 - 2, 0}, false},
	} {
		a, b := NewDir("", 0o755), NewDir("", 0o755)
		a.Mtime, b.Mtime = c.a, c.b
		if got := changes(t, a, b, CompareOptions{WholeSeconds: true}) == ""; got != c.same {
			t.Errorf("%v and %v are equal: %v", c.a, c.b, got)
		}
		if got := changes(t, a, b, CompareOptions{}) == ""; got {
			t.Errorf("%v and %v are equal", c.a, c.b)
		}
	}
}

func TestCompareIgnoreXattr(t *testing.T) {
	a, b := NewDir("", 0o755), NewDir("", 0o755)
	a.Xattrs = Xattrs{{"security.x", "1"}, {"system.posix_acl_access", "2"}}
	b.Xattrs = Xattrs{{"security.x", "1"}, {"system.other", "4"}}
	o := CompareOptions{IgnoreXattr: func(n string) bool { return strings.HasPrefix(n, "system.") }}
	if got := changes(t, a, b, o); got != "" {
		t.Error(got)
	}
	b.Xattrs[0].Value = "3"
	if got := changes(t, a, b, o); got != "/: xattrs" {
		t.Error(got)
	}
}

// broken is a Data and a Dir that nobody may look at.
type broken struct{ t testing.TB }

func (b broken) Open() (Content, error)     { b.t.Error("opened"); return nil, io.EOF }
func (b broken) Children() ([]*Node, error) { b.t.Error("listed"); return nil, io.EOF }

// What is trusted is not looked at; its metadata is.
func TestCompareTrustInode(t *testing.T) {
	id := func(i uint64) Inode { return Inode{"source", i} }
	file := NewFile("f", 0o644, []byte("x"))
	file.Inode, file.Data = id(1), broken{t}
	dir := NewDir("d", 0o755)
	dir.Inode, dir.Dir = id(2), broken{t}
	a := NewDir("", 0o755, dir, file)
	b := NewDir("", 0o755, with(dir, func(n *Node) { n.Perm = 0 }), with(file, func(n *Node) { n.UID = 7 }))
	if got := changes(t, a, b, CompareOptions{TrustInode: true}); got != "/d: mode\n/f: owner" {
		t.Error(got)
	}
	// Inodes that differ, or are of no source, are not trusted.
	for _, other := range []Inode{{}, id(3), {"other", 1}} {
		x, y := NewFile("f", 0o644, []byte("x")), NewFile("f", 0o644, []byte("y"))
		x.Inode, y.Inode = id(1), other
		if other == (Inode{}) {
			x.Inode = other
		}
		if got := changes(t, NewDir("", 0, x), NewDir("", 0, y), CompareOptions{TrustInode: true}); got != "/f: content" {
			t.Errorf("%v: %s", other, got)
		}
	}
}

// Groups of hard links are compared by the names that they hold.
func TestCompareLinks(t *testing.T) {
	build := func(source string, groups map[string]uint64) *Node {
		var e Edits
		for path, g := range groups {
			n := NewFile("", 0o644, nil)
			if g != 0 {
				n.Inode, n.Nlink = Inode{source, g}, 2
			}
			e.Put(path, n)
		}
		root, err := e.Apply(NewDir("", 0o755))
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	for _, c := range []struct {
		a, b map[string]uint64
		want string
	}{
		{map[string]uint64{"a": 1, "b": 1, "d/c": 2, "d/e": 2}, map[string]uint64{"a": 9, "b": 9, "d/c": 8, "d/e": 8}, ""},
		{map[string]uint64{"a": 1, "b": 1}, map[string]uint64{"a": 1, "b": 2}, "/b: hard links"},
		{map[string]uint64{"a": 1, "b": 1}, map[string]uint64{"a": 0, "b": 0}, "/b: hard links"},
		{map[string]uint64{"a": 1, "b": 2, "c": 1, "d": 2}, map[string]uint64{"a": 1, "b": 2, "c": 2, "d": 1},
			"/c: hard links\n/d: hard links"},
		// The first name of a group is missing in one tree.
		{map[string]uint64{"a": 1, "b": 1, "c": 1}, map[string]uint64{"b": 1, "c": 1}, "/a: only in first\n/b: hard links\n/c: hard links"},
		{map[string]uint64{"b": 1, "c": 1}, map[string]uint64{"b": 1, "c": 1, "d": 1}, "/d: only in second"},
		{map[string]uint64{"a": 0, "b": 0}, map[string]uint64{"a": 0, "b": 0}, ""},
	} {
		if got := changes(t, build("x", c.a), build("y", c.b), CompareOptions{Links: true}); got != c.want {
			t.Errorf("%v and %v: %q", c.a, c.b, got)
		}
	}
}

// ranges is content with holes; reads of holes are counted.
type ranges struct {
	b     []byte
	data  [][2]int64
	reads *int64
}

func (r ranges) Open() (Content, error) { return r, nil }
func (r ranges) Size() int64            { return int64(len(r.b)) }
func (r ranges) Close() error           { return nil }
func (r ranges) ReadAt(p []byte, off int64) (int, error) {
	*r.reads += int64(len(p))
	return bytes.NewReader(r.b).ReadAt(p, off)
}
func (r ranges) NextData(off int64) (int64, int64, error) {
	for _, d := range r.data {
		if d[1] > off {
			return max(d[0], off), d[1], nil
		}
	}
	return 0, 0, io.EOF
}

// Contents are compared as they read, whatever holes are told of; what is a
// hole in both is not read.
func TestCompareContents(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const size = 5<<20 + 77
	for range 60 {
		base := make([]byte, size)
		var reads int64
		hide := func() ranges { // with data ranges that cover all that is not zero
			r := ranges{b: bytes.Clone(base), reads: &reads}
			for off := int64(0); off < size; off += 64 << 10 {
				end := min(off+64<<10, size)
				if !IsZero(base[off:end]) || rnd.IntN(10) == 0 {
					if n := len(r.data); n > 0 && r.data[n-1][1] == off {
						r.data[n-1][1] = end
					} else {
						r.data = append(r.data, [2]int64{off, end})
					}
				}
			}
			return r
		}
		for range rnd.IntN(5) {
			base[rnd.IntN(size)] = 1
		}
		a := hide()
		equal := rnd.IntN(2) == 0
		if !equal {
			base[rnd.IntN(size)] ^= 3
		}
		b := hide()
		file := func(d Data) *Node {
			return &Node{Meta: Meta{Type: Regular, Size: size}, Data: d}
		}
		if got := changes(t, file(a), file(b), CompareOptions{}) == ""; got != equal {
			t.Fatalf("equal: %v", got)
		}
	}
	var reads int64
	hole := &Node{Meta: Meta{Type: Regular, Size: size}, Data: ranges{b: make([]byte, size), reads: &reads}}
	if got := changes(t, hole, hole, CompareOptions{}); got != "" || reads != 0 {
		t.Errorf("%q, %d bytes of holes are read", got, reads)
	}
}

// Content that is shorter than its node, a directory that fails, a loop of
// directories and an ended context are errors that name the path.
func TestCompareErrors(t *testing.T) {
	short := NewFile("short", 0o644, []byte("abc"))
	short.Size = 5
	full := NewFile("short", 0o644, []byte("abcde"))
	loop := NewDir("loop", 0o755)
	loop.Dir = List{loop}
	bad := NewDir("bad", 0o755)
	bad.Dir = failingDir{}
	for _, c := range []struct {
		a, b *Node
		want string
	}{
		{short, full, "/short: unexpected EOF"},
		{full, short, "/short: unexpected EOF"},
		{loop, loop, "nest deeper"},
		{bad, NewDir("bad", 0o755), "/bad: this directory fails"},
		{NewDir("bad", 0o755), bad, "/bad: this directory fails"},
		{bad, NewFile("other", 0o644, nil), "/bad: this directory fails"},
	} {
		err := Compare(context.Background(), NewDir("", 0o755, c.a), NewDir("", 0o755, c.b), CompareOptions{},
			func(Change) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, not %q", err, c.want)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(fmt.Errorf("enough"))
	if err := Compare(ctx, NewDir("", 0), NewDir("", 0), CompareOptions{}, nil); err == nil || err.Error() != "enough" {
		t.Error(err)
	}
}

type failingDir struct{}

func (failingDir) Children() ([]*Node, error) { return nil, errors.New("this directory fails") }
