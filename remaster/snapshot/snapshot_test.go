package snapshot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/codec"
	"relive/iso"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/snapshot"
	"relive/tree"
	"relive/tree/systest"
)

// bootable makes an ISO that firmware would boot, with a kernel and an initrd
// where a layout has them, and no system.
func bootable(t testing.TB, label string, more ...*tree.Node) string {
	t.Helper()
	root := tree.NewDir("", 0o755)
	var edits tree.Edits
	put := func(at string, content []byte) {
		n := tree.NewFile("", 0o444, content)
		n.Mtime = tree.Time{Sec: 1_700_000_000}
		edits.Put(at, n)
	}
	put("boot/isolinux/isolinux.bin", livetest.Noise(50, 24<<10))
	put("boot/isolinux/isolinux.cfg",
		[]byte("default live\nlabel live\n  kernel /antiX/vmlinuz\n  append quiet persist_all root=live:CDLABEL="+label+
			" rd.live.overlay=LABEL=x archisolabel="+label+" persistence\n  initrd /antiX/initrd.gz\n"))
	put("boot/grub/efi.img", livetest.Noise(51, 64<<10))
	put(".disk/info", []byte("a name that begins with a dot\n"))
	root, err := edits.Apply(root)
	systest.Must(t, err)
	for _, n := range more {
		var e tree.Edits
		e.Put(n.Name, n)
		root, err = e.Apply(root)
		systest.Must(t, err)
	}
	p, err := iso.NewPlan(t.Context(), root, iso.Recipe{
		VolumeID: label, Catalog: "boot/isolinux/boot.cat",
		Boot: []iso.BootImage{{Path: "boot/isolinux/isolinux.bin", BootInfo: true}, {Path: "boot/grub/efi.img", Platform: iso.PlatformEFI}},
		Disk: &iso.Disk{Table: iso.TableGPT},
	})
	systest.Must(t, err)
	name := systest.TempDir(t) + "/template.iso"
	f, err := os.Create(name)
	systest.Must(t, err)
	defer f.Close()
	_, err = p.Write(t.Context(), f, nil)
	systest.Must(t, err)
	return name
}

// kernelFiles writes a kernel and an initrd for --kernel and --initrd.
func kernelFiles(t testing.TB) (kernel, initrd string) {
	dir := systest.TempDir(t)
	livetest.Write(t, dir+"/vmlinuz", livetest.Noise(52, 100_000), 0o644)
	livetest.Write(t, dir+"/initrd", livetest.Noise(53, 50_000), 0o644)
	return dir + "/vmlinuz", dir + "/initrd"
}

// snapshot makes an ISO of a live directory.
func runSnapshot(t testing.TB, dir string, o snapshot.Options) *snapshot.Result {
	t.Helper()
	res, err := trySnapshot(t, dir, o)
	if err != nil {
		t.Fatalf("snapshot: %v (hint: %s)", err, refusal.Hint(err))
	}
	return res
}

func trySnapshot(t testing.TB, dir string, o snapshot.Options) (*snapshot.Result, error) {
	t.Helper()
	e := livetest.Env(t, codec.Auto)
	l, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer l.Close()
	p, err := snapshot.New(t.Context(), e, l, o)
	if err != nil {
		return nil, err
	}
	defer func() { systest.Must(t, p.Close()) }()
	return p.Run(t.Context())
}

// inISO extracts an ISO by xorriso.
func inISO(t testing.TB, name string) string {
	t.Helper()
	dir := systest.TempDir(t) + "/iso"
	systest.Run(t, "xorriso", "-osirrox", "on", "-indev", name, "-extract", "/", dir)
	systest.Run(t, "chmod", "-R", "u+w", dir)
	return dir
}

