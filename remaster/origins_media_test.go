package remaster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"relive/remaster/livetest"
	"relive/tree/systest"
)

// originFiles fills a system in which inode numbers move when a file is added.
func originFiles(t testing.TB, dir, top string) {
	t.Helper()
	systest.Must(t, os.Chmod(dir, 0o755))
	livetest.Write(t, dir+"/usr/bin/sh", livetest.Text(1, 9_000), 0o755)
	livetest.Write(t, dir+"/etc/hostname", []byte("live\n"), 0o644)
	for i := 11; i <= 40; i++ {
		livetest.Write(t, fmt.Sprintf("%s/%s/b%d", dir, top, i), fmt.Appendf(nil, "base b%d\n", i), 0o644)
	}
	for i := range 3 {
		livetest.Write(t, fmt.Sprintf("%s/%s/h%d-0", dir, top, i), fmt.Appendf(nil, "base linked %d\n", i), 0o640)
		for j := 1; j < 3; j++ {
			systest.Must(t, os.Link(fmt.Sprintf("%s/%s/h%d-0", dir, top, i), fmt.Sprintf("%s/%s/h%d-%d", dir, top, i, j)))
		}
	}
	systest.Must(t, os.Symlink("b11", dir+"/"+top+"/link"))
	livetest.Write(t, dir+"/"+top+"/dir/in", []byte("base in\n"), 0o644)
	livetest.Write(t, dir+"/"+top+"/dir/on", []byte("base on\n"), 0o644)
}

// originUse is what a user does to it. With links, names of linked files are
// copied up, each for itself or all by an index; with moves, a directory moves.
func originUse(t testing.TB, top string, links, moves bool) {
	t.Helper()
	livetest.Write(t, top+"/a", []byte("mine a\n"), 0o644)
	for _, i := range []int{15, 20, 25, 30} {
		livetest.Write(t, fmt.Sprintf("%s/b%d", top, i), fmt.Appendf(nil, "mine b%d\n", i), 0o644)
	}
	systest.Must(t, os.Chmod(top+"/b16", 0o600))
	systest.Must(t, os.Chown(top+"/b17", 5, 6))
	systest.Must(t, os.Rename(top+"/b21", top+"/z21"))
	systest.Must(t, os.Chmod(top+"/z21", 0o604))
	systest.Must(t, os.Rename(top+"/b27", top+"/b27.orig"))
	livetest.Write(t, top+"/b27", []byte("mine again\n"), 0o644)
	systest.Must(t, os.Remove(top+"/b24"))
	systest.Must(t, os.Remove(top+"/b26"))
	livetest.Write(t, top+"/b26", []byte("another\n"), 0o644)
	systest.Must(t, os.Lchown(top+"/link", 7, 8))
	livetest.Write(t, top+"/dir/in", []byte("mine in\n"), 0o644)
	livetest.Write(t, top+"/new/one", []byte("mine\n"), 0o644)
	if links {
		livetest.Write(t, top+"/h0-1", []byte("mine of three\n"), 0o644)
		livetest.Write(t, top+"/h1-0", []byte("mine of two, first\n"), 0o644)
		livetest.Write(t, top+"/h1-2", []byte("mine of two, second\n"), 0o644)
		for i := range 3 {
			systest.Must(t, os.Chmod(fmt.Sprintf("%s/h2-%d", top, i), os.FileMode(0o600+i)))
		}
	}
	if moves {
		systest.Must(t, os.Rename(top+"/dir", top+"/moved"))
	}
}

