package doctor_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"relive/codec"
	"relive/extfs/mkfs"
	"relive/remaster/doctor"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/save"
	"relive/tree"
	"relive/tree/systest"
)

// diagnose looks at a live directory.
func diagnose(t testing.TB, dir string) *doctor.Diagnosis {
	t.Helper()
	e := livetest.Env(t, codec.Auto)
	l, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer l.Close()
	d, err := doctor.Diagnose(t.Context(), e, l)
	systest.Must(t, err)
	for _, f := range d.Findings {
		if f.Summary == "" || f.Action == "" || f.Confidence == "" || strings.Contains(f.Summary, "%!") {
			t.Errorf("%+v", f)
		}
	}
	return d
}

func finding(d *doctor.Diagnosis, kind string) *doctor.Finding {
	for i := range d.Findings {
		if d.Findings[i].Kind == kind {
			return &d.Findings[i]
		}
	}
	return &doctor.Finding{}
}

const debStatus = `Package: one
Status: install ok installed
Architecture: amd64
Version: 1.0
Conffiles:
 /etc/one.conf 0123

Package: two
Status: install ok installed
Multi-Arch: same
Architecture: amd64
Version: 1.0

Package: three
Status: install ok installed
Architecture: all
Version: 3
`

// packaged is a dynamic system with packages, capabilities and links in its
// base, on which a package was removed and one upgraded, each with a directory
// that was deleted and made again.
func packaged(t testing.TB) *livetest.Dynamic {
	t.Helper()
	livetest.NeedKernel(t)
	d := systest.TempDir(t)
	systest.Must(t, os.Chmod(d, 0o755))
	livetest.SmallSystem(t, d)
	for _, f := range []string{"usr/lib/one/a", "usr/lib/one/b", "usr/lib/two/old", "usr/lib/two/stays", "usr/share/three", "etc/one.conf",
		"usr/lib/one/taken"} {
		livetest.Write(t, d+"/"+f, []byte(f), 0o644)
	}
	systest.Must(t, os.Symlink("usr/lib", d+"/lib"))
	livetest.Write(t, d+"/var/lib/dpkg/status", []byte(debStatus), 0o644)
	livetest.Write(t, d+"/var/lib/dpkg/info/one.list",
		[]byte("/.\n/lib\n/lib/one\n/lib/one/a\n/lib/one/b\n/lib/one/taken\n/etc/one.conf\n"), 0o644)
	livetest.Write(t, d+"/var/lib/dpkg/info/two:amd64.list", []byte("/.\n/usr/lib/two\n/usr/lib/two/old\n/usr/lib/two/stays\n"), 0o644)
	livetest.Write(t, d+"/var/lib/dpkg/info/three.list", []byte("/.\n/usr/share/three\n"), 0o644)
	livetest.Write(t, d+"/usr/bin/ping", livetest.Noise(5, 30_000), 0o755)
	systest.Run(t, "setcap", "cap_net_raw+ep", d+"/usr/bin/ping")
	livetest.Write(t, d+"/usr/bin/su", livetest.Noise(6, 10_000), os.ModeSetuid|0o755)
	livetest.Write(t, d+"/usr/bin/perl", livetest.Noise(7, 10_000), 0o755)
	systest.Must(t, os.Link(d+"/usr/bin/perl", d+"/usr/bin/perl5"))
	y := livetest.DynamicOf(t, d, "", func(string) {})
	y.Run(func(mnt string) {
		systest.Must(t, os.RemoveAll(mnt+"/usr/lib/one"))
		livetest.Write(t, mnt+"/usr/lib/one/taken", []byte("by another"), 0o644)
		systest.Must(t, os.RemoveAll(mnt+"/usr/lib/two"))
		livetest.Write(t, mnt+"/usr/lib/two/stays", []byte("new"), 0o644)
		livetest.Write(t, mnt+"/var/lib/dpkg/info/two:amd64.list", []byte("/.\n/usr/lib/two\n/usr/lib/two/stays\n"), 0o644)
		livetest.Write(t, mnt+"/var/lib/dpkg/info/three.list", []byte("/.\n/usr/share/three\n/usr/lib/one\n/usr/lib/one/taken\n"), 0o644)
		systest.Must(t, os.Remove(mnt+"/var/lib/dpkg/info/one.list"))
		status := strings.Replace(debStatus, "install ok installed", "deinstall ok config-files", 1)
		status = strings.Replace(status, "amd64\nVersion: 1.0\n\nPackage: three", "amd64\nVersion: 2.0\n\nPackage: three", 1)
		livetest.Write(t, mnt+"/var/lib/dpkg/status", []byte(status), 0o644)
		// Copied up with all they have.
		now := time.Now()
		for _, f := range []string{"ping", "su", "perl", "perl5"} {
			systest.Must(t, os.Chtimes(mnt+"/usr/bin/"+f, now, now))
		}
	})
	return y
}

