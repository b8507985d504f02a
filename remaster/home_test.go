package remaster_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/synchome"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// syncHome syncs the homes of a live directory.
func syncHome(t testing.TB, e *job.Env, dir string, o synchome.Options) (*synchome.Summary, error) {
	t.Helper()
	l, err := live.Open(t.Context(), e, dir)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p, err := synchome.New(t.Context(), e, l, o)
	if err != nil {
		return nil, err
	}
	return &p.Summary, p.Run(t.Context())
}

func mustSync(t testing.TB, dir string, o synchome.Options) *synchome.Summary {
	t.Helper()
	o.KeepOld = 1
	s, err := syncHome(t, environment(t, codec.Auto), dir, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
}

// mustBeSynced fails where a second run would do anything.
func mustBeSynced(t testing.TB, dir string, o synchome.Options) {
	t.Helper()
	before := hashes(t, dir)
	s := mustSync(t, dir, o)
	if !s.UpToDate || s.Home || s.Total.Any() || len(s.Steps) > 0 || hashes(t, dir) != before {
		t.Errorf("the second run does something: %+v", s)
	}
}

// homesSystem is a small system with homes in it.
func homesSystem(t testing.TB, d string) {
	smallSystem(t, d)
	write(t, d+"/etc/passwd", []byte("root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n"), 0o644)
	write(t, d+"/home/anna/notes", text(90, 3_000), 0o600)
	write(t, d+"/home/anna/.cache/a/b", text(91, 50_000), 0o644)
	write(t, d+"/home/anna/.config/app/settings", text(92, 800), 0o644)
	write(t, d+"/home/anna/dir/file", text(93, 800), 0o644)
	write(t, d+"/home/guest/letter", text(94, 70_000), 0o644)
	systest.Must(t, os.Chown(d+"/home/anna", 1000, 1000))
}

// useHomes does to homes what people do, and what only a test does.
func useHomes(t testing.TB, d string) {
	t.Helper()
	write(t, d+"/anna/notes", text(95, 4_000), 0o600)
	systest.Must(t, os.RemoveAll(d+"/anna/.cache"))
	write(t, d+"/anna/.cache/other", text(96, 9_000), 0o644)
	systest.Must(t, os.RemoveAll(d+"/anna/.config/app"))
	write(t, d+"/anna/.config/app", []byte("a file now"), 0o644)
	systest.Must(t, os.RemoveAll(d+"/anna/dir/file"))
	write(t, d+"/anna/dir/file/inside", []byte("a directory now"), 0o644)
	write(t, d+"/anna/bin/tool", text(97, 20_000), 0o755)
	systest.Must(t, unix.Lsetxattr(d+"/anna/bin/tool", "security.capability", capability, 0))
	systest.Must(t, unix.Lsetxattr(d+"/anna/bin", "system.posix_acl_access", acl, 0))
	systest.Must(t, unix.Lsetxattr(d+"/anna/notes", "user.note", []byte("a\x00b"), 0))
	systest.Must(t, os.Link(d+"/anna/bin/tool", d+"/anna/bin/tool2"))
	sparse(t, d+"/anna/disk.img", 5_000_000, 4_000_000)
	write(t, d+"/berta/new", text(98, 5_000), 0o644)
	write(t, d+"/berta/"+oddNames[1], []byte("odd"), 0o644)
	systest.Must(t, os.Symlink("../anna/notes", d+"/berta/link"))
	systest.Must(t, unix.Mkfifo(d+"/berta/pipe", 0o600))
	systest.Must(t, os.Lchown(d+"/berta", 1001, 1001))
	systest.Must(t, os.Chmod(d, 0o711))
}

// inHomes makes the image of homes at a path where there is none, and runs fn
// with it mounted.
func inHomes(t testing.TB, image, like string, fn func(mnt string)) {
	t.Helper()
	if !has(image) {
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-L", "homefs", image, "20M")
		mnt, drop := systest.Mount(t, "ext4", "loop", image)
		if like != "" {
			systest.Run(t, "cp", "-a", like+"/.", mnt+"/")
		}
		drop()
	}
	mnt, drop := systest.Mount(t, "ext4", "loop", image)
	defer drop()
	fn(mnt)
}

// bound is a copy of what the kernel shows with the homes mounted over.
func bound(t testing.TB, s *showing, image string) *tree.Node {
	t.Helper()
	at := s.view()
	c := systest.TempDir(t) + "/homes"
	systest.CopyFile(t, image, c)
	mnt, drop := systest.Mount(t, "ext4", "loop", c)
	defer drop()
	shown := duplicate(t, at)
	systest.Must(t, os.RemoveAll(shown+"/home"))
	systest.Run(t, "cp", "-a", mnt, shown+"/home")
	systest.Run(t, "touch", "-r", at, shown)
	return openDir(t, shown)
}

var homeImages = map[string]string{"antiX": "homefs", "LiveOS, image": "home.img", "LiveOS, directory": "home.img", "casper": "home-rw"}

func homesOf(t testing.TB, s *showing, name string) string {
	t.Helper()
	l, err := live.Open(t.Context(), environment(t, codec.Auto), s.dir)
	systest.Must(t, err)
	defer l.Close()
	return filepath.Join(l.Dir, homeImages[name])
}

// TestSyncHomeTruth: after a sync the kernel shows without the homes what it
// showed with them mounted, and a second sync does nothing.
func TestSyncHomeTruth(t *testing.T) {
	all := showings(t, func(dir string) { homesSystem(t, dir) })
	for name := range homeImages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := all[name](t)
			s.boot(func(mnt string) {
				useSmall(t, mnt)
				write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644)
				write(t, mnt+"/home/anna/.cache/c", []byte("x"), 0o644)
				systest.Must(t, os.RemoveAll(mnt+"/home/guest/letter"))
			})
			img := homesOf(t, s, name)
			for round := range 2 {
				inHomes(t, img, s.view()+"/home", func(mnt string) {
					if round == 0 {
						write(t, mnt+"/guest/letter", text(94, 70_000), 0o644) // other times than in the base
						useHomes(t, mnt)
						return
					}
					h := &hand{t: t, r: rand.New(rand.NewPCG(uint64(round), 77)), root: mnt}
					for range 40 {
						h.act()
					}
				})
				want := bound(t, s, img)
				o := synchome.Options{Mirror: true}
				sum := mustSync(t, s.dir, o)
				if sum.UpToDate || !sum.Total.Any() || sum.After.Inodes == 0 || len(sum.Steps) == 0 {
					t.Errorf("%+v", sum)
				}
				exactly(t, "bound", "the kernel after", without(t, want, "home/lost+found", "lost+found"), without(t, openDir(t, duplicate(t, s.view())), "lost+found"))
				if s.over != "" {
					systest.Fsck(t, s.over)
				}
				mustBeSynced(t, s.dir, o)
				mustBeSynced(t, s.dir, synchome.Options{})
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
	all := showings(t, func(dir string) { homesSystem(t, dir) })
	first := all["antiX"](t)
	first.boot(func(mnt string) {
		write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644)
		write(t, mnt+"/home/anna/gone/keep.iso", []byte("x"), 0o644)
		write(t, mnt+"/home/anna/gone/other", []byte("x"), 0o644)
		write(t, mnt+"/home/zoe/z", []byte("x"), 0o644)
	})
	// By hand: rm -rf and cp -a of what is to become another.
	inHomes(t, first.dir+"/homefs", "", func(mnt string) {
		write(t, mnt+"/anna/notes", text(95, 4_000), 0o600)
		write(t, mnt+"/anna/.cache/new", text(99, 4_000), 0o600)
		write(t, mnt+"/anna/big.iso", text(99, 4_000), 0o600)
		write(t, mnt+"/berta/b", []byte("b"), 0o644)
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
		"exclude, mirror": {o: synchome.Options{Mirror: true, Excludes: rules(t, "zoe")}, hand: `rm -rf home/anna home/guest; cp -a $H/anna $H/berta home/`, top: true},
		"exclude, no delete": {o: synchome.Options{NoDelete: true, Users: []string{"anna"}, Excludes: rules(t, "anna/notes")},
			hand: `cp -a home/anna/notes ../was; cp -a $H/anna home/; cp -a ../was home/anna/notes; touch -r $H/anna home/anna; rm ../was`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &frugal{t: t, dir: duplicate(t, first.dir)}
			c := systest.TempDir(t) + "/homes"
			systest.CopyFile(t, l.path("homefs"), c)
			mnt, _ := systest.Mount(t, "ext4", "loop,ro", c)
			shown := systest.TempDir(t) + "/shown"
			systest.Run(t, "cp", "-a", l.view(), shown)
			systest.Run(t, "sh", "-ec", "cd "+shown+"; H="+mnt+"\n"+tt.hand)
			if tt.top {
				systest.Run(t, "touch", "-r", mnt, shown+"/home")
			} else {
				systest.Run(t, "touch", "-r", l.view()+"/home", shown+"/home")
			}
			sum := mustSync(t, l.dir, tt.o)
			exactly(t, "by hand", "the kernel after", openDir(t, shown), openDir(t, l.view()))
			mustBeSynced(t, l.dir, tt.o)
			if sum.Home != tt.top || has(l.path("rootfs.old.2")) || !has(l.path("rootfs.old")) {
				t.Errorf("%+v, %s", sum, l.names())
			}
		})
	}
}

