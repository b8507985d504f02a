package remaster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/tree"
	"relive/tree/systest"
)

// debian is a medium of Debian live or casper: several images and a
// persistence image with unions.
type debian struct {
	frugal
	images []string // the uppermost first, as the kernel is to stack them
	over   string   // persistence image
	unions []string // "DIR SOURCE", the outer ones first
	names  [2]string
}

// mounted shows the medium as a boot does, from copies if copied, until drop.
func (d *debian) mounted(copied bool) (mnt string, drop func()) {
	d.t.Helper()
	dir := d.dir
	if copied {
		dir = systest.TempDir(d.t) + "/m"
		systest.Run(d.t, "cp", "-a", "--sparse=always", d.dir, dir)
	}
	var drops []func()
	var lowers []string
	for _, name := range d.images {
		at := filepath.Join(dir, name)
		if _, err := os.Stat(at); err != nil {
			continue
		}
		if !copied {
			c := systest.TempDir(d.t) + "/base" // a mounted base is not replaced
			systest.CopyFile(d.t, at, c)
			at = c
		}
		m, drop := systest.Mount(d.t, "squashfs", "loop,ro", at)
		lowers, drops = append(lowers, m), append(drops, drop)
	}
	root := filepath.Join(dir, d.over)
	if st, err := os.Stat(root); err == nil && !st.IsDir() {
		var dropRoot func()
		root, dropRoot = systest.Mount(d.t, "ext4", "loop", root)
		drops = append(drops, dropRoot)
	}
	for i, u := range d.unions {
		where, source, _ := strings.Cut(u, " ")
		upper, work := filepath.Join(root, source, d.names[0]), filepath.Join(root, source, d.names[1])
		systest.Must(d.t, os.MkdirAll(upper, 0o755))
		systest.Must(d.t, os.MkdirAll(work, 0o755))
		var at []string
		for _, l := range lowers {
			if st, err := os.Stat(l + where); err == nil && st.IsDir() {
				at = append(at, l+where)
			}
		}
		o := "lowerdir=" + strings.Join(at, ":") + ",upperdir=" + upper + ",workdir=" + work + ",redirect_dir=on"
		if i == 0 {
			var drop func()
			mnt, drop = systest.Mount(d.t, "overlay", o, "overlay")
			drops = append(drops, drop)
			continue
		}
		drops = append(drops, systest.MountAt(d.t, "overlay", o, "overlay", mnt+where))
	}
	return mnt, func() {
		for i := len(drops) - 1; i >= 0; i-- {
			drops[i]()
		}
	}
}

// truth compacts and compares what the kernel shows before and after with what
// relive shows.
func (d *debian) truth(change func(mnt string)) {
	d.t.Helper()
	mnt, drop := d.mounted(false)
	change(mnt)
	drop()
	want, drop := d.shown()
	sameTree(d.t, "the kernel before", "relive before", want, openTree(d.t, d.dir, ""))
	drop()
	d.compact(compact.Options{KeepOld: 1})
	sameTree(d.t, "the kernel before", "relive after", want, openTree(d.t, d.dir, ""))
	after, drop := d.shown()
	sameTree(d.t, "the kernel before", "the kernel after", want, after)
	drop()
	s := d.status()
	if s.Overlay == nil || !s.Overlay.Empty {
		d.t.Errorf("the overlay is not empty: %+v", s.Overlay)
	}
	if !stat(d.t, d.path(d.over)).IsDir() {
		systest.Fsck(d.t, d.path(d.over))
	}
}

// shown is a copy of what the kernel shows; its mounts are there until drop.
func (d *debian) shown() (root *tree.Node, drop func()) {
	d.t.Helper()
	mnt, drop := d.mounted(true)
	to := systest.TempDir(d.t)
	systest.Run(d.t, "sh", "-c", "cp -a "+mnt+"/. "+to+"/")
	return openDir(d.t, to), drop
}

