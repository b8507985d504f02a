package overlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
)

// crafter writes layers as no kernel would: marks at random, on anything.
type crafter struct {
	t *testing.T
	r *rand.Rand
	p string // prefix of the marks
}

var craftedNames = []string{"a", "b", "c", "d"}

var craftedRedirects = []string{
	"a", "b", "c", "d", "/a", "/b", "/c", "/d", "/a/b", "/b/a", "/c/d", "/d/a", "/a/b/c", "/b/b/b", "/d/c/a", "none", "/none", "/a/none",
	"", "/", "//a", "/a/", "a/b", "/a//b", "..", "/..", "/a/../b", ".", "a\x00b", "\x00", "/a\x00/", "/\xff",
}

func (c *crafter) mark(path, name, value string) {
	c.t.Helper()
	if err := unix.Lsetxattr(path, c.p+name, []byte(value), 0); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crafter) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// one tells true once in n.
func (c *crafter) one(n int) bool { return c.r.IntN(n) == 0 }

func (c *crafter) redirect(path string) {
	n := 16
	if c.one(5) {
		n = len(craftedRedirects)
	}
	c.mark(path, "redirect", craftedRedirects[c.r.IntN(n)])
}

func (c *crafter) fill(dir string, depth int) {
	for _, name := range craftedNames {
		path := filepath.Join(dir, name)
		switch k := c.r.IntN(12); {
		case k < 2:
		case k < 3:
			c.must(unix.Mknod(path, unix.S_IFCHR, 0))
		case k < 4:
			c.must(os.WriteFile(path, nil, 0o600))
			if c.one(3) {
				c.must(os.WriteFile(path, []byte("ten bytes!"), 0o600))
			}
			c.mark(path, "whiteout", []string{"", "y"}[c.r.IntN(2)])
		case k < 6:
			c.must(os.WriteFile(path, []byte(filepath.Base(dir) + "/" + name + " 0123456789")[:10], 0o644))
			if c.one(2) {
				c.mark(path, "metacopy", []string{"", "\x00\x04\x00\x00", "\x00\x24\x00\x01" + string(make([]byte, 32)),
					"x"}[c.r.IntN(13)%4])
				c.must(os.Truncate(path, 0))
				c.must(os.Truncate(path, 10))
			}
			if c.one(3) {
				c.redirect(path)
			}
		case k < 7:
			c.must(os.Symlink("target", path))
		default:
			c.must(os.Mkdir(path, 0o755))
			switch c.r.IntN(8) {
			case 0:
				c.mark(path, "opaque", "y")
			case 1:
				c.mark(path, "opaque", []string{"x", "n", "yy", ""}[c.r.IntN(4)])
			case 2, 3, 4:
				c.redirect(path)
			}
			if c.one(10) {
				c.mark(path, "overlay.opaque", "y")
			}
			if depth < 3 {
				c.fill(path, depth+1)
			}
		}
	}
}

// sameLookups compares by name, so that what the kernel refuses can be told. alone
// asks the kernel for a path anew, before which nothing else was looked up.
func sameLookups(t *testing.T, path string, at *tree.Node, depth int, seen *int, alone func(path string, st *unix.Stat_t) error) {
	for _, name := range craftedNames {
		p := filepath.Join(path, name)
		var st unix.Stat_t
		kerr := unix.Lstat(p, &st)
		n, merr := at.Child(name)
		*seen++
		switch {
		case errors.Is(kerr, unix.ESTALE):
			// Another place of the union shows the same lower directory, and
			// the kernel has that one in its cache.
			continue
		case merr != nil && !errors.Is(merr, tree.ErrCorrupt) && !errors.Is(merr, tree.ErrUnsupported):
			t.Errorf("%s: %v", p, merr)
		case kerr == nil && merr == nil && n != nil:
		case errors.Is(kerr, unix.ENOENT) && merr == nil && n == nil:
			continue
		case kerr != nil && !errors.Is(kerr, unix.ENOENT) && merr != nil:
			continue
		default:
			t.Errorf("%s: kernel says %v, merge %v with error %v", p, kerr, show(n), merr)
			continue
		}
		// Where a crafted metacopy and the file that it borrows from both show,
		// the kernel may take them for one inode, by what it looked up first.
		if n.Type == tree.Regular && uint16(st.Mode&0o7777) != n.Perm {
			if err := alone(p, &st); err != nil {
				t.Errorf("%s: %v", p, err)
				continue
			}
		}
		if tree.TypeFromMode(st.Mode) != n.Type || uint16(st.Mode&0o7777) != n.Perm || n.Type != tree.Directory && st.Size != n.Size {
			t.Errorf("%s: kernel has mode %o size %d, merge %s", p, st.Mode, st.Size, show(n))
			continue
		}
		if n.Type != tree.Regular && n.Mtime.Sec != int64(st.Mtim.Sec) || n.Type != tree.Regular &&
			int64(n.Mtime.Nsec) != int64(st.Mtim.Nsec) {
			t.Errorf("%s: kernel has mtime %v, merge %v", p, st.Mtim, n.Mtime)
		}
		switch n.Type {
		case tree.Regular:
			want, kerr := os.ReadFile(p)
			if kerr != nil {
				t.Errorf("%s: kernel says %v", p, kerr)
				continue
			}
			got, err := tree.ReadAll(n, 1<<20)
			if err != nil || string(got) != string(want) {
				t.Errorf("%s: kernel reads %q, merge %q, %v", p, want, got, err)
			}
		case tree.Directory:
			if depth < 12 {
				sameLookups(t, p, n, depth+1, seen, alone)
			}
		}
	}
}

// TestKernelCrafted: of layers that nobody wrote by mounting them, Merge shows
// what the kernel shows and refuses what the kernel refuses.
func TestKernelCrafted(t *testing.T) {
	requireOverlay(t)
	for layers := 2; layers <= 4; layers++ {
		for _, seed := range seeds(t, 5) {
			t.Run(fmt.Sprintf("layers=%d/seed=%d", layers, seed), func(t *testing.T) {
				k := newKernel(t)
				c := &crafter{t: t, r: rand.New(rand.NewPCG(seed, 2)), p: "trusted.overlay."}
				for range layers - 1 {
					c.fill(k.addLower(t), 0)
				}
				c.fill(k.upper, 0)
				if c.one(4) {
					c.mark(k.upper, "opaque", "y")
				}
				options := "redirect_dir=on,metacopy=on"
				k.mount(t, options, true)
				m, err := Merge(k.layers(t, options), CleanBase())
				if err != nil {
					t.Fatal(err)
				}
				seen := 0
				sameLookups(t, k.mnt, m.Root(), 0, &seen, func(path string, st *unix.Stat_t) error {
					k.umount(t)
					k.mount(t, options, true)
					return unix.Lstat(path, st)
				})
				if t.Failed() {
					t.Logf("OVERLAY_SEED=%d", seed)
				}
			})
		}
	}
}