// TestSyncHomeBinds: what persistence.conf binds at /home and below.
func TestSyncHomeBinds(t *testing.T) {
	requireKernel(t)
	for conf, users := range map[string]string{"/ union\n/home bind\n": "anna berta", "/ union\n/home/anna bind\n": "anna", "/ union\n/home bind\n/home/anna/dir bind,source=elsewhere\n": "anna berta"} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "persistence", names: [2]string{"rw", "work"}, unions: []string{"/ ."},
				images: []string{"live/filesystem.squashfs"}}
			squashed(t, d.path("live/filesystem.squashfs"), func(dir string) { homesSystem(t, dir) })
			p := systest.TempDir(t)
			write(t, p+"/persistence.conf", []byte(conf), 0o644)
			write(t, p+"/home/anna/letter", []byte("dear"), 0o644)
			write(t, p+"/home/anna/dir/below", []byte("below"), 0o644)
			write(t, p+"/home/berta/letter", []byte("dear"), 0o644)
			write(t, p+"/elsewhere/inside", []byte("inside"), 0o644)
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-I", "256", "-d", p, d.path("persistence"), "24M")
			mnt, drop := d.mounted(false)
			write(t, mnt+"/home/anna/only-here", []byte("x"), 0o644)
			drop()
			mnt, drop = d.mounted(true)
			shown := duplicate(t, mnt)
			drop()
			c := systest.TempDir(t) + "/p"
			systest.CopyFile(t, d.path("persistence"), c)
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
			before, drop := d.shown()
			home, err := before.Lookup("home")
			systest.Must(t, err)
			if users == "anna" {
				systest.Must(t, os.Chtimes(shown+"/home", home.Mtime.Time(), home.Mtime.Time()))
			}
			drop()
			sum := mustSync(t, d.dir, synchome.Options{})
			var names []string
			for _, u := range sum.Users {
				names = append(names, u.User)
			}
			if strings.Join(names, " ") != users {
				t.Error(names)
			}
			after, drop := d.shown()
			exactly(t, "bound", "the kernel after", without(t, openDir(t, shown), "lost+found"), without(t, after, "lost+found"))
			drop()
			mustBeSynced(t, d.dir, synchome.Options{})
			_, err = syncHome(t, environment(t, codec.Auto), d.dir, synchome.Options{Reverse: true})
			if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "persistence.conf") {
				t.Error(err)
			}
		})
	}
}

