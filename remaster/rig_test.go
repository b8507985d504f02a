package remaster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/source"
	"relive/remaster/status"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// requireKernel is for tests that mount images and overlays.
func requireKernel(t testing.TB) {
	t.Helper()
	systest.NeedTools(t, "mksquashfs", "mke2fs", "e2fsck")
	systest.NeedFilesystems(t, "squashfs", "ext4", "overlay")
}

// live is a live directory.
type frugal struct {
	t   testing.TB
	dir string
	// options are those of overlayfs that the upper is written with.
	options string
}

func (l *frugal) path(name string) string { return filepath.Join(l.dir, name) }

// newLive makes a live directory with that base and an empty rootfs made by
// mke2fs with these arguments.
func newLive(t testing.TB, base string, mkfs ...string) *frugal {
	t.Helper()
	l := &frugal{t: t, dir: systest.TempDir(t)}
	systest.CopyFile(t, base, l.path("linuxfs"))
	if len(mkfs) == 0 {
		mkfs = []string{"-t", "ext4"}
	}
	l.mkfs(mkfs...)
	return l
}

func (l *frugal) mkfs(args ...string) {
	l.t.Helper()
	args = append(append([]string{"-q", "-F", "-L", "rootfs"}, args...), l.path("rootfs"), "48M")
	systest.Run(l.t, "mke2fs", args...)
}

// boot mounts the directory as antiX's init does, stamps an empty rootfs, and
// runs fn in the merged view. With dirty the image is left as a power cut would
// leave it: everything written, nothing unmounted.
func (l *frugal) boot(dirty bool, fn func(mnt string)) {
	l.t.Helper()
	base, dropBase := systest.Mount(l.t, "squashfs", "loop,ro", l.path("linuxfs"))
	lower, dropWrapped := base, func() {}
	if _, err := os.Stat(base + "/linuxfs"); err == nil {
		lower, dropWrapped = systest.Mount(l.t, "ext4", "loop,ro,noload", base+"/linuxfs")
	}
	root, dropRoot := systest.Mount(l.t, "auto", "loop", l.path("rootfs"))
	for _, dir := range []string{"/upper", "/work"} {
		systest.Must(l.t, os.MkdirAll(root+dir, 0o755))
	}
	stamp := root + "/upper/etc/live/version/rootfs.ver"
	if vid, err := os.ReadFile(lower + "/etc/live/version/linuxfs.ver"); err == nil {
		if _, err := os.Stat(stamp); err != nil {
			systest.Must(l.t, os.MkdirAll(filepath.Dir(stamp), 0o755))
			systest.Must(l.t, os.WriteFile(stamp, vid, 0o644))
		}
	}
	mnt, dropOverlay := l.overlay(lower, root, "")
	fn(mnt)
	if dirty {
		systest.Run(l.t, "sync", "-f", mnt)
		systest.CopyFile(l.t, l.path("rootfs"), l.path("rootfs.cut"))
	}
	dropOverlay()
	dropRoot()
	dropWrapped()
	dropBase()
	if dirty {
		systest.Must(l.t, os.Rename(l.path("rootfs.cut"), l.path("rootfs")))
	}
}

func (l *frugal) overlay(lower, root, more string) (string, func()) {
	l.t.Helper()
	o := "lowerdir=" + lower + ",upperdir=" + root + "/upper,workdir=" + root + "/work"
	if l.options != "" {
		o += "," + l.options
	}
	return systest.Mount(l.t, "overlay", o+more, "overlay")
}

// view mounts copies of base and rootfs, so that the directory stays as it is,
// and gives what the kernel shows of them, until the end of the test.
func (l *frugal) view() string {
	l.t.Helper()
	dir := systest.TempDir(l.t)
	systest.CopyFile(l.t, l.path("linuxfs"), dir+"/linuxfs")
	systest.CopyFile(l.t, l.path("rootfs"), dir+"/rootfs")
	lower, _ := systest.Mount(l.t, "squashfs", "loop,ro", dir+"/linuxfs")
	if _, err := os.Stat(lower + "/linuxfs"); err == nil {
		lower, _ = systest.Mount(l.t, "ext4", "loop,ro,noload", lower+"/linuxfs")
	}
	root, _ := systest.Mount(l.t, "auto", "loop", dir+"/rootfs")
	mnt, _ := l.overlay(lower, root, "")
	return mnt
}

// environment is what the pipelines need.
func environment(t testing.TB, mode codec.Mode) *job.Env {
	t.Helper()
	lib, err := codec.Open(mode)
	systest.Must(t, err)
	return &job.Env{Library: lib, Jobs: 2, Tool: "relive test"}
}

// plan plans a compaction of the directory; it is closed with the test.
func (l *frugal) plan(o compact.Options) (*compact.Plan, error) {
	l.t.Helper()
	e := environment(l.t, codec.Auto)
	opened, err := live.Open(l.t.Context(), e, l.dir)
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { opened.Close() })
	return compact.New(l.t.Context(), e, opened, o)
}

// compact compacts the directory, which must succeed.
func (l *frugal) compact(o compact.Options) *compact.Result {
	l.t.Helper()
	p, err := l.plan(o)
	if err != nil {
		l.t.Fatalf("plan: %v (hint: %s)", err, refusal.Hint(err))
	}
	res, err := p.Run(l.t.Context())
	if err != nil {
		l.t.Fatalf("compact: %v (hint: %s)", err, refusal.Hint(err))
	}
	return res
}

// keepOne is what the command line compacts with.
func keepOne() compact.Options { return compact.Options{KeepOld: 1} }

