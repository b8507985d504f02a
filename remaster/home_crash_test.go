package remaster_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/synchome"
	"relive/squash/codec"
	"relive/tree/systest"
)

// smallHomes is an antiX directory with homes in it and beside it.
func smallHomes(t *testing.T, homes func(mnt string)) *showing {
	t.Helper()
	s := showings(t, func(dir string) { homesSystem(t, dir) })["antiX"](t)
	systest.Must(t, os.Remove(s.over))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-I", "128", "-L", "rootfs", s.over, "12M")
	s.boot(func(mnt string) { write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644) })
	inHomes(t, s.dir+"/homefs", "", homes)
	return s
}

// TestSyncHomeCrash: wherever it is cut off, homes on either side are the former
// or the new ones, and recovery leads to one of these, whole.
func TestSyncHomeCrash(t *testing.T) {
	s := smallHomes(t, func(mnt string) { write(t, mnt+"/anna/notes", []byte("new"), 0o644) })
	write(t, s.dir+"/homefs.old", []byte("a former one"), 0o644)
	for name, o := range map[string]synchome.Options{"forward": {KeepOld: 1}, "reverse": {Reverse: true, KeepOld: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := map[string]string{"forward": "rootfs", "reverse": "homefs"}[name]
			run := func(d string, n int) (*dying, error) {
				e, disk := environment(t, codec.Auto), &dying{left: n, noLink: true}
				e.Disk = disk
				_, err := syncHome(t, e, d, o)
				return disk, err
			}
			done := duplicate(t, s.dir)
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			before, after := sums(t, s.dir), sums(t, done)
			if before[target] == after[target] || after[target+".old"] != before[target] || o.Reverse && after["homefs.old.2"] != before["homefs.old"] {
				t.Fatalf("%v\n%v", before, after)
			}
			met := cutOff(t, s.dir, done, whole, run, func(d string) string {
				return map[string]string{before[target]: "old", after[target]: "new"}[sums(t, d)[target]]
			})
			if met["old"] == 0 || met["new"] == 0 {
				t.Error(met)
			}
		})
	}
}