// TestDoctorLossy: a save by rsync as persist-save calls it leaves traces; one by
// relive save leaves none.
func TestDoctorLossy(t *testing.T) {
	t.Parallel()
	systest.NeedTools(t, "rsync", "setcap")
	y := packaged(t)
	bad := livetest.Duplicate(t, y.Dir)
	root, drop := systest.Mount(t, "ext4", "loop", bad+"/rootfs")
	systest.Run(t, "rsync", "-a", "--delete-excluded", y.RAM+"/", root+"/")
	drop()
	d := diagnose(t, bad)
	if got := livetest.Kinds(d); got != "capability-lost links-split marks-lost removed-package-shows upgraded-package-shows" {
		t.Errorf("%s\n%+v", got, d.Findings)
	}
	for kind, want := range map[string]string{"capability-lost": "/usr/bin/ping", "links-split": "/usr/bin/perl /usr/bin/perl5",
		"removed-package-shows": "/usr/lib/one/a /usr/lib/one/b", "upgraded-package-shows": "/usr/lib/two/old"} {
		if got := strings.Join(finding(d, kind).Paths, " "); got != want {
			t.Errorf("%s: %q", kind, got)
		}
	}
	livetest.Save(t, y.Dir, y.RAM, save.Options{KeepOld: 1})
	d = diagnose(t, y.Dir)
	if len(d.Findings) > 0 || len(d.Notes) != 2 || !strings.Contains(d.Notes[0], "rootfs.old") || !strings.Contains(d.Notes[1], "no init") {
		t.Errorf("after relive save: %+v %q", d.Findings, d.Notes)
	}
}