// bootedMedia makes the media of each layout.
func bootedMedia() map[string]func(t testing.TB, foreign bool) *booted {
	squashIt := func(t testing.TB, b *booted, from, name string) {
		systest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(b.dir, name)), 0o755))
		if b.erofs {
			systest.Run(t, "mkfs.erofs", "-zlz4hc,12", "-C65536", filepath.Join(b.dir, name), from)
			return
		}
		systest.Run(t, "mksquashfs", from, filepath.Join(b.dir, name), "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	}
	image := func(t testing.TB, path string, files map[string]string, dirs ...string) {
		d := systest.TempDir(t)
		for _, name := range dirs {
			systest.Must(t, os.MkdirAll(filepath.Join(d, name), 0o755))
		}
		for name, content := range files {
			livetest.Write(t, filepath.Join(d, name), []byte(content), 0o644)
		}
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", d, path, "8M")
	}
	// system makes the files; those of a foreign base have other numbers.
	system := func(t testing.TB, top string, foreign bool) string {
		d := systest.TempDir(t)
		originFiles(t, d, top)
		if foreign {
			for i := range 3 {
				livetest.Write(t, fmt.Sprintf("%s/%s/aa%d", d, top, i), []byte("foreign\n"), 0o644)
			}
			livetest.Write(t, d+"/"+top+"/b12", []byte("foreign b12\n"), 0o644)
		}
		return d
	}
	dirs := func(t testing.TB, b *booted) {
		for _, name := range []string{b.up, b.work} {
			systest.Must(t, os.MkdirAll(filepath.Join(b.dir, b.over, name), 0o755))
		}
	}
	antix := func(top string) func(t testing.TB, foreign bool) *booted {
		return func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"linuxfs"}, over: "rootfs", isImage: true, up: "upper",
				work: "work", top: top, ids: true}
			squashIt(t, b, system(t, top, foreign), "linuxfs")
			image(t, b.dir+"/rootfs", nil, "upper", "work")
			return b
		}
	}
	liveos := func(flat, asImage bool, erofs ...bool) func(t testing.TB, foreign bool) *booted {
		return func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), live: "LiveOS", images: []string{"LiveOS/squashfs.img"}, top: "etc",
				erofs: len(erofs) > 0}
			from := system(t, "etc", foreign)
			if !flat {
				b.inner = "LiveOS/rootfs.img"
				d := systest.TempDir(t)
				systest.Must(t, os.Mkdir(d+"/LiveOS", 0o755))
				systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", from, d+"/"+b.inner, "16M")
				from = d
			}
			squashIt(t, b, from, b.images[0])
			if asImage {
				b.over, b.isImage, b.up, b.work = "LiveOS/overlay-LIVE-12AB-34CD", true, "overlayfs", "ovlwork"
				image(t, filepath.Join(b.dir, b.over), nil, b.up, b.work)
				return b
			}
			b.over, b.up, b.work = "LiveOS", "overlay-LIVE-12AB-34CD", "ovlwork"
			dirs(t, b)
			return b
		}
	}
	debian := func(asImage, several bool) func(t testing.TB, foreign bool) *booted {
		return func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"live/filesystem.squashfs"}, over: "persistence", isImage: asImage,
				up: "rw", work: "work", top: "etc"}
			squashIt(t, b, system(t, "etc", foreign), b.images[0])
			if several && !foreign {
				d := systest.TempDir(t)
				systest.Must(t, os.Chmod(d, 0o755))
				for i := 12; i < 34; i += 3 {
					livetest.Write(t, fmt.Sprintf("%s/etc/b%d", d, i), fmt.Appendf(nil, "module b%d\n", i), 0o644)
				}
				b.images = append(b.images, "live/zz-more.squashfs") // live-boot lays the first uppermost
				squashIt(t, b, d, b.images[1])
			}
			if asImage {
				image(t, filepath.Join(b.dir, b.over), map[string]string{"persistence.conf": "/ union\n"}, b.up, b.work)
				return b
			}
			livetest.Write(t, b.dir+"/persistence/persistence.conf", []byte("/ union\n"), 0o644)
			dirs(t, b)
			return b
		}
	}
	return map[string]func(t testing.TB, foreign bool) *booted{
		"antiX":                     antix("etc"),
		"antiX, not stamped":        antix("opt"),
		"LiveOS, directory":         liveos(true, false),
		"LiveOS, image":             liveos(true, true),
		"LiveOS, nested, directory": liveos(false, false),
		"LiveOS, nested, image":     liveos(false, true),
		"LiveOS, EROFS, directory":  liveos(true, false, true),
		"LiveOS, EROFS, image":      liveos(true, true, true),
		"Debian live":               debian(true, false),
		"Debian live, directory":    debian(false, false),
		"Debian live, two modules":  debian(true, true),
		"archiso, directory": func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"arch/x86_64/airootfs.sfs"}, over: "persistent_ARCH/x86_64",
				up: "upperdir", work: "workdir", top: "etc"}
			squashIt(t, b, system(t, "etc", foreign), b.images[0])
			dirs(t, b)
			return b
		},
		"casper": func(t testing.TB, foreign bool) *booted {
			b := &booted{t: t, dir: systest.TempDir(t), images: []string{"casper/filesystem.squashfs"}, over: "writable", isImage: true,
				up: "upper", work: "work", top: "etc"}
			squashIt(t, b, system(t, "etc", foreign), b.images[0])
			image(t, b.dir+"/writable", nil, b.up, b.work)
			return b
		},
	}
}