// refused plans a compaction that must be refused, with a hint, and must leave
// the directory as it is.
func (l *frugal) refused(o compact.Options, fact string) {
	l.t.Helper()
	before := hashes(l.t, l.dir)
	_, err := l.plan(o)
	r, ok := refusal.Is(err)
	switch {
	case !ok:
		l.t.Errorf("not refused, but: %v", err)
	case !strings.Contains(r.Fact, fact):
		l.t.Errorf("refused with %q, which does not say %q", r.Fact, fact)
	case r.Hint == "":
		l.t.Errorf("refused with %q and no hint", r.Fact)
	}
	if after := hashes(l.t, l.dir); after != before {
		l.t.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
	}
}

// status gives the directory's status.
func (l *frugal) status() *status.Status {
	l.t.Helper()
	e := environment(l.t, codec.Auto)
	opened, err := live.Open(l.t.Context(), e, l.dir)
	systest.Must(l.t, err)
	defer opened.Close()
	s, err := status.Of(l.t.Context(), e, opened)
	systest.Must(l.t, err)
	return s
}

// names lists the directory.
func (l *frugal) names() string {
	l.t.Helper()
	entries, err := os.ReadDir(l.dir)
	systest.Must(l.t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

// hashes gives the sum, mode and time of every file of a directory.
func hashes(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	writeSums(t, &b, dir)
	return b.String()
}

// writeSums writes what hashes gives.
func writeSums(t testing.TB, w io.Writer, dir string) {
	t.Helper()
	systest.Must(t, tree.WriteManifest(t.Context(), w, openDir(t, dir), tree.ManifestOptions{NoHash: true}))
	systest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		sum, err := systest.Sum(path)
		fmt.Fprintf(w, "%q %x\n", path[len(dir):], sum)
		return err
	}))
}

func write(t testing.TB, path string, content []byte, perm os.FileMode) {
	t.Helper()
	systest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	systest.Must(t, os.WriteFile(path, content, perm))
	systest.Must(t, os.Chmod(path, perm)) // past the umask
}

// openTree opens a source with relive's readers, until the end of the test.
func openTree(t testing.TB, path, layer string) *tree.Node {
	t.Helper()
	root, c, err := source.Open(context.Background(), environment(t, codec.Auto), path, layer, "")
	systest.Must(t, err)
	t.Cleanup(func() { c.Close() })
	return root
}

// openDir opens a directory of the host.
func openDir(t testing.TB, path string) *tree.Node {
	t.Helper()
	root, err := hostfs.Open(path)
	systest.Must(t, err)
	return root
}

// without takes paths out of a tree.
func without(t testing.TB, root *tree.Node, paths ...string) *tree.Node {
	t.Helper()
	var e tree.Edits
	for _, p := range paths {
		e.Remove(p)
	}
	out, err := e.Apply(root)
	systest.Must(t, err)
	return out
}

// stamps are the files that a compaction is to change or drop.
var stamps = []string{"etc/live/version/linuxfs.ver", "etc/live/version/rootfs.ver", "etc/live/protect/remaster"}

// sameTree fails the test for each difference, but for what SquashFS cannot
// hold.
func sameTree(t testing.TB, nameA, nameB string, a, b *tree.Node) {
	t.Helper()
	n := 0
	o := tree.CompareOptions{WholeSeconds: true, Links: true, IgnoreXattr: func(name string) bool { return !squash.HoldsXattr(name) }}
	err := tree.Compare(t.Context(), a, b, o, func(c tree.Change) error {
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
	return fmt.Sprintf("%v %o %d:%d %v %v size %d %q %q inode %d nlink %d", n.Type, n.Perm, n.UID, n.GID, n.Mtime, n.Rdev, n.Size, n.Target, n.Xattrs, n.Inode.Number, n.Nlink)
}

// writeSquash writes a tree as an image with our own writer.
func writeSquash(t testing.TB, path string, root *tree.Node, o squash.WriteOptions) *squash.Plan {
	t.Helper()
	if o.Library == nil {
		o.Library = environment(t, codec.Auto).Library
	}
	p, err := squash.NewPlan(t.Context(), root, o)
	systest.Must(t, err)
	f, err := os.Create(path)
	systest.Must(t, err)
	_, err = p.Write(t.Context(), f, 0)
	systest.Must(t, errors.Join(err, f.Close()))
	return p
}

// images makes each base image once for all tests.
type images struct {
	mu   sync.Mutex
	dir  string
	made map[string]*image
}

type image struct {
	once sync.Once
	path string
}

func (s *images) get(t testing.TB, name string, make func(path string)) string {
	t.Helper()
	s.mu.Lock()
	if s.made[name] == nil {
		s.made[name] = &image{path: filepath.Join(s.dir, name)}
	}
	img := s.made[name]
	s.mu.Unlock()
	img.once.Do(func() { make(img.path) })
	if _, err := os.Stat(img.path); err != nil {
		t.Fatalf("the image %s could not be made", name)
	}
	return img.path
}

var shared images

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "remaster-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		shared = images{dir: dir, made: map[string]*image{}}
		return m.Run()
	}())
}

// readFile reads a whole file of a tree.
func readFile(t testing.TB, root *tree.Node, path string) string {
	t.Helper()
	n, err := root.Lookup(path)
	systest.Must(t, err)
	if n == nil {
		t.Fatalf("there is no %s", path)
	}
	b, err := tree.ReadAll(n, 64<<20)
	systest.Must(t, err)
	return string(b)
}

// mergedKeys are the keys that any of the maps has.
func mergedKeys[V any](of ...map[string]V) map[string]bool {
	out := map[string]bool{}
	for _, m := range of {
		for k := range m {
			out[k] = true
		}
	}
	return out
}
