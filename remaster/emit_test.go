package remaster_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/iso"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/snapshot"
	"relive/squash/codec"
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
	put("boot/isolinux/isolinux.bin", noise(50, 24<<10))
	put("boot/isolinux/isolinux.cfg", []byte("default live\nlabel live\n  kernel /antiX/vmlinuz\n  append quiet persist_all root=live:CDLABEL="+label+" rd.live.overlay=LABEL=x archisolabel="+label+" persistence\n  initrd /antiX/initrd.gz\n"))
	put("boot/grub/efi.img", noise(51, 64<<10))
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
	write(t, dir+"/vmlinuz", noise(52, 100_000), 0o644)
	write(t, dir+"/initrd", noise(53, 50_000), 0o644)
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
	e := environment(t, codec.Auto)
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
	requireKernel(t)
	systest.NeedTools(t, "xorriso", "setfattr")
	keep := func(dir string) snapshot.Options {
		kernel, initrd := kernelFiles(t)
		return snapshot.Options{Output: systest.TempDir(t) + "/out.iso", Template: bootable(t, "OLD"), NoDefaultExcludes: true, Kernel: kernel, Initrd: initrd, Sums: []string{"md5", "sha256", "sha512"}}
	}
	// check makes the ISO and compares the system in it.
	check := func(t *testing.T, dir, base string, want *tree.Node, drop []string) string {
		before := hashes(t, dir)
		o := keep(dir)
		res := runSnapshot(t, dir, o)
		if after := hashes(t, dir); !sameButRootTime(before, after) {
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
		sameTree(t, "the kernel's view", "the system in the ISO", without(t, want, drop...), without(t, openDir(t, root), drop...))
		if _, err := os.Stat(got + "/.disk/info"); err != nil {
			t.Error(err)
		}
		return got
	}
	t.Run("antiX", func(t *testing.T) {
		t.Parallel()
		l := newLive(t, systemImage(t))
		l.boot(true, func(mnt string) { use(t, mnt) })
		homes := systest.TempDir(t)
		write(t, homes+"/kim/letter", []byte("dear"), 0o600)
		systest.Must(t, os.Chown(homes+"/kim", 1001, 1001))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", "-d", homes, l.path("homefs"), "16M")
		want := copied(t, l.view())
		home, _ := systest.Mount(t, "ext4", "loop,ro,noload", copyOf(t, l.path("homefs")))
		var e tree.Edits
		e.Put("home", openDir(t, home))
		e.Remove("home/lost+found")
		want, err := e.Apply(want)
		systest.Must(t, err)
		got := check(t, l.dir, "antiX/linuxfs", want, stamps)
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
			write(t, d+"/usr/share/big.db", text(1, 300_000), 0o644)
			write(t, d+"/etc/hostname", []byte("live\n"), 0o644)
			m, base := liveOS(t), "LiveOS/squashfs.img"
			if c.arch {
				m, base = archiso(t, c.kind), "arch/x86_64/airootfs.sfs"
			}
			m.fill(d, c.kind, c.flat, c.bare, "-comp", "gzip")
			if c.arch {
				write(t, m.path("arch/x86_64/airootfs.sha512"), []byte(systest.Run(t, "sh", "-c", "cd "+m.dir+"/arch/x86_64 && sha512sum airootfs.sfs")), 0o644)
			}
			m.boot(false, func(mnt string) {
				write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
				systest.Must(t, os.Remove(mnt+"/etc/hostname"))
				poke(t, mnt+"/usr/share/big.db", 150_000, []byte("poked"))
			})
			got := check(t, m.dir, base, copied(t, m.view()), []string{"lost+found"})
			if c.arch {
				systest.Run(t, "sh", "-c", "cd "+got+"/arch/x86_64 && sha512sum -c airootfs.sha512")
			}
		})
	}
	t.Run("Debian live", func(t *testing.T) {
		t.Parallel()
		d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "persistence", names: [2]string{"rw", "work"},
			images: []string{"live/addon.squashfs", "live/filesystem.squashfs"}, unions: []string{"/ ."}}
		squashed(t, d.path("live/filesystem.squashfs"), func(dir string) {
			write(t, dir+"/usr/share/big.db", text(1, 300_000), 0o644)
			write(t, dir+"/both", []byte("filesystem"), 0o644)
			systest.Must(t, os.MkdirAll(dir+"/home/gone", 0o755))
		})
		squashed(t, d.path("live/addon.squashfs"), func(dir string) { write(t, dir+"/both", []byte("addon"), 0o644) })
		write(t, d.path("live/filesystem.module"), []byte("filesystem.squashfs\naddon.squashfs\n"), 0o644)
		p := systest.TempDir(t)
		write(t, p+"/persistence.conf", []byte("/ union,source=.\n/home\n"), 0o644)
		write(t, p+"/home/user/letter", []byte("dear"), 0o600)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persistence", "-d", p, d.path("persistence"), "48M")
		mnt, drop := d.mounted(false)
		write(t, mnt+"/etc/new", []byte("new"), 0o600)
		drop()
		root, drop := d.shown()
		drop()
		var e tree.Edits
		e.Put("home", openDir(t, p+"/home"))
		want, err := e.Apply(root)
		systest.Must(t, err)
		got := check(t, d.dir, "live/filesystem.squashfs", want, nil)
		if m, err := os.ReadFile(got + "/live/filesystem.module"); err != nil || string(m) != "filesystem.squashfs\n" {
			t.Errorf("filesystem.module: %q %v", m, err)
		}
	})
	t.Run("casper", func(t *testing.T) {
		t.Parallel()
		d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "casper-rw", names: [2]string{"upper", "work"}, unions: []string{"/ ."},
			images: []string{"casper/minimal.live.squashfs", "casper/minimal.squashfs"}}
		squashed(t, d.path("casper/minimal.squashfs"), func(dir string) {
			write(t, dir+"/usr/share/big.db", text(1, 300_000), 0o644)
			write(t, dir+"/etc/live/a", []byte("a"), 0o644)
		})
		squashed(t, d.path("casper/minimal.live.squashfs"), func(dir string) { write(t, dir+"/etc/live/b", []byte("live"), 0o644) })
		p := systest.TempDir(t)
		systest.Must(t, os.Mkdir(p+"/upper", 0o755))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.path("casper-rw"), "48M")
		mnt, drop := d.mounted(false)
		systest.Must(t, os.Remove(mnt+"/etc/live/a"))
		write(t, mnt+"/etc/new", []byte("new"), 0o600)
		drop()
		want, drop := d.shown()
		drop()
		got := check(t, d.dir, "casper/minimal.squashfs", want, nil)
		// Whatever of the stack is booted, it shows the system.
		top, _ := systest.Mount(t, "squashfs", "loop,ro", got+"/casper/minimal.live.squashfs")
		bottom, _ := systest.Mount(t, "squashfs", "loop,ro", got+"/casper/minimal.squashfs")
		stack, _ := systest.Mount(t, "overlay", "lowerdir="+top+":"+bottom, "overlay")
		sameTree(t, "the kernel's view", "the stack", want, openDir(t, stack))
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
	requireKernel(t)
	systest.NeedTools(t, "xorriso")
	t.Parallel()
	d := systest.TempDir(t)
	write(t, d+"/usr/share/big.db", text(1, 30_000), 0o644)
	m := liveOS(t).fill(d, "dm", false, false, "-comp", "gzip")
	above := filepath.Dir(m.dir)
	write(t, above+"/images/pxeboot/vmlinuz", text(60, 5000), 0o644)
	write(t, above+"/images/pxeboot/initrd.img", text(61, 5000), 0o644)
	other := func(name string, seed uint64) *tree.Node {
		n := tree.NewFile(name, 0o444, text(seed, 4000))
		n.Mtime = tree.Time{Sec: 1_700_000_000}
		return n
	}
	template := bootable(t, "OLD", other("isolinux/vmlinuz", 70), other("isolinux/initrd.img", 71), other("isolinux/memtest", 72))
	res := runSnapshot(t, m.dir, snapshot.Options{Output: systest.TempDir(t) + "/out.iso", Template: template, NoDefaultExcludes: true})
	got := inISO(t, res.Path)
	for name, seed := range map[string]uint64{"isolinux/vmlinuz": 60, "isolinux/initrd.img": 61} {
		if b, err := os.ReadFile(got + "/" + name); err != nil || !bytes.Equal(b, text(seed, 5000)) {
			t.Errorf("%s is not the live system's: %v", name, err)
		}
	}
	if b, err := os.ReadFile(got + "/isolinux/memtest"); err != nil || !bytes.Equal(b, text(72, 4000)) {
		t.Errorf("isolinux/memtest: %v", err)
	}
}
