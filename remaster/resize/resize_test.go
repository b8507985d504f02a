package resize_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/resize"
	"relive/remaster/rollback"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// TestResizeRootfs: larger and smaller, the kernel's overlay shows the same with
// the new rootfs as with the old one, and goes on writing in it.
func TestResizeRootfs(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "dumpe2fs", "tune2fs")
	for _, c := range []struct {
		name    string
		mkfs    []string
		options string
		dirty   bool
	}{
		{"ext4, power cut", []string{"-t", "ext4", "-b", "4096"}, "", true},
		{"ext4, index", []string{"-t", "ext4"}, "index=on,redirect_dir=on,metacopy=on", false},
		{"ext4, nfs_export", []string{"-t", "ext4"}, "index=on,nfs_export=on,redirect_dir=on", false},
		{"ext4, other features", []string{"-t", "ext4", "-O", "orphan_file,metadata_csum_seed,^64bit", "-m", "1", "-J", "size=4", "-N",
			"20000"}, "redirect_dir=on", true},
		{"ext3, power cut", []string{"-t", "ext3", "-b", "2048"}, "", true},
		{"ext2", []string{"-t", "ext2"}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			livetest.SmallSystem(t, d)
			systest.Must(t, os.Link(d+"/opt/tool", d+"/opt/tool2"))
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip", "-exports")
			l := livetest.NewLive(t, base, c.mkfs...)
			systest.Run(t, "tune2fs", "-e", "remount-ro", "-o", "^acl,discard", l.Path("rootfs"))
			l.Options = c.options
			l.Boot(c.dirty, func(mnt string) {
				livetest.UseSmall(t, mnt)
				livetest.Write(t, mnt+"/opt/tool2", []byte("both, where there is an index\n"), 0o755)
				systest.Run(t, "mv", mnt+"/usr/share/deep", mnt+"/srv")
				for i := range 300 {
					livetest.Write(t, fmt.Sprintf("%s/var/cache/%04d", mnt, i), nil, 0o600)
				}
				systest.Must(t, os.Link(mnt+"/etc/new", mnt+"/etc/linked"))
				livetest.Sparse(t, mnt+"/var/lib/sparse.img", 50_000_000, 40_000_000)
				systest.Must(t, unix.Lsetxattr(mnt+"/etc/new", "user.note", []byte("kept"), 0))
				systest.Must(t, unix.Mknod(mnt+"/srv/pipe", unix.S_IFIFO|0o644, 0))
			})
			shape := []string{"Filesystem volume name", "Filesystem UUID", "Directory Hash Seed", "Inode size", "Journal inode",
				"Default mount options", "Errors behavior"}
			want := livetest.ExtFacts(t, l.Path("rootfs"), shape...)
			if pending := strings.Contains(livetest.ExtFacts(t, l.Path("rootfs"), "Filesystem features"),
				"needs_recovery"); pending != c.dirty {
				t.Fatalf("a journal to be replayed: %v", pending)
			}
			before := livetest.OpenDir(t, l.View())
			for _, size := range []*resize.NewSize{livetest.Mebibytes(600), {Kind: resize.SizeMin}} {
				s := livetest.Resize(t, l.Dir, resize.Options{Overlay: size, KeepOld: 1})
				if len(s.Warnings) > 0 {
					t.Errorf("%q", s.Warnings)
				}
				systest.Fsck(t, l.Path("rootfs"))
				livetest.Exactly(t, "before", "after", before, livetest.OpenDir(t, l.View()))
				if got := livetest.ExtFacts(t, l.Path("rootfs"), shape...); got != want {
					t.Errorf("%d MiB: was\n%s\nis\n%s", s.Images[0].Size>>20, want, got)
				}
				if s.Images[0].Free < 15<<20 || s.Images[0].FreeInodes < 10 {
					t.Errorf("%+v", s.Images[0])
				}
			}
			l.Boot(false, func(mnt string) {
				systest.Must(t, os.RemoveAll(mnt+"/var/cache"))
				livetest.Write(t, mnt+"/etc/written", livetest.Noise(1, 8<<20), 0o644)
				livetest.Write(t, mnt+"/opt/tool", []byte("again\n"), 0o755)
			})
			systest.Fsck(t, l.Path("rootfs"))
		})
	}
}

