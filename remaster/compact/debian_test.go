package compact_test

import (
	"os"
	"strings"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/livetest"
	"relive/remaster/rollback"
	"relive/tree/systest"
)

// debianTruth compacts and compares what the kernel shows before and after with what
// relive shows.
func debianTruth(d *livetest.Debian, change func(mnt string)) {
	d.T.Helper()
	mnt, drop := d.Mounted(false)
	change(mnt)
	drop()
	want, drop := d.Shown()
	livetest.SameTree(d.T, "the kernel before", "relive before", want, livetest.OpenTree(d.T, d.Dir, ""))
	drop()
	d.Compact(compact.Options{KeepOld: 1})
	livetest.SameTree(d.T, "the kernel before", "relive after", want, livetest.OpenTree(d.T, d.Dir, ""))
	after, drop := d.Shown()
	livetest.SameTree(d.T, "the kernel before", "the kernel after", want, after)
	drop()
	s := d.Status()
	if s.Overlay == nil || !s.Overlay.Empty {
		d.T.Errorf("the overlay is not empty: %+v", s.Overlay)
	}
	if !livetest.Stat(d.T, d.Path(d.Over)).IsDir() {
		systest.Fsck(d.T, d.Path(d.Over))
	}
}

func TestLiveBoot(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "persistence", Names: [2]string{"rw", "work"},
		// live-boot stacks modules below a persistent union the first on top.
		Images: []string{"live/addon.squashfs", "live/filesystem.squashfs"},
		Unions: []string{"/ .", "/var/lib state/lib"}}
	livetest.Squashed(t, d.Path("live/filesystem.squashfs"), func(dir string) {
		livetest.Write(t, dir+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
		livetest.Write(t, dir+"/usr/bin/tool", livetest.Text(2, 3000), 0o755)
		livetest.Write(t, dir+"/var/lib/dpkg/status", livetest.Text(3, 9000), 0o644)
		livetest.Write(t, dir+"/both", []byte("filesystem"), 0o644)
		systest.Must(t, os.MkdirAll(dir+"/home", 0o755))
	})
	livetest.Squashed(t, d.Path("live/addon.squashfs"), func(dir string) {
		livetest.Write(t, dir+"/usr/share/addon", livetest.Text(4, 50_000), 0o644)
		livetest.Write(t, dir+"/both", []byte("addon"), 0o644)
		systest.Run(t, "mkdir", "-p", dir+"/usr/bin")
		systest.Run(t, "mkfifo", dir+"/usr/bin/tool2")
	})
	p := systest.TempDir(t)
	livetest.Write(t, p+"/persistence.conf",
		[]byte("# what persists\n/ union,source=.\n/var/lib union,source=state/lib\n/home\n/etc/x link,source=dots\nrelative union\n"),
		0o644)
	livetest.Write(t, p+"/home/user/letter", []byte("dear"), 0o600)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persistence", "-d", p, d.Path("persistence"), "48M")
	livetest.Write(t, d.Path("sha256sum.txt"),
		[]byte(systest.Run(t, "sh", "-c", "cd "+d.Dir+
			" && echo '# sums' && sha256sum ./live/filesystem.squashfs && sha256sum ./persistence | sed s/persistence/live.txt/")), 0o644)

	debianTruth(d, func(mnt string) {
		livetest.Write(t, mnt+"/etc/new", []byte("new"), 0o600)
		systest.Must(t, os.Remove(mnt+"/usr/bin/tool"))
		livetest.Write(t, mnt+"/var/lib/dpkg/status", livetest.Text(5, 9500), 0o644)
		systest.Must(t, os.Rename(mnt+"/usr/share", mnt+"/usr/moved"))
		systest.Must(t, os.Chown(mnt+"/usr/moved/big.db", 1, 1))
	})
	s := d.Status()
	if got := strings.Join(s.Overlay.Kept, "\n"); !strings.Contains(got, "/home is a bind") || !strings.Contains(got, "/etc/x is a link") ||
		!strings.Contains(got, "line 6") {
		t.Error(got)
	}
	if _, err := os.Stat(d.Path("live/addon.squashfs")); err == nil {
		t.Error("the module is still there, though it is in the base")
	}
	systest.Run(t, "sh", "-c", "cd "+d.Dir+" && grep live/filesystem sha256sum.txt | sha256sum -c && grep -q live.txt sha256sum.txt")
	root, _ := systest.Mount(t, "ext4", "loop,ro", d.Path("persistence"))
	if b, err := os.ReadFile(root + "/home/user/letter"); err != nil || string(b) != "dear" {
		t.Errorf("what is bound was lost: %q, %v", b, err)
	}
	d.Images = []string{"live/filesystem.squashfs"}
	c := systest.TempDir(t) + "/p" // away from the mount
	systest.CopyFile(t, d.Path("persistence"), c)
	systest.Must(t, os.Rename(c, d.Path("persistence")))
	debianTruth(d, func(mnt string) { livetest.Write(t, mnt+"/var/lib/again", []byte("again"), 0o600) })
	p2, err := rollback.New(t.Context(), livetest.Env(t, 0), d.Dir)
	systest.Must(t, err)
	systest.Must(t, p2.Run(t.Context()))
}

