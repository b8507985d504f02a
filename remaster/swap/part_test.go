package swap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/hostfs"
)

// twoDirs is a directory with a volume mounted in it and another elsewhere.
func twoDirs() *simFS {
	s := newSim(kinds["links"])
	s.mount(simMount{at: "/d/over", feat: kinds["links"], id: hostfs.Filesystem{UUID: "over"}})
	s.mount(simMount{at: "/d/over/in", feat: kinds["links"], id: hostfs.Filesystem{UUID: "in"}})
	s.mount(simMount{at: "/v", feat: kinds["links"], id: hostfs.Filesystem{UUID: "away", Label: "STICK"}})
	files := map[string]string{"/d/a": "a", "/d/dir": "dir", "/d/dir/x": "x", "/d/over/b": "b", "/d/over/in/c": "c", "/v/p": "dir",
		"/v/p/q": "dir", "/v/p/q/e": "e", "/e": "dir", "/e/f": "f"}
	fill(s, files, func(n string) string { return n })
	return s
}

var twoVolumes = []Volume{{Name: "over"}, {Name: "over/in"}, {Name: "V", Dir: "/v/p"}, {Name: "E", Dir: "../e"}}

func beginTwo(t *testing.T, s *simFS) *Txn {
	t.Helper()
	txn, err := Begin(s, "/d", Info{Verb: "test"}, twoVolumes...)
	if err != nil {
		t.Fatal(err)
	}
	return txn
}

// TestVolumeNames: where names lead, and what people see.
func TestVolumeNames(t *testing.T) {
	s := twoDirs()
	txn := beginTwo(t, s)
	for name, want := range map[string][2]string{
		"a": {"/d/a", "a"}, "dir/x": {"/d/dir/x", "dir/x"}, "over/b": {"/d/over/b", "over/b"}, "over/in/c": {"/d/over/in/c", "over/in/c"},
		"V/q/e": {"/v/p/q/e", "/v/p/q/e"}, "E/f": {"/d/../e/f", "/e/f"}, "Vx": {"/d/Vx", "Vx"},
	} {
		if got := [2]string{txn.path(name), txn.show(name)}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		temp, err := txn.Temp(name)
		if err != nil || temp != want[0]+tempSuffix || txn.Name(temp) != name+tempSuffix {
			t.Errorf("%s: Temp gives %s, %v, named %s", name, temp, err, txn.Name(temp))
		}
	}
	for _, name := range []string{"over", "over/in", "V", "E", "over/in/dir/x", "V/q/e/x", "V/" + partName, "over/" + journalName} {
		if temp, err := txn.Temp(name); err == nil {
			t.Errorf("Temp(%q) gives %q", name, temp)
		}
	}
	for dir, want := range map[string][]string{"/d/over": {"b.relive-tmp"}, "/d/over/in": {"c.relive-tmp"}, "/v/p": {"q/e.relive-tmp"},
		"/e": {"f.relive-tmp"}} {
		r, err := readPart(s, dir)
		if err != nil || r == nil || !slices.Equal(r.Temps, want) || r.ID != txn.id || r.Base.Dir != "/d" ||
			r.Base.Filesystem.UUID != "base" || r.Stage != Building {
			t.Errorf("%s: the record says %+v, %v", dir, r, err)
		}
	}
	if err := txn.Abort(); err != nil {
		t.Fatal(err)
	}
	if got, want := s.contents(), twoDirs().contents(); !slices.Equal(got, want) || len(s.locked) > 0 {
		t.Errorf("left are %v, locked %v", got, s.locked)
	}
}

