package remaster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"relive/remaster"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// requireTool skips a test where a tool of the system is missing, but fails it
// in CI.
func requireTool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			lacks(t, name+" is missing")
		}
	}
}

// requireKernel skips a test that mounts images and overlays where that cannot
// be done, but fails it in CI.
func requireKernel(t testing.TB) {
	t.Helper()
	requireTool(t, "mount", "umount", "mksquashfs", "mke2fs", "e2fsck")
	if os.Geteuid() != 0 {
		lacks(t, "not root")
	}
	types, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"squashfs", "ext4", "overlay"} {
		if !strings.Contains(string(types), "\t"+name+"\n") {
			lacks(t, "the kernel has no "+name)
		}
	}
}

func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// run runs a tool that must succeed.
func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tempDir is a directory without commas or colons in its name, which the mount
// options of overlayfs could not hold.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "remaster-test-")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// mount mounts at a new directory and gives it, with what unmounts it. That is
// done at the end of the test at the latest.
func mount(t testing.TB, kind, options, what string) (at string, unmount func()) {
	t.Helper()
	at = tempDir(t)
	run(t, "mount", "-t", kind, "-o", options, what, at)
	done := false
	unmount = func() {
		t.Helper()
		if !done {
			done = true
			systest.Unmount(t, at)
		}
	}
	t.Cleanup(unmount)
	return at, unmount
}

// live is a live directory.
type live struct {
	t   testing.TB
	dir string
	// options are those of overlayfs that the upper is written with.
	options string
}

func (l *live) path(name string) string { return filepath.Join(l.dir, name) }

// newLive makes a live directory with that base and an empty rootfs made by
// mke2fs with these arguments.
func newLive(t testing.TB, base string, mkfs ...string) *live {
	t.Helper()
	l := &live{t: t, dir: tempDir(t)}
	copyFile(t, base, l.path("linuxfs"))
	if len(mkfs) == 0 {
		mkfs = []string{"-t", "ext4"}
	}
	l.mkfs(mkfs...)
	return l
}

func (l *live) mkfs(args ...string) {
	l.t.Helper()
	args = append(append([]string{"mke2fs", "-q", "-F", "-L", "rootfs"}, args...), l.path("rootfs"), "48M")
	run(l.t, args...)
}

// boot mounts the directory as antiX's init does, stamps an empty rootfs, and
// runs fn in the merged view. With dirty the image is left as a power cut would
// leave it: everything written, nothing unmounted.
func (l *live) boot(dirty bool, fn func(mnt string)) {
	l.t.Helper()
	base, dropBase := mount(l.t, "squashfs", "loop,ro", l.path("linuxfs"))
	lower, dropWrapped := base, func() {}
	if _, err := os.Stat(base + "/linuxfs"); err == nil {
		lower, dropWrapped = mount(l.t, "ext4", "loop,ro,noload", base+"/linuxfs")
	}
	root, dropRoot := mount(l.t, "auto", "loop", l.path("rootfs"))
	for _, dir := range []string{"/upper", "/work"} {
		must(l.t, os.MkdirAll(root+dir, 0o755))
	}
	stamp := root + "/upper/etc/live/version/rootfs.ver"
	if vid, err := os.ReadFile(lower + "/etc/live/version/linuxfs.ver"); err == nil {
		if _, err := os.Stat(stamp); err != nil {
			must(l.t, os.MkdirAll(filepath.Dir(stamp), 0o755))
			must(l.t, os.WriteFile(stamp, vid, 0o644))
		}
	}
	mnt, dropOverlay := l.overlay(lower, root, "")
	fn(mnt)
	if dirty {
		run(l.t, "sync", "-f", mnt)
		copyFile(l.t, l.path("rootfs"), l.path("rootfs.cut"))
	}
	dropOverlay()
	dropRoot()
	dropWrapped()
	dropBase()
	if dirty {
		must(l.t, os.Rename(l.path("rootfs.cut"), l.path("rootfs")))
	}
}

func (l *live) overlay(lower, root, more string) (string, func()) {
	l.t.Helper()
	o := "lowerdir=" + lower + ",upperdir=" + root + "/upper,workdir=" + root + "/work"
	if l.options != "" {
		o += "," + l.options
	}
	return mount(l.t, "overlay", o+more, "overlay")
}

