package swap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relive/tree/hostfs"
)

// twoRun is a run of which the overlay lies on another file system than the base.
// Names of it begin with V/, where V is what the volume is called.
type twoRun struct {
	name          string
	before, after map[string]string
	temps         [][2]string // with their content; "dir" for an empty directory
	steps         []Step
}

// layered makes the files of a base of that state and of an overlay.
func layered(base, over string, more ...string) map[string]string {
	m := map[string]string{"base": "base " + base, "base.md5": "md5 of base " + base, "other": "stays"}
	overlay(m, "", over)
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

// overlay adds an overlay of that state: where it is empty, with an empty work
// directory as well.
func overlay(m map[string]string, suffix, state string) {
	m["V"], m["V/conf"] = "dir", "/ union"
	m["V/rw"+suffix], m["V/work"+suffix] = "dir", "dir"
	if state != "empty" {
		m["V/rw"+suffix+"/etc"], m["V/rw"+suffix+"/etc/f"], m["V/work"+suffix+"/work"] = "dir", "changes "+state, "dir"
	}
}

func kept(m map[string]string, suffix, base, over string) map[string]string {
	m["base"+suffix], m["base.md5"+suffix] = "base "+base, "md5 of base "+base
	overlay(m, suffix, over)
	return m
}

var twoRuns = []twoRun{
	{
		name:   "compaction",
		before: kept(layered("2", "of 2", "V/rw.pair.old", "pair 1"), ".old", "1", "of 1"),
		after:  kept(layered("3", "empty", "V/rw.pair.old", "pair 2"), ".old", "2", "of 2"),
		temps:  [][2]string{{"base", "base 3"}, {"base.md5", "md5 of base 3"}, {"V/rw", "dir"}, {"V/work", "dir"}, {"V/rw.pair", "pair 2"}},
		steps: []Step{
			Remove{"base.old"}, Remove{"base.md5.old"}, Remove{"V/rw.old"}, Remove{"V/work.old"}, Remove{"V/rw.pair.old"},
			Replace{"base.relive-tmp", "base", "base.old"},
			Replace{"base.md5.relive-tmp", "base.md5", "base.md5.old"},
			Replace{"V/rw.relive-tmp", "V/rw", "V/rw.old"},
			Replace{"V/work.relive-tmp", "V/work", "V/work.old"},
			Move{"V/rw.pair.relive-tmp", "V/rw.pair.old"},
		},
	},
	{
		// The former overlay over the present base shows the former state.
		name:   "roll-back",
		before: kept(layered("3", "of 3"), ".old", "2", "of 2"),
		after:  kept(layered("2", "of 2"), ".bad", "3", "of 3"),
		steps: []Step{
			Replace{"V/rw.old", "V/rw", "V/rw.bad"},
			Replace{"V/work.old", "V/work", "V/work.bad"},
			Replace{"base.old", "base", "base.bad"},
			Replace{"base.md5.old", "base.md5", "base.md5.bad"},
		},
	},
	{
		name:   "reset",
		before: layered("2", "of 2"),
		after: func() map[string]string {
			m := layered("2", "empty")
			overlay(m, ".old", "of 2")
			return m
		}(),
		temps: [][2]string{{"V/work", "dir"}, {"V/rw", "dir"}},
		steps: []Step{Replace{"V/work.relive-tmp", "V/work", "V/work.old"}, Replace{"V/rw.relive-tmp", "V/rw", "V/rw.old"}},
	},
	{
		// As where the new base would let the overlay's marks lead to other files.
		name:   "compaction with the overlay set aside first",
		before: layered("2", "of 2"),
		after:  kept(layered("3", "empty"), ".old", "2", "of 2"),
		temps:  [][2]string{{"base", "base 3"}, {"base.md5", "md5 of base 3"}, {"V/rw", "dir"}, {"V/work", "dir"}},
		steps: []Step{
			Move{"V/rw", "V/rw.old"}, Move{"V/work", "V/work.old"},
			Replace{"base.relive-tmp", "base", "base.old"},
			Replace{"base.md5.relive-tmp", "base.md5", "base.md5.old"},
			Replace{"V/rw.relive-tmp", "V/rw", ""}, Replace{"V/work.relive-tmp", "V/work", ""},
		},
	},
}

// twoPlaces are where the volume is: a mount point in the directory, or elsewhere.
var twoPlaces = map[string]Volume{"over": {Name: "over"}, "away": {Name: "away", Dir: "/v/persist"}}

// twoKinds are what base and overlay lie on.
var twoKinds = []struct {
	name       string
	base, over features
	places     []string
}{
	{"both journalled", features{link: true, exchange: true}, features{link: true, exchange: true}, []string{"over", "away"}},
	{"both loose", features{link: true, exchange: true, loose: true}, features{link: true, exchange: true, loose: true}, []string{"over"}},
	{"FAT and ext4", features{exchange: true, loose: true}, features{link: true, exchange: true}, []string{"away"}},
	{"exFAT and loose", features{loose: true}, features{link: true, exchange: true, loose: true}, []string{"over"}},
	{"ext4 and what exchanges nothing", features{link: true, exchange: true}, features{}, []string{"over"}},
}

// twoSim is a run on two file systems.
type twoSim struct {
	*twoRun
	v        Volume
	base, on features
}

func (r *twoSim) mount() simMount {
	at := "/d/over"
	if r.v.Dir != "" {
		at = "/v"
	}
	return simMount{at: at, feat: r.on, id: hostfs.Filesystem{UUID: "overlay", Label: "persistence"}}
}

// at is the directory of the volume.
func (r *twoSim) at() string { return cmp.Or(r.v.Dir, "/d/"+r.v.Name) }

func (r *twoSim) path(name string) string {
	if rest, ok := strings.CutPrefix(name, "V"); ok && (rest == "" || rest[0] == '/') {
		return r.at() + rest
	}
	return "/d/" + name
}

func fill(s *simFS, files map[string]string, path func(string) string) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		n := &simInode{kind: Regular, data: []byte(files[name]), perm: 0o640, ino: s.nextIno}
		s.nextIno++
		if files[name] == "dir" {
			n.kind, n.data = Directory, nil
		}
		s.live[path(name)] = n
	}
	s.settle()
}

