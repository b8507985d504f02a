package overlay

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// store writes a tree into an empty directory of the host.
func store(t *testing.T, root *tree.Node, dir string) {
	t.Helper()
	links := map[tree.Inode]string{}
	check := func(path string, err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("%s: %v", path, err)
		}
	}
	finish := func(path string, n *tree.Node) {
		check(path, os.Lchown(path, int(n.UID), int(n.GID)))
		if n.Type != tree.Symlink {
			check(path, unix.Chmod(path, uint32(n.Perm)))
		}
		for _, x := range n.Xattrs {
			check(path+" "+x.Name, unix.Lsetxattr(path, x.Name, []byte(x.Value), 0))
		}
		check(path, hostfs.SetTimes(unix.AT_FDCWD, path, n.Mtime))
	}
	var fill func(n *tree.Node, path string)
	fill = func(n *tree.Node, path string) {
		kids, err := n.Children()
		check(path, err)
		for _, k := range kids {
			at := path + "/" + k.Name
			if k.Type != tree.Directory && k.Inode != (tree.Inode{}) {
				if first, ok := links[k.Inode]; ok {
					check(at, os.Link(first, at))
					continue
				}
				links[k.Inode] = at
			}
			switch k.Type {
			case tree.Directory:
				check(at, os.Mkdir(at, 0o700))
				fill(k, at)
			case tree.Regular:
				data, err := tree.ReadAll(k, 1<<20)
				check(at, err)
				check(at, os.WriteFile(at, data, 0o600))
			case tree.Symlink:
				check(at, os.Symlink(k.Target, at))
			default:
				check(at, unix.Mknod(at, k.Type.ModeBits()|0o600, int(unix.Mkdev(k.Rdev.Major, k.Rdev.Minor))))
			}
			finish(at, k)
		}
	}
	fill(root, dir)
	finish(dir, root)
}

// stack mounts layers, uppermost first, read-only and without an upper one.
func (k *kernel) stack(t *testing.T, name, options string, lower ...string) *tree.Node {
	t.Helper()
	at := filepath.Join(k.dir, name)
	systest.Must(t, os.Mkdir(at, 0o755))
	o := "lowerdir=" + strings.Join(lower, ":")
	if options != "" {
		o += "," + options
	}
	if err := unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, o); err != nil {
		t.Fatalf("mount -o %s: %v", o, err)
	}
	systest.Mounted(t, at)
	return open(t, at)
}

// played returns a mounted overlay of some lower layers, in which things were done.
func played(t *testing.T, seed uint64, lowers int, options string) *kernel {
	k := newKernel(t)
	if seed%2 == 0 {
		k.onTmpfs(t)
	}
	h := &hand{r: rand.New(rand.NewPCG(seed, 5)), root: k.addLower(t), fail: map[string]int{}}
	h.play(150)
	h.root = k.mnt
	for i := range lowers {
		if i > 0 {
			k.push(t)
		}
		k.mount(t, options, false)
		h.play(80)
		k.umount(t)
	}
	k.mount(t, options, true)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("OVERLAY_SEED=%d", seed)
		}
	})
	return k
}

// TestKernelDifference: the kernel shows the merged tree of the layer and lower
// ones, whether the layer is the upper one or the uppermost lower one.
func TestKernelDifference(t *testing.T) {
	requireOverlay(t)
	for i, options := range mountOptions {
		for _, seed := range seeds(t, 1) {
			lowers := 1 + i%3
			t.Run(fmt.Sprintf("%s/lowers=%d/seed=%d", options, lowers, seed), func(t *testing.T) {
				t.Parallel()
				k := played(t, seed, lowers, options)
				merged := open(t, k.mnt)
				below := k.layers(t, options)[1:]
				o := DifferenceOptions{Namespace: below[0].Namespace, Origins: true}
				lower := merge(t, []Option{CleanBase()}, below...)
				plain := ""
				if strings.Contains(options, "userxattr") {
					plain = "userxattr"
				} else {
					plain = "redirect_dir=on,metacopy=on"
				}

				other := &kernel{dir: k.dir, lower: k.lower, upper: k.dir + "/upper-made", work: k.dir + "/work-made", mnt: k.dir +
					"/mnt-made"}
				for _, d := range []string{other.upper, other.work, other.mnt} {
					systest.Must(t, os.Mkdir(d, 0o755))
				}
				store(t, difference(t, lower, merged, o), other.upper)
				other.mount(t, plain, true)
				t.Cleanup(func() { other.umount(t) })
				diff(t, "merged", "upper", merged, open(t, other.mnt))

				if plain != "userxattr" {
					o.Plain = true
					copied := &kernel{dir: k.dir, lower: k.lower, upper: k.dir + "/upper-copied", work: k.dir + "/work-copied", mnt: k.dir +
						"/mnt-copied"}
					for _, d := range []string{k.dir + "/upper-plain", copied.upper, copied.work, copied.mnt} {
						systest.Must(t, os.Mkdir(d, 0o755))
					}
					store(t, difference(t, lower, merged, o), k.dir+"/upper-plain")
					systest.Run(t, "cp", "-dR", "--preserve=mode,ownership,timestamps,links", k.dir+"/upper-plain/.", copied.upper)
					copied.mount(t, plain, true)
					t.Cleanup(func() { copied.umount(t) })
					err := tree.Compare(t.Context(), merged, open(t, copied.mnt),
						tree.CompareOptions{Links: true, IgnoreXattr: func(string) bool { return true }}, func(c tree.Change) error {
							t.Errorf("copied without attributes: %q: %s", c.Path, c.Diff)
							return nil
						})
					if err != nil {
						t.Error(err)
					}
					o.Plain = false
				}

				o.XattrWhiteouts = true
				systest.Must(t, os.Mkdir(k.dir+"/made-xattr", 0o755))
				store(t, difference(t, lower, merged, o), k.dir+"/made-xattr")
				// The listing of such a layer is right only as a lower one.
				shown := k.stack(t, "mnt-xattr", plain, append([]string{k.dir + "/made-xattr"}, k.lower...)...)
				diff(t, "merged", "lower", merged, shown)
			})
		}
	}
}

// TestKernelFold: the upper of a stack is folded into its uppermost lower layer,
// as stored, and the kernel shows the same without the upper.
func TestKernelFold(t *testing.T) {
	requireOverlay(t)
	for i, options := range mountOptions {
		for _, seed := range seeds(t, 1) {
			lowers := 2 + i%3
			t.Run(fmt.Sprintf("%s/lowers=%d/seed=%d", options, lowers, seed), func(t *testing.T) {
				t.Parallel()
				k := played(t, seed, lowers, options)
				all := k.layers(t, options)
				merged := merge(t, []Option{KeepEscaped()}, all...)
				o := DifferenceOptions{Namespace: all[0].Namespace, Escaped: true, TrustInode: true}
				top := difference(t, merge(t, []Option{KeepEscaped()}, all[2:]...), merged, o)
				systest.Must(t, os.Mkdir(k.dir+"/folded", 0o755))
				store(t, top, k.dir+"/folded")
				plain := "redirect_dir=on,metacopy=on"
				if strings.Contains(options, "userxattr") {
					plain = "userxattr"
				}
				shown := k.stack(t, "mnt-folded", plain, append([]string{k.dir + "/folded"}, k.lower[1:]...)...)
				diff(t, "before", "folded", open(t, k.mnt), shown)
			})
		}
	}
}
