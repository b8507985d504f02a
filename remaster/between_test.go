package remaster_test

import (
	"os"
	"testing"

	"relive/remaster/compact"
	"relive/tree"
	"relive/tree/systest"
)

// between makes of a compacted medium what a power cut leaves when the base is
// replaced and the overlay is not yet: the new base, the former overlay.
func (m *medium) between() {
	m.t.Helper()
	for _, name := range []string{m.over, m.work} {
		if _, err := os.Lstat(m.path(name + ".old")); err == nil {
			systest.Must(m.t, os.RemoveAll(m.path(name)))
			systest.Must(m.t, os.Rename(m.path(name+".old"), m.path(name)))
		}
	}
}

// sameBetween fails the test where the former overlay over the new base shows
// anything else than what want holds, by the kernel or by relive.
func (m *medium) sameBetween(want *tree.Node) {
	m.t.Helper()
	m.between()
	sameTree(m.t, "before", "relive, in between", want, without(m.t, openTree(m.t, m.dir, ""), "lost+found"))
	if m.kind != "dm" {
		sameTree(m.t, "before", "the kernel, in between", want, m.seen())
		return
	}
	image := m.merged()
	mnt, drop := systest.Mount(m.t, "ext4", "loop", image)
	sameTree(m.t, "before", "the kernel, in between", want, without(m.t, openDir(m.t, mnt), "lost+found"))
	drop()
	systest.Fsck(m.t, image)
}

// TestBetween: the new base under the former overlay shows what it showed over
// the old one, so that a crash between the two renames loses nothing.
func TestBetween(t *testing.T) {
	requireKernel(t)
	for _, c := range []struct {
		name, kind, options string
		flat, bare, dirty   bool
		o                   compact.Options
	}{
		{name: "snapshot", kind: "dm"},
		{name: "snapshot, power cut", kind: "dm", dirty: true},
		{name: "snapshot over a bare image, power cut", kind: "dm", bare: true, dirty: true},
		{name: "snapshot, keeping what is free", kind: "dm", dirty: true, o: compact.Options{KeepFree: true}},
		{name: "image", kind: "image"},
		{name: "image, power cut", kind: "image", dirty: true},
		{name: "directory", kind: "dir"},
		{name: "flat directory", kind: "dir", flat: true},
		{name: "flat directory, hard links", kind: "dir", flat: true, options: "redirect_dir=off,metacopy=off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			write(t, d+"/usr/share/big.db", text(1, 300_000), 0o644)
			write(t, d+"/usr/share/deep/a/b/c", text(2, 9_000), 0o644)
			write(t, d+"/opt/tool", text(3, 5_000), 0o755)
			systest.Must(t, os.Link(d+"/opt/tool", d+"/opt/tool2"))
			write(t, d+"/opt/gone", noise(4, 400_000), 0o644)
			m := liveOS(t).fill(d, c.kind, c.flat, c.bare, "-comp", "gzip")
			m.options = c.options
			m.use(c.dirty, func(mnt string) {
				write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
				systest.Must(t, os.Remove(mnt+"/opt/gone"))
				systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
				systest.Must(t, os.Chown(mnt+"/opt/tool", 1, 2))
				write(t, mnt+"/var/more", noise(5, 700_000), 0o600)
			})
			want := m.seen()
			o := c.o
			o.KeepOld = 1
			m.compact(o)
			m.sameBetween(want)
		})
	}
}

// copied is a tree of what a directory holds now, but for lost+found.
func copied(t testing.TB, dir string) *tree.Node {
	t.Helper()
	to := systest.TempDir(t)
	systest.Run(t, "cp", "-a", dir+"/.", to+"/")
	return without(t, openDir(t, to), "lost+found")
}

// laid mounts base and overlay directory as m.options say.
func (m *medium) laid() (mnt string, drop func()) {
	m.t.Helper()
	o := "lowerdir=" + m.lower() + ",upperdir=" + m.path(m.over) + ",workdir=" + m.path(m.work)
	if m.options != "" {
		o += "," + m.options
	}
	return systest.Mount(m.t, "overlay", o, "overlay")
}

// use is boot with m.options, of an overlay directory.
func (m *medium) use(dirty bool, fn func(mnt string)) {
	m.t.Helper()
	if m.kind != "dir" {
		m.boot(dirty, fn)
		return
	}
	mnt, drop := m.laid()
	fn(mnt)
	drop()
}

// seen is what the kernel shows, which a later change does not alter.
func (m *medium) seen() *tree.Node {
	m.t.Helper()
	if m.kind != "dir" {
		return copied(m.t, m.view())
	}
	mnt, drop := m.laid()
	defer drop()
	return copied(m.t, mnt)
}