func (r *twoSim) fresh() *simFS {
	s := newSim(r.base)
	s.mount(r.mount())
	fill(s, r.before, r.path)
	return s
}

// run is the run, as a caller writes it.
func (r *twoSim) run(s *simFS) (err error) {
	t, err := Begin(s, "/d", Info{Verb: "compact", Tool: "test", Started: time.Unix(1e9, 0).UTC(), ID: strings.Repeat("0a", 16)}, r.v)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, ErrUnfinished) {
			err = errors.Join(err, t.Abort())
		}
	}()
	in := func(name string) string {
		if rest, ok := strings.CutPrefix(name, "V/"); ok {
			return r.v.Name + "/" + rest
		}
		return name
	}
	for _, f := range r.temps {
		p, err := t.Temp(in(f[0]))
		if err != nil {
			return err
		}
		if f[1] == "dir" {
			err = s.Mkdir(p)
		} else {
			err = s.put(p, f[1])
		}
		if err != nil {
			return err
		}
	}
	var steps []Step
	for _, step := range r.steps {
		steps = append(steps, Named(step, in))
	}
	t.Plan(steps...)
	return t.Commit(context.Background())
}

// files are all files, under the names that the run has for them.
func (r *twoSim) files(s *simFS) map[string]string {
	l := map[string]string{}
	for name, n := range s.live {
		rest, inV := strings.CutPrefix(name, r.at())
		switch {
		case inV && (rest == "" || rest[0] == '/'):
			name = "V" + rest
		case name == "/d" || name == "/v":
			continue
		default:
			name = strings.TrimPrefix(name, "/d/")
		}
		if l[name] = string(n.data); n.kind == Directory {
			l[name] = "dir"
		}
	}
	return l
}

