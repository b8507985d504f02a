package swap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"
)

// before is a live directory that has been compacted before; after is what the
// compaction of the tests makes of it.
var before = map[string]string{
	"linuxfs": "base 2", "linuxfs.md5": "md5 of base 2", "linuxfs.info": "info 2", "rootfs": "overlay with changes",
	"linuxfs.old": "base 1", "linuxfs.bad": "base 0", "homefs": "home",
	"state": "dir", "state/general": "dir", "state/general/file": "general", "state/link": "-> general/file",
	"junk": "dir", "junk/a": "1", "junk/b": "2",
	"conf": "dir", "conf/x": "old x", "conf/only-old": "",
}

func after() map[string]string {
	m := maps.Clone(before)
	m["linuxfs.old.2"] = "base 1"
	m["linuxfs"], m["linuxfs.old"] = "base 3 with the changes", "base 2"
	m["linuxfs.md5"], m["linuxfs.md5.old"] = "md5 of base 3", "md5 of base 2"
	m["linuxfs.info"] = "info 3"
	m["rootfs"], m["rootfs.old"] = "empty", "overlay with changes"
	for _, n := range []string{"linuxfs.bad", "junk", "junk/a", "junk/b", "conf/only-old"} {
		delete(m, n)
	}
	m["conf/x"] = "new x"
	for _, n := range []string{"", "/general", "/general/file", "/link"} {
		m["state.old"+n] = m["state"+n]
	}
	return m
}

func newLive(feat features) *simFS {
	s := newSim(feat)
	for name, data := range before {
		n := &simInode{kind: Regular, data: []byte(data), perm: 0o640, ino: s.nextIno}
		s.nextIno++
		if data == "dir" {
			n.kind, n.data = Directory, nil
		} else if t, ok := strings.CutPrefix(data, "-> "); ok {
			n.kind, n.data, n.target = Symlink, nil, t
		}
		s.live["/d/"+name] = n
	}
	s.settle()
	return s
}

// compact is the run under test, as a caller writes it.
func compact(s *simFS) (err error) {
	t, err := Begin(s, "/d", Info{Verb: "compact", Tool: "test", Started: time.Unix(1e9, 0).UTC()})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, ErrUnfinished) {
			err = errors.Join(err, t.Abort())
		}
	}()
	for _, f := range [][2]string{{"linuxfs", "base 3 with the changes"}, {"linuxfs.md5", "md5 of base 3"}, {"linuxfs.info", "info 3"},
		{"rootfs", "empty"}, {"scratch", "not used by any step"}} {
		p, err := t.Temp(f[0])
		if err != nil {
			return err
		}
		if err := s.put(p, f[1]); err != nil {
			return err
		}
	}
	p, err := t.Temp("conf")
	if err != nil {
		return err
	}
	if err := s.Mkdir(p); err != nil {
		return err
	}
	if err := s.put(p+"/x", "new x"); err != nil {
		return err
	}
	t.Plan(
		Remove{"linuxfs.bad"},
		Move{"linuxfs.old", "linuxfs.old.2"},
		Copy{"state", "state.old"},
		Replace{"linuxfs.relive-tmp", "linuxfs", "linuxfs.old"},
		Replace{"linuxfs.md5.relive-tmp", "linuxfs.md5", "linuxfs.md5.old"},
		Replace{"linuxfs.info.relive-tmp", "linuxfs.info", ""},
		Replace{"conf.relive-tmp", "conf", ""},
		Remove{"junk"},
		Replace{"rootfs.relive-tmp", "rootfs", "rootfs.old"},
	)
	return t.Commit(context.Background())
}

// bootable holds a directory, as a crash left it, to the laws.
func bootable(s *simFS) error {
	l := s.listing()
	base, overlay := l["linuxfs"], l["rootfs"]
	window := !s.feat.link && !s.feat.exchange && l[journalName] != ""
	switch {
	case base == "" && window && l["linuxfs.old"] == before["linuxfs"] && overlay == before["rootfs"]:
		return nil // recovery has to put it right
	case overlay == "" && window && l["rootfs.old"] == before["rootfs"] && base == after()["linuxfs"]:
		return nil
	case base != before["linuxfs"] && base != after()["linuxfs"]:
		return fmt.Errorf("linuxfs holds %q", base)
	case overlay != before["rootfs"] && overlay != after()["rootfs"]:
		return fmt.Errorf("rootfs holds %q", overlay)
	case base == before["linuxfs"] && overlay == after()["rootfs"]:
		return errors.New("the old base has the new overlay")
	case l["homefs"] != "home":
		return errors.New("homefs is gone")
	}
	if base == after()["linuxfs"] && l["linuxfs.old"] != before["linuxfs"] && l["linuxfs.relive-tmp"] != before["linuxfs"] {
		return errors.New("the old base is lost")
	}
	if overlay == after()["rootfs"] && l["rootfs.old"] != before["rootfs"] && l["rootfs.relive-tmp"] != before["rootfs"] {
		return errors.New("the old overlay is lost")
	}
	return nil
}

