package overlay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// requireOverlay skips the test where overlayfs cannot be mounted; under CI
// that is a failure.
func requireOverlay(t *testing.T) {
	t.Helper()
	k := newKernel(t)
	k.addLower(t)
	if err := k.tryMount("", false); err != nil {
		systest.Lacks(t, fmt.Sprintf("a kernel that mounts overlayfs: %v", err))
	}
	k.umount(t)
}

// kernel is an overlay that the kernel can mount.
type kernel struct {
	dir     string
	lower   []string // uppermost first
	upper   string
	work    string
	mnt     string
	mounted bool
}

func newKernel(t *testing.T) *kernel {
	t.Helper()
	k := &kernel{dir: systest.TempDir(t)}
	k.mnt = filepath.Join(k.dir, "mnt")
	systest.Must(t, os.Mkdir(k.mnt, 0o755))
	k.newUpper(t)
	k.umountInTheEnd(t)
	return k
}

func (k *kernel) newUpper(t *testing.T) {
	t.Helper()
	n := len(k.lower) + 1
	k.upper = filepath.Join(k.dir, fmt.Sprint("upper", n))
	k.work = filepath.Join(k.dir, fmt.Sprint("work", n))
	systest.Must(t, os.Mkdir(k.upper, 0o755))
	systest.Must(t, os.Mkdir(k.work, 0o755))
}

// onTmpfs puts the layers on a tmpfs, whose file handles are of their own kind.
// It comes before anything else.
func (k *kernel) onTmpfs(t *testing.T) {
	t.Helper()
	k.dir = filepath.Join(k.dir, "tmpfs")
	systest.Must(t, os.Mkdir(k.dir, 0o755))
	systest.MountAt(t, "tmpfs", "size=64m", "tmpfs", k.dir)
	k.umountInTheEnd(t)
	k.newUpper(t)
}

func (k *kernel) addLower(t *testing.T) string {
	t.Helper()
	p := filepath.Join(k.dir, fmt.Sprint("lower", len(k.lower)))
	systest.Must(t, os.Mkdir(p, 0o755))
	k.lower = append([]string{p}, k.lower...)
	return p
}

// push makes the upper layer the uppermost lower one, under a fresh upper.
func (k *kernel) push(t *testing.T) {
	t.Helper()
	k.lower = append([]string{k.upper}, k.lower...)
	k.newUpper(t)
}

func (k *kernel) tryMount(options string, readOnly bool) error {
	o := "lowerdir=" + strings.Join(k.lower, ":") + ",upperdir=" + k.upper + ",workdir=" + k.work
	if options != "" {
		o += "," + options
	}
	var flags uintptr
	if readOnly {
		flags = unix.MS_RDONLY
	}
	err := unix.Mount("overlay", k.mnt, "overlay", flags, o)
	k.mounted = err == nil
	return err
}

func (k *kernel) mount(t *testing.T, options string, readOnly bool) {
	t.Helper()
	if err := k.tryMount(options, readOnly); err != nil {
		t.Fatalf("mount -o %s: %v", options, err)
	}
}

func (k *kernel) umount(t *testing.T) {
	t.Helper()
	systest.Unmount(t, k.mnt)
	k.mounted = false
}

// umountInTheEnd unmounts the overlay at the end of the test, where it still is
// mounted, before what was mounted for it until now.
func (k *kernel) umountInTheEnd(t *testing.T) {
	t.Cleanup(func() {
		if k.mounted {
			k.umount(t)
		}
	})
}

func open(t *testing.T, path string) *tree.Node {
	t.Helper()
	n, err := hostfs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// layers opens what lies on disk.
func (k *kernel) layers(t *testing.T, options string) []Layer {
	t.Helper()
	ns := Trusted
	if strings.Contains(options, "userxattr") {
		ns = User
	}
	out := []Layer{{Root: open(t, k.upper), Namespace: ns}}
	if strings.Contains(options, "index=on") {
		n, err := open(t, k.work).Child("index")
		if err != nil {
			t.Fatal(err)
		}
		if n != nil {
			out[0].Index = sameSource(n, out[0].Root.Inode.Source)
		}
	}
	for _, p := range k.lower {
		out = append(out, Layer{Root: open(t, p), Namespace: ns})
	}
	// Layers in one file system share its inodes, as hostfs cannot know.
	for i := range out[1:] {
		out[i+1].Root = sameSource(out[i+1].Root, out[1].Root.Inode.Source)
	}
	return out
}

// sameSource returns the tree with another Inode.Source.
func sameSource(n *tree.Node, source any) *tree.Node {
	c := *n
	c.Inode.Source = source
	if n.Type == tree.Directory {
		c.Dir = resourced{n, source}
	}
	return &c
}

type resourced struct {
	n      *tree.Node
	source any
}

func (r resourced) Children() ([]*tree.Node, error) {
	kids, err := r.n.Children()
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, len(kids))
	for i, n := range kids {
		out[i] = sameSource(n, r.source)
	}
	return out, nil
}