// has reports whether all of the first has in files what the state has.
func has(files, state map[string]string, top string) bool {
	for _, m := range []map[string]string{files, state} {
		for n := range m {
			if (n == top || strings.HasPrefix(n, top+"/")) && files[n] != state[n] {
				return false
			}
		}
	}
	return files[top] != ""
}

// boots holds what a crash left to the laws: the base is the old or the new one,
// so is the overlay, and the new overlay is nowhere over the old base.
func (r *twoSim) boots(s *simFS) error {
	l := r.files(s)
	base := l["base"]
	window := l[journalName] != ""
	switch {
	case base == "" && window && !r.base.link && !r.base.exchange:
		return nil // recovery has to put it right
	case base != r.before["base"] && base != r.after["base"]:
		return fmt.Errorf("the base holds %q", base)
	case l["other"] != "stays" || l["V/conf"] != "/ union":
		return errors.New("what is not concerned has changed")
	}
	old, fresh := has(l, r.before, "V/rw"), has(l, r.after, "V/rw")
	_, there := l["V/rw"]
	apart := strings.Contains(r.name, "aside")
	switch {
	case !there && window && (apart || !r.on.exchange):
	case !old && !fresh:
		return fmt.Errorf("the overlay is of no state: %v", l)
	case base == r.before["base"] && fresh && !old && r.name == "compaction", apart && fresh && base == r.before["base"]:
		return errors.New("the old base has the new overlay")
	case apart && old && base == r.after["base"]:
		return errors.New("the new base has the old overlay")
	case r.name == "roll-back" && base == r.after["base"] && !fresh:
		return errors.New("the former base has the present overlay")
	}
	for _, m := range []map[string]string{r.before, r.after} {
		for n, text := range m {
			if !strings.HasPrefix(text, "changes") || n != "V/rw/etc/f" && m["base"] == r.before["base"] {
				continue
			}
			if !slices.Contains(slices.Collect(maps.Values(l)), text) {
				return fmt.Errorf("%q is lost", text)
			}
		}
	}
	return nil
}

func (r *twoSim) state(s *simFS) (string, error) {
	l := r.files(s)
	switch {
	case maps.Equal(l, r.before):
		return "old", nil
	case maps.Equal(l, r.after):
		return "new", nil
	}
	return "", fmt.Errorf("neither the old nor the new state: %v", l)
}

// eachTwo runs fn for all runs, places and kinds.
func eachTwo(t *testing.T, fn func(t *testing.T, r *twoSim)) {
	t.Helper()
	for i := range twoRuns {
		for _, k := range twoKinds {
			for _, place := range k.places {
				t.Run(twoRuns[i].name+"/"+k.name+"/"+place, func(t *testing.T) {
					t.Parallel()
					fn(t, &twoSim{&twoRuns[i], twoPlaces[place], k.base, k.over})
				})
			}
		}
	}
}

func TestTwoComplete(t *testing.T) {
	eachTwo(t, func(t *testing.T, r *twoSim) {
		s := r.fresh()
		if err := r.run(s); err != nil {
			t.Fatal(err)
		}
		for _, s := range append(s.crashes(), s) {
			if st, err := r.state(s); st != "new" {
				t.Fatal(st, err)
			}
			if st, err := Inspect(s, "/d"); st != nil || err != nil {
				t.Fatal(st, err)
			}
		}
	})
}