// TestVolumePlans: no name changes hands between file systems.
func TestVolumePlans(t *testing.T) {
	for _, c := range []struct {
		want  string
		steps []Step
	}{
		{"replace a: over/b and a lie on different file systems; names cannot change hands between these",
			[]Step{Replace{"over/b", "a", ""}}},
		{"replace a, keep the former as /v/p/a: n and /v/p/a lie on different",
			[]Step{Move{"a", "x"}, Move{"x", "n"}, Replace{"n", "a", "V/a"}}},
		{"rename over/b to over/in/b: over/b and over/in/b lie on", []Step{Move{"over/b", "over/in/b"}}},
		{"rename /v/p/q/e to e", []Step{Move{"V/q/e", "e"}}},
		{"rename over to x: over and x lie on different file systems", []Step{Move{"over", "x"}}},
		{"remove over: something is mounted at over", []Step{Remove{"over"}}},
		{"remove /v/p: something is mounted at /v/p", []Step{Remove{"V"}}},
		{"remove over/in: something is mounted at over/in", []Step{Remove{"over/in"}}},
		{"there is no /v/p/nothing", []Step{Remove{"V/nothing"}}},
		{"remove /v/p/q: /v/p/q is a mount point", []Step{Remove{"V/q"}}},
	} {
		s := twoDirs()
		if strings.Contains(c.want, "/v/p/q is a mount point") {
			s.mount(simMount{at: "/v/p/q"})
			s.settle()
		}
		txn := beginTwo(t, s)
		txn.Plan(c.steps...)
		if err := txn.Check(); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.steps, err, c.want)
		}
		if err := txn.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	s := twoDirs()
	txn := beginTwo(t, s)
	txn.Plan(Copy{"a", "V/a"}, Copy{"dir", "over/dir"}, Move{"E/f", "E/g"}, Remove{"over/in/c"}, Replace{"V/q/e", "V/e", ""})
	if err := txn.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	l := map[string]string{}
	for _, line := range s.contents() {
		name, text, _ := strings.Cut(line, "=")
		l[name] = text
	}
	want := map[string]string{"/v/p/a": `"a"`, "over/dir/x": `"x"`, "/e/g": `"f"`, "/v/p/e": `"e"`, "over/b": `"b"`, "a": `"a"`}
	for name, text := range want {
		if l[name] != text {
			t.Errorf("%s holds %s", name, l[name])
		}
	}
	for _, gone := range []string{"/e/f", "over/in/c", "/v/p/q/e", "over/" + partName, "/v/p/" + partName, journalName} {
		if text, there := l[gone]; there {
			t.Errorf("%s is there: %s", gone, text)
		}
	}
}

// TestVolumesRefused: what cannot be a volume.
func TestVolumesRefused(t *testing.T) {
	for _, c := range []struct {
		v    Volume
		want string
	}{
		{Volume{Name: "dir"}, "nothing is mounted at /d/dir"},
		{Volume{Name: "nothing"}, "there is no /d/nothing"},
		{Volume{Name: "a"}, "/d/a is a file, not a directory"},
		{Volume{Name: "dir/link/in"}, "dir/link is a symlink"},
		{Volume{Name: "../over"}, "not a plain path"},
		{Volume{Name: "over", Dir: "/v/p"}, "over exists, and was to stand for /v/p"},
		{Volume{Name: "x/y", Dir: "/v/p"}, "but is a path"},
		{Volume{Name: "x", Dir: "v/p"}, "leads nowhere"},
		{Volume{Name: "x", Dir: "/v/../v/p"}, "leads nowhere"},
		{Volume{Name: "x", Dir: "/v/\xff"}, "leads nowhere"},
		{Volume{Name: "x", Dir: "/v/nothing"}, "file does not exist"},
		{Volume{Name: "x", Dir: "/v/p/q/e"}, "/v/p/q/e is a file"},
		{Volume{Name: "x", Dir: "../v/p"}, "another file system is at /v/p"},
		{Volume{Name: journalName, Dir: "/v/p"}, "the journal's own name"},
	} {
		s := twoDirs()
		s.live["/d/dir/link"] = &simInode{kind: Symlink, target: "../over"}
		s.live["/d/dir/link/in"] = &simInode{kind: Directory}
		s.mounts = append(s.mounts, simMount{at: "/d/dir/link/in"})
		s.settle()
		was := s.contents()
		_, err := Begin(s, "/d", Info{}, c.v)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.v, err, c.want)
		}
		if !slices.Equal(was, s.contents()) || len(s.locked) > 0 {
			t.Errorf("%+v: left are %v, locked %v", c.v, s.contents(), s.locked)
		}
	}
	s := twoDirs()
	if _, err := Begin(s, "/d", Info{}, Volume{Name: "over"}, Volume{Name: "over"}); !errors.Is(err, ErrPlan) {
		t.Errorf("one name twice: %v", err)
	}
	s.locked["/v/p"] = true
	if _, err := Begin(s, "/d", Info{}, twoVolumes...); !errors.Is(err, ErrBusy) || len(s.locked) != 1 {
		t.Errorf("over a volume that is in use: %v; locked are %v", err, s.locked)
	}
}

