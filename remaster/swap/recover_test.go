package swap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// committedStates returns what crashes after the commit point leave, one of a
// kind.
func committedStates(t *testing.T, feat features) []*simFS {
	t.Helper()
	var all []*simFS
	seen := map[string]bool{}
	for k := 1; ; k++ {
		s := newLive(feat)
		s.fault = crashAt(k)
		if compact(s) == nil {
			return all
		}
		for _, c := range s.crashes() {
			if said, err := Inspect(c, "/d"); err != nil {
				t.Fatal(err)
			} else if said != nil && said.Stage == Committed && !seen[c.key()] {
				seen[c.key()] = true
				all = append(all, c)
			}
		}
	}
}

// TestChangedSince: a system that boots between the crash and the recovery
// writes into its files. Recovery completes, and what was written survives
// under some name, though it be interrupted anywhere.
func TestChangedSince(t *testing.T) {
	t.Parallel()
	for name, feat := range kinds {
		if feat.loose || !feat.exchange {
			continue
		}
		t.Run(name, func(t *testing.T) {
			kept, done := map[string]int{}, map[string]bool{}
			states := committedStates(t, feat)
			for i, c := range states {
				if i%2 == 0 && feat.link {
					continue // half of them each, they are alike
				} else if i%2 == 1 && !feat.link {
					continue
				}
				l := c.listing()
				for _, victim := range []string{"rootfs", "linuxfs.info", "linuxfs.bad", "junk/a", "conf/x", "homefs", "rootfs.relive-tmp",
					"linuxfs.relive-tmp"} {
					if _, there := l[victim]; !there {
						continue
					}
					// What is new is changed by nobody while it has that name. A former that
					// was exchanged to it may still be mounted.
					if of, temp := strings.CutSuffix(victim, tempSuffix); temp && l[victim] != before[of] {
						continue
					}
					changed := c.crashes()[0]
					changed.live["/d/"+victim].data = []byte("written since")
					changed.settle()
					where := fmt.Sprintf("state %d of %d, %s changed", i, len(states), victim)
					for k := 1; ; k++ {
						r := changed.crashes()[0]
						r.fault = crashAt(k)
						out, err := Recover(context.Background(), r, "/d")
						if err != nil && !errors.Is(err, errCrash) {
							t.Fatalf("%s: %v\n%v", where, err, r.listing())
						}
						if err == nil {
							checkOutcome(t, where, r, out)
						}
						for _, again := range r.crashes() {
							key := victim + again.key()
							if done[key] {
								continue
							}
							done[key] = true
							where2 := fmt.Sprintf("%s, crash of recovery before operation %d", where, k)
							was := again.listing()
							out, err := Recover(context.Background(), again, "/d")
							if err != nil {
								t.Fatalf("%s: %v\n%v", where2, err, again.listing())
							}
							// What the first recovery had planned to keep, and this one keeps.
							for n := range again.listing() {
								if _, there := was[n]; !there && strings.Contains(n, keptSuffix) && !strings.Contains(n, "/") &&
									!slices.Contains(out.Kept, n) {
									t.Fatalf("%s: %s is kept and not told of: %v", where2, n, out.Kept)
								}
							}
							checkKept(t, where2, again, victim, kept)
						}
						if err == nil {
							break
						}
					}
				}
			}
			for _, want := range []string{"rootfs", "rootfs.old", "linuxfs.info", "linuxfs.info.relive-kept", "linuxfs.bad.relive-kept",
				"junk.relive-kept/a", "conf.relive-kept/x", "homefs"} {
				if kept[want] == 0 {
					t.Errorf("nothing was ever kept as %s: %v", want, kept)
				}
			}
		})
	}
}

// checkOutcome: what is told of a recovery that nothing interrupted is what is
// there.
func checkOutcome(t *testing.T, where string, s *simFS, out *Outcome) {
	t.Helper()
	var kept []string
	l := s.listing()
	for n := range l {
		if strings.Contains(n, keptSuffix) && !strings.Contains(n, "/") {
			kept = append(kept, n)
		}
	}
	slices.Sort(kept)
	if told := slices.Sorted(slices.Values(out.Kept)); !slices.Equal(told, kept) || len(kept) > 0 && len(out.Changed) == 0 {
		t.Fatalf("%s: kept %v and changed %v are told, there is %v", where, told, out.Changed, kept)
	}
	for _, n := range out.Removed {
		if _, there := l[n]; there {
			t.Fatalf("%s: %s is said to be removed, and there", where, n)
		}
	}
}

// checkKept: the new state, but for one file that was written to.
func checkKept(t *testing.T, where string, s *simFS, victim string, kept map[string]int) {
	t.Helper()
	l := s.listing()
	name := ""
	for n, v := range l {
		if v == "written since" {
			if name != "" {
				t.Fatalf("%s: is at both %s and %s", where, name, n)
			}
			name = n
		}
	}
	if name == "" {
		t.Fatalf("%s: is lost\n%v", where, l)
	}
	kept[name]++
	want := after()
	for n, v := range l {
		if n == name || strings.Contains(n, keptSuffix) {
			delete(want, n)
			continue
		}
		if want[n] != v {
			t.Fatalf("%s: %s holds %q, want %q\n%v", where, n, v, want[n], l)
		}
		delete(want, n)
	}
	if len(want) > 0 {
		t.Fatalf("%s: missing: %v\n%v", where, want, l)
	}
	if _, ok := l[journalName]; ok {
		t.Fatalf("%s: the journal is still there", where)
	}
	if st, err := Inspect(s, "/d"); st != nil || err != nil {
		t.Fatal(where, st, err)
	}
}