// sameAsKernel mounts the overlay anew and compares its view with Merge's.
func (k *kernel) sameAsKernel(t *testing.T, options string) *Merged {
	t.Helper()
	k.mount(t, options, true)
	defer k.umount(t)
	m, err := Merge(k.layers(t, options), CleanBase())
	if err != nil {
		t.Error(err)
		return nil
	}
	diff(t, "kernel", "merge", open(t, k.mnt), m.Root())
	if _, err := m.Report(); err != nil {
		t.Error(err)
	}
	return m
}

// diff fails the test for every difference between two trees.
func diff(t *testing.T, nameA, nameB string, a, b *tree.Node) {
	t.Helper()
	n := 0
	err := tree.Compare(t.Context(), a, b, tree.CompareOptions{Links: true}, func(c tree.Change) error {
		if n++; n > 20 {
			return errors.New("more differences")
		}
		t.Errorf("%s: %s (first is %s, second is %s)\n\t%s\n\t%s", tree.Quote(c.Path), c.Diff, nameA, nameB, show(c.A), show(c.B))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func show(n *tree.Node) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%v %o %d:%d %v %v size %d %q %q inode %d nlink %d", n.Type, n.Perm, n.UID, n.GID, n.Mtime, n.Rdev, n.Size, n.Target,
		n.Xattrs, n.Inode.Number, n.Nlink)
}

// hand does random things to a directory tree.
type hand struct {
	r    *rand.Rand
	root string
	fail map[string]int
}

var oddNames = []string{
	"a", "b", "c", "d", "e", "f", "new\nline", `back\slash`, strings.Repeat("x", 255), "\xff\xfe raw",
	".wh.a", ".wh.d", ".wh..wh..opq", ".wh..wh.plnk", ".wh.", "%41", "sp ace", "-", "...", "\u00fc",
}

func (h *hand) name() string { return oddNames[h.r.IntN(len(oddNames))] }

// pick walks down from the root and gives some existing path, the root itself
// never, or "" where there is none; dirs asks for a directory, or the root.
func (h *hand) pick(dirs bool) string {
	at := h.root
	for depth := 0; ; depth++ {
		ents, err := os.ReadDir(at)
		if err != nil {
			return at
		}
		var sub []os.DirEntry
		for _, e := range ents {
			if e.IsDir() {
				sub = append(sub, e)
			}
		}
		if dirs {
			if len(sub) == 0 || depth > 5 || h.r.IntN(3) == 0 {
				return at
			}
			at = filepath.Join(at, sub[h.r.IntN(len(sub))].Name())
			continue
		}
		if len(ents) == 0 {
			if at == h.root {
				return ""
			}
			return at
		}
		e := ents[h.r.IntN(len(ents))]
		if len(sub) > 0 && depth < 6 && h.r.IntN(2) == 0 {
			e = sub[h.r.IntN(len(sub))]
		}
		at = at + "/" + e.Name()
		if !e.IsDir() || h.r.IntN(3) == 0 {
			return at
		}
	}
}

func (h *hand) fresh() string { return h.pick(true) + "/" + h.name() }

func (h *hand) bytes() []byte {
	b := make([]byte, h.r.IntN(9000))
	for i := range b {
		b[i] = byte(h.r.Uint32())
	}
	return b
}

func (h *hand) write(path string, flags int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|flags, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err
	}
	if h.r.IntN(4) == 0 {
		if _, err := f.Seek(int64(h.r.IntN(200000)), 0); err != nil {
			return err
		}
	}
	if h.r.IntN(6) == 0 {
		return nil
	}
	_, err = f.Write(h.bytes())
	return err
}

var attrNames = []string{
	"user.one", "user.two", "trusted.three", "security.capability", "user.overlay.redirect", "user.overlay.foo", "trusted.overlay.opaque",
	"trusted.overlay.overlay.origin",
}

func (h *hand) setxattr(path string) error {
	name, value := attrNames[h.r.IntN(len(attrNames))], h.bytes()[:0]
	value = append(value, make([]byte, h.r.IntN(40))...)
	if name == "security.capability" {
		value = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	}
	return unix.Lsetxattr(path, name, value, 0)
}

func (h *hand) setACL(path string) error {
	return unix.Lsetxattr(path, "system.posix_acl_access", []byte{2, 0, 0, 0,
		1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 1, 0, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
		16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255}, 0)
}

func (h *hand) mknod(path string) error {
	mode := [...]uint32{unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK}[h.r.IntN(4)]
	return unix.Mknod(path, mode|0o600, int(unix.Mkdev(uint32(h.r.IntN(300)+1), uint32(h.r.IntN(70000)))))
}

func (h *hand) create(path string) error {
	switch h.r.IntN(5) {
	case 0:
		return os.Mkdir(path, 0o711)
	case 1:
		return os.Symlink(h.name()+"/"+h.name(), path)
	case 2:
		return h.mknod(path)
	case 3:
		return os.Link(h.pick(false), path)
	}
	return h.write(path, os.O_CREATE)
}