// squashed makes an image of a directory.
func squashed(t testing.TB, path string, fill func(dir string)) {
	t.Helper()
	dir := systest.TempDir(t)
	systest.Must(t, os.Chmod(dir, 0o755))
	fill(dir)
	systest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	systest.Run(t, "mksquashfs", dir, path, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
}

func TestLiveBoot(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "persistence", names: [2]string{"rw", "work"},
		// live-boot stacks modules below a persistent union the first on top.
		images: []string{"live/addon.squashfs", "live/filesystem.squashfs"},
		unions: []string{"/ .", "/var/lib state/lib"}}
	squashed(t, d.path("live/filesystem.squashfs"), func(dir string) {
		write(t, dir+"/usr/share/big.db", text(1, 300_000), 0o644)
		write(t, dir+"/usr/bin/tool", text(2, 3000), 0o755)
		write(t, dir+"/var/lib/dpkg/status", text(3, 9000), 0o644)
		write(t, dir+"/both", []byte("filesystem"), 0o644)
		systest.Must(t, os.MkdirAll(dir+"/home", 0o755))
	})
	squashed(t, d.path("live/addon.squashfs"), func(dir string) {
		write(t, dir+"/usr/share/addon", text(4, 50_000), 0o644)
		write(t, dir+"/both", []byte("addon"), 0o644)
		systest.Run(t, "mkdir", "-p", dir+"/usr/bin")
		systest.Run(t, "mkfifo", dir+"/usr/bin/tool2")
	})
	p := systest.TempDir(t)
	write(t, p+"/persistence.conf", []byte("# what persists\n/ union,source=.\n/var/lib union,source=state/lib\n/home\n/etc/x link,source=dots\nrelative union\n"), 0o644)
	write(t, p+"/home/user/letter", []byte("dear"), 0o600)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persistence", "-d", p, d.path("persistence"), "48M")
	write(t, d.path("sha256sum.txt"), []byte(systest.Run(t, "sh", "-c", "cd "+d.dir+" && echo '# sums' && sha256sum ./live/filesystem.squashfs && sha256sum ./persistence | sed s/persistence/live.txt/")), 0o644)

	d.truth(func(mnt string) {
		write(t, mnt+"/etc/new", []byte("new"), 0o600)
		systest.Must(t, os.Remove(mnt+"/usr/bin/tool"))
		write(t, mnt+"/var/lib/dpkg/status", text(5, 9500), 0o644)
		systest.Must(t, os.Rename(mnt+"/usr/share", mnt+"/usr/moved"))
		systest.Must(t, os.Chown(mnt+"/usr/moved/big.db", 1, 1))
	})
	s := d.status()
	if got := strings.Join(s.Overlay.Kept, "\n"); !strings.Contains(got, "/home is a bind") || !strings.Contains(got, "/etc/x is a link") || !strings.Contains(got, "line 6") {
		t.Error(got)
	}
	if _, err := os.Stat(d.path("live/addon.squashfs")); err == nil {
		t.Error("the module is still there, though it is in the base")
	}
	systest.Run(t, "sh", "-c", "cd "+d.dir+" && grep live/filesystem sha256sum.txt | sha256sum -c && grep -q live.txt sha256sum.txt")
	root, _ := systest.Mount(t, "ext4", "loop,ro", d.path("persistence"))
	if b, err := os.ReadFile(root + "/home/user/letter"); err != nil || string(b) != "dear" {
		t.Errorf("what is bound was lost: %q, %v", b, err)
	}
	d.images = []string{"live/filesystem.squashfs"}
	c := systest.TempDir(t) + "/p" // away from the mount
	systest.CopyFile(t, d.path("persistence"), c)
	systest.Must(t, os.Rename(c, d.path("persistence")))
	d.truth(func(mnt string) { write(t, mnt+"/var/lib/again", []byte("again"), 0o600) })
	p2, err := rollback.New(t.Context(), environment(t, 0), d.dir)
	systest.Must(t, err)
	systest.Must(t, p2.Run(t.Context()))
}