// people fills homes: links, holes, attributes, flags, odd names and times.
func people(t testing.TB, home string) {
	t.Helper()
	for i := range 40 {
		livetest.Write(t, fmt.Sprintf("%s/demo/doc%d/letter", home, i), livetest.Noise(uint64(i), 1+3000*i), 0o600)
	}
	for _, name := range livetest.OddNames {
		livetest.Write(t, home+"/demo/odd/"+name, []byte(name), 0o644)
	}
	systest.Must(t, os.Link(home+"/demo/doc1/letter", home+"/demo/doc2/same"))
	systest.Must(t, os.Symlink("doc1", home+"/demo/link"))
	livetest.Sparse(t, home+"/demo/disk.img", 60_000_000, 50_000_000)
	systest.Must(t, unix.Lsetxattr(home+"/demo/doc3", "system.posix_acl_access", livetest.ACL, 0))
	systest.Must(t, unix.Lsetxattr(home+"/demo/doc4/letter", "user.large", livetest.Noise(5, 700), 0))
	systest.Must(t, unix.Lsetxattr(home+"/demo/doc5/letter", "security.capability", livetest.Capability, 0))
	systest.Run(t, "chown", "-R", "-h", "1000:1000", home+"/demo")
	systest.Must(t, hostfs.SetTimes(unix.AT_FDCWD, home+"/demo/doc6", tree.Time{Sec: -150_000_000, Nsec: 5}))
	systest.Must(t, hostfs.SetTimes(unix.AT_FDCWD, home+"/demo/doc9", tree.Time{Sec: 4_200_000_000, Nsec: 7}))
	systest.Run(t, "chattr", "+d", home+"/demo/doc7")
	systest.Run(t, "chattr", "+i", home+"/demo/doc7/letter")
	systest.Run(t, "chattr", "+a", home+"/demo/doc8/letter")
}

// TestResizeHomefs: homes are the same in a larger and a smaller image, flags of
// files too, and what was set aside of the disk stays so.
func TestResizeHomefs(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "chattr", "lsattr")
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprint("preallocated ", whole), func(t *testing.T) {
			t.Parallel()
			l := &livetest.Live{T: t, Dir: systest.MemDir(t)}
			systest.CopyFile(t, livetest.SystemImage(t), l.Path("linuxfs"))
			home := l.Path("homefs")
			systest.BlankAt(t, home, 100<<20)
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", "-m", "0", home)
			mnt, drop := systest.Mount(t, "ext4", "loop", home)
			people(t, mnt)
			drop()
			if whole {
				systest.Run(t, "fallocate", "-l", "100M", home)
			}
			systest.Must(t, os.Chmod(home, 0o640))
			was := systest.MemDir(t) + "/homefs"
			systest.CopyFile(t, home, was)
			before, _ := systest.Mount(t, "ext4", "loop,ro", was)
			flags := systest.Output(t, "sh", "-c", "cd "+before+" && lsattr -R . | grep -v '^$'")
			for _, size := range []*resize.NewSize{livetest.Mebibytes(160), {Kind: resize.SizeMin}} {
				s := livetest.Resize(t, l.Dir, resize.Options{Home: size, KeepOld: 1})
				st, err := os.Stat(home)
				systest.Must(t, err)
				if set := st.Sys().(*syscall.Stat_t).Blocks * 512; set >= st.Size() != whole || s.Images[0].Whole != whole ||
					st.Mode() != 0o640 {
					t.Errorf("%d of %d bytes are set aside, mode %v", set, st.Size(), st.Mode())
				}
				systest.Fsck(t, home)
				now := systest.MemDir(t) + "/homefs"
				systest.CopyFile(t, home, now)
				after, drop := systest.Mount(t, "ext4", "loop", now)
				livetest.Exactly(t, "before", "after", livetest.OpenDir(t, before), livetest.OpenDir(t, after))
				// Whether a directory is hashed (I) depends on its size.
				plain := func(s string) string { return strings.ReplaceAll(s, "I", "-") }
				if got := systest.Output(t, "sh", "-c", "cd "+after+" && lsattr -R . | grep -v '^$'"); plain(got) != plain(flags) {
					t.Errorf("flags were\n%s\nare\n%s", flags, got)
				}
				systest.Run(t, "chattr", "-R", "-i", "-a", after+"/demo/doc7", after+"/demo/doc8")
				systest.Must(t, os.RemoveAll(after+"/demo"))
				livetest.Write(t, after+"/new/file", livetest.Noise(3, 9<<20), 0o644)
				drop()
				systest.Fsck(t, now)
			}
		})
	}
}