// act does one thing. That it may fail, as renaming a lower directory does
// without redirect_dir, is part of the game.
func (h *hand) act() {
	var err error
	what := ""
	do := func(name string, f func() error) { what, err = name, f() }
	switch h.r.IntN(22) {
	case 0, 1:
		do("mkdir", func() error { return os.Mkdir(h.fresh(), 0o755) })
	case 2, 3:
		do("create", func() error { return h.write(h.fresh(), os.O_CREATE) })
	case 4:
		do("append", func() error { return h.write(h.pick(false), os.O_APPEND) })
	case 5:
		do("overwrite", func() error { return h.write(h.pick(false), os.O_TRUNC) })
	case 6:
		do("truncate", func() error { return truncate(h.pick(false), int64(h.r.IntN(100000))) })
	case 7:
		do("unlink", func() error { return unix.Unlink(h.pick(false)) })
	case 8:
		if h.r.IntN(3) == 0 {
			do("rm -r", func() error { return os.RemoveAll(h.pick(false)) })
		}
	case 9, 10:
		do("rename", func() error { return unix.Rename(h.pick(false), h.fresh()) })
	case 11:
		do("rename over", func() error { return unix.Rename(h.pick(false), h.pick(false)) })
	case 12:
		do("exchange", func() error {
			return unix.Renameat2(unix.AT_FDCWD, h.pick(false), unix.AT_FDCWD, h.pick(false), unix.RENAME_EXCHANGE)
		})
	case 13:
		do("symlink", func() error { return os.Symlink(h.name(), h.fresh()) })
	case 14, 15:
		do("link", func() error { return os.Link(h.pick(false), h.fresh()) })
	case 16:
		do("chmod", func() error {
			p := h.pick(false)
			if st, err := os.Lstat(p); err != nil || st.Mode()&os.ModeSymlink != 0 {
				return err
			}
			return unix.Chmod(p, uint32(h.r.IntN(0o10000)))
		})
	case 17:
		do("chown", func() error { return os.Lchown(h.pick(false), h.r.IntN(70000), h.r.IntN(70000)) })
	case 18:
		do("setxattr", func() error { return h.setxattr(h.pick(false)) })
	case 19:
		do("replace", func() error {
			p := h.pick(false)
			if p == "" {
				return nil
			}
			if err := os.RemoveAll(p); err != nil {
				return err
			}
			return h.create(p)
		})
	case 20:
		do("make again", func() error {
			p := h.pick(true)
			if p == h.root || h.r.IntN(2) == 0 {
				return nil
			}
			if err := os.RemoveAll(p); err != nil {
				return err
			}
			if err := os.Mkdir(p, 0o700); err != nil {
				return err
			}
			return h.create(p + "/" + h.name())
		})
	case 21:
		switch h.r.IntN(3) {
		case 0:
			do("mknod", func() error { return h.mknod(h.fresh()) })
		case 1:
			do("acl", func() error { return h.setACL(h.pick(false)) })
		case 2:
			do("utimes", func() error {
				mtime := tree.Time{Sec: h.r.Int64N(1 << 33), Nsec: uint32(h.r.Int64N(1e9))}
				return hostfs.SetTimes(unix.AT_FDCWD, h.pick(false), mtime)
			})
		}
	}
	h.fail[what+": "+fmt.Sprint(err)]++
}

func truncate(path string, size int64) error {
	if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() {
		return err
	}
	return os.Truncate(path, size)
}

func (h *hand) play(n int) {
	for range n {
		h.act()
	}
}

var mountOptions = []string{
	"",
	"redirect_dir=on",
	"redirect_dir=on,metacopy=on",
	"index=on",
	"index=on,redirect_dir=on,metacopy=on",
	"xino=on",
	"userxattr",
	"nfs_export=on,index=on,redirect_dir=on",
}

// seeds returns n seeds, OVERLAY_ROUNDS times as many where that is set, or the
// one that OVERLAY_SEED names.
func seeds(t *testing.T, n int) []uint64 {
	var out []uint64
	if s := os.Getenv("OVERLAY_ROUNDS"); s != "" {
		rounds, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		n *= rounds
	}
	if s := os.Getenv("OVERLAY_SEED"); s != "" {
		var seed uint64
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	for range n {
		out = append(out, rand.Uint64())
	}
	return out
}

// TestKernelRandom: Merge gives what the kernel shows, whatever was done.
func TestKernelRandom(t *testing.T) {
	requireOverlay(t)
	for _, options := range mountOptions {
		for layers := 2; layers <= 3; layers++ {
			for _, seed := range seeds(t, 1) {
				t.Run(fmt.Sprintf("%s/layers=%d/seed=%d", options, layers, seed), func(t *testing.T) {
					k := newKernel(t)
					if seed%2 == 0 {
						k.onTmpfs(t)
					}
					h := &hand{r: rand.New(rand.NewPCG(seed, 1)), root: k.addLower(t), fail: map[string]int{}}
					h.play(150)
					h.root = k.mnt
					for i := 2; i <= layers; i++ {
						if i > 2 {
							k.push(t)
						}
						k.mount(t, options, false)
						h.play(120)
						k.umount(t)
						k.sameAsKernel(t, options)
					}
					if t.Failed() {
						t.Logf("OVERLAY_SEED=%d", seed)
					}
				})
			}
		}
	}
}