// TestForeign: where somebody moved files about, recovery touches nothing.
func TestForeign(t *testing.T) {
	for name, feat := range kinds {
		if feat.loose {
			continue
		}
		t.Run(name, func(t *testing.T) {
			refused := 0
			for i, c := range committedStates(t, feat) {
				for what, meddle := range map[string]func(s *simFS){
					"linuxfs removed": func(s *simFS) { delete(s.live, "/d/linuxfs"); delete(s.live, "/d/linuxfs.old.2") },
					"the new file damaged": func(s *simFS) {
						if n := s.live["/d/rootfs.relive-tmp"]; n != nil {
							n.data = []byte("damaged")
						}
					},
					"an old file back": func(s *simFS) {
						s.live["/d/linuxfs.bad"] = &simInode{kind: Regular, data: []byte("x")}
						s.live["/d/linuxfs.old.2"] = &simInode{kind: Regular, data: []byte("y")}
						s.live["/d/rootfs.old"] = &simInode{kind: Regular, data: []byte("z")}
					},
				} {
					m := c.crashes()[0]
					meddle(m)
					m.settle()
					was := m.listing()
					said, err := Inspect(m, "/d")
					if err != nil {
						t.Fatal(err)
					}
					_, err = Recover(context.Background(), m, "/d")
					if (said.Problem != nil) != errors.Is(err, ErrForeign) {
						t.Errorf("state %d, %s: Inspect says %v, Recover %v", i, what, said.Problem, err)
					}
					if err == nil {
						continue
					}
					refused++
					if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrUnfinished) {
						t.Errorf("state %d, %s: %v", i, what, err)
					}
					if errors.Is(err, ErrForeign) && !errors.Is(err, ErrUnfinished) && !maps.Equal(was, m.listing()) {
						t.Errorf("state %d, %s: refused, but changed something: %v", i, what, m.listing())
					}
				}
			}
			if refused < 20 {
				t.Errorf("only %d refused", refused)
			}
		})
	}
}

// TestStateSays: the sentence for each state.
func TestStateSays(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	problem := errors.New("no sense")
	for _, c := range []struct {
		state State
		want  string
	}{
		{State{Running: true}, "a run is running"},
		{State{Running: true, Info: Info{Verb: "compact"}}, "compact is running"},
		{State{Stage: Starting}, "a run was interrupted before its commit point; recovery will undo it"},
		{State{Stage: Building, Info: Info{Verb: "reset", Started: when}},
			"reset of 2026-01-02 03:04:05 was interrupted before its commit point; recovery will undo it"},
		{State{Stage: Building, Problem: problem}, "a run was interrupted before its commit point; recovery is not possible: no sense"},
		{State{Stage: Committed, Info: Info{Verb: "save"}, Steps: []string{"a", "b"}, Done: 1},
			"save was interrupted after its commit point, with 1 of 2 steps done; recovery will finish it"},
		{State{Stage: Committed, Steps: []string{"a"}, Problem: problem},
			"a run was interrupted after its commit point, with 0 of 1 steps done; recovery is not possible: no sense"},
	} {
		if got := c.state.String(); got != c.want {
			t.Errorf("%+v\ngot  %s\nwant %s", c.state, got, c.want)
		}
	}
}

func TestInspectSays(t *testing.T) {
	s := newLive(kinds["links"])
	s.fault = func(op int, name string) (error, error) {
		if name == "rename /d/rootfs.relive-tmp /d/rootfs" {
			return errCrash, nil
		}
		return nil, nil
	}
	if err := compact(s); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	s.fault = nil
	said, err := Inspect(s, "/d")
	if err != nil {
		t.Fatal(err)
	}
	if said.Done != 8 || len(said.Steps) != 9 || said.Info.Verb != "compact" || said.Running ||
		!slices.Equal(said.Temps, []string{"scratch.relive-tmp"}) {
		t.Errorf("%+v", said)
	}
	want := "compact of 2001-09-09 01:46:40 was interrupted after its commit point, with 8 of 9 steps done; recovery will finish it"
	if said.String() != want {
		t.Errorf("got  %s\nwant %s", said, want)
	}
	if _, err := Begin(s, "/d", Info{Verb: "reset"}); !errors.Is(err, ErrInterrupted) ||
		!strings.Contains(err.Error(), "compact of 2001-09-09") {
		t.Errorf("Begin over a journal: %v", err)
	}
	out, err := Recover(context.Background(), s, "/d")
	if err != nil {
		t.Fatal(err)
	}
	if !out.Finished || !slices.Equal(out.Steps, []string{"replace rootfs, keep the former as rootfs.old"}) || len(out.Kept)+
		len(out.Changed) != 0 {
		t.Errorf("%+v", out)
	}
}