// TestDoctorLayer: what is in the layer of an image, found by its kind.
func TestDoctorLayer(t *testing.T) {
	t.Parallel()
	y := packaged(t)
	livetest.Save(t, y.Dir, y.RAM, save.Options{})
	in := func(upper bool, fn func(root string)) func(dir string) {
		return func(dir string) {
			root, drop := systest.Mount(t, "ext4", "loop", dir+"/rootfs")
			if upper {
				root += "/upper"
			}
			fn(root)
			drop()
		}
	}
	for want, spoil := range map[string]func(dir string){
		"setuid-lost":     in(true, func(r string) { systest.Must(t, os.Chmod(r+"/usr/bin/su", 0o755)) }),
		"capability-lost": in(true, func(r string) { systest.Run(t, "setfattr", "-x", "security.capability", r+"/usr/bin/ping") }),
		"rsync-left":      in(true, func(r string) { livetest.Write(t, r+"/etc/.passwd.x8Kd2a", nil, 0o600) }),
		"dead-whiteouts":  in(true, func(r string) { systest.Run(t, "mknod", r+"/etc/never", "c", "0", "0") }),
		"work-left":       in(false, func(r string) { livetest.Write(t, r+"/work/work/#4711", nil, 0o600) }),
		"marks-lost": in(true, func(r string) {
			systest.Run(t, "setfattr", "-x", "trusted.overlay.origin", r+"/var/lib")
		}),
		"base-replaced": in(true, func(r string) {
			hex := strings.TrimSpace(systest.Run(t, "sh", "-c", "getfattr --absolute-names -e hex -n trusted.overlay.origin '"+r+
				"/usr/lib' | sed -n 's/^trusted.overlay.origin=//p'"))
			systest.Run(t, "setfattr", "-n", "trusted.overlay.origin", "-v", hex, r+"/usr/bin")
		}),
		"times-cut": in(true, func(r string) {
			for i := range 9 {
				livetest.Write(t, r+"/srv/"+string(rune('a'+i))+"/f", nil, 0o644)
			}
			systest.Run(t, "sh", "-c", "find '"+r+"' -depth -type d -exec touch -d @1700000000 {} +")
		}),
		"rootfs-label": func(dir string) { systest.Run(t, "e2label", dir+"/rootfs", "other") },
		"rootfs-full":  in(false, func(r string) { fill(t, r) }),
		"rootfs-inodes": in(false, func(r string) {
			systest.Run(t, "sh", "-c", "cd '"+r+"' && seq 20000 | xargs touch 2>/dev/null; true")
		}),
		"rootfs-errors": func(dir string) { systest.Run(t, "debugfs", "-w", "-R", "ssv state 3", dir+"/rootfs") },
		"rootfs-unclean": func(dir string) {
			systest.Run(t, "tune2fs", "-O", "^has_journal", dir+"/rootfs")
			systest.Run(t, "debugfs", "-w", "-R", "ssv state 0", dir+"/rootfs")
		},
		"interrupted-run": func(dir string) {
			e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: 3}
			e.Disk = disk
			livetest.Write(t, y.RAM+"/upper/etc/changed", []byte("so that there is something to save"), 0o644)
			if _, err := livetest.TrySave(t, e, dir, y.RAM, save.Options{}); !errors.Is(err, livetest.ErrPower) {
				t.Fatal(err)
			}
		},
		"rootfs-journal": func(dir string) {
			root, drop := systest.Mount(t, "ext4", "loop", dir+"/rootfs")
			livetest.Write(t, root+"/upper/etc/more", nil, 0o644)
			systest.Run(t, "sync", "-f", root)
			systest.CopyFile(t, dir+"/rootfs", dir+"/cut")
			drop()
			systest.Must(t, os.Rename(dir+"/cut", dir+"/rootfs"))
		},
		"version-ids": in(true, func(r string) {
			livetest.Write(t, r+"/etc/live/version/rootfs.ver", []byte("==== 77777777777777777777777777777777\n"), 0o644)
		}),
		"staged":    func(dir string) { livetest.Write(t, dir+"/linuxfs.new", nil, 0o644) },
		"set-aside": func(dir string) { livetest.Write(t, dir+"/rootfs.bad", nil, 0o644) },
		"homefs-label": func(dir string) {
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homes", dir+"/homefs", "24M")
		},
		"home-unreadable": func(dir string) { livetest.Write(t, dir+"/homefs", livetest.Noise(1, 9000), 0o644) },
		"": func(dir string) {
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", dir+"/homefs", "24M")
			livetest.Write(t, dir+"/linuxfs.old", nil, 0o644)
			in(true, func(r string) { // which people do
				livetest.Write(t, r+"/etc/.profile.backup", nil, 0o644)
				livetest.Write(t, r+"/etc/.README.MASTER", nil, 0o644)
				systest.Must(t, os.Chown(r+"/usr/bin/su", 1, 1))
				systest.Must(t, os.WriteFile(r+"/usr/bin/ping", []byte("other"), 0o755))
			})(dir)
		},
	} {
		t.Run(want, func(t *testing.T) {
			dir := livetest.Duplicate(t, y.Dir)
			spoil(dir)
			if d := diagnose(t, dir); livetest.Kinds(d) != want {
				t.Errorf("%+v", d.Findings)
			}
		})
	}
}

// fill leaves little room.
func fill(t testing.TB, dir string) {
	t.Helper()
	f, err := os.Create(dir + "/big")
	systest.Must(t, err)
	defer f.Close()
	for b := livetest.Noise(1, 1<<20); err == nil; {
		_, err = f.Write(b)
	}
}