func TestCasper(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "casper-rw", Names: [2]string{"upper", "work"},
		Unions: []string{"/ ."},
		Images: []string{"casper/minimal.standard.live.squashfs", "casper/minimal.standard.squashfs", "casper/minimal.squashfs"}}
	livetest.Squashed(t, d.Path("casper/minimal.squashfs"), func(dir string) {
		livetest.Write(t, dir+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
		livetest.Write(t, dir+"/usr/bin/tool", livetest.Text(2, 3000), 0o755)
		livetest.Write(t, dir+"/both", []byte("minimal"), 0o644)
		livetest.Write(t, dir+"/opt/a/b/c", []byte("c"), 0o644)
		systest.Must(t, os.Link(dir+"/both", dir+"/usr/linked"))
	})
	livetest.Squashed(t, d.Path("casper/minimal.standard.squashfs"), func(dir string) {
		livetest.Write(t, dir+"/both", []byte("standard"), 0o644)
		systest.Run(t, "mkdir", "-p", dir+"/usr/bin", dir+"/opt")
		systest.Run(t, "mknod", dir+"/usr/bin/tool", "c", "0", "0")
	})
	livetest.Squashed(t, d.Path("casper/minimal.standard.live.squashfs"), func(dir string) {
		livetest.Write(t, dir+"/etc/live", []byte("live"), 0o644)
	})
	livetest.Squashed(t, d.Path("casper/minimal.de.squashfs"), func(dir string) { livetest.Write(t, dir+"/sprache", []byte("de"), 0o644) })
	livetest.Write(t, d.Path("casper/minimal.standard.live.size"), []byte("1\n"), 0o644)
	p := systest.TempDir(t)
	systest.Must(t, os.Mkdir(p+"/upper", 0o755))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.Path("casper-rw"), "48M")
	below := livetest.Hashes(t, d.Path("casper"))
	for round := range 2 {
		debianTruth(d, func(mnt string) {
			livetest.Write(t, mnt+"/etc/new", []byte{byte(round)}, 0o600)
			if round == 0 {
				systest.Must(t, os.RemoveAll(mnt+"/opt/a"))
				systest.Must(t, os.Rename(mnt+"/usr/share", mnt+"/usr/moved"))
				livetest.Write(t, mnt+"/usr/bin/tool", livetest.Text(6, 100), 0o755)
				systest.Must(t, os.Chmod(mnt+"/usr/linked", 0o600))
			} else {
				livetest.Write(t, mnt+"/opt/a", []byte("a file now"), 0o644)
				systest.Must(t, os.Rename(mnt+"/usr/moved", mnt+"/usr/share"))
			}
		})
	}
	if size := livetest.Stat(t, d.Path("casper/minimal.standard.live.squashfs")).Size(); size > 100_000 {
		t.Errorf("the topmost image has %d bytes: it holds what those below hold", size)
	}
	for line := range strings.Lines(below) {
		if strings.Contains(line, "minimal.squashfs") && !strings.Contains(livetest.Hashes(t, d.Path("casper")), line) {
			t.Error("an image below was touched")
		}
	}
}

// TestLiveBootInDirectory: persistence in a directory, whose layers are emptied in
// their place; and a roll-back brings modules and layers back.
func TestLiveBootInDirectory(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "persistence", Names: [2]string{"rw", "work"},
		Images: []string{"live/addon.squashfs", "live/filesystem.squashfs"}, Unions: []string{"/ root"}}
	livetest.Squashed(t, d.Path("live/filesystem.squashfs"), func(dir string) {
		livetest.Write(t, dir+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
		livetest.Write(t, dir+"/both", []byte("filesystem"), 0o644)
	})
	livetest.Squashed(t, d.Path("live/addon.squashfs"), func(dir string) { livetest.Write(t, dir+"/both", []byte("addon"), 0o644) })
	livetest.Write(t, d.Path("live/filesystem.module"), []byte("filesystem.squashfs\naddon.squashfs\n"), 0o644)
	livetest.Write(t, d.Path("persistence/persistence.conf"), []byte("/ union,source=root\n/home\n"), 0o644)
	livetest.Write(t, d.Path("persistence/home/user/letter"), []byte("dear"), 0o600)
	change := func(mnt string) {
		livetest.Write(t, mnt+"/etc/new", []byte("new"), 0o600)
		systest.Must(t, os.Remove(mnt+"/both"))
		systest.Must(t, os.Rename(mnt+"/usr/share", mnt+"/usr/moved"))
	}
	mnt, drop := d.Mounted(false)
	change(mnt)
	drop()
	before, drop := d.Shown()
	drop()
	debianTruth(d, func(string) {})
	if b, err := os.ReadFile(d.Path("persistence/home/user/letter")); err != nil || string(b) != "dear" {
		t.Errorf("what is bound was lost: %q, %v", b, err)
	}
	if _, err := os.Stat(d.Path("live/addon.squashfs")); err == nil {
		t.Error("the module is still there, though it is in the base")
	}
	if b, err := os.ReadFile(d.Path("live/filesystem.module")); err != nil || string(b) != "filesystem.squashfs\n" {
		t.Errorf("the list of modules is %q, %v", b, err)
	}
	p, err := rollback.New(t.Context(), livetest.Env(t, 0), d.Dir)
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
	after, drop := d.Shown()
	livetest.SameTree(t, "before", "after the roll-back", before, after)
	drop()
	livetest.SameTree(t, "before", "relive after the roll-back", before, livetest.OpenTree(t, d.Dir, ""))
	// Once more: what the roll-back has set aside is in nobody's way.
	debianTruth(d, func(mnt string) { livetest.Write(t, mnt+"/etc/newer", nil, 0o600) })
}