// TestVolumeTaken: a run that was interrupted elsewhere and takes part in the
// volume keeps others away, until it is known to be undone.
func TestVolumeTaken(t *testing.T) {
	other := part{Info: Info{Verb: "compact"}, ID: strings.Repeat("0c", 16), Stage: Building, Temps: []string{"rw.relive-tmp"},
		Base: place{Dir: "/other", Within: "other", Filesystem: hostfs.Filesystem{UUID: "base"}}}
	j := journal{ID: other.ID, Info: other.Info, Stage: Building, Volumes: []volume{{Name: "V", Dir: "/v/p", Mount: "/v"}}}
	put := func(t *testing.T, s *simFS, at string, r part) {
		t.Helper()
		if err := r.write(s, at); err != nil {
			t.Fatal(err)
		}
		if err := s.put(at+"/rw.relive-tmp", "new"); err != nil {
			t.Fatal(err)
		}
		s.settle()
	}
	base := func(s *simFS, with *journal) {
		s.live["/other"] = &simInode{kind: Directory}
		if with != nil {
			if err := with.write(s, "/other"); err != nil {
				t.Fatal(err)
			}
		}
		s.settle()
	}
	for name, c := range map[string]struct {
		meddle func(s *simFS, r *part)
		want   error // nil where the record goes
	}{
		"with its journal":              {func(s *simFS, _ *part) { base(s, &j) }, ErrInterrupted},
		"on a base that is away":        {func(*simFS, *part) {}, ErrInterrupted},
		"on a base without its journal": {func(s *simFS, _ *part) { base(s, nil) }, nil},
		"on a base with another journal": {func(s *simFS, _ *part) {
			o := j
			o.ID = strings.Repeat("0d", 16)
			base(s, &o)
		}, nil},
		"on another base in its place": {func(s *simFS, r *part) { base(s, nil); r.Base.Filesystem.UUID = "gone" }, ErrInterrupted},
		"on what has no UUID":          {func(s *simFS, r *part) { base(s, nil); r.Base.Filesystem.UUID = "" }, ErrInterrupted},
		"on this base, elsewhere then": {func(_ *simFS, r *part) {
			r.Base = place{Dir: "/mnt", Within: "d",
				Filesystem: r.Base.Filesystem}
		}, nil},
		"on this base by its path":     {func(_ *simFS, r *part) { r.Base = place{Dir: "/d"} }, nil},
		"that may have been committed": {func(s *simFS, r *part) { base(s, nil); r.Stage = Committed }, ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := twoDirs(), other
			c.meddle(s, &r)
			put(t, s, "/v/p", r)
			was := s.contents()
			said, err := Inspect(s, "/v/p")
			if err != nil || said == nil || (c.want == nil) != (said.Problem == nil) && !strings.Contains(name, "this base") ||
				said.Elsewhere[0] != r.Base.Dir ||
				errors.Is(said.Problem, ErrInterrupted) && said.String() != "compact was interrupted; its journal is in "+r.Base.String() {
				t.Errorf("Inspect says %v, %v", said, err)
			}
			txn, err := Begin(s, "/d", Info{}, Volume{Name: "V", Dir: "/v/p"})
			if c.want != nil {
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), r.Base.Dir) || !slices.Equal(was, s.contents()) {
					t.Errorf("Begin: %v", err)
				}
				if _, err := Recover(context.Background(), s, "/v/p"); !errors.Is(err, c.want) || !slices.Equal(was, s.contents()) {
					t.Errorf("Recover there: %v", err)
				}
				var hint interface{ Hint() string }
				if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "/v/p/"+partName) {
					t.Errorf("%v has no hint", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := txn.Abort(); err != nil {
				t.Fatal(err)
			}
			if s.live["/v/p/rw.relive-tmp"] != nil || s.live["/v/p/"+partName] != nil {
				t.Errorf("left are %v", s.contents())
			}
			if strings.Contains(name, "this base") {
				return
			}
			put(t, s, "/v/p", r)
			out, err := Recover(context.Background(), s, "/v/p")
			if err != nil || out == nil || out.Finished || !slices.Equal(out.Removed, []string{"rw.relive-tmp"}) ||
				s.live["/v/p/rw.relive-tmp"] != nil || s.live["/v/p/"+partName] != nil {
				t.Errorf("Recover there: %+v, %v; left are %v", out, err, s.contents())
			}
		})
	}
	// A directory above that of the volume counts, and the directory itself.
	s := twoDirs()
	put(t, s, "/v", other)
	if _, err := Begin(s, "/d", Info{}, Volume{Name: "V", Dir: "/v/p"}); !errors.Is(err, ErrInterrupted) {
		t.Errorf("a record above it: %v", err)
	}
	s.locked["/v"] = true
	if _, err := Begin(s, "/d", Info{}, Volume{Name: "V", Dir: "/v/p"}); !errors.Is(err, ErrBusy) {
		t.Errorf("a run above it: %v", err)
	}
	s = twoDirs()
	put(t, s, "/d", other)
	if _, err := Begin(s, "/d", Info{}); !errors.Is(err, ErrInterrupted) {
		t.Errorf("a record in the directory: %v", err)
	}
	s = twoDirs()
	if err := (&journal{Stage: Building}).write(s, "/v/p"); err != nil {
		t.Fatal(err)
	}
	if _, err := Begin(s, "/d", Info{}, Volume{Name: "V", Dir: "/v/p"}); !errors.Is(err, ErrInterrupted) {
		t.Errorf("a journal in it: %v", err)
	}
}

