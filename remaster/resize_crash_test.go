package remaster_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"

	"relive/remaster/resize"
	"relive/remaster/swap"
	"relive/squash/codec"
	"relive/tree/systest"
)

// TestResizeCrash: wherever the resizing of two images is cut off, each is the
// old one or the new one, whole, a boot shows the same, and what comes next leads
// to the state before or after.
func TestResizeCrash(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	smallSystem(t, d)
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l := &frugal{t: t, dir: systest.MemDir(t)}
	systest.CopyFile(t, base, l.path("linuxfs"))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-O", "^has_journal", l.path("rootfs"), "12M")
	l.boot(false, func(mnt string) { useSmall(t, mnt) })
	people := systest.TempDir(t)
	write(t, people+"/demo/letter", text(1, 40_000), 0o600)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", "-d", people, l.path("homefs"), "18M")
	write(t, l.path("homefs.old"), []byte("older homes"), 0o600)
	copyOf := func() string {
		to := systest.MemDir(t)
		systest.Run(t, "cp", "-a", "--sparse=always", l.dir+"/.", to)
		return to
	}
	look := func(dir string) string {
		out := shown(t, dir)
		return out + manifestText(t, openTree(t, dir+"/homefs", ""))
	}
	for _, c := range []struct {
		name   string
		noLink bool // as FAT
		keep   int
	}{{"one kept", false, 1}, {"none kept", false, 0}, {"two kept, no links", true, 2}} {
		t.Run(c.name, func(t *testing.T) {
			run := func(dir string, left int) (*dying, error) {
				e, disk := environment(t, codec.Auto), &dying{left: left, noLink: c.noLink}
				e.Disk = disk
				_, err := tryResize(t, e, dir, resize.Options{Overlay: mebibytes(20), Home: &resize.NewSize{Kind: resize.SizeMin}, KeepOld: c.keep})
				return disk, err
			}
			before, want := sums(t, l.dir), look(l.dir)
			done := copyOf()
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			after := sums(t, done)
			if before["rootfs"] == after["rootfs"] || before["homefs"] == after["homefs"] || look(done) != want {
				t.Fatal("the resizing is not what it should be")
			}
			if c.keep > 0 && (after["rootfs.old"] != before["rootfs"] || after["homefs.old"] != before["homefs"]) {
				t.Fatalf("the former ones are not kept: %v", after)
			}
			met := map[string]int{}
			for n := range whole.done {
				dir := copyOf()
				if _, err := run(dir, n); !errors.Is(err, errPower) {
					t.Fatalf("after %d changes: %v", n, err)
				}
				s := sums(t, dir)
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
				if s := sums(t, dir); !maps.Equal(s, before) && !maps.Equal(s, after) {
					t.Errorf("after %d changes, in the end there is\n%v\nbefore\n%v\nafter\n%v", n, s, before, after)
				}
				systest.Must(t, os.RemoveAll(dir))
			}
			t.Log(whole.done, met)
			if len(met) != 4 {
				t.Errorf("not every state was met: %v", met)
			}
		})
	}
}
