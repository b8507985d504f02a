package swap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"relive/tree"
)

func begin(t *testing.T, s *simFS) *Txn {
	t.Helper()
	txn, err := Begin(s, "/d", Info{Verb: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return txn
}

func TestLock(t *testing.T) {
	s := newLive(kinds["links"])
	txn := begin(t, s)
	if _, err := Begin(s, "/d", Info{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Begin: %v", err)
	}
	if _, err := Recover(context.Background(), s, "/d"); !errors.Is(err, ErrBusy) {
		t.Errorf("Recover of a running transaction: %v", err)
	}
	said, err := Inspect(s, "/d")
	if err != nil || said == nil || !said.Running || !strings.Contains(said.String(), "is running") {
		t.Errorf("Inspect of a running transaction: %v, %v", said, err)
	}
	if err := txn.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := txn.Abort(); err != nil {
		t.Errorf("the second Abort: %v", err)
	}
	if err := txn.Commit(context.Background()); err == nil {
		t.Error("Commit after Abort is no error")
	}
	if _, err := txn.Temp("x"); err == nil {
		t.Error("Temp after Abort is no error")
	}
	if st, err := state(s); st != "old" {
		t.Fatal(err)
	}
}

func TestTempNames(t *testing.T) {
	s := newLive(kinds["links"])
	s.live["/d/linuxfs.relive-tmp"] = &simInode{kind: Regular, data: []byte("not of this run")}
	s.settle()
	txn := begin(t, s)
	p, err := txn.Temp("linuxfs")
	if err != nil || p != "/d/linuxfs.relive-tmp.2" || txn.Name(p) != "linuxfs.relive-tmp.2" {
		t.Fatal(p, err)
	}
	q, err := txn.Temp("linuxfs")
	if err != nil || q != "/d/linuxfs.relive-tmp.3" {
		t.Fatal(q, err)
	}
	for _, bad := range []string{"", "/x", "../x", "a/../b", "nothere/x", "state/link/x", journalName, "a\x00", "\xff"} {
		if p, err := txn.Temp(bad); err == nil {
			t.Errorf("Temp(%q) gives %q", bad, p)
		}
	}
	if err := s.put(p, "data"); err != nil {
		t.Fatal(err)
	}
	if err := txn.Abort(); err != nil {
		t.Fatal(err)
	}
	l := s.listing()
	if l["linuxfs.relive-tmp"] != "not of this run" {
		t.Error("a file that the journal does not know was removed")
	}
	delete(l, "linuxfs.relive-tmp")
	if !maps.Equal(l, before) {
		t.Errorf("%v", l)
	}
}

func TestPlanErrors(t *testing.T) {
	for _, c := range []struct {
		want  string
		steps []Step
	}{
		{"there is no nothing", []Step{Replace{"nothing", "linuxfs", ""}}},
		{"there is no nothing", []Step{Move{"nothing", "x"}}},
		{"there is no nothing", []Step{Copy{"nothing", "x"}}},
		{"there is no nothing", []Step{Remove{"nothing"}}},
		{"rename linuxfs to rootfs: rootfs exists", []Step{Move{"linuxfs", "rootfs"}}},
		{"copy linuxfs to rootfs: rootfs exists", []Step{Copy{"linuxfs", "rootfs"}}},
		{"linuxfs.old exists and differs from linuxfs", []Step{Replace{"new.relive-tmp", "linuxfs", "linuxfs.old"}}},
		{"x exists, but there is no y", []Step{Move{"homefs", "x"}, Replace{"new.relive-tmp", "y", "x"}}},
		{"the names must differ", []Step{Replace{"linuxfs", "linuxfs", ""}}},
		{"the names must differ", []Step{Replace{"new.relive-tmp", "linuxfs", "linuxfs"}}},
		{"the names must differ", []Step{Move{"linuxfs", "linuxfs"}}},
		{"there is no linuxfs", []Step{Move{"linuxfs", "x"}, Remove{"linuxfs"}}},
		{"there is no new.relive-tmp", []Step{Replace{"new.relive-tmp", "linuxfs", "x"}, Replace{"new.relive-tmp", "rootfs", "y"}}},
		{"is not a plain path", []Step{Remove{"../d/linuxfs"}}},
		{"is not a plain path", []Step{Remove{"/etc/passwd"}}},
		{"is not a plain path", []Step{Remove{"."}}},
		{"the journal's own name", []Step{Remove{journalName}}},
		{"is a symlink, not a directory", []Step{Remove{"state/link/x"}}},
		{`"state/link" lies within "state"`, []Step{Remove{"state/link"}, Move{"state", "s"}}},
		{"never.relive-tmp was never written", []Step{Replace{"never.relive-tmp", "linuxfs", "x"}}},
	} {
		s := newLive(kinds["links"])
		txn := begin(t, s)
		for _, n := range []string{"new", "never"} {
			p, err := txn.Temp(n)
			if err != nil {
				t.Fatal(err)
			}
			if n == "new" {
				if err := s.put(p, "new"); err != nil {
					t.Fatal(err)
				}
			}
		}
		txn.Plan(c.steps...)
		cerr := txn.Check()
		err := txn.Commit(context.Background())
		if !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.steps, err, c.want)
		}
		if (cerr == nil) != strings.Contains(c.want, "never written") {
			t.Errorf("%v: Check says %v", c.steps, cerr)
		}
		if err := txn.Abort(); err != nil {
			t.Fatal(err)
		}
		if st, err := state(s); st != "old" {
			t.Fatalf("%v: %v", c.steps, err)
		}
	}
}

// TestPlans: sequences beyond that of a compaction.
func TestPlans(t *testing.T) {
	type files map[string]string
	for name, c := range map[string]struct {
		start files
		steps []Step
		want  files
	}{
		"rollback": {files{"a": "new", "a.old": "old"}, []Step{Replace{"a.old", "a", "a.bad"}}, files{"a": "old", "a.bad": "new"}},
		"rotation of three": {files{"a.1": "1", "a.2": "2", "a.3": "3"}, []Step{Remove{"a.3"}, Move{"a.2", "a.3"}, Move{"a.1", "a.2"}},
			files{"a.2": "1", "a.3": "2"}},
		"keep is there already": {files{"a": "same", "a.old": "same", "n": "new"}, []Step{Replace{"n", "a", "a.old"}},
			files{"a": "new", "a.old": "same"}},
		"nothing to replace": {files{"n": "new"}, []Step{Replace{"n", "a", "a.old"}}, files{"a": "new"}},
		"the same content":   {files{"a": "same", "n": "same"}, []Step{Replace{"n", "a", "a.old"}}, files{"a": "same", "a.old": "same"}},
		"there and back":     {files{"a": "1"}, []Step{Move{"a", "b"}, Move{"b", "a"}}, files{"a": "1"}},
		"copies of copies": {files{"a": "1"}, []Step{Copy{"a", "b"}, Copy{"b", "c"}, Move{"a", "d"}, Copy{"d", "a"}},
			files{"a": "1", "b": "1", "c": "1", "d": "1"}},
		"move, then take the name": {files{"a": "1", "b": "2"}, []Step{Move{"a", "x"}, Move{"b", "a"}, Move{"x", "b"}},
			files{"a": "2", "b": "1"}},
		"twice the same target": {files{"a": "1", "b": "2", "c": "3"}, []Step{Replace{"b", "a", "a.1"}, Replace{"c", "a", "a.2"}},
			files{"a": "3", "a.1": "1", "a.2": "2"}},
	} {
		for kind, feat := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				run := func(s *simFS) error {
					txn, err := Begin(s, "/d", Info{Verb: "test"})
					if err != nil {
						return err
					}
					txn.Plan(c.steps...)
					return txn.Commit(context.Background())
				}
				for k := 1; ; k++ {
					s := newSim(feat)
					for n, v := range c.start {
						s.live["/d/"+n] = &simInode{kind: Regular, data: []byte(v), ino: s.nextIno}
						s.nextIno++
					}
					s.settle()
					s.fault = crashAt(k)
					err := run(s)
					for i, r := range s.crashes() {
						if _, err := Recover(context.Background(), r, "/d"); err != nil {
							t.Fatalf("crash before operation %d, variant %d: %v\n%v", k, i, err, r.listing())
						}
						if l := files(r.listing()); !maps.Equal(l, c.want) && !maps.Equal(l, c.start) {
							t.Fatalf("crash before operation %d, variant %d: %v", k, i, l)
						}
					}
					if err == nil {
						if l := files(s.listing()); !maps.Equal(l, c.want) {
							t.Errorf("got %v, want %v", l, c.want)
						}
						break
					}
				}
			})
		}
	}
}