// view mounts copies of base and rootfs, so that the directory stays as it is,
// and gives what the kernel shows of them, until the end of the test.
func (l *live) view() string {
	l.t.Helper()
	dir := tempDir(l.t)
	copyFile(l.t, l.path("linuxfs"), dir+"/linuxfs")
	copyFile(l.t, l.path("rootfs"), dir+"/rootfs")
	lower, _ := mount(l.t, "squashfs", "loop,ro", dir+"/linuxfs")
	if _, err := os.Stat(lower + "/linuxfs"); err == nil {
		lower, _ = mount(l.t, "ext4", "loop,ro,noload", lower+"/linuxfs")
	}
	root, _ := mount(l.t, "auto", "loop", dir+"/rootfs")
	mnt, _ := l.overlay(lower, root, "")
	return mnt
}

// environment is what the pipelines need.
func environment(t testing.TB, mode codec.Mode) *remaster.Env {
	t.Helper()
	lib, err := codec.Open(mode)
	must(t, err)
	return &remaster.Env{Library: lib, Jobs: 2, Tool: "relive test"}
}

// plan plans a compaction of the directory; it is closed with the test.
func (l *live) plan(o remaster.CompactOptions) (*remaster.CompactPlan, error) {
	l.t.Helper()
	e := environment(l.t, codec.Auto)
	opened, err := remaster.Open(l.t.Context(), e, l.dir)
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { opened.Close() })
	return opened.PlanCompact(l.t.Context(), e, o)
}

// compact compacts the directory, which must succeed.
func (l *live) compact(o remaster.CompactOptions) *remaster.CompactResult {
	l.t.Helper()
	p, err := l.plan(o)
	if err != nil {
		l.t.Fatalf("plan: %v (hint: %s)", err, remaster.Hint(err))
	}
	res, err := p.Run(l.t.Context())
	if err != nil {
		l.t.Fatalf("compact: %v (hint: %s)", err, remaster.Hint(err))
	}
	return res
}

// keepOne is what the command line compacts with.
func keepOne() remaster.CompactOptions { return remaster.CompactOptions{KeepOld: 1} }

// refused plans a compaction that must be refused, with a hint, and must leave
// the directory as it is.
func (l *live) refused(o remaster.CompactOptions, fact string) {
	l.t.Helper()
	before := hashes(l.t, l.dir)
	_, err := l.plan(o)
	r, ok := remaster.IsRefusal(err)
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
func (l *live) status() *remaster.Status {
	l.t.Helper()
	e := environment(l.t, codec.Auto)
	opened, err := remaster.Open(l.t.Context(), e, l.dir)
	must(l.t, err)
	defer opened.Close()
	s, err := opened.Status(l.t.Context(), e)
	must(l.t, err)
	return s
}

// names lists the directory.
func (l *live) names() string {
	l.t.Helper()
	entries, err := os.ReadDir(l.dir)
	must(l.t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

// hashes gives the sum, mode and time of every file of a directory.
func hashes(t testing.TB, dir string) string {
	t.Helper()
	root, err := hostfs.Open(dir)
	must(t, err)
	var b bytes.Buffer
	must(t, tree.WriteManifest(t.Context(), &b, root, tree.ManifestOptions{}))
	return b.String()
}

// copyFile copies a file with its holes.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	run(t, "cp", "--sparse=always", from, to)
}

func write(t testing.TB, path string, content []byte, perm os.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, content, perm))
	must(t, os.Chmod(path, perm)) // past the umask
}

// openTree opens a source with relive's readers, until the end of the test.
func openTree(t testing.TB, path, layer string) *tree.Node {
	t.Helper()
	root, c, err := remaster.OpenTree(context.Background(), environment(t, codec.Auto), path, layer, "")
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return root
}

// openDir opens a directory of the host.
func openDir(t testing.TB, path string) *tree.Node {
	t.Helper()
	root, err := hostfs.Open(path)
	must(t, err)
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
	must(t, err)
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

// fsck checks an ext image, which must be without a flaw.
func fsck(t testing.TB, path string) {
	t.Helper()
	requireTool(t, "e2fsck")
	out, err := exec.Command("e2fsck", "-fn", path).CombinedOutput()
	if err != nil {
		t.Errorf("e2fsck -fn %s: %v\n%s", path, err, out)
	}
}

// writeSquash writes a tree as an image with our own writer.
func writeSquash(t testing.TB, path string, root *tree.Node, o squash.WriteOptions) *squash.Plan {
	t.Helper()
	if o.Library == nil {
		o.Library = environment(t, codec.Auto).Library
	}
	p, err := squash.NewPlan(t.Context(), root, o)
	must(t, err)
	f, err := os.Create(path)
	must(t, err)
	_, err = p.Write(t.Context(), f, 0)
	must(t, errors.Join(err, f.Close()))
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
	must(t, err)
	if n == nil {
		t.Fatalf("there is no %s", path)
	}
	b, err := tree.ReadAll(n, 64<<20)
	must(t, err)
	return string(b)
}
