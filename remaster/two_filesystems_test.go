package remaster_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/remaster/rollback"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/tree/systest"
)

// twoDisks is a stick with a partition for the live system and one for its
// changes, as live-boot has it: the files of both, which are mounted to be used.
type twoDisks struct {
	t          testing.TB
	base, over string // images of the partitions
	top        string // where they are mounted
	named      bool   // the second is mounted elsewhere, and not in the live directory
	known      map[string]map[string]string
	// look tells what a boot would show, as the kernel has it where it is nil.
	look func(b *booted) string
}

// twoVerb is a verb that replaces files on both.
type twoVerb struct {
	name    string
	do      func(d *twoDisks, b *booted, e *job.Env) error
	changes bool // what a boot shows
	// between are what a boot may show besides what it shows before and after.
	between []string
}

const (
	twoLive = "base"                          // where the first is mounted
	twoBase = "base/live/filesystem.squashfs" // in its place
)

// newTwoDisks makes the stick, and uses it.
func newTwoDisks(t testing.TB, named bool) *twoDisks {
	dir := systest.MemDir(t)
	d := &twoDisks{t: t, base: dir + "/base", over: dir + "/over", top: systest.TempDir(t), named: named,
		known: map[string]map[string]string{}}
	for path, label := range map[string]string{d.base: "LIVE", d.over: "persistence"} {
		systest.BlankAt(t, path, 16<<20)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", label, path)
	}
	b, drop := d.mount()
	system := systest.TempDir(t)
	originFiles(t, system, "etc")
	systest.Must(t, os.Mkdir(b.dir+"/base/live", 0o755))
	systest.Run(t, "mksquashfs", system, filepath.Join(b.dir, twoBase), "-quiet", "-no-progress", "-comp", "gzip")
	over := filepath.Join(b.dir, b.over)
	livetest.Write(t, over+"/persistence.conf", []byte("/ union\n"), 0o644)
	systest.Must(t, os.Mkdir(over+"/rw", 0o751))
	systest.Must(t, os.Chmod(over+"/rw", 0o751))
	systest.Must(t, os.Mkdir(over+"/work", 0o700))
	b.use("redirect_dir=on", func(mnt string) { originUse(t, mnt+"/etc", true, false) })
	systest.Chown(t, over+"/rw", 3, 4)
	systest.Must(t, unix.Lsetxattr(over+"/rw", "user.note", []byte("root's own"), 0))
	drop()
	return d
}

// copy is the stick once more.
func (d *twoDisks) copy() *twoDisks {
	c, dir := *d, systest.MemDir(d.t)
	c.base, c.over, c.top = dir+"/base", dir+"/over", systest.TempDir(d.t)
	systest.CopyFile(d.t, d.base, c.base)
	systest.CopyFile(d.t, d.over, c.over)
	return &c
}

// mount mounts both, until drop.
func (d *twoDisks) mount() (b *booted, drop func()) {
	d.t.Helper()
	b, dropBase := d.mountBase()
	at := filepath.Join(b.dir, b.over)
	systest.Must(d.t, os.MkdirAll(at, 0o755))
	dropOver := systest.MountAt(d.t, "ext4", "loop", d.over, at)
	return b, func() { dropOver(); dropBase() }
}

// mountBase mounts the live system's partition alone.
func (d *twoDisks) mountBase() (b *booted, drop func()) {
	d.t.Helper()
	b = &booted{t: d.t, dir: d.top, live: twoLive, images: []string{twoBase}, over: "base/persistence", up: "rw", work: "work", top: "etc",
		options: []string{"redirect_dir=on"}, known: d.known}
	if d.named {
		b.over = "over"
	}
	systest.Must(d.t, os.MkdirAll(b.livePath(), 0o755))
	return b, systest.MountAt(d.t, "ext4", "loop", d.base, b.livePath())
}

// files tells what files there are, but for their times.
func (b *booted) files() string {
	b.t.Helper()
	var out strings.Builder
	sum := livetest.Sums(b.t, b.dir)
	systest.Must(b.t, filepath.WalkDir(b.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(b.dir, path)
		var st unix.Stat_t
		systest.Must(b.t, unix.Lstat(path, &st))
		fmt.Fprintf(&out, "%q %o %d:%d %s\n", name, st.Mode, st.Uid, st.Gid, sum[name])
		return nil
	}))
	return out.String()
}

