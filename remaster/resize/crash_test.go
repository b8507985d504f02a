package resize_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"

	"relive/codec"
	"relive/remaster/livetest"
	"relive/remaster/resize"
	"relive/remaster/swap"
	"relive/tree/systest"
)

// TestResizeCrash: wherever the resizing of two images is cut off, each is the
// old one or the new one, whole, a boot shows the same, and what comes next leads
// to the state before or after.
func TestResizeCrash(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.SmallSystem(t, d)
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l := &livetest.Live{T: t, Dir: systest.MemDir(t)}
	systest.CopyFile(t, base, l.Path("linuxfs"))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-O", "^has_journal", l.Path("rootfs"), "12M")
	l.Boot(false, func(mnt string) { livetest.UseSmall(t, mnt) })
	people := systest.TempDir(t)
	livetest.Write(t, people+"/demo/letter", livetest.Text(1, 40_000), 0o600)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", "-d", people, l.Path("homefs"), "18M")
	livetest.Write(t, l.Path("homefs.old"), []byte("older homes"), 0o600)
	copyOf := func() string {
		to := systest.MemDir(t)
		systest.Run(t, "cp", "-a", "--sparse=always", l.Dir+"/.", to)
		return to
	}
	look := func(dir string) string {
		out := livetest.Shown(t, dir)
		return out + livetest.ManifestText(t, livetest.OpenTree(t, dir+"/homefs", ""))
	}
	for _, c := range []struct {
		name   string
		noLink bool // as FAT
		keep   int
	}{{"one kept", false, 1}, {"none kept", false, 0}, {"two kept, no links", true, 2}} {
		t.Run(c.name, func(t *testing.T) {
			run := func(dir string, left int) (*livetest.Dying, error) {
				e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: left, NoLink: c.noLink}
				e.Disk = disk
				_, err := livetest.TryResize(t, e, dir, resize.Options{Overlay: livetest.Mebibytes(20),
					Home: &resize.NewSize{Kind: resize.SizeMin}, KeepOld: c.keep})
				return disk, err
			}
			before, want := livetest.Sums(t, l.Dir), look(l.Dir)
			done := copyOf()
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			after := livetest.Sums(t, done)
			if before["rootfs"] == after["rootfs"] || before["homefs"] == after["homefs"] || look(done) != want {
				t.Fatal("the resizing is not what it should be")
			}
			if c.keep > 0 && (after["rootfs.old"] != before["rootfs"] || after["homefs.old"] != before["homefs"]) {
				t.Fatalf("the former ones are not kept: %v", after)
			}
			met := map[string]int{}
			for n := range whole.Done {
				dir := copyOf()
				if _, err := run(dir, n); !errors.Is(err, livetest.ErrPower) {
					t.Fatalf("after %d changes: %v", n, err)
				}
				s := livetest.Sums(t, dir)
				for _, name := range []string{"rootfs", "homefs"} {
					switch s[name] {
					case before[name]:
						met[name+" old"]++
					case after[name]:
						met[name+" new"]++
					default:
						t.Errorf("after %d changes: %s is neither the old nor the new one: %v", n, name, slices.Sorted(maps.Keys(s)))
					}
				}
				if look(dir) != want {
					t.Errorf("after %d changes: a boot shows something else", n)
				}
				if _, err := swap.Recover(t.Context(), swap.OS{}, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("after %d changes: recovery: %v", n, err)
				}
				if s := livetest.Sums(t, dir); !maps.Equal(s, before) && !maps.Equal(s, after) {
					t.Errorf("after %d changes, in the end there is\n%v\nbefore\n%v\nafter\n%v", n, s, before, after)
				}
				systest.Must(t, os.RemoveAll(dir))
			}
			t.Log(whole.Done, met)
			if len(met) != 4 {
				t.Errorf("not every state was met: %v", met)
			}
		})
	}
}
