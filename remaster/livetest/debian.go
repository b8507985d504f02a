package livetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// Debian is a medium of Debian live or casper: several images and a
// persistence image with unions.
type Debian struct {
	Live
	Images []string // the uppermost first, as the kernel is to stack them
	Over   string   // persistence image
	Unions []string // "DIR SOURCE", the outer ones first
	Names  [2]string
}

// Mounted shows the medium as a boot does, from copies if copied, until drop.
func (d *Debian) Mounted(copied bool) (mnt string, drop func()) {
	d.T.Helper()
	dir := d.Dir
	if copied {
		dir = systest.TempDir(d.T) + "/m"
		systest.Run(d.T, "cp", "-a", "--sparse=always", d.Dir, dir)
	}
	var drops []func()
	var lowers []string
	for _, name := range d.Images {
		at := filepath.Join(dir, name)
		if _, err := os.Stat(at); err != nil {
			continue
		}
		if !copied {
			c := systest.TempDir(d.T) + "/base" // a mounted base is not replaced
			systest.CopyFile(d.T, at, c)
			at = c
		}
		kind := "squashfs"
		if filepath.Ext(name) == ".ext4" {
			kind = "ext4"
		}
		m, drop := systest.Mount(d.T, kind, "loop,ro", at)
		lowers, drops = append(lowers, m), append(drops, drop)
	}
	root := filepath.Join(dir, d.Over)
	if st, err := os.Stat(root); err == nil && !st.IsDir() {
		var dropRoot func()
		root, dropRoot = systest.Mount(d.T, "ext4", "loop", root)
		drops = append(drops, dropRoot)
	}
	for i, u := range d.Unions {
		where, source, _ := strings.Cut(u, " ")
		upper, work := filepath.Join(root, source, d.Names[0]), filepath.Join(root, source, d.Names[1])
		systest.Must(d.T, os.MkdirAll(upper, 0o755))
		systest.Must(d.T, os.MkdirAll(work, 0o755))
		var at []string
		for _, l := range lowers {
			if st, err := os.Stat(l + where); err == nil && st.IsDir() {
				at = append(at, l+where)
			}
		}
		o := "lowerdir=" + strings.Join(at, ":") + ",upperdir=" + upper + ",workdir=" + work + ",redirect_dir=on"
		if i == 0 {
			var drop func()
			mnt, drop = systest.Mount(d.T, "overlay", o, "overlay")
			drops = append(drops, drop)
			continue
		}
		drops = append(drops, systest.MountAt(d.T, "overlay", o, "overlay", mnt+where))
	}
	return mnt, func() {
		for i := len(drops) - 1; i >= 0; i-- {
			drops[i]()
		}
	}
}

// Shown is a copy of what the kernel shows; its mounts are there until drop.
func (d *Debian) Shown() (root *tree.Node, drop func()) {
	d.T.Helper()
	mnt, drop := d.Mounted(true)
	to := systest.TempDir(d.T)
	systest.Run(d.T, "sh", "-c", "cp -a "+mnt+"/. "+to+"/")
	return OpenDir(d.T, to), drop
}

// Squashed makes an image of a directory.
func Squashed(t testing.TB, path string, fill func(dir string)) {
	t.Helper()
	dir := systest.TempDir(t)
	systest.Must(t, os.Chmod(dir, 0o755))
	fill(dir)
	systest.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	systest.Run(t, "mksquashfs", dir, path, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
}