func (d *twoDisks) options(b *booted) []live.Option {
	if d.named {
		return []live.Option{live.WithOverlay(filepath.Join(b.dir, b.over))}
	}
	return nil
}

// verbs are those that replace files on both.
func (d *twoDisks) compact(b *booted, e *job.Env) error {
	l, err := live.Open(d.t.Context(), e, b.livePath(), d.options(b)...)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := compact.New(d.t.Context(), e, l, livetest.KeepOne())
	if err != nil {
		return err
	}
	_, err = p.Run(d.t.Context())
	return err
}

func (d *twoDisks) rollback(b *booted, e *job.Env) error {
	p, err := rollback.New(d.t.Context(), e, b.livePath(), d.options(b)...)
	if err != nil {
		return err
	}
	return p.Run(d.t.Context())
}

func (d *twoDisks) reset(b *booted, e *job.Env) error {
	l, err := live.Open(d.t.Context(), e, b.livePath(), d.options(b)...)
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := reset.New(d.t.Context(), e, l, reset.Options{KeepOld: 1})
	if err != nil {
		return err
	}
	_, err = p.Run(d.t.Context())
	return err
}

// shows tells what a boot would show.
func (d *twoDisks) shows(b *booted) string {
	if d.look != nil {
		return d.look(b)
	}
	return b.shows()["redirect_dir=on"]
}

// roots demands that the layer has the owner, mode and attributes that it had:
// those of the system's root.
func (d *twoDisks) roots(b *booted, when string) {
	d.t.Helper()
	if d.look != nil {
		return // the layer is in an image
	}
	at := filepath.Join(b.dir, b.over, "rw")
	var st unix.Stat_t
	systest.Must(d.t, unix.Lstat(at, &st))
	note := make([]byte, 64)
	n, err := unix.Lgetxattr(at, "user.note", note)
	if st.Mode&0o7777 != 0o751 || st.Uid != 3 || st.Gid != 4 || err != nil || string(note[:n]) != "root's own" {
		d.t.Errorf("%s: the layer has mode %o, owner %d:%d, note %q (%v)", when, st.Mode&0o7777, st.Uid, st.Gid, note[:n], err)
	}
}

// TestTwoFilesystemsCrash: a base on one file system and its overlay on another,
// both mounted by the kernel. Wherever a verb is cut off, the kernel shows the
// files of before or of after; recovery leads to the one or the other, exactly.
func TestTwoFilesystemsCrash(t *testing.T) {
	livetest.NeedKernel(t)
	for name, named := range map[string]bool{"mounted in the live directory": false, "named": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := newTwoDisks(t, named)
			compacted := start.crash(t, twoVerb{name: "compact", do: (*twoDisks).compact})
			compacted.crash(t, twoVerb{name: "rollback", do: (*twoDisks).rollback})
			start.crash(t, twoVerb{name: "reset", do: (*twoDisks).reset, changes: true})
		})
	}
}

