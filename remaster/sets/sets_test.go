package sets_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/readback"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/remaster/sets"
	"relive/remaster/swap"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/systest"
)

// TestSetsCrash: wherever a change of sets is cut off, a set is there whole or
// not at all; recovery leads to the state before or after.
func TestSetsCrash(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	was, is := livetest.Dir("", livetest.Dir("etc"), f("a", "1")), livetest.Dir("", livetest.Dir("etc"), f("a", "1"), f("b", "2"))
	start := systest.TempDir(t)
	systest.Must(t, os.Rename(livetest.RestampDir(t, was, is, livetest.Merging(livetest.Dir("", livetest.Dir("etc"), f("c", "3")))),
		start+"/antiX"))
	livetest.Write(t, start+"/antiX/work/homefs", livetest.Text(4, 5000), 0o600)
	livetest.Write(t, start+"/beside/homefs", livetest.Text(5, 5000), 0o600)
	for _, name := range []string{"antiX/work/rootfs.old", "beside/rootfs", "beside/rootfs.old"} {
		systest.CopyFile(t, start+"/antiX/work/rootfs", start+"/"+name)
	}
	reset := func(e *job.Env, d, set string) error {
		l, err := live.Open(t.Context(), e, d+"/antiX", live.WithSet(set))
		if err != nil {
			return err
		}
		defer l.Close()
		p, err := reset.New(t.Context(), e, l, reset.Options{KeepOld: 1})
		if err != nil {
			return err
		}
		_, err = p.Run(t.Context())
		return err
	}
	change := func(plan func(e *job.Env, d string) (*sets.Change, error)) func(e *job.Env, d string) error {
		return func(e *job.Env, d string) error {
			p, err := plan(e, d+"/antiX")
			if err != nil {
				return err
			}
			return p.Run(t.Context())
		}
	}
	for name, c := range map[string]struct {
		run  func(e *job.Env, d string) error
		dirs []string // each holds at any time what it holds before or after
	}{
		"clone": {change(func(e *job.Env, d string) (*sets.Change, error) {
			return sets.Clone(t.Context(), e, d, "new", "work")
		}), []string{"antiX/work", "antiX/new"}},
		"clone beside": {change(func(e *job.Env, d string) (*sets.Change, error) {
			return sets.Clone(t.Context(), e, d, "../new", "work")
		}), []string{"antiX/work", "new"}},
		"rm": {change(func(e *job.Env, d string) (*sets.Change, error) {
			return sets.Remove(t.Context(), e, d, "work", true)
		}), []string{"antiX/work"}},
		"rm beside": {change(func(e *job.Env, d string) (*sets.Change, error) {
			return sets.Remove(t.Context(), e, d, "../beside", true)
		}), []string{"beside"}},
		"rename": {change(func(e *job.Env, d string) (*sets.Change, error) {
			return sets.Rename(t.Context(), e, d, "work", "../new")
		}), []string{"antiX/work", "new"}},
		"reset":        {func(e *job.Env, d string) error { return reset(e, d, "work") }, nil},
		"reset beside": {func(e *job.Env, d string) error { return reset(e, d, "../beside") }, nil},
		"restamp":      {func(e *job.Env, d string) error { return livetest.Restamp(t, e, d+"/antiX", "work") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			copyOf := func() string {
				d := systest.MemDir(t)
				systest.Run(t, "cp", "-a", "--sparse=always", start+"/.", d)
				return d
			}
			try := func(d string, n int) (*livetest.Dying, error) {
				e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n, NoLink: c.dirs == nil}
				e.Disk = disk
				return disk, c.run(e, d)
			}
			before, d := livetest.Sums(t, start), copyOf()
			whole, err := try(d, 1<<20)
			systest.Must(t, err)
			after := livetest.Sums(t, d)
			if maps.Equal(before, after) || whole.Done < 3 {
				t.Fatalf("nothing was changed: %d", whole.Done)
			}
			met := map[bool]int{}
			for n := range whole.Done {
				d := copyOf()
				if _, err := try(d, n); !errors.Is(err, livetest.ErrPower) {
					t.Fatalf("after %d changes: %v", n, err)
				}
				now := livetest.Sums(t, d)
				for _, dir := range c.dirs {
					if in := below(now, dir); !maps.Equal(in, below(before, dir)) && !maps.Equal(in, below(after, dir)) {
						t.Errorf("cut off after %d changes: in %s is %v", n, dir, in)
					}
				}
				for _, name := range []string{"antiX/linuxfs", "antiX/work/rootfs", "beside/rootfs"} {
					if is := now[name]; c.dirs == nil && is != before[name] && is != after[name] {
						t.Errorf("cut off after %d changes: %s is neither the old nor the new one", n, name)
					}
				}
				for _, dir := range live.JournalDirs(d + "/antiX") {
					if _, err := swap.Recover(t.Context(), swap.OS{}, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("cut off after %d changes: recovery: %v", n, err)
					}
				}
				now = livetest.Sums(t, d)
				if !maps.Equal(now, before) && !maps.Equal(now, after) {
					t.Errorf("cut off after %d changes: then there is %v", n, now)
				}
				met[maps.Equal(now, after)]++
				systest.Must(t, os.RemoveAll(d))
			}
			if met[true] == 0 || met[false] == 0 {
				t.Errorf("not both states were met: %v", met)
			}
		})
	}
}

// below returns the sums of what lies in a directory.
func below(sums map[string]string, dir string) map[string]string {
	out := map[string]string{}
	for name, sum := range sums {
		if strings.HasPrefix(name, dir+"/") {
			out[name] = sum
		}
	}
	return out
}