// TestSyncHomeRefused: what cannot be done, or would lose something without a
// word, is refused, and nothing changes.
func TestSyncHomeRefused(t *testing.T) {
	t.Parallel()
	s := smallHomes(t, func(mnt string) {
		write(t, mnt+"/anna/notes", []byte("new"), 0o644)
		write(t, mnt+"/anna/containers/layer/file", nil, 0o644)
		systest.Must(t, unix.Mknod(mnt+"/anna/containers/layer/gone", unix.S_IFCHR, 0))
		write(t, mnt+"/berta/big", noise(3, 11<<20), 0o644)
		systest.Must(t, os.Chown(mnt+"/berta", 4711, 4711))
	})
	refused := func(dir, fact, hint string, o synchome.Options) {
		t.Helper()
		before := hashes(t, dir)
		_, err := syncHome(t, environment(t, codec.Auto), dir, o)
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(err.Error(), fact) || !strings.Contains(r.Hint, hint) {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if hashes(t, dir) != before {
			t.Error("it was changed")
		}
	}
	refused(s.dir, "homefs: there is no home of carla", "those of anna, berta", synchome.Options{Users: []string{"carla"}})
	refused(s.dir, "character device 0:0", "--exclude 'anna/containers/layer'", synchome.Options{})
	// Left out, it may also be that the room is too small.
	out := synchome.Options{Excludes: rules(t, "anna/containers/layer")}
	refused(s.dir, "has room for", "--grow", out)
	d := duplicate(t, s.dir)
	out.Grow = true
	sum := mustSync(t, d, out)
	if sum.Size <= sum.OldSize || len(sum.Notes) != 1 || !strings.Contains(sum.Notes[0], "/home/berta belongs to the user id 4711") {
		t.Errorf("%+v", sum)
	}
	systest.Fsck(t, d+"/rootfs")
	mustBeSynced(t, d, out)
	refused(s.dir, "room for", "--size", synchome.Options{Reverse: true, Size: 1 << 20})
	for _, o := range []synchome.Options{{Mirror: true, NoDelete: true}, {Mirror: true, Users: []string{"anna"}}, {Size: 5}, {Users: []string{"a/b"}}, {Users: []string{"lost+found"}}} {
		if _, err := syncHome(t, environment(t, codec.Auto), s.dir, o); !errors.Is(err, refusal.ErrOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	_, drop := systest.Mount(t, "ext4", "loop", s.dir+"/homefs")
	_, err := syncHome(t, environment(t, codec.Auto), s.dir, synchome.Options{})
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "homefs: in use") {
		t.Error(err)
	}
	drop()
	s.boot(func(mnt string) {
		systest.Run(t, "sync", "-f", mnt) // so that the kernel does not write while the image is read
		refused(s.dir, "rootfs: in use", "shut", synchome.Options{Reverse: true})
	})
	systest.Must(t, os.WriteFile(s.dir+"/homefs", append([]byte("LUKS\xba\xbe"), make([]byte, 8000)...), 0o600))
	refused(s.dir, "homefs: is encrypted (LUKS)", "running system", synchome.Options{})
	refused(s.dir, "homefs: is encrypted (LUKS)", "running system", synchome.Options{Reverse: true})
	systest.Must(t, os.Remove(s.dir+"/homefs"))
	refused(s.dir, "there is no homefs", "--reverse", synchome.Options{})
	inHomes(t, s.dir+"/homefs", "", func(string) {})
	refused(s.dir, "holds no homes", "--force", synchome.Options{Mirror: true})

	system := systest.TempDir(t)
	homesSystem(t, system)
	m := liveOS(t).fill(system, "dm", false, false, "-comp", "gzip")
	m.boot(false, func(mnt string) { write(t, mnt+"/home/anna/new", []byte("new"), 0o644) })
	refused(m.dir, "device-mapper snapshot", "--flatten", synchome.Options{})
	// They can be read from it.
	mustSync(t, m.dir, synchome.Options{Reverse: true})
	l, err := live.Open(t.Context(), environment(t, codec.Auto), m.dir)
	systest.Must(t, err)
	defer l.Close()
	root, err := l.Home.FS.Root()
	systest.Must(t, err)
	if readFile(t, root, "anna/new") != "new" {
		t.Error("not all homes are there")
	}
}

// TestSyncHomeMarks: attributes of overlayfs in homes are shown, and do not act
// on the layer.
func TestSyncHomeMarks(t *testing.T) {
	t.Parallel()
	s := smallHomes(t, func(mnt string) {
		write(t, mnt+"/anna/.config/other", []byte("x"), 0o644)
		systest.Run(t, "setfattr", "-n", "trusted.overlay.opaque", "-v", "y", mnt+"/anna/.config")
		systest.Run(t, "setfattr", "-n", "user.overlay.opaque", "-v", "y", mnt+"/anna/.config")
	})
	o := synchome.Options{NoDelete: true}
	mustSync(t, s.dir, o)
	n, err := openTree(t, s.dir, "").Lookup("home/anna/.config")
	systest.Must(t, err)
	if v, ok := n.Xattrs.Get("trusted.overlay.overlay.opaque"); !ok || v != "y" || len(n.Xattrs) != 2 {
		t.Errorf("%q", n.Xattrs)
	}
	view := openDir(t, s.view())
	if readFile(t, view, "home/anna/.config/app/settings") != string(text(92, 800)) || readFile(t, view, "home/anna/.config/other") != "x" {
		t.Error("what the base has does not show")
	}
	mustBeSynced(t, s.dir, o)
	systest.Must(t, os.Remove(s.dir+"/homefs"))
	mustSync(t, s.dir, synchome.Options{Reverse: true})
	mnt, _ := systest.Mount(t, "ext4", "loop,ro", s.dir+"/homefs")
	back, err := openDir(t, mnt).Lookup("anna/.config")
	systest.Must(t, err)
	if v, _ := back.Xattrs.Get("trusted.overlay.opaque"); v != "y" || len(back.Xattrs) != 2 {
		t.Errorf("%q", back.Xattrs)
	}
}