// crash cuts a verb off after each of its changes, and gives the stick after all of
// them.
func (d *twoDisks) crash(t *testing.T, v twoVerb) *twoDisks {
	t.Helper()
	verb := v.name
	run := func(d *twoDisks, b *booted, n int) (*livetest.Dying, error) {
		e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n}
		e.Disk = disk
		return disk, v.do(d, b, e)
	}
	b, drop := d.mount()
	before, files := d.shows(b), b.files()
	drop()
	done := d.copy()
	b, drop = done.mount()
	whole, err := run(done, b, 1<<20)
	if err != nil {
		t.Fatalf("%s: %v (hint: %s)", verb, err, refusal.Hint(err))
	}
	after, filesAfter := done.shows(b), b.files()
	done.roots(b, verb)
	drop()
	if (before != after) != v.changes || files == filesAfter || strings.Contains(filesAfter, ".relive-tmp") ||
		strings.Contains(filesAfter, ".relive.journal") {
		t.Fatalf("%s: what shows changes: %v; it leaves\n%s", verb, before != after, filesAfter)
	}
	if whole.Commit < 4 || whole.Done < whole.Commit+8 {
		t.Fatalf("%s: %d changes, %d before the commit point", verb, whole.Done, whole.Commit)
	}
	met := map[string]int{}
	for n := 0; n < whole.Done; n++ {
		if n < whole.Commit-4 {
			n += 2 // where no name has changed yet, not every moment matters
		}
		when := fmt.Sprintf("%s: cut off after %d of %d changes", verb, n, whole.Done)
		c := d.copy()
		b, drop := c.mount()
		if _, err := run(c, b, n); !errors.Is(err, livetest.ErrPower) {
			t.Fatalf("%s: %v", when, err)
		}
		drop()
		if n%3 == 0 {
			b, drop = c.mountBase()
			was := b.files()
			state, err := swap.Inspect(swap.OS{}, b.livePath())
			systest.Must(t, err)
			if _, err := swap.Recover(t.Context(), swap.OS{}, b.livePath()); state != nil && !errors.Is(err, swap.ErrMissing) ||
				b.files() != was && state != nil {
				t.Errorf("%s: recovery without the overlay: %v", when, err)
			}
			drop()
		}
		b, drop = c.mount()
		switch now := c.shows(b); {
		case now == before:
			met["before"]++
		case now == after:
			met["after"]++
		case slices.Contains(v.between, now):
			met["between"]++
		default:
			t.Errorf("%s: it shows neither:\n%s", when, firstDifferences(map[string]string{before: "", after: ""}, now))
		}
		livetest.Settled(t, when, b.livePath())
		switch now := b.files(); now {
		case files:
			met["undone"]++
		case filesAfter:
			met["finished"]++
		default:
			t.Errorf("%s: after recovery there is another thing than before or after:\n%s", when,
				firstDifferences(map[string]string{files: "", filesAfter: ""}, now))
		}
		c.roots(b, when)
		drop()
		systest.Must(t, os.RemoveAll(filepath.Dir(c.base)))
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%s: %v", verb, met)
	if met["before"] == 0 || v.changes && met["after"] == 0 || met["undone"] == 0 || met["finished"] == 0 {
		t.Errorf("%s: %v", verb, met)
	}
	return done
}

// TestOverlayAway: recovery without the file system of the overlay, or with
// another in its place, changes nothing and says what it needs.
func TestOverlayAway(t *testing.T) {
	livetest.NeedKernel(t)
	d := newTwoDisks(t, false)
	other := newTwoDisks(t, false)
	other.known = d.known
	b, drop := d.mount()
	e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: 1 << 20}
	e.Disk = disk
	c := d.copy()
	cb, cdrop := c.mount()
	systest.Must(t, c.compact(cb, e))
	cdrop()
	for _, cut := range []struct {
		what string
		n    int
	}{{"building", disk.Commit - 2}, {"committed", disk.Done - 6}} {
		e.Disk = &livetest.Dying{Left: cut.n}
		if err := d.compact(b, e); !errors.Is(err, livetest.ErrPower) {
			t.Fatal(err)
		}
		for what, over := range map[string]string{"not mounted": "", "another": other.over} {
			drop()
			broken := *d
			if broken.over = over; over == "" {
				b, drop = broken.mountBase()
			} else {
				b, drop = broken.mount()
			}
			was := b.files()
			state, err := swap.Inspect(swap.OS{}, b.livePath())
			if err != nil || state == nil || !errors.Is(state.Problem, swap.ErrMissing) {
				t.Errorf("%s, %s: Inspect says %v, %v", cut.what, what, state, err)
			}
			_, err = swap.Recover(t.Context(), swap.OS{}, b.livePath())
			if !errors.Is(err, swap.ErrMissing) || !strings.Contains(err.Error(), `label "persistence"`) ||
				!strings.Contains(refusal.Hint(err), b.dir+"/base/persistence") {
				t.Errorf("%s, %s: %v (hint: %s)", cut.what, what, err, refusal.Hint(err))
			}
			if now := b.files(); now != was {
				t.Errorf("%s, %s: refused, but changed something:\n%s", cut.what, what, now)
			}
		}
		drop()
		b, drop = d.mount()
		livetest.Settled(t, cut.what, b.livePath())
	}
	if _, err := os.Stat(filepath.Join(b.dir, twoBase+".old")); err != nil {
		t.Errorf("in the end: %v", err)
	}
	drop()
}

