package synchome_test

import (
	"testing"

	"relive/codec"
	"relive/remaster/livetest"
	"relive/remaster/synchome"
	"relive/tree/systest"
)

// TestFlagsOfHomes: sync-home brings flags over in both directions, and finds a
// difference in them alone.
func TestFlagsOfHomes(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "chattr", "lsattr")
	t.Parallel()
	l := livetest.Craft(t, livetest.Dir("", livetest.Etc("linuxfs.ver"),
		livetest.Dir("home", livetest.Dir("anna", livetest.File("notes", livetest.Text(1, 300))))), nil,
		livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	l.Mkfs("-t", "ext4")
	l.Boot(false, func(string) {})
	livetest.InHomes(t, l.Path("homefs"), "", func(mnt string) {
		livetest.Write(t, mnt+"/anna/notes", []byte("fixed\n"), 0o644)
		systest.Run(t, "chattr", "+id", mnt+"/anna/notes")
	})
	livetest.SyncHome(t, l.Dir, synchome.Options{})
	mustBeSynced(t, l.Dir, synchome.Options{})
	if got := livetest.Lsattr(t, l.View()+"/home/anna/notes", "id"); got != "id" {
		t.Errorf("in the system the file has the flags %q, not id", got)
	}
	livetest.InHomes(t, l.Path("homefs"), "", func(mnt string) { systest.Run(t, "chattr", "-i", mnt+"/anna/notes") })
	if s := livetest.SyncHome(t, l.Dir, synchome.Options{Reverse: true}); s.UpToDate {
		t.Error("that a flag differs counts for nothing")
	}
	livetest.InHomes(t, l.Path("homefs"), "", func(mnt string) {
		if got := livetest.Lsattr(t, mnt+"/anna/notes", "id"); got != "id" {
			t.Errorf("in homefs the file has the flags %q, not id", got)
		}
	})
}
