package remaster_test

import (
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/doctor"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/remaster/resize"
	"relive/remaster/rollback"
	"relive/remaster/save"
	"relive/remaster/synchome"
	"relive/tree"
	"relive/tree/systest"
)

// sets is a medium with a live directory and three sets of changes over it.
type setsRig struct {
	livetest.Live
	medium string
}

// shelves are the sets by name, and where they lie on the medium.
var shelves = map[string]string{"default": "antiX", "work": "antiX/work", "../play": "play"}

// newSets makes the medium. Each set has a change and homes of its own, and what
// use does.
func newSets(t testing.TB, use func(t testing.TB, mnt string)) *setsRig {
	t.Helper()
	livetest.NeedKernel(t)
	d := systest.TempDir(t)
	livetest.HomesSystem(t, d)
	livetest.Settle(t, d)
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	s := &setsRig{medium: systest.TempDir(t)}
	s.Live = livetest.Live{T: t, Dir: s.medium + "/antiX"}
	livetest.Write(t, s.medium+"/boot/grub/none", nil, 0o644)
	for _, name := range slices.Sorted(maps.Keys(shelves)) {
		one := livetest.NewLive(t, base)
		one.Boot(false, func(mnt string) {
			livetest.Write(t, mnt+"/etc/of-"+filepath.Base(name), []byte(name), 0o644)
			use(t, mnt)
		})
		livetest.Write(t, s.medium+"/"+shelves[name]+"/none", nil, 0o644)
		systest.Must(t, os.Remove(s.medium+"/"+shelves[name]+"/none"))
		systest.CopyFile(t, one.Path("rootfs"), s.medium+"/"+shelves[name]+"/rootfs")
		livetest.InHomes(t, s.medium+"/"+shelves[name]+"/homefs", one.View()+"/home", func(mnt string) {
			livetest.Write(t, mnt+"/anna/"+filepath.Base(name), []byte(name), 0o644)
			livetest.UseHomes(t, mnt)
		})
	}
	systest.CopyFile(t, base, s.Path("linuxfs"))
	return s
}

// one returns a live directory of its own with a copy of the base and a set's rootfs.
func (s *setsRig) one(set string) *livetest.Live {
	s.T.Helper()
	l := &livetest.Live{T: s.T, Dir: systest.TempDir(s.T)}
	systest.CopyFile(s.T, s.Path("linuxfs"), l.Path("linuxfs"))
	systest.CopyFile(s.T, s.medium+"/"+shelves[set]+"/rootfs", l.Path("rootfs"))
	return l
}

// boot boots a set.
func (s *setsRig) boot(set string, fn func(mnt string)) {
	s.T.Helper()
	l := s.one(set)
	l.Boot(false, fn)
	systest.Must(s.T, os.Remove(s.medium+"/"+shelves[set]+"/rootfs"))
	systest.CopyFile(s.T, l.Path("rootfs"), s.medium+"/"+shelves[set]+"/rootfs")
}

// view is what the kernel shows of a set.
func (s *setsRig) view(set string) *tree.Node {
	return livetest.OpenDir(s.T, livetest.Duplicate(s.T, s.one(set).View()))
}

// open opens the live directory with a set.
func (s *setsRig) open(set string) (*job.Env, *live.Live) {
	s.T.Helper()
	e := livetest.Env(s.T, codec.Auto)
	l, err := live.Open(s.T.Context(), e, s.Dir, live.WithSet(set))
	systest.Must(s.T, err)
	s.T.Cleanup(func() { l.Close() })
	return e, l
}

// sums are quick ones of the medium's files; nobody forges them.
func (s *setsRig) sums() map[string]string {
	s.T.Helper()
	out := map[string]string{}
	systest.Must(s.T, filepath.WalkDir(s.medium, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(s.medium, path)
		b, err := os.ReadFile(path)
		out[name] = fmt.Sprintf("%d %08x", len(b), crc32.ChecksumIEEE(b))
		return err
	}))
	return out
}