// crashedTwo returns what crashes before each operation leave, one of a kind.
func (r *twoSim) crashedTwo(t *testing.T, fn func(where string, c *simFS)) {
	t.Helper()
	seen := map[string]bool{}
	for k := 1; ; k++ {
		s, what := r.fresh(), ""
		s.fault = func(op int, name string) (error, error) {
			if op < k {
				return nil, nil
			}
			what = cmp.Or(what, name)
			return errCrash, nil
		}
		err := r.run(s)
		if err == nil {
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("crash before operation %d: the run says %v", k, err)
		}
		for v, c := range s.crashes() {
			if !seen[c.key()] {
				seen[c.key()] = true
				fn(fmt.Sprintf("crash before operation %d (%s), variant %d", k, what, v), c)
			}
		}
	}
}

// TestTwoCrashAnywhere: wherever power is cut, and again wherever in recovery, on
// two file systems that lose and reorder each for itself, what is left boots as
// before or as after, and comes to one of the two states.
func TestTwoCrashAnywhere(t *testing.T) {
	t.Parallel()
	eachTwo(t, func(t *testing.T, r *twoSim) {
		ends, total := map[string]int{}, 0
		seen := map[string]bool{}
		r.crashedTwo(t, func(where string, c *simFS) {
			if err := r.boots(c); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			r.journalLost(t, where, c)
			for k := 1; ; k++ {
				again := c.crashes()[0]
				again.fault = crashAt(k)
				_, err := Recover(context.Background(), again, "/d")
				if err != nil && !errors.Is(err, errCrash) {
					t.Fatalf("%s: Recover: %v\n%v", where, err, r.files(again))
				}
				for v, c := range again.crashes() {
					if seen[c.key()] {
						continue
					}
					seen[c.key()] = true
					total++
					where := fmt.Sprintf("%s, crash of recovery before operation %d, variant %d", where, k, v)
					if err := r.boots(c); err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					ends[r.recovered(t, where, c)]++
				}
				if err == nil {
					break
				}
			}
		})
		if ends["old"] == 0 || ends["new"] == 0 {
			t.Errorf("ends: %v", ends)
		}
		t.Logf("%d crashes, ends %v", total, ends)
	})
}

// journalLost: where the journal is gone, a record that comes from before the commit
// point goes at the next run, with what it tells of; one of after it stops that.
func (r *twoSim) journalLost(t *testing.T, where string, c *simFS) {
	t.Helper()
	s := c.crashes()[0]
	j, err := readJournal(s, "/d")
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPart(s, r.at())
	if err != nil {
		t.Fatal(err)
	}
	if j == nil || p == nil {
		return
	}
	for name := range s.live {
		if strings.HasPrefix(name, "/d/"+journalName) || j.Stage == Building && strings.Contains(name, tempSuffix) &&
			!strings.HasPrefix(name, r.at()) {
			delete(s.live, name)
		}
	}
	s.settle()
	was := s.contents()
	err = r.run(s)
	if p.Stage == Committed {
		if !errors.Is(err, ErrForeign) || !slices.Equal(was, s.contents()) {
			t.Fatalf("%s, journal lost: %v", where, err)
		}
		return
	}
	if j.Stage == Committed {
		t.Fatalf("%s: the commit point is passed, and the record does not know", where)
	}
	if st, serr := r.state(s); err != nil || st != "new" {
		t.Fatalf("%s, journal lost: %v, %v", where, err, serr)
	}
}

// recovered recovers and gives the state to which that leads. A run that was
// undone succeeds then.
func (r *twoSim) recovered(t *testing.T, where string, c *simFS) string {
	t.Helper()
	said, err := Inspect(c, "/d")
	if err != nil {
		t.Fatalf("%s: Inspect: %v", where, err)
	}
	out, err := Recover(context.Background(), c, "/d")
	if err != nil {
		t.Fatalf("%s: Recover: %v\n%v", where, err, r.files(c))
	}
	st, err := r.state(c)
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if (said == nil) != (out == nil) || out != nil && (out.Finished != (st == "new") || said.Problem != nil || len(out.Changed) > 0) {
		t.Fatalf("%s: Inspect says %v, Recover did %+v, the state is %s", where, said, out, st)
	}
	c = c.crashes()[0]
	if now, err := r.state(c); now != st {
		t.Fatalf("%s: after recovery and another crash: %s, %v", where, now, err)
	}
	if out, err := Recover(context.Background(), c, "/d"); out != nil || err != nil {
		t.Fatalf("%s: recovering again did %v, %v", where, out, err)
	}
	if st == "old" {
		if err := r.run(c); err != nil {
			t.Fatalf("%s: the run after it: %v", where, err)
		}
		if now, err := r.state(c); now != "new" {
			t.Fatalf("%s: the run after it: %v", where, err)
		}
	}
	return st
}

