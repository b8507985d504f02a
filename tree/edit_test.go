package tree

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// flat is a tree as a map from paths to a word for each node.
func flat(t testing.TB, root *Node) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := Walk(context.Background(), root, func(path string, n *Node) error {
		if path != "" && n.Name != path[strings.LastIndex(path, "/")+1:] {
			t.Errorf("%s is called %s", path, n.Name)
		}
		word := n.Type.String()
		if n.Type == Regular {
			b, err := ReadAll(n, 1<<20)
			if err != nil {
				return err
			}
			word = string(b)
		}
		out[path] = fmt.Sprintf("%s %o", word, n.Perm)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Edits do to a tree what those of the calls that no later one overrides do to
// a map of paths, those above before those below.
func TestEditsModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	randomPath := func() string {
		parts := make([]string, 1+rnd.IntN(4))
		for i := range parts {
			parts[i] = string(rune('a' + rnd.IntN(3)))
		}
		return strings.Join(parts, "/")
	}
	below := func(m map[string]string, path string) {
		maps.DeleteFunc(m, func(p, _ string) bool { return p == path || strings.HasPrefix(p, path+"/") })
	}
	put := func(m map[string]string, path, word string, under map[string]string) {
		for i := range path {
			if path[i] != '/' {
				continue
			}
			if dir := path[:i]; !strings.HasPrefix(m[dir], "directory") {
				below(m, dir)
				m[dir] = "directory 755"
			}
		}
		below(m, path)
		m[path] = word
		for p, w := range under {
			m[path+"/"+p] = w
		}
	}
	for round := range 300 {
		model := map[string]string{"": "directory 700"}
		root := NewDir("", 0o700)
		for layer := range 3 { // edits over edits
			var e Edits
			last := map[string]func(){}
			for range rnd.IntN(12) {
				path := randomPath()
				word := fmt.Sprint("v", rnd.IntN(1000))
				maps.DeleteFunc(last, func(p string, _ func()) bool { return strings.HasPrefix(p, path+"/") })
				switch rnd.IntN(4) {
				case 0:
					e.Remove(path)
					last[path] = func() { below(model, path) }
				case 1:
					e.Put("/"+path, NewDir("some", 0o711, NewFile("a", 0o600, []byte(word)), NewDir("b", 0o700)))
					last[path] = func() { put(model, path, "directory 711", map[string]string{"a": word + " 600", "b": "directory 700"}) }
				default:
					e.Put(path+"/", NewFile("some", 0o644, []byte(word)))
					last[path] = func() { put(model, path, word+" 644", nil) }
				}
			}
			for _, path := range slices.Sorted(maps.Keys(last)) {
				last[path]()
			}
			var err error
			if root, err = e.Apply(root); err != nil {
				t.Fatal(err)
			}
			if got := flat(t, root); !maps.Equal(got, model) {
				t.Fatalf("round %d, layer %d:\n got %v\nwant %v", round, layer, sorted(got), sorted(model))
			}
		}
		for path := range model {
			if n, err := root.Lookup(path); err != nil || n == nil {
				t.Errorf("%q is not found: %v", path, err)
			}
		}
		if n, err := root.Lookup("a/no/such"); n != nil || err != nil {
			t.Errorf("found %v, %v", n, err)
		}
	}
}

func sorted(m map[string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// What an edit leaves alone is the source's own, and a directory on the way to
// an edit loses its identity.
func TestEditsIdentity(t *testing.T) {
	file := NewFile("f", 0o644, []byte("x"))
	kept, changed := NewDir("kept", 0o755, file), NewDir("changed", 0o755, file)
	kept.Inode, changed.Inode = Inode{t, 1}, Inode{t, 2}
	changed.Xattrs = Xattrs{{"user.x", "y"}}
	changed.Mtime = Time{Sec: 77}
	src := NewDir("", 0o755, kept, changed)
	src.Inode = Inode{t, 3}
	var e Edits
	if root, err := e.Apply(src); err != nil || root != src {
		t.Errorf("no edits give another tree: %v", err)
	}
	n := NewFile("", 0o600, nil)
	n.Mtime, n.Inode, n.Nlink = Time{Sec: 5}, Inode{t, 9}, 2
	later := NewFile("", 0o600, nil)
	later.Mtime = Time{Sec: 6, Nsec: 1}
	e.Put("changed/n", n)
	e.Put("made/deep/one", n)
	e.Put("made/deep/two", later)
	root, err := e.Apply(src)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *Node {
		n, err := root.Lookup(path)
		if err != nil || n == nil {
			t.Fatal(path, n, err)
		}
		return n
	}
	if get("kept") != kept || get("changed/f") != file {
		t.Error("what is not touched is another node")
	}
	c := get("changed")
	if c.Inode != (Inode{}) || c.Mtime != changed.Mtime || !c.Xattrs.Equal(changed.Xattrs) || root.Inode != (Inode{}) ||
		changed.Inode == (Inode{}) {
		t.Errorf("changed: %+v, source %+v", c, changed)
	}
	if a, b := get("changed/n"), get("made/deep/one"); a.Inode != b.Inode || a.Nlink != 2 || n.Name != "" {
		t.Error("hard links are torn")
	}
	if get("made").Mtime != later.Mtime || get("made/deep").Mtime != later.Mtime || get("made").Perm != 0o755 {
		t.Errorf("made: %+v", get("made").Meta)
	}
	for _, path := range []string{"", "/", "//"} {
		var e Edits
		e.Remove(path)
		if _, err := e.Apply(src); err == nil {
			t.Errorf("removing %q is no error", path)
		}
	}
}