// TestISO: of every layout the system in the ISO is what the kernel shows of
// base, overlay and homes together, and the live directory stays as it is.
func TestISO(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "xorriso", "setfattr")
	keep := func(dir string) snapshot.Options {
		kernel, initrd := kernelFiles(t)
		return snapshot.Options{Output: systest.TempDir(t) + "/out.iso", Template: bootable(t, "OLD"), NoDefaultExcludes: true,
			Kernel: kernel, Initrd: initrd, Sums: []string{"md5", "sha256", "sha512"}}
	}
	// check makes the ISO and compares the system in it.
	check := func(t *testing.T, dir, base string, want *tree.Node, drop []string) string {
		before := livetest.Hashes(t, dir)
		o := keep(dir)
		res := runSnapshot(t, dir, o)
		if after := livetest.Hashes(t, dir); !livetest.SameButRootTime(before, after) {
			t.Errorf("the live directory was changed\nfrom\n%s\nto\n%s", before, after)
		}
		systest.Run(t, "sh", "-c", "cd "+filepath.Dir(res.Path)+" && for s in md5 sha256 sha512; do ${s}sum -c out.iso.$s || exit 1; done")
		got := inISO(t, res.Path)
		root, _ := systest.Mount(t, "squashfs", "loop,ro", filepath.Join(got, base))
		for _, inner := range []string{"LiveOS/rootfs.img", "airootfs.img"} {
			if _, err := os.Stat(filepath.Join(root, inner)); err == nil {
				systest.Fsck(t, copyOf(t, filepath.Join(root, inner)))
				root, _ = systest.Mount(t, "ext4", "loop,ro,noload", filepath.Join(root, inner))
				drop = append(drop, "lost+found")
			}
		}
		livetest.SameTree(t, "the kernel's view", "the system in the ISO", livetest.Without(t, want, drop...),
			livetest.Without(t, livetest.OpenDir(t, root), drop...))
		if _, err := os.Stat(got + "/.disk/info"); err != nil {
			t.Error(err)
		}
		return got
	}
	t.Run("antiX", func(t *testing.T) {
		t.Parallel()
		l := livetest.NewLive(t, livetest.SystemImage(t))
		l.Boot(true, func(mnt string) { livetest.Use(t, mnt) })
		homes := systest.TempDir(t)
		livetest.Write(t, homes+"/kim/letter", []byte("dear"), 0o600)
		systest.Must(t, os.Chown(homes+"/kim", 1001, 1001))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", "-d", homes, l.Path("homefs"), "16M")
		want := livetest.Copied(t, l.View())
		home, _ := systest.Mount(t, "ext4", "loop,ro,noload", copyOf(t, l.Path("homefs")))
		var e tree.Edits
		e.Put("home", livetest.OpenDir(t, home))
		e.Remove("home/lost+found")
		want, err := e.Apply(want)
		systest.Must(t, err)
		got := check(t, l.Dir, "antiX/linuxfs", want, livetest.Stamps)
		systest.Run(t, "sh", "-c", `cd "$1/antiX" && md5sum -c --quiet linuxfs.md5 vmlinuz.md5 initrd.gz.md5`, "sh", got)
		info, err := os.ReadFile(got + "/antiX/linuxfs.info")
		if err != nil || !strings.HasPrefix(string(info), "UncompressedSizeKB=") {
			t.Errorf("linuxfs.info: %q %v", info, err)
		}
		for _, name := range []string{"rootfs", "homefs"} {
			if _, err := os.Lstat(got + "/antiX/" + name); err == nil {
				t.Errorf("%s is on the ISO", name)
			}
		}
		cfg, _ := os.ReadFile(got + "/boot/isolinux/isolinux.cfg")
		if bytes.Contains(cfg, []byte("persist_all")) || !bytes.Contains(cfg, []byte("/antiX/vmlinuz")) {
			t.Errorf("the menu is\n%s", cfg)
		}
	})
	for _, c := range []struct {
		name, kind string
		flat, bare bool
		arch       bool
	}{
		{"snapshot", "dm", false, false, false},
		{"snapshot over a bare image", "dm", false, true, false},
		{"directory over a nested image", "dir", false, false, false},
		{"directory over a bare image", "dir", false, true, false},
		{"flat image", "image", true, false, false},
		{"archiso snapshot", "dm", false, false, true},
		{"archiso directory", "dir", true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			systest.Must(t, os.Chmod(d, 0o755))
			livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			livetest.Write(t, d+"/etc/hostname", []byte("live\n"), 0o644)
			m, base := livetest.LiveOS(t), "LiveOS/squashfs.img"
			if c.arch {
				m, base = livetest.Archiso(t, c.kind), "arch/x86_64/airootfs.sfs"
			}
			m.Fill(d, c.kind, c.flat, c.bare, "-comp", "gzip")
			if c.arch {
				livetest.Write(t, m.Path("arch/x86_64/airootfs.sha512"),
					[]byte(systest.Run(t, "sh", "-c", "cd "+m.Dir+"/arch/x86_64 && sha512sum airootfs.sfs")), 0o644)
			}
			m.Boot(false, func(mnt string) {
				livetest.Write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
				systest.Must(t, os.Remove(mnt+"/etc/hostname"))
				livetest.Poke(t, mnt+"/usr/share/big.db", 150_000, []byte("poked"))
			})
			got := check(t, m.Dir, base, livetest.Copied(t, m.View()), []string{"lost+found"})
			if c.arch {
				systest.Run(t, "sh", "-c", "cd "+got+"/arch/x86_64 && sha512sum -c airootfs.sha512")
			}
		})
	}
	t.Run("Debian live", func(t *testing.T) {
		t.Parallel()
		d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "persistence", Names: [2]string{"rw", "work"},
			Images: []string{"live/addon.squashfs", "live/filesystem.squashfs"}, Unions: []string{"/ ."}}
		livetest.Squashed(t, d.Path("live/filesystem.squashfs"), func(dir string) {
			livetest.Write(t, dir+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			livetest.Write(t, dir+"/both", []byte("filesystem"), 0o644)
			systest.Must(t, os.MkdirAll(dir+"/home/gone", 0o755))
		})
		livetest.Squashed(t, d.Path("live/addon.squashfs"), func(dir string) { livetest.Write(t, dir+"/both", []byte("addon"), 0o644) })
		livetest.Write(t, d.Path("live/filesystem.module"), []byte("filesystem.squashfs\naddon.squashfs\n"), 0o644)
		p := systest.TempDir(t)
		livetest.Write(t, p+"/persistence.conf", []byte("/ union,source=.\n/home\n"), 0o644)
		livetest.Write(t, p+"/home/user/letter", []byte("dear"), 0o600)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persistence", "-d", p, d.Path("persistence"), "48M")
		mnt, drop := d.Mounted(false)
		livetest.Write(t, mnt+"/etc/new", []byte("new"), 0o600)
		drop()
		root, drop := d.Shown()
		drop()
		var e tree.Edits
		e.Put("home", livetest.OpenDir(t, p+"/home"))
		want, err := e.Apply(root)
		systest.Must(t, err)
		got := check(t, d.Dir, "live/filesystem.squashfs", want, nil)
		if m, err := os.ReadFile(got + "/live/filesystem.module"); err != nil || string(m) != "filesystem.squashfs\n" {
			t.Errorf("filesystem.module: %q %v", m, err)
		}
	})
	t.Run("casper", func(t *testing.T) {
		t.Parallel()
		d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "casper-rw", Names: [2]string{"upper", "work"},
			Unions: []string{"/ ."},
			Images: []string{"casper/minimal.live.squashfs", "casper/minimal.squashfs"}}
		livetest.Squashed(t, d.Path("casper/minimal.squashfs"), func(dir string) {
			livetest.Write(t, dir+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			livetest.Write(t, dir+"/etc/live/a", []byte("a"), 0o644)
		})
		livetest.Squashed(t, d.Path("casper/minimal.live.squashfs"),
			func(dir string) { livetest.Write(t, dir+"/etc/live/b", []byte("live"), 0o644) })
		p := systest.TempDir(t)
		systest.Must(t, os.Mkdir(p+"/upper", 0o755))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.Path("casper-rw"), "48M")
		mnt, drop := d.Mounted(false)
		systest.Must(t, os.Remove(mnt+"/etc/live/a"))
		livetest.Write(t, mnt+"/etc/new", []byte("new"), 0o600)
		drop()
		want, drop := d.Shown()
		drop()
		got := check(t, d.Dir, "casper/minimal.squashfs", want, nil)
		// Whatever of the stack is booted, it shows the system.
		top, _ := systest.Mount(t, "squashfs", "loop,ro", got+"/casper/minimal.live.squashfs")
		bottom, _ := systest.Mount(t, "squashfs", "loop,ro", got+"/casper/minimal.squashfs")
		stack, _ := systest.Mount(t, "overlay", "lowerdir="+top+":"+bottom, "overlay")
		livetest.SameTree(t, "the kernel's view", "the stack", want, livetest.OpenDir(t, stack))
	})
}

