package synchome_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/exclude"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/synchome"
	"relive/tree/systest"
)

// mustBeSynced fails where a second run would do anything.
func mustBeSynced(t testing.TB, dir string, o synchome.Options) {
	t.Helper()
	before := livetest.Hashes(t, dir)
	s := livetest.SyncHome(t, dir, o)
	if !s.UpToDate || s.Home || s.Total.Any() || len(s.Steps) > 0 || livetest.Hashes(t, dir) != before {
		t.Errorf("the second run does something: %+v", s)
	}
}

var homeImages = map[string]string{"antiX": "homefs", "LiveOS, image": "home.img", "LiveOS, directory": "home.img", "casper": "home-rw"}

func homesOf(t testing.TB, s *livetest.Form, name string) string {
	t.Helper()
	l, err := live.Open(t.Context(), livetest.Env(t, codec.Auto), s.Dir)
	systest.Must(t, err)
	defer l.Close()
	return filepath.Join(l.Dir, homeImages[name])
}

// TestSyncHomeTruth: after a sync the kernel shows without the homes what it
// showed with them mounted, and a second sync does nothing.
func TestSyncHomeTruth(t *testing.T) {
	all := livetest.Forms(t, func(dir string) { livetest.HomesSystem(t, dir) })
	for name := range homeImages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := all[name](t)
			s.Boot(func(mnt string) {
				livetest.UseSmall(t, mnt)
				livetest.Write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644)
				livetest.Write(t, mnt+"/home/anna/.cache/c", []byte("x"), 0o644)
				systest.Must(t, os.RemoveAll(mnt+"/home/guest/letter"))
			})
			img := homesOf(t, s, name)
			for round := range 2 {
				livetest.InHomes(t, img, s.View()+"/home", func(mnt string) {
					if round == 0 {
						livetest.Write(t, mnt+"/guest/letter", livetest.Text(94, 70_000), 0o644) // other times than in the base
						livetest.UseHomes(t, mnt)
						return
					}
					h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(uint64(round), 77)), Root: mnt}
					for range 40 {
						h.Act()
					}
				})
				want := livetest.WithHomes(t, s, img)
				o := synchome.Options{Mirror: true}
				sum := livetest.SyncHome(t, s.Dir, o)
				if sum.UpToDate || !sum.Total.Any() || sum.After.Inodes == 0 || len(sum.Steps) == 0 {
					t.Errorf("%+v", sum)
				}
				livetest.Exactly(t, "bound", "the kernel after", livetest.Without(t, want, "home/lost+found", "lost+found"),
					livetest.Without(t, livetest.OpenDir(t, livetest.Duplicate(t, s.View())), "lost+found"))
				if s.Over != "" {
					systest.Fsck(t, s.Over)
				}
				mustBeSynced(t, s.Dir, o)
				mustBeSynced(t, s.Dir, synchome.Options{})
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
		})
	}
}

func rules(t testing.TB, patterns ...string) (out []exclude.Rule) {
	t.Helper()
	for _, p := range patterns {
		r, err := exclude.ParsePattern(p, "test")
		systest.Must(t, err)
		out = append(out, r)
	}
	return out
}