// TestDoctorACL: of a base that is an ext image, which can hold ACLs; one that is
// beyond what FAT holds; and what is no trace at all.
func TestDoctorACL(t *testing.T) {
	t.Parallel()
	dir := systest.TempDir(t)
	acl := tree.Xattrs{{Name: "system.posix_acl_access",
		Value: "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x06\x00\xd2\x04\x00\x00\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00" +
			"\x07\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"}}
	file := func(x tree.Xattrs) *tree.Node {
		n := tree.NewFile("shared", 0o775, []byte("shared"))
		n.Xattrs = x
		return n
	}
	image := func(path string, size int64, root *tree.Node) {
		f, err := os.Create(path)
		systest.Must(t, err)
		_, err = mkfs.Build(t.Context(), f, root, mkfs.Options{Size: size, Label: "rootfs"})
		systest.Must(t, err)
		systest.Must(t, f.Close())
	}
	wrapped := systest.TempDir(t) + "/linuxfs"
	image(wrapped, 16<<20, tree.NewDir("", 0o755, tree.NewDir("etc", 0o755, tree.NewDir("live", 0o755, tree.NewDir("version", 0o755,
		tree.NewFile("linuxfs.ver", 0o644, []byte(livetest.VersionText)))), file(acl)), tree.NewDir("usr", 0o755)))
	systest.Run(t, "mksquashfs", wrapped, dir+"/linuxfs", "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	for _, x := range []tree.Xattrs{acl, nil} {
		etc := tree.NewDir("etc", 0o755,
			tree.NewDir("live", 0o755, tree.NewDir("version", 0o755, tree.NewFile("rootfs.ver", 0o644, []byte(livetest.VersionText)))),
			file(x))
		etc.Xattrs = tree.Xattrs{{Name: "trusted.overlay.origin"}}
		image(dir+"/rootfs", 32<<20, tree.NewDir("", 0o755, tree.NewDir("upper", 0o755, etc), tree.NewDir("work", 0o755)))
		d := diagnose(t, dir)
		want := ""
		if x == nil {
			want = "acl-lost"
		}
		if livetest.Kinds(d) != want {
			t.Errorf("%+v", d.Findings)
		}
	}
	f, err := os.OpenFile(dir+"/linuxfs", os.O_WRONLY, 0)
	systest.Must(t, err)
	systest.Must(t, f.Truncate(4<<30))
	systest.Must(t, f.Close())
	if d := diagnose(t, dir); livetest.Kinds(d) != "acl-lost beyond-fat" {
		t.Errorf("%+v", d.Findings)
	}
}

// TestDoctorAufs: a layer of aufs has marks of another kind.
func TestDoctorAufs(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.SmallSystem(t, d)
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	systest.Run(t, "mksquashfs", d, l.Path("linuxfs"), "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	u := systest.TempDir(t)
	livetest.Write(t, u+"/etc/live/version/rootfs.ver", []byte(livetest.VersionText), 0o644)
	livetest.Write(t, u+"/etc/new", []byte("new"), 0o600)
	livetest.Write(t, u+"/opt/.wh.gone", nil, 0o444)
	livetest.Write(t, u+"/usr/share/deep/.wh..wh..opq", nil, 0o444)
	make := func() { // by the kernel: mke2fs -d drops fractions of seconds
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", l.Path("rootfs"), "32M")
		root, drop := systest.Mount(t, "ext4", "loop", l.Path("rootfs"))
		systest.Run(t, "cp", "-a", u+"/.", root)
		drop()
	}
	make()
	if d := diagnose(t, l.Dir); len(d.Findings) > 0 {
		t.Errorf("%+v", d.Findings)
	}
	livetest.Write(t, u+"/.wh..wh.plnk/17.42", []byte("a pseudo-link"), 0o600)
	livetest.Write(t, u+"/etc/.hosts.aB3dE9", nil, 0o600)
	livetest.Write(t, u+"/srv/.wh.never", nil, 0o444)
	systest.Must(t, os.Remove(l.Path("rootfs")))
	make()
	if d := diagnose(t, l.Dir); livetest.Kinds(d) != "aufs-plinks dead-whiteouts rsync-left" {
		t.Errorf("%+v", d.Findings)
	}
}
