package iso

import (
	"bytes"
	"strings"
	"testing"

	"relive/tree"
)

// memoryFile is an image being written in memory.
type memoryFile struct{ p []byte }

func (m *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(m.p)) {
		m.p = append(m.p, make([]byte, end-int64(len(m.p)))...)
	}
	return copy(m.p[off:], p), nil
}

// FuzzWrite writes trees of any names and targets and reads them back. A line of
// the input is a file, a symlink with its target behind " -> ", or with a slash
// at its end a directory to go into; "<" goes up.
func FuzzWrite(f *testing.F) {
	f.Add("isolinux/\nisolinux.cfg\n<\nREADME\nreadme\nlink -> ../a//b/./c/\n")
	f.Add("a/\nb/\nc/\nd/\ne/\nf/\ng/\nh/\ni/\nj/\ndeep\n")
	f.Add(strings.Repeat("long", 63) + "\n" + strings.Repeat("x", 255) + " -> /" + strings.Repeat("component/", 300))
	f.Add("isolinux\nISOLINUX/\n<\n0.\n0/\n<\n1..\n1\n2 \n2\nK\n\u212a\n\u00e4\n\u00c4")
	f.Add("Readme\nREADME\nreadme.\nREADME.;1\nreadme;2\n" + strings.Repeat("y", 70) + "\n" + strings.Repeat("Y", 70))
	f.Add("a.\na..\nA\n.a\n;1\na;1\n\u00e4\n\xff\nx -> " + strings.Repeat("./", 1500) + "y")
	f.Add("l -> " + strings.Repeat("y", 255) + "/" + strings.Repeat("z", 244) + "/" + strings.Repeat("a", 243) + "/..")
	f.Fuzz(func(t *testing.T, text string) {
		root := tree.NewDir("", 0o755)
		stack := []*tree.Node{root}
		put := func(n *tree.Node) bool {
			d := stack[len(stack)-1]
			kids := d.Dir.(tree.List)
			if tree.CheckName(n.Name) != nil || tree.Find(kids, n.Name) != nil {
				return false
			}
			n.Mtime = tree.Time{Sec: int64(len(n.Name)) * 1e8}
			kids = append(kids[:len(kids):len(kids)], n)
			tree.Sort(kids)
			d.Dir = kids
			return true
		}
		for line := range strings.SplitSeq(text, "\n") {
			name, target, link := strings.Cut(line, " -> ")
			switch {
			case line == "<":
				stack = stack[:max(1, len(stack)-1)]
			case strings.HasSuffix(line, "/") && !link:
				if d := tree.NewDir(strings.TrimSuffix(line, "/"), 0o755); put(d) {
					stack = append(stack, d)
				}
			case link && target != "" && len(target) < 4096 && !strings.Contains(target, "\x00"):
				put(tree.NewSymlink(name, target))
			default:
				put(tree.NewFile(line, 0o644, []byte(line)))
			}
		}
		// The three kinds of names that images have.
		r := []Recipe{{}, {LongJoliet: true}, {Untranslated: true}}[len(text)%3]
		p, err := NewPlan(t.Context(), root, r)
		if err != nil {
			t.Fatal(err)
		}
		var m memoryFile
		if _, err := p.Write(t.Context(), &m, nil); err != nil {
			t.Fatal(err)
		}
		sameTree(t, root, rootOf(t, memory(t, m.p)), 0)
		// The other names are others, but all are there, and no reader takes two for one.
		for _, names := range []Names{Joliet, Plain} {
			apart(t, rootOf(t, memory(t, m.p, WithNames(names))))
			count := func(root *tree.Node) (n, bytes int) {
				err := tree.Walk(t.Context(), root, func(_ string, k *tree.Node) error {
					if k.Type == tree.Regular || k.Type == tree.Directory {
						n++
						bytes += int(k.Size)
					}
					return nil
				})
				if err != nil {
					t.Fatalf("%v: %v", names, err)
				}
				return n, bytes
			}
			links := 0
			if names == Plain {
				// Symlinks show as empty files.
				tree.Walk(t.Context(), root, func(_ string, k *tree.Node) error {
					if k.Type == tree.Symlink {
						links++
					}
					return nil
				})
			}
			wantN, wantBytes := count(root)
			if n, bytes := count(rootOf(t, memory(t, m.p, WithNames(names)))); n != wantN+links || bytes != wantBytes {
				t.Fatalf("%v: %d names of %d bytes, not %d of %d", names, n, bytes, wantN+links, wantBytes)
			}
		}
		var again memoryFile
		if p, err = NewPlan(t.Context(), root, r); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(t.Context(), &again, nil); err != nil || !bytes.Equal(m.p, again.p) {
			t.Fatal("another image of the same tree", err)
		}
	})
}

// apart checks that the names of each directory differ by more than case, and dots
// and blanks at the end, which Windows, ISOLINUX and firmware do not tell apart.
func apart(t *testing.T, root *tree.Node) {
	t.Helper()
	err := tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		if n.Type != tree.Directory {
			return nil
		}
		kids, err := n.Children()
		seen := map[string]string{}
		for _, k := range kids {
			folded := strings.ToLower(strings.ToUpper(strings.TrimRight(k.Name, ". ")))
			if other, twice := seen[folded]; twice {
				t.Errorf("%q and %q in %q are one name", other, k.Name, path)
			}
			seen[folded] = k.Name
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
