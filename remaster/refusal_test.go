package remaster_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/squash/codec"
	"relive/tree/systest"
)

// TestRefusals: what would be unsafe is refused, with a hint, and nothing is
// changed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	put := func(name string) func(l *frugal) {
		return func(l *frugal) { write(l.t, l.path(name), []byte("something"), 0o644) }
	}
	stage := compact.Options{KeepOld: 1, Stage: true}
	for _, test := range []struct {
		name    string
		prepare func(l *frugal)
		o       compact.Options
		fact    string
	}{
		{"a staged base", put("linuxfs.new"), keepOne(), "linuxfs.new is pending"},
		{"a staged rootfs", put("rootfs.new"), keepOne(), "rootfs.new is pending"},
		{"staging beside .old", put("linuxfs.old"), stage, "linuxfs.old is there"},
		{"staging beside .bad", put("linuxfs.bad"), stage, "linuxfs.bad is there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := small(t)
			test.prepare(l)
			l.refused(test.o, test.fact)
		})
	}
}

// TestWrongOptions: options that no directory could be compacted with are told
// apart from a directory that cannot.
func TestWrongOptions(t *testing.T) {
	t.Parallel()
	l := small(t)
	before := hashes(t, l.dir)
	for _, o := range []compact.Options{{BlockSize: 100_000}, {BlockSize: 2 << 20}, {Level: 99}, {Output: l.path("out"), Stage: true}, {Output: l.path("out"), NoReset: true}} {
		_, err := l.plan(o)
		if _, refused := refusal.Is(err); refused || !errors.Is(err, refusal.ErrOption) || refusal.Hint(err) == "" {
			t.Errorf("%+v: %v (hint: %s)", o, err, refusal.Hint(err))
		}
	}
	if after := hashes(t, l.dir); after != before {
		t.Error("the directory was changed")
	}
}

// TestOutputOverSource: -o never writes over what it reads, not even with
// --force.
func TestOutputOverSource(t *testing.T) {
	t.Parallel()
	l := small(t)
	link := systest.TempDir(t) + "/link"
	systest.Must(t, os.Symlink(l.path("linuxfs"), link))
	for path, name := range map[string]string{l.path("linuxfs"): "linuxfs", l.path("rootfs"): "rootfs", link: "linuxfs"} {
		l.refused(compact.Options{Output: path, Force: true}, "is the "+name+" of the live directory")
	}
}

// TestInUse: a mounted rootfs or linuxfs is not touched.
func TestInUse(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	l := small(t)
	_, unmount := systest.Mount(t, "ext4", "loop,ro,noload", l.path("rootfs"))
	l.refused(keepOne(), "rootfs: in use")
	l.refused(compact.Options{Output: systest.TempDir(t) + "/out"}, "rootfs: in use")
	unmount()
	_, unmount = systest.Mount(t, "squashfs", "loop,ro", l.path("linuxfs"))
	l.refused(keepOne(), "linuxfs: in use")
	// A running system can stage.
	if _, err := l.plan(compact.Options{KeepOld: 1, Stage: true}); err != nil {
		t.Errorf("staging beside a mounted base: %v", err)
	}
	unmount()
	l.compact(keepOne())
}