// TestVolumeSays: what is told of a run that takes in a volume.
func TestVolumeSays(t *testing.T) {
	s := twoDirs()
	txn := beginTwo(t, s)
	if said, err := Inspect(s, "/d"); err != nil || !said.Running ||
		said.String() != "test, which takes in /d/over, /d/over/in, /v/p, /e, is running" {
		t.Errorf("%v, %v", said, err)
	}
	if said, err := Inspect(s, "/v/p"); err != nil || !said.Running {
		t.Errorf("%v, %v", said, err)
	}
	if _, err := Recover(context.Background(), s, "/v/p"); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	p, err := txn.Temp("V/new")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.put(p, "new"); err != nil {
		t.Fatal(err)
	}
	s.fault = func(_ int, name string) (error, error) {
		if strings.HasPrefix(name, "rename /v/p/q/e ") {
			return errCrash, nil
		}
		return nil, nil
	}
	txn.Plan(Remove{"a"}, Remove{"V/q/e"}, Move{"V/new.relive-tmp", "V/e"})
	if err := txn.Commit(context.Background()); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	s.fault = nil
	said, err := Inspect(s, "/d")
	if err != nil || said.Done != 1 ||
		!slices.Equal(said.Steps, []string{"remove a", "remove /v/p/q/e", "rename /v/p/new.relive-tmp to /v/p/e"}) {
		t.Errorf("%+v, %v", said, err)
	}
	want := "test, which takes in /d/over, /d/over/in, /v/p, /e, was interrupted after its commit point, with 1 of 3 steps done; " +
		"recovery will finish it"
	if said.String() != want {
		t.Errorf("%s", said)
	}
	names := s.unmount("/v")
	said, err = Inspect(s, "/d")
	want = `test, which takes in /d/over, /d/over/in, /v/p, /e, was interrupted after its commit point; recovery is not possible: ` +
		`/d: a file system that takes part is missing: the file system with UUID away, label "STICK", which was at /v/p: there is no /v/p`
	if err != nil || said.String() != want {
		t.Errorf("%s, %v", said, err)
	}
	_, err = Recover(context.Background(), s, "/d")
	var hint interface{ Hint() string }
	if !errors.Is(err, ErrMissing) || !errors.As(err, &hint) ||
		hint.Hint() != "connect it, mount it so that it is at /v/p again (mount UUID=away DIR), and begin again" {
		t.Errorf("%v", err)
	}
	s.remount(simMount{at: "/v", feat: kinds["links"], id: hostfs.Filesystem{UUID: "away"}}, names)
	out, err := Recover(context.Background(), s, "/d")
	if err != nil || !slices.Equal(out.Steps, []string{"remove /v/p/q/e", "rename /v/p/new.relive-tmp to /v/p/e"}) ||
		!slices.Equal(out.Removed, []string{"a.relive-gone", "/v/p/q/e.relive-gone"}) {
		t.Errorf("%+v, %v", out, err)
	}
	// Before the commit point, what is lost for good is not needed.
	txn = beginTwo(t, s)
	if _, err := txn.Temp("x"); err != nil {
		t.Fatal(err)
	}
	s.locked = map[string]bool{}
	s.unmount("/v")
	_, err = Recover(context.Background(), s, "/d")
	if !errors.As(err, &hint) || !strings.HasSuffix(hint.Hint(), "; if it is lost for good, remove /d/.relive.journal, /d/x.relive-tmp") {
		t.Errorf("%v", err)
	}
}

