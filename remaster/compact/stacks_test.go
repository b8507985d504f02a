package compact_test

import (
	"os"
	"path/filepath"
	"testing"

	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/tree"
	"relive/tree/systest"
)

// roundTrip compacts a medium, goes back, and compares what the kernel shows with
// what it showed before: it is the same system all the while.
func roundTrip(t *testing.T, d *livetest.Debian) {
	t.Helper()
	shown := func() *tree.Node {
		root, drop := d.Shown()
		t.Cleanup(drop)
		return livetest.Without(t, root, "lost+found")
	}
	before := shown()
	livetest.SameTree(t, "the kernel's view", "relive's", before, livetest.Without(t, livetest.OpenTree(t, d.Dir, "merged"), "lost+found"))
	images := d.Images
	d.Compact(livetest.KeepOne())
	livetest.SameTree(t, "the kernel's view", "that of the compacted one", before, shown())
	d.Rollback()
	d.Images = images
	livetest.SameTree(t, "the kernel's view", "that after the roll-back", before, shown())
}

// TestSlax: bundles are stacked by their numbers, those of modules among them, and
// a session of changes lies over them (livekitlib: sortmod, init_union).
func TestSlax(t *testing.T) {
	livetest.NeedKernel(t)
	d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "slax/changes/2",
		Names: [2]string{"changes", "workdir"}, Unions: []string{"/ ."},
		Images: []string{"slax/10-apps.sb", "slax/modules/9-more.sb", "slax/modules/02-early.sb", "slax/01-core.sb"}}
	for i, name := range d.Images {
		livetest.Squashed(t, d.Path(name), func(dir string) {
			livetest.Write(t, dir+"/etc/top", []byte(name), 0o644)
			livetest.Write(t, filepath.Join(dir, "usr/share", filepath.Base(name)), livetest.Text(uint64(i), 50_000), 0o644)
		})
	}
	systest.Must(t, os.MkdirAll(d.Path("slax/changes/1/changes/etc"), 0o755))
	livetest.Write(t, d.Path("slax/changes/last_session.txt"), []byte("2\n"), 0o644)
	mnt, drop := d.Mounted(false)
	systest.Must(t, os.Remove(mnt+"/usr/share/9-more.sb"))
	systest.Must(t, os.Rename(mnt+"/usr/share", mnt+"/usr/shared"))
	livetest.Write(t, mnt+"/etc/mine", []byte("mine"), 0o600)
	drop()
	roundTrip(t, d)

	l, err := live.Open(t.Context(), livetest.Env(t, 0), d.Dir)
	systest.Must(t, err)
	defer l.Close()
	if len(l.Unused) != 1 || l.Unused[0].Path != "slax/changes/1" || l.Unused[0].Boots {
		t.Errorf("the other session: %v", l.Unused)
	}
}

// TestSlaxDynamic: on FAT a session is a container of dynfilefs, which is named and
// not left out.
func TestSlaxDynamic(t *testing.T) {
	d := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	systest.NeedTools(t, "mksquashfs")
	livetest.Squashed(t, d.Path("slax/01-core.sb"), func(dir string) { livetest.Write(t, dir+"/etc/a", []byte("a"), 0o644) })
	livetest.Write(t, d.Path("slax/changes/1/changes.dat.0"), []byte("x"), 0o644)
	livetest.Write(t, d.Path("slax/changes/last_session.txt"), []byte("1\n"), 0o644)
	d.Refused(livetest.KeepOne(), "dynfilefs")
}

// TestModules: live-boot stacks images of ext4 among the others, and directories,
// but these not below a union of the root.
func TestModules(t *testing.T) {
	livetest.NeedKernel(t)
	d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "persistence", Names: [2]string{"rw", "work"},
		Unions: []string{"/ ."},
		Images: []string{"live/10-extra.ext4", "live/filesystem.squashfs", "live/zz-top.squashfs"}}
	fill := func(name string) func(dir string) {
		return func(dir string) {
			livetest.Write(t, dir+"/etc/top", []byte(name), 0o644)
			livetest.Write(t, filepath.Join(dir, "usr", name), livetest.Text(3, 30_000), 0o644)
		}
	}
	livetest.Squashed(t, d.Path("live/filesystem.squashfs"), fill("base"))
	livetest.Squashed(t, d.Path("live/zz-top.squashfs"), fill("top"))
	dir := systest.TempDir(t)
	fill("extra")(dir)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", dir, d.Path("live/10-extra.ext4"), "8M")
	fill("directory")(d.Path("live/zzz.dir"))
	p := systest.TempDir(t)
	livetest.Write(t, p+"/persistence.conf", []byte("/ union\n"), 0o644)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persistence", "-d", p, d.Path("persistence"), "24M")
	mnt, drop := d.Mounted(false)
	livetest.Write(t, mnt+"/etc/mine", []byte("mine"), 0o600)
	drop()
	roundTrip(t, d)
	if !livetest.Has(d.Path("live/zzz.dir")) {
		t.Error("the roll-back left the directory aside")
	}

	// Without persistence the last of the names is on top, directories too.
	systest.Must(t, os.Remove(d.Path("persistence")))
	merged := livetest.OpenTree(t, d.Dir, "merged")
	if got := livetest.ReadFile(t, merged, "etc/top"); got != "directory" {
		t.Errorf("without persistence %q is on top, want the directory", got)
	}
}