func TestCasper(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "casper-rw", names: [2]string{"upper", "work"}, unions: []string{"/ ."},
		images: []string{"casper/minimal.standard.live.squashfs", "casper/minimal.standard.squashfs", "casper/minimal.squashfs"}}
	squashed(t, d.path("casper/minimal.squashfs"), func(dir string) {
		write(t, dir+"/usr/share/big.db", text(1, 300_000), 0o644)
		write(t, dir+"/usr/bin/tool", text(2, 3000), 0o755)
		write(t, dir+"/both", []byte("minimal"), 0o644)
		write(t, dir+"/opt/a/b/c", []byte("c"), 0o644)
		systest.Must(t, os.Link(dir+"/both", dir+"/usr/linked"))
	})
	squashed(t, d.path("casper/minimal.standard.squashfs"), func(dir string) {
		write(t, dir+"/both", []byte("standard"), 0o644)
		systest.Run(t, "mkdir", "-p", dir+"/usr/bin", dir+"/opt")
		systest.Run(t, "mknod", dir+"/usr/bin/tool", "c", "0", "0")
	})
	squashed(t, d.path("casper/minimal.standard.live.squashfs"), func(dir string) {
		write(t, dir+"/etc/live", []byte("live"), 0o644)
	})
	squashed(t, d.path("casper/minimal.de.squashfs"), func(dir string) { write(t, dir+"/sprache", []byte("de"), 0o644) })
	write(t, d.path("casper/minimal.standard.live.size"), []byte("1\n"), 0o644)
	p := systest.TempDir(t)
	systest.Must(t, os.Mkdir(p+"/upper", 0o755))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.path("casper-rw"), "48M")
	below := hashes(t, d.path("casper"))
	for round := range 2 {
		d.truth(func(mnt string) {
			write(t, mnt+"/etc/new", []byte{byte(round)}, 0o600)
			if round == 0 {
				systest.Must(t, os.RemoveAll(mnt+"/opt/a"))
				systest.Must(t, os.Rename(mnt+"/usr/share", mnt+"/usr/moved"))
				write(t, mnt+"/usr/bin/tool", text(6, 100), 0o755)
				systest.Must(t, os.Chmod(mnt+"/usr/linked", 0o600))
			} else {
				write(t, mnt+"/opt/a", []byte("a file now"), 0o644)
				systest.Must(t, os.Rename(mnt+"/usr/moved", mnt+"/usr/share"))
			}
		})
	}
	if size := stat(t, d.path("casper/minimal.standard.live.squashfs")).Size(); size > 100_000 {
		t.Errorf("the topmost image has %d bytes: it holds what those below hold", size)
	}
	for line := range strings.Lines(below) {
		if strings.Contains(line, "minimal.squashfs") && !strings.Contains(hashes(t, d.path("casper")), line) {
			t.Error("an image below was touched")
		}
	}
}

// TestCasperUnsure: where it cannot be told which stack is booted, that is said.
func TestCasperUnsure(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "mksquashfs")
	dir := systest.TempDir(t)
	for _, name := range []string{"a", "b"} {
		squashed(t, dir+"/casper/"+name+".squashfs", func(dir string) { write(t, dir+"/x", nil, 0o644) })
	}
	_, err := live.Find(dir)
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "a.squashfs, b.squashfs") || r.Hint == "" {
		t.Errorf("%v", err)
	}
}

// TestLiveBootInDirectory: persistence in a directory, whose layers are emptied in
// their place; and a roll-back brings modules and layers back.
func TestLiveBootInDirectory(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "persistence", names: [2]string{"rw", "work"},
		images: []string{"live/addon.squashfs", "live/filesystem.squashfs"}, unions: []string{"/ root"}}
	squashed(t, d.path("live/filesystem.squashfs"), func(dir string) {
		write(t, dir+"/usr/share/big.db", text(1, 300_000), 0o644)
		write(t, dir+"/both", []byte("filesystem"), 0o644)
	})
	squashed(t, d.path("live/addon.squashfs"), func(dir string) { write(t, dir+"/both", []byte("addon"), 0o644) })
	write(t, d.path("live/filesystem.module"), []byte("filesystem.squashfs\naddon.squashfs\n"), 0o644)
	write(t, d.path("persistence/persistence.conf"), []byte("/ union,source=root\n/home\n"), 0o644)
	write(t, d.path("persistence/home/user/letter"), []byte("dear"), 0o600)
	change := func(mnt string) {
		write(t, mnt+"/etc/new", []byte("new"), 0o600)
		systest.Must(t, os.Remove(mnt+"/both"))
		systest.Must(t, os.Rename(mnt+"/usr/share", mnt+"/usr/moved"))
	}
	mnt, drop := d.mounted(false)
	change(mnt)
	drop()
	before, drop := d.shown()
	drop()
	d.truth(func(string) {})
	if b, err := os.ReadFile(d.path("persistence/home/user/letter")); err != nil || string(b) != "dear" {
		t.Errorf("what is bound was lost: %q, %v", b, err)
	}
	if _, err := os.Stat(d.path("live/addon.squashfs")); err == nil {
		t.Error("the module is still there, though it is in the base")
	}
	if b, err := os.ReadFile(d.path("live/filesystem.module")); err != nil || string(b) != "filesystem.squashfs\n" {
		t.Errorf("the list of modules is %q, %v", b, err)
	}
	p, err := rollback.New(t.Context(), environment(t, 0), d.dir)
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
	after, drop := d.shown()
	sameTree(t, "before", "after the roll-back", before, after)
	drop()
	sameTree(t, "before", "relive after the roll-back", before, openTree(t, d.dir, ""))
	// Once more: what the roll-back has set aside is in nobody's way.
	d.truth(func(mnt string) { write(t, mnt+"/etc/newer", nil, 0o600) })
}