// state tells which of the two states a directory is in, exactly.
func state(s *simFS) (string, error) {
	l := s.listing()
	if maps.Equal(l, before) {
		return "old", nil
	}
	if maps.Equal(l, after()) {
		return "new", nil
	}
	var diff []string
	for n, v := range l {
		if before[n] != v && after()[n] != v {
			diff = append(diff, fmt.Sprintf("%s=%q", n, v))
		}
	}
	return "", fmt.Errorf("neither the old nor the new state: %v\nall: %v", diff, l)
}

var kinds = map[string]features{
	"links":           {link: true, exchange: true},
	"links, loose":    {link: true, exchange: true, loose: true},
	"exchange":        {exchange: true},
	"exchange, loose": {exchange: true, loose: true},
	"neither":         {},
	"neither, loose":  {loose: true},
}

func crashAt(k int) func(int, string) (error, error) {
	return func(op int, _ string) (error, error) {
		if op >= k {
			return errCrash, nil
		}
		return nil, nil
	}
}

func TestCompletes(t *testing.T) {
	for name, feat := range kinds {
		t.Run(name, func(t *testing.T) {
			s := newLive(feat)
			if err := compact(s); err != nil {
				t.Fatal(err)
			}
			if st, err := state(s); st != "new" {
				t.Fatal(st, err)
			}
			s = s.crashes()[0] // nothing may have been left to chance
			if st, err := state(s); st != "new" {
				t.Fatal("after a crash: ", st, err)
			}
			if st, err := Inspect(s, "/d"); st != nil || err != nil {
				t.Fatal(st, err)
			}
		})
	}
}

// TestCrashAnywhere crashes the run before each of its operations, recovery
// before each of its own, and so on once more; every state in between has to be
// bootable and the last exactly the old or the new one.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	done := map[string]bool{}
	for name, feat := range kinds {
		t.Run(name, func(t *testing.T) {
			total, ends := 0, map[string]int{}
			for k := 1; ; k++ {
				s := newLive(feat)
				s.fault = crashAt(k)
				err := compact(s)
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatalf("crash before operation %d: the run says %v", k, err)
				}
				for v, c := range s.crashes() {
					where := fmt.Sprintf("crash before operation %d, variant %d", k, v)
					if err := bootable(c); err != nil {
						t.Fatalf("%s: %v\n%v", where, err, c.listing())
					}
					n, err := recoverAnyhow(c, where, ends, done)
					if err != nil {
						t.Fatal(err)
					}
					total += n
				}
			}
			if ends["new"] == 0 {
				t.Errorf("ends: %v: the new state has to occur", ends)
			}
			t.Logf("%d crashes, ends %v", total, ends)
		})
	}
}

// TestDiesThenCrash: the process dies after the commit point, recovery begins
// with what was not synced still in memory, and then the machine crashes.
func TestDiesThenCrash(t *testing.T) {
	t.Parallel()
	feat, done, ends := kinds["links, loose"], map[string]bool{}, map[string]int{}
	for k := 1; ; k++ {
		committed := false
		for j := 1; ; j++ {
			s := newLive(feat)
			s.fault = crashAt(k)
			if compact(s) == nil {
				if ends["new"] == 0 {
					t.Error("no crash led to the new state")
				}
				return
			}
			s.locked = map[string]bool{}
			s.fault = nil
			if said, err := Inspect(s, "/d"); err != nil {
				t.Fatal(err)
			} else if committed = said != nil && said.Stage == Committed; !committed {
				break
			}
			s.fault = crashAt(s.ops + j)
			_, err := Recover(context.Background(), s, "/d")
			for v, c := range s.crashes() {
				if done[c.key()] {
					continue
				}
				done[c.key()] = true
				where := fmt.Sprintf("death before operation %d, crash of recovery before its operation %d, variant %d", k, j, v)
				if err := bootable(c); err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				if err := recovered(c, where, ends); err != nil {
					t.Fatal(err)
				}
			}
			if err == nil {
				break
			}
		}
	}
}

// recoverAnyhow recovers a directory, crashing at every operation of recovery
// first.
func recoverAnyhow(c *simFS, where string, ends map[string]int, done map[string]bool) (int, error) {
	total := 0
	if done[c.key()] {
		return 0, nil // recovery knows nothing but what is on disk
	}
	done[c.key()] = true
	for k := 1; ; k++ {
		r := c.crashes()[0]
		r.fault = crashAt(k)
		_, err := Recover(context.Background(), r, "/d")
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			return total, fmt.Errorf("%s: Recover: %w\n%v", where, err, r.listing())
		}
		for v, c2 := range r.crashes() {
			if done[c2.key()] || done["twice "+c2.key()] {
				continue
			}
			done["twice "+c2.key()] = true
			total++
			where2 := fmt.Sprintf("%s, crash of recovery before operation %d, variant %d", where, k, v)
			if err := bootable(c2); err != nil {
				return total, fmt.Errorf("%s: %w", where2, err)
			}
			if err := recovered(c2, where2, ends); err != nil {
				return total, err
			}
		}
	}
	return total, recovered(c, where, ends)
}