// TestTellsLongFilesApart: images of equal length that differ only where a
// fingerprint does not look.
func TestTellsLongFilesApart(t *testing.T) {
	old := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	fresh := bytes.Clone(old)
	fresh[len(fresh)/2] ^= 1
	for kind, feat := range kinds {
		for k := 1; ; k++ {
			s := newSim(feat)
			s.live["/d/a"] = &simInode{kind: Regular, data: old, ino: 10}
			s.live["/d/n"] = &simInode{kind: Regular, data: fresh, ino: 11}
			s.settle()
			s.fault = crashAt(k)
			txn, err := Begin(s, "/d", Info{})
			if err == nil {
				txn.Plan(Replace{"n", "a", "a.old"})
				err = txn.Commit(context.Background())
			}
			for _, r := range s.crashes() {
				if _, err := Recover(context.Background(), r, "/d"); err != nil {
					t.Fatalf("%s: crash before operation %d: %v", kind, k, err)
				}
				a, o := r.live["/d/a"], r.live["/d/a.old"]
				if done := o != nil; a == nil || bytes.Equal(a.data, fresh) != done || done && !bytes.Equal(o.data, old) {
					t.Fatalf("%s: crash before operation %d: mixed up", kind, k)
				}
			}
			if err == nil {
				break
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	s := newLive(kinds["links"])
	txn := begin(t, s)
	txn.Plan(Copy{"state", "x"}, Remove{"homefs"})
	cancel()
	if err := txn.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := txn.Abort(); err != nil {
		t.Fatal(err)
	}
	if st, err := state(s); st != "old" {
		t.Fatal(err)
	}
}

func sampleJournal() *journal {
	p := Fingerprint{Kind: Regular, Size: 3, Sum: "abc"}
	return &journal{Info: Info{Verb: "compact"}, Stage: Committed, Temps: []string{"s.relive-tmp"}, Gone: []string{"b.relive-gone"},
		Start: map[string]Fingerprint{"n": p, "a": p, "b": p},
		Actions: []action{{Verb: doReplace, From: "n", To: "a", Keep: "a.old", Step: "replace a"},
			{Verb: doMove, From: "b", To: "b.relive-gone", Step: "remove b"}}}
}

func TestJournal(t *testing.T) {
	b, err := sampleJournal().encode()
	if err != nil {
		t.Fatal(err)
	}
	j, err := decodeJournal("j", b)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*j) != fmt.Sprint(*sampleJournal()) {
		t.Errorf("got %v, want %v", j, sampleJournal())
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x11
		if _, err := decodeJournal("j", bad); !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := decodeJournal("j", b[:i]); !errors.Is(err, tree.ErrCorrupt) {
			t.Fatalf("cut at byte %d: %v", i, err)
		}
	}
	if _, err := decodeJournal("j", bytes.Replace(b, []byte("journal 1"), []byte("journal 3"), 1)); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("version 3: %v", err)
	}
	for name, spoil := range map[string]func(j *journal){
		"out of the directory":     func(j *journal) { j.Temps = []string{"../x.relive-tmp"} },
		"absolute":                 func(j *journal) { j.Gone = append(j.Gone, "/etc/x.relive-gone") },
		"removes what is not ours": func(j *journal) { j.Temps = []string{"linuxfs"} },
		"gone what is not ours":    func(j *journal) { j.Gone = append(j.Gone, "linuxfs") },
		"removes what is used":     func(j *journal) { j.Actions[0].From = "s.relive-tmp" },
		"unknown verb":             func(j *journal) { j.Actions[0].Verb = "format" },
		"no such file":             func(j *journal) { delete(j.Start, "n") },
		"taken":                    func(j *journal) { j.Actions[0].Verb = doMove; j.Actions[0].Keep = "" },
		"own name":                 func(j *journal) { j.Actions[0].To = journalName },
		"stage":                    func(j *journal) { j.Stage = "done" },
		"nested":                   func(j *journal) { j.Actions[0].Keep = "b/x" },
		"twice":                    func(j *journal) { j.Actions[0].Keep = "n" },
		"unclear fate":             func(j *journal) { j.Actions[0].Keep = "b.relive-gone" },
		"stray start":              func(j *journal) { j.Start["zz"] = Fingerprint{} },
	} {
		j := sampleJournal()
		spoil(j)
		b, err := j.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeJournal("j", b); !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newLive(kinds["links"])
	s.live["/d/"+journalName] = &simInode{kind: Regular, data: []byte("rubbish")}
	s.settle()
	_, err1 := Inspect(s, "/d")
	_, err2 := Recover(context.Background(), s, "/d")
	_, err3 := Begin(s, "/d", Info{})
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, tree.ErrCorrupt) || !strings.Contains(err.Error(), "/d/"+journalName) {
			t.Errorf("over a broken journal: %v", err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	b, err := sampleJournal().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:bytes.LastIndex(b, []byte("sha256"))])
	j := journal{Stage: Building, Temps: []string{"x.relive-tmp"}}
	if b, err = j.encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(b[:bytes.LastIndex(b, []byte("sha256"))])
	for _, stage := range []Stage{Building, Committed} {
		// It says that names lead to places of which no run knows.
		j := volumeJournal()
		if j.Volumes[1].Dir, j.Volumes[1].Mount = "/etc", "/"; stage == Building {
			j.Stage, j.Gone, j.Start, j.Actions, j.Temps = stage, nil, nil, nil, []string{"V/passwd.relive-tmp"}
		}
		if b, err = j.encode(); err != nil {
			f.Fatal(err)
		}
		f.Add(b[:bytes.LastIndex(b, []byte("sha256"))])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := decodeJournal("j", body); err == nil {
			t.Skip()
		}
		j, err := decodeJournal("j", sealed(body))
		if err != nil {
			return
		}
		// Whatever a journal says, recovery stays in the directory.
		s := newLive(kinds["links"])
		s.live["/etc"] = &simInode{kind: Directory}
		s.live["/etc/passwd"] = &simInode{kind: Regular, data: []byte("root")}
		s.live["/etc/passwd.relive-tmp"] = s.live["/etc/passwd"]
		s.live["/d/"+journalName] = &simInode{kind: Regular, data: sealed(body)}
		s.settle()
		Recover(context.Background(), s, "/d")
		for _, name := range []string{"/etc/passwd", "/etc/passwd.relive-tmp"} {
			if n := s.live[name]; n == nil || string(n.data) != "root" {
				t.Errorf("reached out of the directory: %v", j)
			}
		}
	})
}