func volumeJournal() *journal {
	j := sampleJournal()
	j.ID = strings.Repeat("ab", 16)
	j.Volumes = []volume{{Name: "over", Filesystem: hostfs.Filesystem{UUID: "1", Label: "l"}}, {Name: "V", Dir: "/v/p", Mount: "/v"}}
	p := j.Start["n"]
	j.Start["over/n"], j.Start["over/a"] = p, p
	j.Actions = append(j.Actions, action{Verb: doReplace, From: "over/n", To: "over/a", Keep: "over/a.old", Step: "replace over/a"})
	j.Temps = append(j.Temps, "V/s.relive-tmp")
	return j
}

func TestVolumeJournal(t *testing.T) {
	b, err := volumeJournal().encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte("relive-journal 2\n")) {
		t.Errorf("it begins with %.20q", b)
	}
	j, err := decodeJournal("j", b)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(*j) != fmt.Sprint(*volumeJournal()) {
		t.Errorf("got %v, want %v", j, volumeJournal())
	}
	for name, spoil := range map[string]func(j *journal){
		"no id":               func(j *journal) { j.ID = "" },
		"a short id":          func(j *journal) { j.ID = "ab" },
		"an id of one alone":  func(j *journal) { j.Volumes, j.Actions, j.Start, j.Temps = nil, nil, nil, nil },
		"name out of it":      func(j *journal) { j.Volumes[0].Name = "../over" },
		"the same name":       func(j *journal) { j.Volumes[1].Name = "over" },
		"leads nowhere":       func(j *journal) { j.Volumes[1].Dir = "v/p" },
		"a mount of nothing":  func(j *journal) { j.Volumes[0].Mount = "/v" },
		"across":              func(j *journal) { j.Actions[2].Keep = "V/a.old" },
		"moves a mount":       func(j *journal) { j.Actions[1].From, j.Start["over"] = "over", j.Start["b"]; delete(j.Start, "b") },
		"out of it by a name": func(j *journal) { j.Temps[1] = "V/../s.relive-tmp" },
		"own name there":      func(j *journal) { j.Actions[2].To = "over/" + partName },
		"too many": func(j *journal) {
			for i := range maxVolumes {
				j.Volumes = append(j.Volumes, volume{Name: fmt.Sprint(i), Dir: "/x"})
			}
		},
	} {
		j := volumeJournal()
		spoil(j)
		b, err := j.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeJournal("j", b); !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, swapped := range [][2]*journal{{volumeJournal(), sampleJournal()}} {
		two, err := encode(journalMagic, 1, swapped[0])
		if err != nil {
			t.Fatal(err)
		}
		one, err := encode(journalMagic, 2, swapped[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{one, two} {
			if _, err := decodeJournal("j", b); !errors.Is(err, tree.ErrCorrupt) {
				t.Errorf("a version that does not fit: %v", err)
			}
		}
	}
}

func samplePart() *part {
	return &part{Info: Info{Verb: "compact"}, ID: strings.Repeat("ab", 16), Stage: Building, Base: place{Dir: "/d", Within: "d"},
		Temps: []string{"rw.relive-tmp", "home/rw.relive-tmp"}}
}

func TestPart(t *testing.T) {
	text := func(r *part) []byte {
		b, err := encode(partMagic, 1, r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := text(samplePart())
	r, err := decodePart("r", b)
	if err != nil || fmt.Sprint(*r) != fmt.Sprint(*samplePart()) {
		t.Errorf("got %v, %v", r, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 0x11
		if _, err := decodePart("r", bad); !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
		if _, err := decodePart("r", b[:i]); !errors.Is(err, tree.ErrCorrupt) {
			t.Fatalf("cut at byte %d: %v", i, err)
		}
	}
	for name, spoil := range map[string]func(r *part){
		"stage":                    func(r *part) { r.Stage = Starting },
		"id":                       func(r *part) { r.ID = "x" },
		"base":                     func(r *part) { r.Base.Dir = "d" },
		"removes what is not ours": func(r *part) { r.Temps[0] = "rw" },
		"out of the directory":     func(r *part) { r.Temps[0] = "../rw.relive-tmp" },
		"nested":                   func(r *part) { r.Temps[1] = "rw.relive-tmp/x.relive-tmp" },
		"too many":                 func(r *part) { r.Temps = slices.Repeat([]string{"a.relive-tmp"}, maxNames+1) },
	} {
		r := samplePart()
		spoil(r)
		if _, err := decodePart("r", text(r)); !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzPart: whatever a record says, what is removed for it lies beside it and has
// a name that relive gives.
func FuzzPart(f *testing.F) {
	for _, stage := range []Stage{Building, Committed} {
		r := samplePart()
		r.Stage = stage
		b, err := encode(partMagic, 1, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:bytes.LastIndex(b, []byte("sha256"))])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := twoDirs()
		fill(s, map[string]string{"/v/p/" + partName: string(sealed(body)), "/v/p/rw": "mine", "/v/x.relive-tmp": "mine",
			"/v/p/rw.relive-tmp": "its"}, func(n string) string { return n })
		was := maps.Clone(s.live)
		Recover(context.Background(), s, "/v/p")
		Begin(s, "/d", Info{}, Volume{Name: "V", Dir: "/v/p"})
		for name := range was {
			if s.live[name] == nil && (!strings.HasPrefix(name, "/v/p/") || !strings.Contains(name, tempSuffix) &&
				!strings.HasSuffix(name, partName)) {
				t.Errorf("%s is gone", name)
			}
		}
	})
}