// TestTwoErrorAnywhere lets every operation fail, once or from there on, on both
// file systems or on the volume alone, as that of a stick that is pulled out;
// what the error says of the commit point is so.
func TestTwoErrorAnywhere(t *testing.T) {
	t.Parallel()
	eachTwo(t, func(t *testing.T, r *twoSim) {
		if r.base.loose {
			return // the same errors
		}
		for mode, fails := range map[string]func(op, k int, name string) bool{
			"once":       func(op, k int, _ string) bool { return op == k },
			"from there": func(op, k int, _ string) bool { return op >= k },
			"pulled out": func(op, k int, name string) bool { return op >= k && strings.Contains(name, r.at()) },
			"disk full": func(op, k int, name string) bool {
				return op >= k && (strings.HasPrefix(name, "create") || strings.HasPrefix(name, "write"))
			},
		} {
			last := func() int {
				s := r.fresh()
				if err := r.run(s); err != nil {
					t.Fatal(err)
				}
				return s.ops
			}()
			failed := 0
			for k := 1; k <= last; k++ {
				s, faulty := r.fresh(), false
				s.fault = func(op int, name string) (error, error) {
					if fails(op, k, name) {
						faulty = true
						return syscall.EIO, nil
					}
					return nil, nil
				}
				err := r.run(s)
				s.fault = nil
				if faulty != errors.Is(err, syscall.EIO) {
					t.Fatalf("%s, operation %d: failed: %v, but the run says %v", mode, k, faulty, err)
				}
				if !faulty {
					continue
				}
				failed++
				left := []*simFS{s}
				if mode == "pulled out" {
					left = s.crashesOf([]simMount{r.mount()})
				}
				for _, s := range left {
					if err := r.boots(s); err != nil {
						t.Fatalf("%s, operation %d: %v", mode, k, err)
					}
					if _, err := Recover(context.Background(), s, "/d"); err != nil {
						t.Fatalf("%s, operation %d: Recover: %v\n%v", mode, k, err, r.files(s))
					}
					if st, serr := r.state(s); serr != nil || errors.Is(err, ErrUnfinished) != (st == "new") {
						t.Fatalf("%s, operation %d: error %q, state %s %v", mode, k, err, st, serr)
					}
				}
			}
			if failed == 0 {
				t.Errorf("%s: nothing failed", mode)
			}
		}
	})
}

// TestTwoLooksFail lets every look and read fail once; each is told.
func TestTwoLooksFail(t *testing.T) {
	t.Parallel()
	eachTwo(t, func(t *testing.T, r *twoSim) {
		if r.base.loose || !r.on.exchange {
			return
		}
		for k := 1; ; k++ {
			s, look := r.fresh(), ""
			s.blind = blindAt(k, &look)
			err := r.run(s)
			s.blind = nil
			if look == "" {
				break
			}
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("look %d (%s) failed, but the run says %v", k, look, err)
			}
			if _, err := Recover(context.Background(), s, "/d"); err != nil {
				t.Fatalf("look %d (%s): Recover: %v", k, look, err)
			}
			if st, serr := r.state(s); serr != nil || errors.Is(err, ErrUnfinished) != (st == "new") {
				t.Fatalf("look %d (%s): error %q, state %s %v", k, look, err, st, serr)
			}
		}
		n := 0
		r.crashedTwo(t, func(where string, c *simFS) {
			if n++; n%7 != 0 {
				return // they are alike
			}
			blindly(t, where+", Inspect", c, func(s *simFS) error { _, err := Inspect(s, "/d"); return err })
			blindly(t, where+", Recover", c, func(s *simFS) error { _, err := Recover(context.Background(), s, "/d"); return err })
		})
	})
}