func copyOf(t testing.TB, path string) string {
	t.Helper()
	to := systest.TempDir(t) + "/copy"
	systest.CopyFile(t, path, to)
	return to
}

// TestISOKernel: the live system boots with its own kernel, wherever a template
// has another.
func TestISOKernel(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "xorriso")
	t.Parallel()
	d := systest.TempDir(t)
	livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 30_000), 0o644)
	m := livetest.LiveOS(t).Fill(d, "dm", false, false, "-comp", "gzip")
	above := filepath.Dir(m.Dir)
	livetest.Write(t, above+"/images/pxeboot/vmlinuz", livetest.Text(60, 5000), 0o644)
	livetest.Write(t, above+"/images/pxeboot/initrd.img", livetest.Text(61, 5000), 0o644)
	other := func(name string, seed uint64) *tree.Node {
		n := tree.NewFile(name, 0o444, livetest.Text(seed, 4000))
		n.Mtime = tree.Time{Sec: 1_700_000_000}
		return n
	}
	template := bootable(t, "OLD", other("isolinux/vmlinuz", 70), other("isolinux/initrd.img", 71), other("isolinux/memtest", 72))
	res := runSnapshot(t, m.Dir, snapshot.Options{Output: systest.TempDir(t) + "/out.iso", Template: template, NoDefaultExcludes: true})
	got := inISO(t, res.Path)
	for name, seed := range map[string]uint64{"isolinux/vmlinuz": 60, "isolinux/initrd.img": 61} {
		if b, err := os.ReadFile(got + "/" + name); err != nil || !bytes.Equal(b, livetest.Text(seed, 5000)) {
			t.Errorf("%s is not the live system's: %v", name, err)
		}
	}
	if b, err := os.ReadFile(got + "/isolinux/memtest"); err != nil || !bytes.Equal(b, livetest.Text(72, 4000)) {
		t.Errorf("isolinux/memtest: %v", err)
	}
}