// TestResizeSnapshot: a device-mapper snapshot shows the same after it grew and
// shrank, and an image overlay of LiveOS too.
func TestResizeSnapshot(t *testing.T) {
	livetest.NeedKernel(t)
	for _, c := range []struct {
		name  string
		kind  string
		bare  bool
		arch  bool
		dirty bool
	}{
		{"snapshot", "dm", false, false, false}, {"snapshot, power cut", "dm", true, false, true}, {"archiso", "dm", false, true, false},
		{"image", "image", false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			livetest.SmallSystem(t, d)
			m := livetest.LiveOS(t)
			if c.arch {
				m = livetest.Archiso(t, c.kind)
			}
			m.Fill(d, c.kind, false, c.bare, "-comp", "gzip")
			m.Boot(c.dirty, func(mnt string) {
				livetest.UseSmall(t, mnt)
				if c.kind == "dm" {
					// What is gone again is in the chunks still.
					livetest.Write(t, mnt+"/opt/large", livetest.Noise(7, 12<<20), 0o644)
					systest.Run(t, "sync", "-f", mnt)
					systest.Must(t, os.Remove(mnt+"/opt/large"))
				}
			})
			before := livetest.Copied(t, m.View())
			sizes := []*resize.NewSize{livetest.Mebibytes(40), {Kind: resize.SizeMin}, livetest.Mebibytes(48)}
			hows := []string{resize.ResizeGrow, resize.ResizeRepack, resize.ResizeGrow}
			for i, size := range sizes {
				s := livetest.Resize(t, m.Dir, resize.Options{Overlay: size, KeepOld: 1})
				if how := s.Images[0].How; how != hows[i] && c.kind == "dm" {
					t.Errorf("%d MiB: %s", s.Images[0].Size>>20, how)
				}
				if i == 1 && s.Images[0].Size > 26<<20 {
					t.Errorf("the least is %d MiB", s.Images[0].Size>>20)
				}
				livetest.Exactly(t, "before", "after", before, livetest.Without(t, livetest.OpenDir(t, m.View()), "lost+found"))
			}
			m.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/opt/more", livetest.Noise(8, 9<<20), 0o644) })
			if got := livetest.OpenDir(t, m.View()); got != nil {
				if n, err := got.Lookup("opt/more"); err != nil || n == nil || n.Size != 9<<20 {
					t.Error("it is not written to any more", err)
				}
			}
		})
	}
}

// TestResizeRefuses: what is mounted, what has errors, and what is too small for
// its inodes; nothing is changed.
func TestResizeRefuses(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	l := livetest.NewLive(t, livetest.SystemImage(t))
	l.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/etc/new", nil, 0o644) })
	refused := func(o resize.Options, fact string) {
		t.Helper()
		before := livetest.Hashes(t, l.Dir)
		_, err := livetest.TryResize(t, livetest.Env(t, codec.Auto), l.Dir, o)
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(r.Fact, fact) || r.Hint == "" {
			t.Errorf("%v, not a refusal that says %q and a hint", err, fact)
		}
		if after := livetest.Hashes(t, l.Dir); after != before {
			t.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
		}
	}
	_, drop := systest.Mount(t, "ext4", "loop", l.Path("rootfs"))
	refused(resize.Options{Overlay: livetest.Mebibytes(100), KeepOld: 1}, "in use")
	drop()
	systest.Run(t, "debugfs", "-w", "-R", "ssv state 2", l.Path("rootfs"))
	refused(resize.Options{Overlay: livetest.Mebibytes(100), KeepOld: 1}, "errors")
	systest.Run(t, "debugfs", "-w", "-R", "ssv state 1", l.Path("rootfs"))
	var stat unix.Statfs_t
	systest.Must(t, unix.Statfs(l.Dir, &stat))
	if free := int64(stat.Bavail) * int64(stat.Bsize); free < 1<<39 {
		systest.Run(t, "fallocate", "-l", "48M", l.Path("rootfs"))
		refused(resize.Options{Overlay: livetest.Mebibytes(free>>20 + 1024), KeepOld: 1}, "not enough space")
	}
	s := livetest.Resize(t, l.Dir, resize.Options{Overlay: livetest.Mebibytes(100), KeepOld: 0})
	if !s.Images[0].Whole || livetest.Has(l.Path("rootfs.old")) {
		t.Errorf("%+v, %s", s, l.Names())
	}
}