// TestTwoMissing: where the overlay's file system is not mounted, or another is in
// its place, recovery changes nothing, says which one it needs, and does all when
// that is back.
func TestTwoMissing(t *testing.T) {
	t.Parallel()
	another := func(s *simFS, r *twoSim, m simMount, id string) {
		m.id = hostfs.Filesystem{UUID: id}
		s.remount(m, nil)
		if r.v.Dir != "" {
			s.live[r.v.Dir] = &simInode{kind: Directory, ino: 77}
		}
		files := map[string]string{"V/rw": "dir", "V/rw/mine": "of another stick", "V/work": "dir", "V/rw.relive-tmp": "not of this run"}
		fill(s, files, r.path)
	}
	eachTwo(t, func(t *testing.T, r *twoSim) {
		refused, n := map[string]int{}, 0
		r.crashedTwo(t, func(where string, c *simFS) {
			j, err := readJournal(c, "/d")
			if err != nil || j == nil {
				return
			}
			if n++; j.Stage == Building && n%4 != 0 {
				return // they are alike
			}
			for what, meddle := range map[string]func(s *simFS, m simMount){
				"not mounted": func(s *simFS, m simMount) { s.unmount(m.at) },
				"gone": func(s *simFS, m simMount) {
					s.unmount(m.at)
					delete(s.live, m.at)
					s.settle()
				},
				"another":                   func(s *simFS, m simMount) { another(s, r, m, "another") },
				"another that is not known": func(s *simFS, m simMount) { another(s, r, m, "") },
				"another with its own run": func(s *simFS, m simMount) {
					another(s, r, m, "overlay") // a copy that somebody made of the empty one
					p := part{ID: strings.Repeat("0b", 16), Stage: Building, Base: place{Dir: "/elsewhere"}}
					if err := p.write(s, r.at()); err != nil {
						t.Fatal(err)
					}
					s.settle()
				},
			} {
				where := where + ", " + what
				s, m := c.crashes()[0], r.mount()
				names := s.unmount(m.at)
				meddle(s, m)
				was := s.contents()
				said, err := Inspect(s, "/d")
				if err != nil || said == nil {
					t.Fatalf("%s: Inspect says %v, %v", where, said, err)
				}
				out, err := Recover(context.Background(), s, "/d")
				bare := what == "another that is not known"
				if bare && err == nil {
					// Nothing of the run shows there, so that nothing was done there.
					if l := r.files(s); l["V/rw/mine"] != "of another stick" || l["V/rw.relive-tmp"] != "not of this run" {
						t.Fatalf("%s: something was done there: %v", where, l)
					}
					if j.Stage == Committed && (out == nil || len(out.Steps) > 0) {
						t.Fatalf("%s: %+v", where, out)
					}
					s.remount(m, names)
					r.begunAgain(t, where, s, j.Stage)
					refused["went on"]++
					continue
				}
				if !errors.Is(err, ErrMissing) || !errors.Is(said.Problem, ErrMissing) || out != nil {
					t.Fatalf("%s: Inspect says %v, Recover %v", where, said, err)
				}
				if !slices.Equal(was, s.contents()) {
					t.Fatalf("%s: refused, but changed something: %v", where, s.contents())
				}
				for _, want := range []string{`UUID overlay, label "persistence"`, r.at()} {
					if !strings.Contains(err.Error(), want) {
						t.Fatalf("%s: %v does not tell %s", where, err, want)
					}
				}
				refused[what]++
				s.remount(m, names)
				if err := r.boots(s); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				r.recovered(t, where, s)
			}
		})
		for _, what := range []string{"not mounted", "gone", "another", "another with its own run", "went on"} {
			if refused[what] == 0 {
				t.Errorf("%s: never met: %v", what, refused)
			}
		}
	})
}