// TestSyncHomeReverse: an image of homes that is made, and one that is made
// anew, hold what the kernel shows at /home.
func TestSyncHomeReverse(t *testing.T) {
	all := showings(t, func(dir string) { homesSystem(t, dir) })
	for _, name := range []string{"antiX", "LiveOS, directory", "casper"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := all[name](t)
			img := homesOf(t, s, name)
			s.boot(func(mnt string) { useHomes(t, mnt+"/home") })
			o := synchome.Options{Reverse: true, Mirror: true}
			check := func() {
				t.Helper()
				systest.Fsck(t, img)
				c := systest.TempDir(t) + "/homes"
				systest.CopyFile(t, img, c)
				mnt, drop := systest.Mount(t, "ext4", "loop", c)
				defer drop()
				write(t, mnt+"/writable", nil, 0o644)
				want := duplicate(t, s.view()+"/home")
				systest.Run(t, "touch", "-r", want, mnt)
				systest.Must(t, os.Remove(mnt+"/writable"))
				systest.Run(t, "touch", "-r", want, mnt)
				exactly(t, "shown at /home", "in the image", openDir(t, want), without(t, openDir(t, mnt), "lost+found"))
				mustBeSynced(t, s.dir, o)
			}
			sum := mustSync(t, s.dir, o)
			if sum.OldSize != 0 || sum.After.FreeBytes < 50<<20 || stat(t, img).Mode().Perm() != 0o600 || has(img+".old") {
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
			s.boot(func(mnt string) {
				h := &hand{t: t, r: rand.New(rand.NewPCG(5, 78)), root: mnt + "/home"}
				for range 40 {
					h.act()
				}
				write(t, mnt+"/home/anna/one-more", []byte("x"), 0o644)
			})
			mustSync(t, s.dir, o)
			if !has(img+".old") || has(img+".old.2") {
				t.Error("the former image is not kept")
			}
			check()
			size := stat(t, img).Size() + 32<<20
			o.Size = size
			mustSync(t, s.dir, o)
			if stat(t, img).Size() != size || has(img+".old.2") {
				t.Error("the size that was asked for")
			}
			check()
			mustBeSynced(t, s.dir, synchome.Options{})
		})
	}
}