// TestResizeMax: an image that may have all leaves some of the disk, and two do
// not count the same room twice.
func TestResizeMax(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	disk := systest.Blank(t, 200<<20)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", disk)
	at, _ := systest.Mount(t, "ext4", "loop", disk)
	l := livetest.NewLive(t, livetest.SystemImage(t))
	for _, name := range []string{"linuxfs", "rootfs"} {
		systest.CopyFile(t, l.Path(name), at+"/"+name)
	}
	systest.BlankAt(t, at+"/homefs", 20<<20)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", at+"/homefs")
	e := livetest.Env(t, codec.Auto)
	opened, err := live.Open(t.Context(), e, at)
	systest.Must(t, err)
	defer opened.Close()
	var stat unix.Statfs_t
	systest.Must(t, unix.Statfs(at, &stat))
	free := int64(stat.Bavail) * int64(stat.Bsize)
	for _, c := range []struct {
		home *resize.NewSize
		less int64
	}{{nil, 0}, {livetest.Mebibytes(60), 60 << 20}} {
		p, err := resize.New(t.Context(), e, opened, resize.Options{Overlay: &resize.NewSize{Kind: resize.SizeMax}, Home: c.home,
			KeepOld: 1})
		systest.Must(t, err)
		i := p.Summary.Images[0]
		if most := free - c.less; i.Size > most-16<<20 || i.Size < most-24<<20 || i.Size%(1<<20) != 0 || len(p.Summary.Warnings) > 0 {
			t.Errorf("%d MiB of %d MiB: %q", i.Size>>20, free>>20, p.Summary.Warnings)
		}
	}
	p, err := resize.New(t.Context(), e, opened, resize.Options{Overlay: livetest.Mebibytes(4096), KeepOld: 1})
	systest.Must(t, err)
	if w := p.Summary.Warnings; len(w) != 1 || !strings.Contains(w[0], "meets a full disk") {
		t.Errorf("%q", w)
	}
}

// TestResizeFormer: beside a kept former base an overlay is resized and its
// former one kept, and a rollback goes back to the same files, byte for byte, as
// without the resizing.
func TestResizeFormer(t *testing.T) {
	livetest.NeedKernel(t)
	for name, fill := range livetest.Forms(t, func(dir string) { livetest.SmallSystem(t, dir) }) {
		if strings.Contains(name, "directory") || strings.Contains(name, "archiso") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fill(t)
			s.Boot(func(mnt string) { livetest.UseSmall(t, mnt) })
			first := livetest.Sums(t, s.Dir)
			before := livetest.Duplicate(t, s.View())
			(&livetest.Live{T: t, Dir: s.Dir}).Compact(livetest.KeepOne())
			s.Boot(func(mnt string) { livetest.Write(t, mnt+"/opt/after", livetest.Noise(5, 300_000), 0o644) })
			compacted := livetest.Sums(t, s.Dir)
			shown := livetest.Duplicate(t, s.View())
			var kept string
			for round, size := range []int64{90, 70} {
				i := livetest.Resize(t, s.Dir, resize.Options{Overlay: livetest.Mebibytes(size), KeepOld: 1}).Images[0]
				livetest.Exactly(t, "before", "after", livetest.Without(t, livetest.OpenDir(t, shown), "lost+found"),
					livetest.Without(t, livetest.OpenDir(t, livetest.Duplicate(t, s.View())), "lost+found"))
				if kept = i.Kept; i.Size != size<<20 || kept != i.Name+".old.2" {
					t.Errorf("round %d: %+v", round, i)
				}
			}
			now := livetest.Sums(t, s.Dir)
			for name, sum := range compacted {
				if is := now[name]; is != sum && filepath.Base(name)+".old.2" != filepath.Base(kept) {
					t.Errorf("%s was changed", name)
				}
			}
			for _, w := range livetest.StatusOf(t, s.Dir).Leftovers {
				if filepath.Base(w.Name) == filepath.Base(kept) && !strings.Contains(w.Means, "no part of a former state") {
					t.Errorf("%+v", w)
				}
			}
			p, err := rollback.New(t.Context(), livetest.Env(t, codec.Auto), s.Dir)
			if err != nil {
				t.Fatal(err, refusal.Hint(err))
			}
			systest.Must(t, p.Run(t.Context()))
			now = livetest.Sums(t, s.Dir)
			for name, sum := range first {
				if now[name] != sum {
					t.Errorf("after the rollback %s is not what it was", name)
				}
			}
			livetest.Exactly(t, "before", "after the rollback", livetest.Without(t, livetest.OpenDir(t, before), "lost+found"),
				livetest.Without(t, livetest.OpenDir(t, livetest.Duplicate(t, s.View())), "lost+found"))
		})
	}
}