// smallDisk moves a live directory to a file system of its own, of that size in
// KiB, and gives what unmounts it.
func (l *frugal) smallDisk(kib int) {
	l.t.Helper()
	requireKernel(l.t)
	img := systest.TempDir(l.t) + "/disk"
	systest.Must(l.t, os.WriteFile(img, nil, 0o600))
	systest.Must(l.t, os.Truncate(img, int64(kib)<<10))
	systest.Run(l.t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^has_journal", "-m", "0", img)
	mnt, _ := systest.Mount(l.t, "ext4", "loop", img)
	systest.Must(l.t, os.Remove(mnt+"/lost+found"))
	for _, name := range strings.Fields(l.names()) {
		systest.CopyFile(l.t, l.path(name), mnt+"/"+name)
	}
	l.dir = mnt
}

// TestNoSpace: too little space is told before anything is written.
func TestNoSpace(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	l := craft(t, smallBase(file("noise", noise(1, 3<<20))), smallUpper(), likeMksquashfs(codec.Gzip, 128<<10))
	l.smallDisk(8 << 10)
	l.refused(keepOne(), "not enough space")
	out := systest.TempDir(t) + "/elsewhere"
	l.compact(compact.Options{Output: out})
}

// TestDamaged: a damaged image is an error that names the file, and nothing
// changes.
func TestDamaged(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file string
		damage     func(b []byte) []byte
	}{
		{"a cut base", "linuxfs", func(b []byte) []byte { return b[:len(b)/2] }},
		{"an empty base", "linuxfs", func([]byte) []byte { return nil }},
		{"no image as rootfs", "rootfs", func(b []byte) []byte { return []byte(strings.Repeat("garbage ", 1000)) }},
		{"a cut rootfs", "rootfs", func(b []byte) []byte { return b[:8192] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := small(t)
			b, err := os.ReadFile(l.path(test.file))
			systest.Must(t, err)
			systest.Must(t, os.WriteFile(l.path(test.file), test.damage(b), 0o644))
			before := hashes(t, l.dir)
			_, err = l.plan(keepOne())
			if err == nil || !strings.Contains(err.Error(), test.file) {
				t.Errorf("the error is: %v", err)
			}
			if after := hashes(t, l.dir); after != before {
				t.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestCancelled: a compaction that is stopped leaves the directory as it was.
func TestCancelled(t *testing.T) {
	t.Parallel()
	l := small(t)
	before := hashes(t, l.dir)
	p, err := l.plan(keepOne())
	systest.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is: %v", err)
	}
	if after := hashes(t, l.dir); !sameButRootTime(before, after) {
		t.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
	}
}

// sameButRootTime compares hashes but for the time of the directory itself.
func sameButRootTime(a, b string) bool {
	_, a, _ = strings.Cut(a, "\n")
	_, b, _ = strings.Cut(b, "\n")
	return a == b
}

// TestRollback: after a compaction the former state can be had back, byte for
// byte, and one that is not whole is refused.
func TestRollback(t *testing.T) {
	t.Parallel()
	read := func(l *frugal, name string) string {
		b, err := os.ReadFile(l.path(name))
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			t.Fatal(err)
		}
		return string(b)
	}
	rollback := func(l *frugal) error {
		p, err := rollback.New(t.Context(), environment(t, codec.Auto), l.dir)
		if err != nil {
			return err
		}
		return p.Run(t.Context())
	}
	l := small(t)
	base, root := read(l, "linuxfs"), read(l, "rootfs")
	if _, ok := refusal.Is(rollback(l)); !ok {
		t.Error("a rollback without a former state is not refused")
	}
	l.compact(keepOne())
	newBase, newRoot := read(l, "linuxfs"), read(l, "rootfs")
	systest.Must(t, rollback(l))
	if read(l, "linuxfs") != base || read(l, "rootfs") != root {
		t.Error("the former state is not back")
	}
	if read(l, "linuxfs.bad") != newBase || read(l, "rootfs.bad") != newRoot {
		t.Error("the state that was left is not kept as .bad")
	}
	if got := l.names(); got != "linuxfs linuxfs.bad linuxfs.info.bad linuxfs.md5 linuxfs.md5.bad rootfs rootfs.bad" {
		t.Errorf("the directory holds %s", got)
	}
	if s := l.status(); s.Overlay.VIDState != live.VIDMatch {
		t.Errorf("version ids after the rollback: %s", s.Overlay.VIDState)
	}
	// Forward again, and back with a damaged former base.
	l.compact(keepOne())
	systest.Must(t, os.WriteFile(l.path("linuxfs.old"), []byte(base[:len(base)-5000]), 0o644))
	before := hashes(t, l.dir)
	if r, ok := refusal.Is(rollback(l)); !ok || !strings.Contains(r.Fact, "linuxfs") || r.Hint == "" {
		t.Errorf("a rollback to a damaged base: %v", r)
	}
	systest.Must(t, os.WriteFile(l.path("linuxfs.old"), []byte(base), 0o644))
	systest.Must(t, os.Remove(l.path("rootfs.old")))
	if r, ok := refusal.Is(rollback(l)); !ok || !strings.Contains(r.Fact, "rootfs.old") {
		t.Errorf("a rollback without the former rootfs: %v", r)
	}
	_ = before
}