// changed names what is other, new or gone on the medium.
func (s *setsRig) changed(before map[string]string) string {
	var names []string
	now := s.sums()
	for name := range livetest.MergedKeys(before, now) {
		if before[name] != now[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestSetVerbs: a verb with a set does to that set what it is to do, as the
// kernel shows it, and no byte of any other set is another.
func TestSetVerbs(t *testing.T) {
	t.Parallel()
	same := func(t *testing.T, want, got *tree.Node) {
		t.Helper()
		livetest.SameTree(t, "by hand", "the kernel", livetest.WithoutTimes(t, livetest.Without(t, want, "lost+found", "home/lost+found")),
			livetest.WithoutTimes(t, livetest.Without(t, got, "lost+found")))
	}
	for name, set := range map[string]string{"within": "work", "beside": "../play"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSets(t, livetest.UseSmall)
			at := shelves[set]

			// save: a layer that goes on from the set's own
			ram := systest.MemDir(t)
			root, drop := systest.Mount(t, "ext4", "loop,ro", s.medium+"/"+at+"/rootfs")
			systest.Run(t, "cp", "-a", root+"/upper", ram)
			drop()
			systest.Must(t, os.Mkdir(ram+"/work", 0o755))
			y := &livetest.Dynamic{Live: s.Live, RAM: ram}
			y.Run(func(mnt string) {
				systest.Must(t, os.RemoveAll(mnt+"/usr/share/deep"))
				livetest.Write(t, mnt+"/usr/share/deep/anew", livetest.Text(41, 700), 0o644)
			})
			var want *tree.Node
			y.Run(func(mnt string) { want = livetest.OpenDir(t, livetest.Duplicate(t, mnt)) })
			before := s.sums()
			e, l := s.open(set)
			p, err := save.New(t.Context(), e, l, ram, save.Options{KeepOld: 1, All: true})
			systest.Must(t, err)
			systest.Must(t, p.Run(t.Context()))
			systest.Must(t, p.Close())
			if got := s.changed(before); got != at+"/rootfs "+at+"/rootfs.old" {
				t.Errorf("save: changed %s", got)
			}
			same(t, want, s.view(set))

			// sync-home, there and back
			homes := systest.TempDir(t) + "/homefs"
			systest.CopyFile(t, s.medium+"/"+at+"/homefs", homes)
			want = livetest.WithHomes(t, &livetest.Form{Dir: s.Dir, View: func() string { return s.one(set).View() }}, homes)
			before = s.sums()
			e, l = s.open(set)
			h, err := synchome.New(t.Context(), e, l, synchome.Options{KeepOld: 1})
			systest.Must(t, err)
			systest.Must(t, h.Run(t.Context()))
			if got := s.changed(before); got != at+"/rootfs "+at+"/rootfs.old" {
				t.Errorf("sync-home: changed %s", got)
			}
			same(t, want, s.view(set))
			systest.Must(t, os.Remove(s.medium+"/"+at+"/homefs"))
			before = s.sums()
			e, l = s.open(set)
			if h, err = synchome.New(t.Context(), e, l, synchome.Options{KeepOld: 1, Reverse: true}); err != nil {
				t.Fatal(err)
			}
			systest.Must(t, h.Run(t.Context()))
			if got := s.changed(before); got != at+"/homefs" {
				t.Errorf("sync-home --reverse: changed %s", got)
			}
			mnt, drop := systest.Mount(t, "ext4", "loop,ro", s.medium+"/"+at+"/homefs")
			wasHome, err := want.Lookup("home")
			systest.Must(t, err)
			livetest.SameTree(t, "the system's", "homefs", livetest.WithoutTimes(t, livetest.Without(t, wasHome, "lost+found")),
				livetest.WithoutTimes(t, livetest.Without(t, livetest.OpenDir(t, livetest.Duplicate(t, mnt)), "lost+found")))
			drop()
			if got := livetest.ExtFacts(t, s.medium+"/"+at+"/homefs", "Filesystem volume name"); !strings.HasSuffix(got, " homefs") {
				t.Error(got)
			}

			// resize
			before = s.sums()
			e, l = s.open(set)
			r, err := resize.New(t.Context(), e, l, resize.Options{Overlay: livetest.Mebibytes(96), Home: livetest.Mebibytes(120),
				KeepOld: 1})
			systest.Must(t, err)
			_, err = r.Run(t.Context())
			systest.Must(t, err)
			if got := s.changed(before); got != at+"/homefs "+at+"/homefs.old "+at+"/rootfs "+at+"/rootfs.old" {
				t.Errorf("resize: changed %s", got)
			}
			for image, size := range map[string]int64{"rootfs": 96 << 20, "homefs": 120 << 20} {
				systest.Fsck(t, s.medium+"/"+at+"/"+image)
				if st := livetest.Stat(t, s.medium+"/"+at+"/"+image); st.Size() != size {
					t.Errorf("%s has %d bytes", image, st.Size())
				}
			}
			same(t, want, s.view(set))

			// doctor: the set's ailment is the set's alone
			s.boot(set, func(mnt string) { livetest.Write(t, mnt+"/etc/.passwd.x8Kd2A", nil, 0o644) })
			for _, name := range []string{set, "default"} {
				e, l := s.open(name)
				d, err := doctor.Diagnose(t.Context(), e, l)
				systest.Must(t, err)
				if found := strings.Contains(livetest.Kinds(d), "rsync-left"); found != (name == set) {
					t.Errorf("doctor of %s: %s", name, livetest.Kinds(d))
				}
			}

			// reset, and back
			shown := s.view(set)
			by := livetest.Duplicate(t, s.one(set).View())
			low := systest.TempDir(t)
			l0 := livetest.NewLive(t, s.Path("linuxfs"))
			l0.Boot(false, func(mnt string) { systest.Run(t, "cp", "-a", mnt+"/.", low) })
			systest.Run(t, "cp", "-a", by+"/etc/new", low+"/etc/new")
			systest.Must(t, os.RemoveAll(low+"/home/anna"))
			systest.Run(t, "cp", "-a", by+"/home/anna", low+"/home/anna")
			systest.Must(t, os.Chmod(low+"/home", livetest.Stat(t, by+"/home").Mode().Perm()))
			before = s.sums()
			e, l = s.open(set)
			q, err := reset.New(t.Context(), e, l, reset.Options{KeepOld: 1, Keep: livetest.KeepRules(t, "/etc/new", "/home/anna")})
			systest.Must(t, err)
			_, err = q.Run(t.Context())
			systest.Must(t, err)
			if got := s.changed(before); got != at+"/rootfs "+at+"/rootfs.old" {
				t.Errorf("reset: changed %s", got)
			}
			same(t, livetest.OpenDir(t, low), s.view(set))
			after := s.sums()
			for i := range 2 {
				u, err := reset.NewUndo(t.Context(), livetest.Env(t, codec.Auto), s.Dir, live.WithSet(set))
				systest.Must(t, err)
				systest.Must(t, u.Run(t.Context()))
				if i == 0 {
					same(t, shown, s.view(set))
					if got := s.changed(after); got != at+"/rootfs "+at+"/rootfs.old" {
						t.Errorf("reset --undo: changed %s", got)
					}
				}
			}
			if got := s.changed(after); got != "" {
				t.Errorf("undone twice: changed %s", got)
			}
			if _, err := reset.NewUndo(t.Context(), livetest.Env(t, codec.Auto), s.Dir); err == nil {
				t.Error("the default set has nothing to undo")
			}
		})
	}
}

// TestSetFormer: a former base goes on together with the overlays of all sets that
// were kept with it, however the sets are made anew after it, and both still go
// back together; what was written over another base is never removed.
func TestSetFormer(t *testing.T) {
	t.Parallel()
	s := newSets(t, func(testing.TB, string) {})
	e := livetest.Env(t, codec.Auto)
	empty := func(set string) {
		t.Helper()
		e, l := s.open(set)
		p, err := reset.New(t.Context(), e, l, reset.Options{KeepOld: 1})
		systest.Must(t, err)
		_, err = p.Run(t.Context())
		systest.Must(t, err)
	}
	fate := func(was, is map[string]string, from, to string) {
		t.Helper()
		if was[from] == "" || was[from] != is[to] {
			t.Errorf("%s is not what %s was: %v", to, from, slices.Sorted(maps.Keys(is)))
		}
	}
	// The default set is reset, before there is a former base.
	empty("default")
	first := s.sums()
	s.compactWith("work")
	// A rollback leaves the rootfs that still belongs to the former base, whatever
	// is kept beside it.
	r, err := rollback.New(t.Context(), e, s.Dir)
	systest.Must(t, err)
	for _, step := range r.Steps {
		if strings.Contains(step, " rootfs") {
			t.Errorf("a rollback would %s", step)
		}
	}

	then := s.sums()
	fate(first, then, "antiX/work/rootfs", "antiX/work/rootfs.old")
	systest.Must(t, livetest.Restamp(t, e, s.Dir, "../play"))
	then = s.sums()
	empty("../play") // its former one goes on with linuxfs.old, and so does that of work
	now := s.sums()
	fate(then, now, "antiX/linuxfs.old", "antiX/linuxfs.old.2")
	fate(then, now, "antiX/work/rootfs.old", "antiX/work/rootfs.old.2")
	fate(then, now, "play/rootfs.old", "play/rootfs.old.2")
	fate(then, now, "play/rootfs", "play/rootfs.old")
	for _, name := range []string{"antiX/rootfs", "antiX/work/rootfs", "antiX/homefs", "antiX/linuxfs"} {
		fate(then, now, name, name)
	}
	_, err = rollback.New(t.Context(), e, s.Dir)
	if hint := refusal.Hint(err); err == nil || !strings.Contains(hint, "to go back to linuxfs.old.2") {
		t.Errorf("%v (hint: %s)", err, hint)
	}

	// By hand to where it was, and back.
	for _, name := range []string{"antiX/linuxfs", "antiX/linuxfs.md5", "antiX/work/rootfs", "play/rootfs"} {
		if livetest.Has(s.medium + "/" + name + ".old") {
			systest.Must(t, os.Rename(s.medium+"/"+name+".old", s.medium+"/"+name+".mine"))
		}
		if livetest.Has(s.medium + "/" + name + ".old.2") {
			systest.Must(t, os.Rename(s.medium+"/"+name+".old.2", s.medium+"/"+name+".old"))
		}
	}
	if r, err = rollback.New(t.Context(), e, s.Dir, live.WithSet("work")); err != nil {
		t.Fatal(err, refusal.Hint(err))
	}
	systest.Must(t, r.Run(t.Context()))
	now = s.sums()
	for _, name := range []string{"antiX/linuxfs", "antiX/rootfs", "antiX/work/rootfs", "play/rootfs"} {
		fate(first, now, name, name)
	}

	// What has the version id of another base stays, also where that is gone.
	s.boot("default", func(mnt string) { livetest.Write(t, mnt+"/etc/some", nil, 0o644) })
	s.compactWith("default")
	for _, name := range []string{"linuxfs.old", "linuxfs.md5.old"} {
		systest.Must(t, os.RemoveAll(s.Path(name)))
	}
	then = s.sums()
	s.boot("default", func(mnt string) { livetest.Write(t, mnt+"/etc/more", nil, 0o644) })
	empty("default")
	fate(then, s.sums(), "antiX/rootfs.old", "antiX/rootfs.old.2")
}

// compactWith folds a set into the base.
func (s *setsRig) compactWith(set string) {
	s.T.Helper()
	e, l := s.open(set)
	p, err := compact.New(s.T.Context(), e, l, livetest.KeepOne())
	systest.Must(s.T, err)
	_, err = p.Run(s.T.Context())
	systest.Must(s.T, err)
}