func recovered(c *simFS, where string, ends map[string]int) error {
	said, err := Inspect(c, "/d")
	if err != nil {
		return fmt.Errorf("%s: Inspect: %w", where, err)
	}
	out, err := Recover(context.Background(), c, "/d")
	if err != nil {
		return fmt.Errorf("%s: Recover: %w\n%v", where, err, c.listing())
	}
	st, err := state(c)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if (said == nil) != (out == nil) {
		return fmt.Errorf("%s: Inspect says %v, Recover did %v", where, said, out)
	}
	if out != nil && out.Finished != (st == "new") {
		return fmt.Errorf("%s: Recover says finished=%v, the state is %s", where, out.Finished, st)
	}
	if out != nil && (len(out.Changed) > 0 || said.Problem != nil) {
		return fmt.Errorf("%s: changed %v, problem %v", where, out.Changed, said.Problem)
	}
	c = c.crashes()[0]
	if st2, err := state(c); err != nil || st2 != st {
		return fmt.Errorf("%s: after recovery and another crash: %s, %w", where, st2, err)
	}
	if out, err := Recover(context.Background(), c, "/d"); out != nil || err != nil {
		return fmt.Errorf("%s: recovering again did %v, %w", where, out, err)
	}
	ends[st]++
	return nil
}

// TestErrorAnywhere lets every operation fail, once or from there on, with and
// without having happened.
func TestErrorAnywhere(t *testing.T) {
	type mode struct {
		name  string
		fault func(k int) func(int, string) (error, error)
	}
	modes := []mode{
		{"once", func(k int) func(int, string) (error, error) {
			return func(op int, _ string) (error, error) {
				if op == k {
					return syscall.EIO, nil
				}
				return nil, nil
			}
		}},
		{"once, though done", func(k int) func(int, string) (error, error) {
			return func(op int, _ string) (error, error) {
				if op == k {
					return nil, syscall.EIO
				}
				return nil, nil
			}
		}},
		{"disk full", func(k int) func(int, string) (error, error) {
			return func(op int, name string) (error, error) {
				if op >= k && (strings.HasPrefix(name, "create") || strings.HasPrefix(name, "write")) {
					return syscall.ENOSPC, nil
				}
				return nil, nil
			}
		}},
		{"read-only from there", func(k int) func(int, string) (error, error) {
			return func(op int, _ string) (error, error) {
				if op >= k {
					return syscall.EROFS, nil
				}
				return nil, nil
			}
		}},
	}
	for name, feat := range kinds {
		for _, m := range modes {
			t.Run(name+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				s := newLive(feat)
				if err := compact(s); err != nil {
					t.Fatal(err)
				}
				last, failed := s.ops, 0
				for k := 1; k <= last; k++ {
					s := newLive(feat)
					var faulty error // the first that a call gave
					what := ""
					fault := m.fault(k)
					s.fault = func(op int, name string) (error, error) {
						before, after := fault(op, name)
						if faulty == nil {
							faulty, what = cmp.Or(before, after), name
						}
						return before, after
					}
					err := compact(s)
					s.fault = nil
					if faulty != nil && !errors.Is(err, faulty) {
						t.Fatalf("operation %d (%s) failed, but the run says %v", k, what, err)
					}
					if err == nil {
						if st, err := state(s); st != "new" {
							t.Fatalf("operation %d: no error, but %v", k, err)
						}
						continue
					}
					failed++
					if err := bootable(s); err != nil {
						t.Fatalf("operation %d: %v", k, err)
					}
					said, ierr := Inspect(s, "/d")
					if ierr != nil {
						t.Fatal(ierr)
					}
					if errors.Is(err, ErrUnfinished) && said != nil && said.Stage != Committed {
						t.Fatalf("operation %d: error %q, but found %v", k, err, said)
					}
					if !errors.Is(err, ErrUnfinished) && said != nil && said.Stage == Committed {
						t.Fatalf("operation %d: error %q, but found %v", k, err, said)
					}
					unfinished := errors.Is(err, ErrUnfinished)
					if _, err := Recover(context.Background(), s, "/d"); err != nil {
						t.Fatalf("operation %d: Recover: %v\n%v", k, err, s.listing())
					}
					st, serr := state(s)
					if serr != nil || unfinished != (st == "new") {
						t.Fatalf("operation %d: error %q, unfinished %v, state %s %v", k, err, unfinished, st, serr)
					}
				}
				if failed == 0 {
					t.Error("nothing failed")
				}
			})
		}
	}
}