// TestUnionsBelow: below a union of another directory than the root the first of
// the names is on top, elsewhere the last (activate_custom_mounts).
func TestUnionsBelow(t *testing.T) {
	livetest.NeedKernel(t)
	dir := systest.TempDir(t)
	for _, name := range []string{"10-extra", "filesystem", "zz-top"} {
		livetest.Squashed(t, filepath.Join(dir, "live", name+".squashfs"), func(dir string) {
			livetest.Write(t, dir+"/etc/f", []byte(name), 0o644)
			livetest.Write(t, dir+"/usr/f", []byte(name), 0o644)
			livetest.Write(t, dir+"/etc/"+name, []byte(name), 0o644)
		})
	}
	p := systest.TempDir(t)
	livetest.Write(t, p+"/persistence.conf", []byte("/etc union\n"), 0o644)
	livetest.Write(t, p+"/etc/rw/mine", []byte("mine"), 0o644)
	systest.Must(t, os.MkdirAll(p+"/etc/work", 0o755))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, filepath.Join(dir, "persistence"), "24M")
	var roots []string
	for _, name := range []string{"10-extra", "filesystem", "zz-top"} {
		at, drop := systest.Mount(t, "squashfs", "loop,ro", filepath.Join(dir, "live", name+".squashfs"))
		defer drop()
		roots = append(roots, at)
	}
	over, drop := systest.Mount(t, "ext4", "loop,ro", filepath.Join(dir, "persistence"))
	defer drop()
	whole, drop := systest.Mount(t, "overlay", "lowerdir="+roots[2]+":"+roots[1]+":"+roots[0], "overlay")
	defer drop()
	etc, drop := systest.Mount(t, "overlay", "lowerdir="+over+"/etc/rw:"+roots[0]+"/etc:"+roots[1]+"/etc:"+roots[2]+"/etc", "overlay")
	defer drop()
	var e tree.Edits
	e.Put("etc", livetest.Copied(t, etc))
	want, err := e.Apply(livetest.Copied(t, whole))
	systest.Must(t, err)
	livetest.SameTree(t, "the kernel's view", "relive's", want, livetest.OpenTree(t, dir, "merged"))
}

// TestAufsPersistence: a layer of aufs, as live-boot wrote it before 2014, is in
// the source itself, and casper's at the root of the image. Both are folded in and
// emptied but for what is not the layer's.
func TestAufsPersistence(t *testing.T) {
	livetest.NeedKernel(t)
	for _, c := range []struct{ name, base, over, conf string }{
		{"live-boot", "live/filesystem.squashfs", "persistence", "/ union\n"},
		{"casper", "casper/filesystem.squashfs", "casper-rw", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &livetest.Live{T: t, Dir: systest.TempDir(t)}
			livetest.Squashed(t, d.Path(c.base), func(dir string) {
				livetest.Write(t, dir+"/etc/gone", []byte("gone"), 0o644)
				livetest.Write(t, dir+"/etc/kept", []byte("kept"), 0o644)
				livetest.Write(t, dir+"/opt/old", []byte("old"), 0o644)
			})
			p := systest.TempDir(t)
			if c.conf != "" {
				livetest.Write(t, p+"/persistence.conf", []byte(c.conf), 0o644)
			}
			livetest.Write(t, p+"/.wh..wh.aufs", nil, 0o444)
			systest.Must(t, os.Mkdir(p+"/.wh..wh.plnk", 0o700))
			livetest.Write(t, p+"/etc/.wh.gone", nil, 0o444)
			livetest.Write(t, p+"/opt/.wh..wh..opq", nil, 0o444)
			livetest.Write(t, p+"/opt/new", []byte("new"), 0o644)
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.Path(c.over), "24M")
			merged := livetest.OpenTree(t, d.Dir, "merged")
			for path, want := range map[string]bool{"etc/gone": false, "etc/kept": true, "opt/old": false, "opt/new": true,
				"persistence.conf": false, ".wh..wh.aufs": false, "lost+found": false} {
				if n, err := merged.Lookup(path); err != nil || (n != nil) != want {
					t.Errorf("%s: %v, %v, want %v", path, n, err, want)
				}
			}
			want := livetest.Untimed(livetest.Without(t, merged))
			d.Compact(livetest.KeepOne())
			livetest.SameTree(t, "before", "compacted", want, livetest.Untimed(livetest.OpenTree(t, d.Dir, "merged")))
			over, drop := systest.Mount(t, "ext4", "loop,ro", d.Path(c.over))
			defer drop()
			if livetest.Has(over+"/opt") || livetest.Has(over+"/etc") {
				t.Error("the layer was not emptied")
			}
			if c.conf != "" && !livetest.Has(over+"/persistence.conf") {
				t.Error("persistence.conf is gone")
			}
		})
	}
}