// TestSyncHomeOptions: which homes, and what in them, is brought over and
// removed, compared with the same done by hand.
func TestSyncHomeOptions(t *testing.T) {
	all := livetest.Forms(t, func(dir string) { livetest.HomesSystem(t, dir) })
	first := all["antiX"](t)
	first.Boot(func(mnt string) {
		livetest.Write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644)
		livetest.Write(t, mnt+"/home/anna/gone/keep.iso", []byte("x"), 0o644)
		livetest.Write(t, mnt+"/home/anna/gone/other", []byte("x"), 0o644)
		livetest.Write(t, mnt+"/home/zoe/z", []byte("x"), 0o644)
	})
	// By hand: rm -rf and cp -a of what is to become another.
	livetest.InHomes(t, first.Dir+"/homefs", "", func(mnt string) {
		livetest.Write(t, mnt+"/anna/notes", livetest.Text(95, 4_000), 0o600)
		livetest.Write(t, mnt+"/anna/.cache/new", livetest.Text(99, 4_000), 0o600)
		livetest.Write(t, mnt+"/anna/big.iso", livetest.Text(99, 4_000), 0o600)
		livetest.Write(t, mnt+"/berta/b", []byte("b"), 0o644)
	})
	for name, tt := range map[string]struct {
		o    synchome.Options
		hand string // in the directory that shows the system; $H is homefs
		top  bool   // /home itself becomes homefs's
	}{
		"default":   {hand: `rm -rf home/anna; cp -a $H/anna $H/berta home/`, top: true},
		"user":      {o: synchome.Options{Users: []string{"anna"}}, hand: `rm -rf home/anna; cp -a $H/anna home/`},
		"mirror":    {o: synchome.Options{Mirror: true}, hand: `rm -rf home/*; cp -a $H/anna $H/berta home/`, top: true},
		"no delete": {o: synchome.Options{NoDelete: true}, hand: `cp -a $H/anna $H/berta home/`, top: true},
		"exclude": {o: synchome.Options{Excludes: rules(t, "*/.cache/*", "... *.iso")}, top: true,
			hand: `cp -a home/anna ../was; rm -rf home/anna; cp -a $H/anna $H/berta home/; rm home/anna/.cache/new home/anna/big.iso
mkdir home/anna/gone; cp -a ../was/gone/keep.iso home/anna/gone/; touch -r ../was/gone home/anna/gone
cp -a ../was/.cache/a home/anna/.cache/; touch -r $H/anna/.cache home/anna/.cache; touch -r $H/anna home/anna; rm -rf ../was`},
		"exclude, mirror": {o: synchome.Options{Mirror: true, Excludes: rules(t, "zoe")},
			hand: `rm -rf home/anna home/guest; cp -a $H/anna $H/berta home/`, top: true},
		"exclude, no delete": {o: synchome.Options{NoDelete: true, Users: []string{"anna"}, Excludes: rules(t, "anna/notes")},
			hand: `cp -a home/anna/notes ../was; cp -a $H/anna home/; cp -a ../was home/anna/notes; touch -r $H/anna home/anna; rm ../was`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &livetest.Live{T: t, Dir: livetest.Duplicate(t, first.Dir)}
			c := systest.TempDir(t) + "/homes"
			systest.CopyFile(t, l.Path("homefs"), c)
			mnt, _ := systest.Mount(t, "ext4", "loop,ro", c)
			shown := systest.TempDir(t) + "/shown"
			systest.Run(t, "cp", "-a", l.View(), shown)
			systest.Run(t, "sh", "-ec", "cd "+shown+"; H="+mnt+"\n"+tt.hand)
			if tt.top {
				systest.Run(t, "touch", "-r", mnt, shown+"/home")
			} else {
				systest.Run(t, "touch", "-r", l.View()+"/home", shown+"/home")
			}
			sum := livetest.SyncHome(t, l.Dir, tt.o)
			livetest.Exactly(t, "by hand", "the kernel after", livetest.OpenDir(t, shown), livetest.OpenDir(t, l.View()))
			mustBeSynced(t, l.Dir, tt.o)
			if sum.Home != tt.top || livetest.Has(l.Path("rootfs.old.2")) || !livetest.Has(l.Path("rootfs.old")) {
				t.Errorf("%+v, %s", sum, l.Names())
			}
		})
	}
}

