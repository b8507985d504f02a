package synchome_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/synchome"
	"relive/tree/systest"
)

// smallHomes is an antiX directory with homes in it and beside it.
func smallHomes(t *testing.T, homes func(mnt string)) *livetest.Form {
	t.Helper()
	s := livetest.Forms(t, func(dir string) { livetest.HomesSystem(t, dir) })["antiX"](t)
	systest.Must(t, os.Remove(s.Over))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-I", "128", "-L", "rootfs", s.Over, "12M")
	s.Boot(func(mnt string) { livetest.Write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644) })
	livetest.InHomes(t, s.Dir+"/homefs", "", homes)
	return s
}

// TestSyncHomeCrash: wherever it is cut off, homes on either side are the former
// or the new ones, and recovery leads to one of these, whole.
func TestSyncHomeCrash(t *testing.T) {
	s := smallHomes(t, func(mnt string) { livetest.Write(t, mnt+"/anna/notes", []byte("new"), 0o644) })
	livetest.Write(t, s.Dir+"/homefs.old", []byte("a former one"), 0o644)
	for name, o := range map[string]synchome.Options{"forward": {KeepOld: 1}, "reverse": {Reverse: true, KeepOld: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := map[string]string{"forward": "rootfs", "reverse": "homefs"}[name]
			run := func(d string, n int) (*livetest.Dying, error) {
				e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n, NoLink: true}
				e.Disk = disk
				_, err := livetest.TrySyncHome(t, e, d, o)
				return disk, err
			}
			done := livetest.Duplicate(t, s.Dir)
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			before, after := livetest.Sums(t, s.Dir), livetest.Sums(t, done)
			if before[target] == after[target] || after[target+".old"] != before[target] || o.Reverse &&
				after["homefs.old.2"] != before["homefs.old"] {
				t.Fatalf("%v\n%v", before, after)
			}
			met := livetest.CutOff(t, s.Dir, done, whole, run, func(d string) string {
				return map[string]string{before[target]: "old", after[target]: "new"}[livetest.Sums(t, d)[target]]
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
		livetest.Write(t, mnt+"/anna/notes", []byte("new"), 0o644)
		livetest.Write(t, mnt+"/anna/containers/layer/file", nil, 0o644)
		systest.Must(t, unix.Mknod(mnt+"/anna/containers/layer/gone", unix.S_IFCHR, 0))
		livetest.Write(t, mnt+"/berta/big", livetest.Noise(3, 11<<20), 0o644)
		systest.Must(t, os.Chown(mnt+"/berta", 4711, 4711))
	})
	refused := func(dir, fact, hint string, o synchome.Options) {
		t.Helper()
		before := livetest.Hashes(t, dir)
		_, err := livetest.TrySyncHome(t, livetest.Env(t, codec.Auto), dir, o)
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(err.Error(), fact) || !strings.Contains(r.Hint, hint) {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if livetest.Hashes(t, dir) != before {
			t.Error("it was changed")
		}
	}
	refused(s.Dir, "homefs: there is no home of carla", "those of anna, berta", synchome.Options{Users: []string{"carla"}})
	refused(s.Dir, "character device 0:0", say.Exclude+" 'anna/containers/layer'", synchome.Options{})
	// Left out, it may also be that the room is too small.
	out := synchome.Options{Excludes: rules(t, "anna/containers/layer")}
	refused(s.Dir, "has room for", say.Grow, out)
	d := livetest.Duplicate(t, s.Dir)
	out.Grow = true
	sum := livetest.SyncHome(t, d, out)
	if sum.Size <= sum.OldSize || len(sum.Notes) != 1 || !strings.Contains(sum.Notes[0], "/home/berta belongs to the user id 4711") {
		t.Errorf("%+v", sum)
	}
	systest.Fsck(t, d+"/rootfs")
	mustBeSynced(t, d, out)
	refused(s.Dir, "room for", say.Size, synchome.Options{Reverse: true, Size: 1 << 20})
	for _, o := range []synchome.Options{{Mirror: true, NoDelete: true}, {Mirror: true, Users: []string{"anna"}}, {Size: 5},
		{Users: []string{"a/b"}}, {Users: []string{"lost+found"}}} {
		if _, err := livetest.TrySyncHome(t, livetest.Env(t, codec.Auto), s.Dir, o); !errors.Is(err, refusal.ErrOption) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	_, drop := systest.Mount(t, "ext4", "loop", s.Dir+"/homefs")
	_, err := livetest.TrySyncHome(t, livetest.Env(t, codec.Auto), s.Dir, synchome.Options{})
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "homefs: in use") {
		t.Error(err)
	}
	drop()
	s.Boot(func(mnt string) {
		systest.Run(t, "sync", "-f", mnt) // so that the kernel does not write while the image is read
		refused(s.Dir, "rootfs: in use", "shut", synchome.Options{Reverse: true})
	})
	systest.Must(t, os.WriteFile(s.Dir+"/homefs", append([]byte("LUKS\xba\xbe"), make([]byte, 8000)...), 0o600))
	refused(s.Dir, "homefs: is encrypted (LUKS)", "running system", synchome.Options{})
	refused(s.Dir, "homefs: is encrypted (LUKS)", "running system", synchome.Options{Reverse: true})
	systest.Must(t, os.Remove(s.Dir+"/homefs"))
	refused(s.Dir, "there is no homefs", say.Reverse, synchome.Options{})
	livetest.InHomes(t, s.Dir+"/homefs", "", func(string) {})
	refused(s.Dir, "holds no homes", say.Force, synchome.Options{Mirror: true})

	system := systest.TempDir(t)
	livetest.HomesSystem(t, system)
	m := livetest.LiveOS(t).Fill(system, "dm", false, false, "-comp", "gzip")
	m.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/home/anna/new", []byte("new"), 0o644) })
	refused(m.Dir, "device-mapper snapshot", say.Flatten, synchome.Options{})
	// They can be read from it.
	livetest.SyncHome(t, m.Dir, synchome.Options{Reverse: true})
	l, err := live.Open(t.Context(), livetest.Env(t, codec.Auto), m.Dir)
	systest.Must(t, err)
	defer l.Close()
	root, err := l.Home.FS.Root()
	systest.Must(t, err)
	if livetest.ReadFile(t, root, "anna/new") != "new" {
		t.Error("not all homes are there")
	}
}

// TestSyncHomeMarks: attributes of overlayfs in homes are shown, and do not act
// on the layer.
func TestSyncHomeMarks(t *testing.T) {
	t.Parallel()
	s := smallHomes(t, func(mnt string) {
		livetest.Write(t, mnt+"/anna/.config/other", []byte("x"), 0o644)
		systest.Run(t, "setfattr", "-n", "trusted.overlay.opaque", "-v", "y", mnt+"/anna/.config")
		systest.Run(t, "setfattr", "-n", "user.overlay.opaque", "-v", "y", mnt+"/anna/.config")
	})
	o := synchome.Options{NoDelete: true}
	livetest.SyncHome(t, s.Dir, o)
	n, err := livetest.OpenTree(t, s.Dir, "").Lookup("home/anna/.config")
	systest.Must(t, err)
	if v, ok := n.Xattrs.Get("trusted.overlay.overlay.opaque"); !ok || v != "y" || len(n.Xattrs) != 2 {
		t.Errorf("%q", n.Xattrs)
	}
	view := livetest.OpenDir(t, s.View())
	if livetest.ReadFile(t, view, "home/anna/.config/app/settings") != string(livetest.Text(92, 800)) ||
		livetest.ReadFile(t, view, "home/anna/.config/other") != "x" {
		t.Error("what the base has does not show")
	}
	mustBeSynced(t, s.Dir, o)
	systest.Must(t, os.Remove(s.Dir+"/homefs"))
	livetest.SyncHome(t, s.Dir, synchome.Options{Reverse: true})
	mnt, _ := systest.Mount(t, "ext4", "loop,ro", s.Dir+"/homefs")
	back, err := livetest.OpenDir(t, mnt).Lookup("anna/.config")
	systest.Must(t, err)
	if v, _ := back.Xattrs.Get("trusted.overlay.opaque"); v != "y" || len(back.Xattrs) != 2 {
		t.Errorf("%q", back.Xattrs)
	}
}