// begunAgain begins anew where the journal was given up and the right volume is
// back: what the run left there goes, unless a step may have been done.
func (r *twoSim) begunAgain(t *testing.T, where string, s *simFS, stage Stage) {
	t.Helper()
	r2, err := readPart(s, r.at())
	if err != nil {
		t.Fatal(err)
	}
	was := s.contents()
	err = r.run(s)
	switch {
	case r2 != nil && r2.Stage == Committed:
		if !errors.Is(err, ErrForeign) || !slices.Equal(was, s.contents()) {
			t.Fatalf("%s: over a record of what may have been done: %v", where, err)
		}
	case stage == Committed: // all was done
		if st, serr := r.state(s); st != "new" && err == nil {
			t.Fatalf("%s: %v", where, serr)
		}
	case err != nil:
		t.Fatalf("%s: the run after it: %v", where, err)
	default:
		if st, err := r.state(s); st != "new" {
			t.Fatalf("%s: the run after it: %v", where, err)
		}
	}
}

// TestTwoChangedSince: a system that boots between the crash and the recovery
// writes into its files, on either file system. What was written survives under some
// name, though recovery be interrupted anywhere.
func TestTwoChangedSince(t *testing.T) {
	t.Parallel()
	eachTwo(t, func(t *testing.T, r *twoSim) {
		if r.base.loose || !r.on.exchange || r.name == "roll-back" {
			return
		}
		survived, seen := map[string]int{}, map[string]bool{}
		r.crashedTwo(t, func(where string, c *simFS) {
			said, err := Inspect(c, "/d")
			if err != nil {
				t.Fatal(err)
			}
			if said == nil || said.Stage != Committed {
				return
			}
			for _, victim := range []string{"V/rw/etc/f", "V/rw.old/etc/f", "base.md5"} {
				if c.live[r.path(victim)] == nil {
					continue
				}
				for k := 1; ; k++ {
					s := c.crashes()[0]
					s.live[r.path(victim)].data = []byte("written since")
					s.settle()
					s.fault = crashAt(k)
					_, err := Recover(context.Background(), s, "/d")
					if err != nil && !errors.Is(err, errCrash) {
						t.Fatalf("%s, %s changed: %v\n%v", where, victim, err, r.files(s))
					}
					for _, s := range s.crashes() {
						if seen[s.key()] {
							continue
						}
						seen[s.key()] = true
						out, err := Recover(context.Background(), s, "/d")
						if err != nil {
							t.Fatalf("%s, %s changed, crash of recovery before operation %d: %v\n%v", where, victim, k, err, r.files(s))
						}
						name := ""
						for n, text := range r.files(s) {
							if strings.HasPrefix(n[strings.LastIndex(n, "/")+1:], ".relive") || strings.Contains(n, tempSuffix) ||
								strings.Contains(n, goneSuffix) {
								t.Fatalf("%s, %s changed: %s is left", where, victim, n)
							}
							if text == "written since" {
								name = n
							}
						}
						if name == "" {
							t.Fatalf("%s, %s changed, crash of recovery before operation %d: it is lost\n%+v\n%v", where, victim, k, out,
								r.files(s))
						}
						survived[name]++
					}
					if err == nil {
						break
					}
				}
			}
		})
		if survived["V/rw.old/etc/f"] == 0 || survived["base.md5"]+survived["base.md5.old"] == 0 {
			t.Errorf("%v", survived)
		}
		if r.name == "compaction" && survived["V/rw.old.relive-kept/etc/f"] == 0 {
			t.Errorf("nothing that was to be discarded was kept: %v", survived)
		}
	})
}