// TestSyncHomeBinds: what persistence.conf binds at /home and below.
func TestSyncHomeBinds(t *testing.T) {
	livetest.NeedKernel(t)
	for conf, users := range map[string]string{"/ union\n/home bind\n": "anna berta", "/ union\n/home/anna bind\n": "anna",
		"/ union\n/home bind\n/home/anna/dir bind,source=elsewhere\n": "anna berta"} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "persistence", Names: [2]string{"rw", "work"},
				Unions: []string{"/ ."},
				Images: []string{"live/filesystem.squashfs"}}
			livetest.Squashed(t, d.Path("live/filesystem.squashfs"), func(dir string) { livetest.HomesSystem(t, dir) })
			p := systest.TempDir(t)
			livetest.Write(t, p+"/persistence.conf", []byte(conf), 0o644)
			livetest.Write(t, p+"/home/anna/letter", []byte("dear"), 0o644)
			livetest.Write(t, p+"/home/anna/dir/below", []byte("below"), 0o644)
			livetest.Write(t, p+"/home/berta/letter", []byte("dear"), 0o644)
			livetest.Write(t, p+"/elsewhere/inside", []byte("inside"), 0o644)
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-d", p, d.Path("persistence"), "24M")
			mnt, drop := d.Mounted(false)
			livetest.Write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644)
			drop()
			mnt, drop = d.Mounted(true)
			shown := livetest.Duplicate(t, mnt)
			drop()
			c := systest.TempDir(t) + "/p"
			systest.CopyFile(t, d.Path("persistence"), c)
			over, _ := systest.Mount(t, "ext4", "loop,ro", c)
			take := func(from, to string) {
				systest.Run(t, "rm", "-rf", shown+to)
				systest.Run(t, "cp", "-a", over+from, shown+to)
			}
			if strings.Contains(conf, "/home bind") {
				take("/home/anna", "/home/anna")
				take("/home/berta", "/home/berta")
				systest.Run(t, "touch", "-r", over+"/home", shown+"/home")
			} else {
				take("/home/anna", "/home/anna")
				systest.Run(t, "touch", "-r", mnt, shown+"/home")
			}
			if strings.Contains(conf, "elsewhere") {
				take("/elsewhere", "/home/anna/dir")
				systest.Run(t, "touch", "-r", over+"/home/anna", shown+"/home/anna")
			}
			before, drop := d.Shown()
			home, err := before.Lookup("home")
			systest.Must(t, err)
			if users == "anna" {
				systest.Must(t, os.Chtimes(shown+"/home", home.Mtime.Time(), home.Mtime.Time()))
			}
			drop()
			sum := livetest.SyncHome(t, d.Dir, synchome.Options{})
			var names []string
			for _, u := range sum.Users {
				names = append(names, u.User)
			}
			if strings.Join(names, " ") != users {
				t.Error(names)
			}
			after, drop := d.Shown()
			livetest.Exactly(t, "bound", "the kernel after", livetest.Without(t, livetest.OpenDir(t, shown), "lost+found"),
				livetest.Without(t, after, "lost+found"))
			drop()
			mustBeSynced(t, d.Dir, synchome.Options{})
			_, err = livetest.TrySyncHome(t, livetest.Env(t, codec.Auto), d.Dir, synchome.Options{Reverse: true})
			if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "persistence.conf") {
				t.Error(err)
			}
		})
	}
}

// TestSyncHomeReverse: an image of homes that is made, and one that is made
// anew, hold what the kernel shows at /home.
func TestSyncHomeReverse(t *testing.T) {
	all := livetest.Forms(t, func(dir string) { livetest.HomesSystem(t, dir) })
	for _, name := range []string{"antiX", "LiveOS, directory", "casper"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := all[name](t)
			img := homesOf(t, s, name)
			s.Boot(func(mnt string) { livetest.UseHomes(t, mnt+"/home") })
			o := synchome.Options{Reverse: true, Mirror: true}
			check := func() {
				t.Helper()
				systest.Fsck(t, img)
				c := systest.TempDir(t) + "/homes"
				systest.CopyFile(t, img, c)
				mnt, drop := systest.Mount(t, "ext4", "loop", c)
				defer drop()
				livetest.Write(t, mnt+"/writable", nil, 0o644)
				want := livetest.Duplicate(t, s.View()+"/home")
				systest.Run(t, "touch", "-r", want, mnt)
				systest.Must(t, os.Remove(mnt+"/writable"))
				systest.Run(t, "touch", "-r", want, mnt)
				livetest.Exactly(t, "shown at /home", "in the image", livetest.OpenDir(t, want),
					livetest.Without(t, livetest.OpenDir(t, mnt), "lost+found"))
				mustBeSynced(t, s.Dir, o)
			}
			sum := livetest.SyncHome(t, s.Dir, o)
			if sum.OldSize != 0 || sum.After.FreeBytes < 50<<20 || livetest.Stat(t, img).Mode().Perm() != 0o600 ||
				livetest.Has(img+".old") {
				t.Errorf("%+v", sum)
			}
			label := map[string]string{"home.img": "home"}[filepath.Base(img)]
			if label == "" {
				label = filepath.Base(img)
			}
			if got := strings.TrimSpace(systest.Run(t, "e2label", img)); got != label {
				t.Errorf("label %q", got)
			}
			check()
			s.Boot(func(mnt string) {
				h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(5, 78)), Root: mnt + "/home"}
				for range 40 {
					h.Act()
				}
				livetest.Write(t, mnt+"/home/anna/one-more", []byte("x"), 0o644)
			})
			livetest.SyncHome(t, s.Dir, o)
			if !livetest.Has(img+".old") || livetest.Has(img+".old.2") {
				t.Error("the former image is not kept")
			}
			check()
			size := livetest.Stat(t, img).Size() + 32<<20
			o.Size = size
			livetest.SyncHome(t, s.Dir, o)
			if livetest.Stat(t, img).Size() != size || livetest.Has(img+".old.2") {
				t.Error("the size that was asked for")
			}
			check()
			mustBeSynced(t, s.Dir, synchome.Options{})
		})
	}
}
