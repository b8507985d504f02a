package compact_test

import (
	"os"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/livetest"
	"relive/tree"
	"relive/tree/systest"
)

// between makes of a compacted medium what a power cut leaves when the base is
// replaced and the overlay is not yet: the new base, the former overlay.
func between(m *livetest.Medium) {
	m.T.Helper()
	for _, name := range []string{m.Over, m.Work} {
		if _, err := os.Lstat(m.Path(name + ".old")); err == nil {
			systest.Must(m.T, os.RemoveAll(m.Path(name)))
			systest.Must(m.T, os.Rename(m.Path(name+".old"), m.Path(name)))
		}
	}
}

// sameBetween fails the test where the former overlay over the new base shows
// anything else than what want holds, by the kernel or by relive.
func sameBetween(m *livetest.Medium, want *tree.Node) {
	m.T.Helper()
	between(m)
	livetest.SameTree(m.T, "before", "relive, in between", want, livetest.Without(m.T, livetest.OpenTree(m.T, m.Dir, ""), "lost+found"))
	if m.Kind != "dm" {
		livetest.SameTree(m.T, "before", "the kernel, in between", want, m.Seen())
		return
	}
	image := m.Merged()
	mnt, drop := systest.Mount(m.T, "ext4", "loop", image)
	livetest.SameTree(m.T, "before", "the kernel, in between", want, livetest.Without(m.T, livetest.OpenDir(m.T, mnt), "lost+found"))
	drop()
	systest.Fsck(m.T, image)
}

// TestBetween: the new base under the former overlay shows what it showed over
// the old one, so that a crash between the two renames loses nothing.
func TestBetween(t *testing.T) {
	livetest.NeedKernel(t)
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
			livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			livetest.Write(t, d+"/usr/share/deep/a/b/c", livetest.Text(2, 9_000), 0o644)
			livetest.Write(t, d+"/opt/tool", livetest.Text(3, 5_000), 0o755)
			systest.Must(t, os.Link(d+"/opt/tool", d+"/opt/tool2"))
			livetest.Write(t, d+"/opt/gone", livetest.Noise(4, 400_000), 0o644)
			m := livetest.LiveOS(t).Fill(d, c.kind, c.flat, c.bare, "-comp", "gzip")
			m.Options = c.options
			m.Use(c.dirty, func(mnt string) {
				livetest.Write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
				systest.Must(t, os.Remove(mnt+"/opt/gone"))
				systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
				systest.Must(t, os.Chown(mnt+"/opt/tool", 1, 2))
				livetest.Write(t, mnt+"/var/more", livetest.Noise(5, 700_000), 0o600)
			})
			want := m.Seen()
			o := c.o
			o.KeepOld = 1
			m.Compact(o)
			sameBetween(m, want)
		})
	}
}