// TestPair: a roll-back with another overlay's partition than that of the kept
// base is refused.
func TestPair(t *testing.T) {
	livetest.NeedKernel(t)
	first, second := newTwoDisks(t, false), newTwoDisks(t, false)
	b, drop := second.mount()
	second.writeMore(b)
	drop()
	fresh := first.copy()
	for _, d := range []*twoDisks{first, second} {
		b, drop := d.mount()
		systest.Must(t, d.compact(b, livetest.Env(t, codec.Auto)))
		drop()
	}
	// The record is made of what is kept.
	again := fresh.copy()
	b, drop = again.mount()
	systest.Must(t, again.compact(b, livetest.Env(t, codec.Auto)))
	drop()
	if a, b := pairOf(first), pairOf(again); a != b {
		t.Errorf("one state, two records: %q and %q", a, b)
	}
	for name, c := range map[string]struct {
		base, over *twoDisks
		meddle     func(b *booted)
		want       string // "" where it goes back
	}{
		"its own":                      {base: first, over: first},
		"another":                      {first, second, nil, "persistence/rw.old was not kept with live/filesystem.squashfs.old"},
		"another, which has kept none": {first, fresh, nil, "the overlay that was kept with live/filesystem.squashfs.old is not there"},
		"a base without a record": {first, first, func(b *booted) {
			systest.Must(t, os.Remove(filepath.Join(b.dir, twoBase+".relive-pair.old")))
		}, "persistence/rw.old was kept with a base of another place"},
		"an overlay without a record": {first, first, func(b *booted) {
			systest.Must(t, os.Remove(filepath.Join(b.dir, b.over, "rw.relive-pair.old")))
		}, "nothing tells that persistence/rw.old was kept with live/filesystem.squashfs.old"},
		"no record": {first, first, func(b *booted) {
			systest.Must(t, os.Remove(filepath.Join(b.dir, twoBase+".relive-pair.old")))
			systest.Must(t, os.Remove(filepath.Join(b.dir, b.over, "rw.relive-pair.old")))
		}, "nothing tells that persistence/rw.old was kept with live/filesystem.squashfs.old"},
		"a record that is none": {first, first, func(b *booted) {
			livetest.Write(t, filepath.Join(b.dir, b.over, "rw.relive-pair.old"), []byte("nonsense"), 0o644)
		}, "is no record of a pair"},
		"not mounted": {first, first, nil, "the overlay that was kept with live/filesystem.squashfs.old is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &twoDisks{t: t, base: c.base.base, over: c.over.over, known: map[string]map[string]string{}}
			d = d.copy()
			mount := d.mount
			if name == "not mounted" {
				mount = d.mountBase
			}
			b, drop := mount()
			defer drop()
			if c.meddle != nil {
				c.meddle(b)
			}
			e := livetest.Env(t, codec.Auto)
			_, err := rollback.New(t.Context(), e, b.livePath())
			if c.want == "" {
				systest.Must(t, err)
				systest.Must(t, d.rollback(b, e))
				for _, left := range []string{twoBase + ".relive-pair.old", b.over + "/rw.relive-pair.old", twoBase + ".old"} {
					if livetest.Has(filepath.Join(b.dir, left)) {
						t.Errorf("%s is left", left)
					}
				}
				return
			}
			if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, c.want) || !strings.Contains(r.Hint, say.Force) {
				t.Errorf("%v (hint: %s), want %q", err, refusal.Hint(err), c.want)
			}
			if !strings.Contains(name, "another, which") && name != "not mounted" && name != "another" {
				_, err := rollback.NewForced(t.Context(), e, b.livePath())
				systest.Must(t, err)
			}
		})
	}
}

func (d *twoDisks) writeMore(b *booted) {
	b.use("redirect_dir=on", func(mnt string) { livetest.Write(d.t, mnt+"/etc/more", []byte("another stick"), 0o644) })
}

// pairOf is the record beside the kept base, without the names of file systems.
func pairOf(d *twoDisks) string {
	b, drop := d.mount()
	defer drop()
	text, err := os.ReadFile(filepath.Join(b.dir, twoBase+".relive-pair.old"))
	systest.Must(d.t, err)
	beside, err := fs.ReadFile(os.DirFS(b.dir), b.over+"/rw.relive-pair.old")
	systest.Must(d.t, err)
	if string(text) != string(beside) {
		d.t.Errorf("the records differ: %q and %q", text, beside)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	id, _, _ := strings.Cut(rest, "\n")
	return id
}
