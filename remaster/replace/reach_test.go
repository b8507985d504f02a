package replace

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/remaster/swap"
	"relive/tree/systest"
)

// places makes a directory around a live directory, TOP/m/live, with mounts: in the
// live directory, in one of it, beside it and elsewhere.
func places(t *testing.T) (top string) {
	systest.NeedFilesystems(t, "tmpfs")
	top = systest.TempDir(t)
	for _, dir := range []string{"m/live/persistence", "m/live/sub/p", "m/beside", "m/boot", "far/away", "else/where"} {
		systest.Must(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
	}
	for _, dir := range []string{"m/live/persistence", "m/live/sub/p", "m/beside", "else"} {
		systest.MountAt(t, "tmpfs", "", "none", filepath.Join(top, dir))
	}
	for _, dir := range []string{"m/live/persistence/home", "else/where/home", "else/other", "else/where/in"} {
		systest.Must(t, os.MkdirAll(filepath.Join(top, dir), 0o755))
	}
	systest.MountAt(t, "tmpfs", "", "none", filepath.Join(top, "else/where/in"))
	return top
}

// TestReach: names relative to the live directory lead to volumes, and are shown as
// people know them.
func TestReach(t *testing.T) {
	top := places(t)
	const one, two, three = "volume-1.relive-away", "volume-2.relive-away", "volume-3.relive-away"
	for name, c := range map[string]struct {
		names   []string
		ground  string
		volumes []swap.Volume
		in      []string // what the names are to the swap
		shown   []string // where that is another thing
	}{
		"at home": {[]string{"linuxfs", "sub/x"}, "m/live", nil, []string{"linuxfs", "sub/x"}, nil},
		"above":   {[]string{"linuxfs", "../boot/vmlinuz"}, "m", nil, []string{"live/linuxfs", "boot/vmlinuz"}, nil},
		"mounted in it": {[]string{"base", "persistence/rw", "persistence/home/rw"}, "m/live",
			[]swap.Volume{{Name: "persistence"}}, []string{"base", "persistence/rw", "persistence/home/rw"}, nil},
		"deeper": {[]string{"sub/p/rw", "persistence/rw"}, "m/live",
			[]swap.Volume{{Name: "sub/p"}, {Name: "persistence"}}, []string{"sub/p/rw", "persistence/rw"}, nil},
		"mounted in it, and above": {[]string{"persistence/rw", "../boot/x"}, "m", []swap.Volume{{Name: "live/persistence"}},
			[]string{"live/persistence/rw", "boot/x"}, nil},
		"beside, mounted": {[]string{"base", "../beside/rw"}, "m/live", []swap.Volume{{Name: one, Dir: "m/beside"}},
			[]string{"base", one + "/rw"}, []string{"base", "m/beside/rw"}},
		"elsewhere": {[]string{"base", "../../else/where/rw", "../../else/where/home/rw"}, "m/live",
			[]swap.Volume{{Name: one, Dir: "else/where"}},
			[]string{"base", one + "/rw", one + "/home/rw"}, []string{"base", "else/where/rw", "else/where/home/rw"}},
		"two of them, one in the other": {[]string{"../../else/where/rw", "../../else/where/in/rw", "../../else/other/rw"}, "m/live",
			[]swap.Volume{{Name: one, Dir: "else/other"}, {Name: two, Dir: "else/where"}, {Name: three, Dir: "else/where/in"}},
			[]string{two + "/rw", three + "/rw", one + "/rw"}, []string{"else/where/rw", "else/where/in/rw", "else/other/rw"}},
		"far away": {[]string{"base", "../../far/away/rw"}, "m/live", []swap.Volume{{Name: one, Dir: "../../far/away"}},
			[]string{"base", one + "/rw"}, []string{"base", "far/away/rw"}},
		"far away, and above": {[]string{"../boot/x", "../../far/away/rw"}, "m", []swap.Volume{{Name: one, Dir: "../far/away"}},
			[]string{"boot/x", one + "/rw"}, []string{"../boot/x", "far/away/rw"}},
		"what is not there": {[]string{"nothing/x"}, "m/live", nil, []string{"nothing/x"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var steps []swap.Step
			for _, n := range c.names {
				steps = append(steps, swap.Replace{New: "(new " + n + ")", Target: n})
			}
			r, err := reachOf(swap.OS{}, filepath.Join(top, "m/live"), steps)
			systest.Must(t, err)
			for i := range c.volumes {
				if v := &c.volumes[i]; v.Dir != "" && !strings.HasPrefix(v.Dir, ".") {
					v.Dir = filepath.Join(top, v.Dir)
				}
			}
			if r.ground != filepath.Join(top, c.ground) || !slices.Equal(r.volumes, c.volumes) {
				t.Errorf("ground %s, volumes %+v", r.ground, r.volumes)
			}
			for i, n := range c.names {
				got, err := r.name(n)
				if err != nil || got != c.in[i] {
					t.Errorf("%s: %q, %v, want %q", n, got, err, c.in[i])
				}
				want := n
				if c.shown != nil && c.shown[i] != n {
					want = filepath.Join(top, c.shown[i])
				}
				if got := r.show(n); got != want {
					t.Errorf("%s is shown as %q, want %q", n, got, want)
				}
			}
			if _, err := r.name("../../nowhere/x"); err == nil {
				t.Error("a name that leads out of all is taken")
			}
		})
	}
	systest.Must(t, os.WriteFile(filepath.Join(top, "m/live", one), nil, 0o600))
	r, err := reachOf(swap.OS{}, filepath.Join(top, "m/live"), []swap.Step{swap.Remove{Path: "../../else/where/rw"}})
	if err != nil || r.volumes[0].Name != two {
		t.Errorf("beside a file of that name: %+v, %v", r, err)
	}
}

// TestTransactionAway: a transaction with names that lie away puts files there, and
// gives temporary names that callers can use.
func TestTransactionAway(t *testing.T) {
	top := places(t)
	dir := filepath.Join(top, "m/live")
	away := "../../else/where/rootfs"
	for name, text := range map[string]string{"base": "old base", away: "old overlay", "persistence/rw": "old layer"} {
		systest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	steps := func(made map[string]string) (steps []swap.Step) {
		for _, name := range []string{"base", away, "persistence/rw"} {
			steps = append(steps, swap.Replace{New: made[name], Target: name, Keep: name + ".old"})
		}
		return steps
	}
	shown, err := ShowSteps(dir, steps(map[string]string{"base": "(new base)", away: "(new " + away + ")", "persistence/rw": "(new rw)"}))
	want := []string{"replace base, keep the former as base.old", "replace " + top + "/else/where/rootfs, keep the former as " + top +
		"/else/where/rootfs.old",
		"replace persistence/rw, keep the former as persistence/rw.old"}
	if err != nil || !slices.Equal(shown, want) {
		t.Errorf("%q, %v", shown, err)
	}
	txn, err := Begin(&job.Env{}, dir, "test", steps(map[string]string{}))
	systest.Must(t, err)
	for _, name := range []string{"base", away, "persistence/rw"} {
		systest.Must(t, txn.Text(name, []byte("new "+name)))
		if made := txn.Made[name]; made != name+".relive-tmp" || !hostdisk.Exists(filepath.Join(dir, made)) {
			t.Errorf("%s is made as %s", name, made)
		}
	}
	systest.Must(t, txn.End(txn.Commit(t.Context(), steps(txn.Made))))
	for _, name := range []string{"base", away, "persistence/rw"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		systest.Must(t, err)
		old, err := os.ReadFile(filepath.Join(dir, name+".old"))
		systest.Must(t, err)
		if string(text) != "new "+name || !strings.HasPrefix(string(old), "old ") {
			t.Errorf("%s holds %q, and %q before", name, text, old)
		}
	}
	for _, at := range []string{"m/live", "m/live/persistence", "else/where", "else"} {
		names, err := filepath.Glob(filepath.Join(top, at, ".relive*"))
		systest.Must(t, err)
		if len(names) > 0 {
			t.Errorf("left are %v", names)
		}
	}
	across := []swap.Step{swap.Move{From: "base", To: "persistence/base"}}
	txn, err = Begin(&job.Env{}, dir, "test", across)
	systest.Must(t, err)
	if err := txn.End(txn.Commit(t.Context(), across)); !errors.Is(err, swap.ErrPlan) {
		t.Errorf("across file systems: %v", err)
	}
}

// TestRoom: each file system is asked for its own.
func TestRoom(t *testing.T) {
	top := places(t)
	dir := filepath.Join(top, "m/live")
	small := filepath.Join(dir, "persistence")
	systest.Must(t, unix.Mount("none", small, "tmpfs", unix.MS_REMOUNT, "size=64k"))
	r := &Room{Dir: dir, More: "go elsewhere"}
	systest.Must(t, r.Add("base", 1000, 1000))
	systest.Must(t, r.Add("persistence/rw", 100, 0))
	systest.Must(t, r.Add("persistence/home/rw", 32<<10, 32<<10))
	free, err := r.Check()
	systest.Must(t, err)
	if at, err := hostdisk.FreeSpace(dir); err != nil || free > at+1<<30 || free < 1<<20 || r.Sum() != 1000+100+32<<10 ||
		r.File != "base" || r.Size != 1000 {
		t.Errorf("free %d of %d, %v; %+v", free, at, err, r)
	}
	systest.Must(t, r.Add("persistence/rw", 40<<10, 0))
	systest.Must(t, os.WriteFile(filepath.Join(small, "rw.old"), nil, 0o600))
	_, err = r.Check()
	if f, ok := refusal.Is(err); !ok || !strings.HasPrefix(f.Fact, small+": not enough space: about 72.1 KiB needed, ") ||
		!strings.HasPrefix(f.Hint, "rw.old and its like hold a former state") || strings.Contains(f.Hint, "elsewhere") {
		t.Errorf("%v (hint: %s)", err, refusal.Hint(err))
	}
	r = &Room{Dir: dir}
	systest.Must(t, r.Add("persistence/rw", 1, 0))
	if free, err := r.Check(); err != nil || free > 64<<10 {
		t.Errorf("of the overlay alone: %d free, %v", free, err)
	}
}

// TestElsewhere: what lies on another mount.
func TestElsewhere(t *testing.T) {
	top := places(t)
	dir := filepath.Join(top, "m/live")
	for name, want := range map[string]string{"base": "", "sub/x": "", "persistence": "", "persistence/rw": "m/live/persistence",
		"../beside/rw": "m/beside", "../boot/x": "", "nothing/x": ""} {
		at, err := Elsewhere(dir, name)
		if want != "" {
			want = filepath.Join(top, want)
		}
		if err != nil || at != want {
			t.Errorf("%s: %q, %v, want %q", name, at, err, want)
		}
	}
}