// TestSetCloneSparse: holes stay holes, also where the data that lies around
// them is zeros, and a copy that changed on the disk is found out.
func TestSetCloneSparse(t *testing.T) {
	t.Parallel()
	l := livetest.Craft(t, livetest.Dir("", livetest.Dir("etc")), nil, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	f, err := os.Create(l.Path("homefs"))
	systest.Must(t, err)
	systest.Must(t, f.Truncate(150<<20))
	for _, at := range []int64{0, 1 << 20, 50<<20 + 4096, 150<<20 - 100} {
		_, err := f.WriteAt(livetest.Noise(uint64(at), 100), at)
		systest.Must(t, err)
	}
	_, err = f.WriteAt(make([]byte, 1<<20), 100<<20)
	systest.Must(t, errors.Join(err, f.Close()))
	e := livetest.Env(t, codec.Auto)
	p, err := sets.Clone(t.Context(), e, l.Dir, "new", "")
	systest.Must(t, err)
	if p.Need > 4<<20 {
		t.Errorf("%d bytes needed", p.Need)
	}
	systest.Must(t, p.Run(t.Context()))
	systest.Run(t, "cmp", l.Path("homefs"), l.Path("new/homefs"))
	if n := systest.Output(t, "du", "-k", l.Path("new/homefs")); strings.Fields(n)[0] > "9" && len(strings.Fields(n)[0]) > 3 {
		t.Errorf("the copy takes %s KiB", n)
	}
	for _, off := range []int64{1<<20 + 50, 60 << 20, 150<<20 - 1} {
		p, err := sets.Clone(t.Context(), e, l.Dir, "spoiled", "")
		systest.Must(t, err)
		err = p.Run(written.WithFault(t.Context(), func(f *os.File) error {
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, off); err != nil {
				return err
			}
			b[0] ^= 1
			_, err := f.WriteAt(b, off)
			return err
		}))
		if !errors.Is(err, readback.Err) {
			t.Errorf("a changed byte at %d: %v", off, err)
		}
	}
	st, err := os.Stat(filepath.Join(l.Dir, "new"))
	if err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("%v %v", st, err)
	}
}

// TestSetsOnStick: the sets of a live directory on a stick that is not mounted
// are listed and opened, and cannot be changed.
func TestSetsOnStick(t *testing.T) {
	systest.NeedTools(t, "mke2fs")
	t.Parallel()
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	was, is := livetest.Dir("", livetest.Dir("etc"), f("a", "1")), livetest.Dir("", livetest.Dir("etc"), f("a", "1"), f("b", "2"))
	d := systest.TempDir(t)
	systest.Must(t, os.Rename(livetest.RestampDir(t, was, is, livetest.Merging(livetest.Dir("", livetest.Dir("etc"), f("c", "3")))),
		d+"/antiX"))
	livetest.Write(t, d+"/play/homefs", livetest.Text(5, 5000), 0o600)
	livetest.Write(t, d+"/boot/grub/grub.cfg", []byte("menuentry play {\n\tlinux /antiX/vmlinuz persist_home pdir=/play\n}\n"), 0o644)
	stick := systest.TempDir(t) + "/stick.img"
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", d, stick, "64M")
	e := livetest.Env(t, codec.Auto)
	l, err := live.OpenOnStick(t.Context(), e, stick, "", live.AnySet())
	systest.Must(t, err)
	list, err := sets.List(t.Context(), e, l)
	systest.Must(t, errors.Join(err, l.Close()))
	var got []string
	for _, s := range list.Sets {
		got = append(got, fmt.Sprint(s.Name, " ", s.Pdir, " ", s.VIDState, " ", s.Fits, " ", s.Entries, len(s.Problems)))
	}
	if s := strings.Join(got, "; "); s != "default  no overlay  [] 0; ../play play no overlay  [play] 1; work antiX/work mismatch "+
		"linuxfs.old [] 0" {
		t.Error(s)
	}
	if l, err = live.OpenOnStick(t.Context(), e, stick, "", live.WithSet("work")); err != nil {
		t.Fatal(err)
	}
	if livetest.ReadFile(t, l.Merged, "c") != "3" {
		t.Error("the set is not laid over the base")
	}
	_, err = rebase.NewRestamp(t.Context(), e, l, rebase.RestampOptions{})
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "not mounted") {
		t.Errorf("%v", err)
	}
	systest.Must(t, l.Close())
}

// TestSetCloneShared: where the file system can, a copy shares the blocks of the
// original, so that a full disk is no obstacle.
func TestSetCloneShared(t *testing.T) {
	systest.NeedTools(t, "mkfs.btrfs")
	systest.NeedFilesystems(t, "btrfs")
	t.Parallel()
	image := systest.Blank(t, 160<<20)
	systest.Run(t, "mkfs.btrfs", "-q", image)
	mnt, _ := systest.Mount(t, "btrfs", "loop", image)
	small := livetest.Craft(t, livetest.Dir("", livetest.Dir("etc")), nil, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	livetest.Write(t, mnt+"/antiX/homefs", livetest.Noise(3, 60<<20), 0o600)
	systest.CopyFile(t, small.Path("linuxfs"), mnt+"/antiX/linuxfs")
	systest.Run(t, "sync", "-f", mnt)
	e := livetest.Env(t, codec.Auto)
	for _, name := range []string{"../one", "two", "three", "four"} {
		p, err := sets.Clone(t.Context(), e, mnt+"/antiX", name, "")
		systest.Must(t, err)
		if !p.Shared || p.Need < 60<<20 {
			t.Errorf("%s: %+v", name, p)
		}
		systest.Must(t, p.Run(t.Context()))
		systest.Run(t, "cmp", mnt+"/antiX/homefs", filepath.Join(mnt, "antiX", name, "homefs"))
	}
}
