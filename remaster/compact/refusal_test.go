package compact_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/livetest"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/tree/systest"
)

// TestRefusals: what would be unsafe is refused, with a hint, and nothing is
// changed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	put := func(name string) func(l *livetest.Live) {
		return func(l *livetest.Live) { livetest.Write(l.T, l.Path(name), []byte("something"), 0o644) }
	}
	stage := compact.Options{KeepOld: 1, Stage: true}
	for _, test := range []struct {
		name    string
		prepare func(l *livetest.Live)
		o       compact.Options
		fact    string
	}{
		{"a staged base", put("linuxfs.new"), livetest.KeepOne(), "linuxfs.new is pending"},
		{"a staged rootfs", put("rootfs.new"), livetest.KeepOne(), "rootfs.new is pending"},
		{"staging beside .old", put("linuxfs.old"), stage, "linuxfs.old is there"},
		{"staging beside .bad", put("linuxfs.bad"), stage, "linuxfs.bad is there"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := livetest.Small(t)
			test.prepare(l)
			l.Refused(test.o, test.fact)
		})
	}
}

// TestWrongOptions: options that no directory could be compacted with are told
// apart from a directory that cannot.
func TestWrongOptions(t *testing.T) {
	t.Parallel()
	l := livetest.Small(t)
	before := livetest.Hashes(t, l.Dir)
	for _, o := range []compact.Options{{Wish: packed.Wish{BlockSize: 100_000}}, {Wish: packed.Wish{BlockSize: 2 << 20}},
		{Wish: packed.Wish{Level: 99}}, {Output: l.Path("out"), Stage: true},
		{Output: l.Path("out"), NoReset: true}} {
		_, err := l.Plan(o)
		if _, refused := refusal.Is(err); refused || !errors.Is(err, refusal.ErrOption) || refusal.Hint(err) == "" &&
			refusal.CodeOf(err) != refusal.WrongCompression {
			t.Errorf("%+v: %v (hint: %s)", o, err, refusal.Hint(err))
		}
	}
	if after := livetest.Hashes(t, l.Dir); after != before {
		t.Error("the directory was changed")
	}
}

// TestOutputOverSource: -o never writes over what it reads, not even with
// --force.
func TestOutputOverSource(t *testing.T) {
	t.Parallel()
	l := livetest.Small(t)
	link := systest.TempDir(t) + "/link"
	systest.Must(t, os.Symlink(l.Path("linuxfs"), link))
	for path, name := range map[string]string{l.Path("linuxfs"): "linuxfs", l.Path("rootfs"): "rootfs", link: "linuxfs"} {
		l.Refused(compact.Options{Output: path, Force: true}, "is the "+name+" of the live directory")
	}
}

// TestInUse: a mounted rootfs or linuxfs is not touched.
func TestInUse(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	l := livetest.Small(t)
	_, unmount := systest.Mount(t, "ext4", "loop,ro,noload", l.Path("rootfs"))
	l.Refused(livetest.KeepOne(), "rootfs: in use")
	l.Refused(compact.Options{Output: systest.TempDir(t) + "/out"}, "rootfs: in use")
	unmount()
	_, unmount = systest.Mount(t, "squashfs", "loop,ro", l.Path("linuxfs"))
	l.Refused(livetest.KeepOne(), "linuxfs: in use")
	// A running system can stage.
	if _, err := l.Plan(compact.Options{KeepOld: 1, Stage: true}); err != nil {
		t.Errorf("staging beside a mounted base: %v", err)
	}
	unmount()
	l.Compact(livetest.KeepOne())
}

// smallDisk moves a live directory to a file system of its own, of that size in
// KiB, and gives what unmounts it.
func smallDisk(l *livetest.Live, kib int) {
	l.T.Helper()
	livetest.NeedKernel(l.T)
	img := systest.TempDir(l.T) + "/disk"
	systest.Must(l.T, os.WriteFile(img, nil, 0o600))
	systest.Must(l.T, os.Truncate(img, int64(kib)<<10))
	systest.Run(l.T, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^has_journal", "-m", "0", img)
	mnt, _ := systest.Mount(l.T, "ext4", "loop", img)
	systest.Must(l.T, os.Remove(mnt+"/lost+found"))
	for _, name := range strings.Fields(l.Names()) {
		systest.CopyFile(l.T, l.Path(name), mnt+"/"+name)
	}
	l.Dir = mnt
}

// TestNoSpace: too little space is told before anything is written.
func TestNoSpace(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	l := livetest.Craft(t, livetest.SmallBase(livetest.File("noise", livetest.Noise(1, 3<<20))), livetest.SmallUpper(),
		livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	smallDisk(l, 8<<10)
	l.Refused(livetest.KeepOne(), "not enough space")
	out := systest.TempDir(t) + "/elsewhere"
	l.Compact(compact.Options{Output: out})
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
			l := livetest.Small(t)
			b, err := os.ReadFile(l.Path(test.file))
			systest.Must(t, err)
			systest.Must(t, os.WriteFile(l.Path(test.file), test.damage(b), 0o644))
			before := livetest.Hashes(t, l.Dir)
			_, err = l.Plan(livetest.KeepOne())
			if err == nil || !strings.Contains(err.Error(), test.file) {
				t.Errorf("the error is: %v", err)
			}
			if after := livetest.Hashes(t, l.Dir); after != before {
				t.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestCancelled: a compaction that is stopped leaves the directory as it was.
func TestCancelled(t *testing.T) {
	t.Parallel()
	l := livetest.Small(t)
	before := livetest.Hashes(t, l.Dir)
	p, err := l.Plan(livetest.KeepOne())
	systest.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is: %v", err)
	}
	if after := livetest.Hashes(t, l.Dir); !livetest.SameButRootTime(before, after) {
		t.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
	}
}
