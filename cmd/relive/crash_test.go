package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relive/codec"
	"relive/tree"
	"relive/tree/systest"
)

// program is relive as a program of its own: the test program under that name,
// which TestMain makes.
var program string

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func words(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	b := make([]byte, 0, n+32)
	for len(b) < n {
		b = fmt.Appendf(b, "%x some words of text\n", r.IntN(1<<18))
	}
	return b[:n]
}

func file(name string, b []byte) *tree.Node {
	f := tree.NewFile(name, 0o644, b)
	f.Mtime = epoch
	return f
}

func dir(name string, kids ...*tree.Node) *tree.Node {
	d := tree.NewDir(name, 0o755, kids...)
	d.Mtime = epoch
	return d
}

// originals is a live directory that tests work on copies of, and the state
// that a compaction leads to.
type originals struct {
	dir     string
	old     state
	new     state
	between int                      // met with the new base and the old rootfs
	took    map[string]time.Duration // how long each phase takes, all of it under ""
}

// state is what a directory holds: the sums of its files by name.
type state map[string]string

// stateOf sums the files of a directory; those that are links of the originals
// need no reading.
func stateOf(t testing.TB, dir string, same ...*originals) state {
	t.Helper()
	entries, err := os.ReadDir(dir)
	systest.Must(t, err)
	s := state{}
next:
	for _, e := range entries {
		for _, o := range same {
			for name, sum := range o.old {
				if linked(t, filepath.Join(dir, e.Name()), filepath.Join(o.dir, name)) {
					s[e.Name()] = sum
					continue next
				}
			}
		}
		sum, err := systest.Sum(filepath.Join(dir, e.Name()))
		systest.Must(t, err)
		s[e.Name()] = fmt.Sprintf("%x", sum)
	}
	return s
}

func linked(t testing.TB, a, b string) bool {
	t.Helper()
	sa, err := os.Stat(a)
	systest.Must(t, err)
	sb, err := os.Stat(b)
	systest.Must(t, err)
	return os.SameFile(sa, sb)
}

func (s state) String() string {
	var out []string
	for name, sum := range s {
		out = append(out, name+" "+sum)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// makeOriginals makes a live directory of about 10 MB, of which some is to be
// copied and some to be compressed.
func makeOriginals(t testing.TB) *originals {
	t.Helper()
	o := &originals{dir: t.TempDir()}
	base := dir("", dir("etc"), dir("usr", file("noise", noise(1, 5<<20)), file("text", words(1, 1<<20))))
	upper := dir("", dir("etc"), dir("usr", file("more", words(2, 1<<20)), file("noise2", noise(2, 1<<20))))
	systest.Must(t, (&liveSpec{codec: codec.LZ4, blockSize: 128 << 10, vid: defaultVID}).make(o.dir, base, upper))
	o.old = stateOf(t, o.dir)
	done := o.copy(t)
	o.took = timed(t, done)
	o.new = stateOf(t, done)
	if o.new["linuxfs"] == o.old["linuxfs"] || o.new["linuxfs.old"] != o.old["linuxfs"] || o.new["rootfs.old"] != o.old["rootfs"] {
		t.Fatalf("the compacted state is\n%s\nafter\n%s", o.new, o.old)
	}
	return o
}

// timed compacts a directory and tells how long each phase takes.
func timed(t testing.TB, dir string) map[string]time.Duration {
	t.Helper()
	cmd := exec.Command(program, "compact", dir)
	pipe, err := cmd.StderrPipe()
	systest.Must(t, err)
	start := time.Now()
	systest.Must(t, cmd.Start())
	took := map[string]time.Duration{}
	phase, since := "", start
	for s := bufio.NewScanner(pipe); s.Scan(); {
		took[phase] = time.Since(since)
		phase, since = strings.TrimSuffix(s.Text(), " ..."), time.Now()
	}
	systest.Must(t, cmd.Wait())
	took[phase] = time.Since(since)
	took[""] = time.Since(start)
	return took
}

// copy gives a directory that holds the same files, as hard links: nothing may
// write into them.
func (o *originals) copy(t testing.TB) string {
	t.Helper()
	to := t.TempDir()
	for name := range o.old {
		systest.Must(t, os.Link(filepath.Join(o.dir, name), filepath.Join(to, name)))
	}
	return to
}

// relive runs relive to its end, within this process: only what is to be killed
// needs one of its own.
func relive(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

// interrupted runs a compaction and calls fn a delay after it has announced a
// phase; phase "" is the start of the program. It gives what was printed.
func interrupted(t testing.TB, dir, phase string, delay time.Duration, fn func(p *os.Process)) (*os.ProcessState, string) {
	t.Helper()
	cmd := exec.Command(program, "compact", dir)
	pipe, err := cmd.StderrPipe()
	systest.Must(t, err)
	systest.Must(t, cmd.Start())
	var text bytes.Buffer
	act := func() {
		time.Sleep(delay)
		fn(cmd.Process)
	}
	if phase == "" {
		act()
	}
	for s := bufio.NewScanner(pipe); s.Scan(); {
		fmt.Fprintln(&text, s.Text())
		if phase != "" && strings.HasPrefix(s.Text(), phase) {
			act()
		}
	}
	cmd.Wait()
	return cmd.ProcessState, text.String()
}

// bootable fails the test where a boot would find neither the old state nor the
// new one.
func (o *originals) bootable(t testing.TB, dir, when string) (s state) {
	t.Helper()
	s = stateOf(t, dir, o)
	base, root := s["linuxfs"], s["rootfs"]
	oldBase, newBase := base == o.old["linuxfs"], base == o.new["linuxfs"]
	oldRoot, newRoot := root == o.old["rootfs"], root == o.new["rootfs"]
	switch {
	case oldBase && oldRoot, newBase && newRoot:
	case newBase && oldRoot:
		o.between++
		// The new base holds all changes; init sees that the version ids differ
		// and leaves the overlay out.
	default:
		t.Errorf("%s: linuxfs is old %v, new %v; rootfs is old %v, new %v\n%s", when, oldBase, newBase, oldRoot, newRoot, s)
	}
	return s
}

// whole fails the test where a directory is neither in the old state nor in the
// new one.
func (o *originals) whole(t testing.TB, dir, when string) (isNew bool) {
	t.Helper()
	s := stateOf(t, dir, o).String()
	if s != o.old.String() && s != o.new.String() {
		t.Errorf("%s: neither the old state nor the new one:\n%s\nold:\n%s\nnew:\n%s", when, s, o.old, o.new)
	}
	return s == o.new.String()
}

var phases = []string{"writing linuxfs", "syncing", "reading linuxfs back", "new rootfs", "putting the new files in place"}

// TestKill: killed at any moment, the directory boots, and the next relive
// command tells what it found and finishes or undoes it.
func TestKill(t *testing.T) {
	t.Parallel()
	o := makeOriginals(t)
	seed := rand.Uint64()
	t.Logf("seed %d, a compaction took %v", seed, o.took)
	r := rand.New(rand.NewPCG(seed, 0))
	type moment struct {
		phase string
		delay time.Duration
		name  string // not "": as soon as this file is there
	}
	var moments []moment
	for _, p := range append([]string{""}, phases...) {
		for n := range 6 {
			delay := time.Duration(n) * o.took[p] / 6
			moments = append(moments, moment{phase: p, delay: delay + time.Duration(r.Int64N(int64(o.took[p])/6+1))*9/10})
		}
	}
	// Most of what the last phase does, it does soon.
	for n := range 6 {
		moments = append(moments, moment{phase: phases[len(phases)-1], delay: time.Duration(n) * time.Millisecond})
	}
	// Between the renames, each of which is synced before the next.
	for range 3 {
		for _, name := range []string{"linuxfs.old", "linuxfs.md5", "linuxfs.info", "rootfs.old"} {
			moments = append(moments, moment{name: name})
		}
	}
	// The next command may be any.
	next := [][]string{{"recover"}, {"status"}, {"verify"}, {"diff"}, {"compact"}}
	found := map[string]int{}
	for i := 0; i < len(moments) || i < 90 && found["killed"] < 25; i++ {
		m := moment{phase: phases[i%len(phases)]} // where too many runs were over before their end
		if i < len(moments) {
			m = moments[i]
		}
		when := fmt.Sprintf("killed %v after %q", m.delay, m.phase)
		d := o.copy(t)
		ps, _ := interrupted(t, d, m.phase, m.delay, func(p *os.Process) {
			if m.name != "" {
				when = fmt.Sprintf("killed when there was a %s", m.name)
				appears(t, filepath.Join(d, m.name))
			}
			p.Kill()
		})
		killed := ps.Sys().(syscall.WaitStatus).Signaled()
		before := o.bootable(t, d, when)

		journal := before[".relive.journal"] != "" || len(before) > 2 && before.String() != o.new.String()
		// Only looking changes nothing.
		code, stdout, stderr := relive(t, "recover", "--dry-run", d)
		if after := stateOf(t, d, o); code != 0 || after.String() != before.String() {
			t.Errorf("%s: recover --dry-run: exit code %d\n%s\n%s\nafter:\n%s", when, code, stdout, stderr, after)
		}
		if journal && !strings.Contains(stderr+stdout, "interrupted") && !strings.Contains(stderr, "warning: ") {
			t.Errorf("%s: recover --dry-run tells nothing: %s%s", when, stdout, stderr)
		}
		verb := next[i%len(next)]
		code, _, stderr = relive(t, append(verb, "-q", d)...)
		if code != 0 {
			t.Errorf("%s: %s: exit code %d\n%s", when, verb, code, stderr)
		}
		if journal && !strings.Contains(stderr, "warning: ") {
			t.Errorf("%s: %s does not tell what it found:\n%s", when, verb, stderr)
		}
		if verb[0] == "compact" {
			// It undoes and compacts, or finishes and compacts once more.
			s := stateOf(t, d, o)
			for name := range s {
				if _, ok := o.new[name]; !ok && !strings.HasSuffix(name, ".old") {
					t.Errorf("%s: %s was left", when, name)
				}
			}
			if c, _, e := relive(t, "verify", "-q", d); c != 0 {
				t.Errorf("%s: verify after compact: %s", when, e)
			}
			found["compacted again"]++
		} else if isNew := o.whole(t, d, when+", then "+verb[0]); isNew {
			found["new"]++
		} else {
			found["old"]++
		}
		if killed {
			found["killed"]++
		}
		if journal {
			found["left unfinished"]++
		}
		systest.Must(t, os.RemoveAll(d))
	}
	found["between base and rootfs"] = o.between
	t.Logf("%v", found)
	if found["killed"] < 25 || found["left unfinished"] < 15 || o.between == 0 || found["new"] == 0 || found["old"] == 0 {
		t.Errorf("the kills were not spread well: %v", found)
	}
	if s := stateOf(t, o.dir); s.String() != o.old.String() {
		t.Errorf("something wrote into the original files:\n%s\nwere:\n%s", s, o.old)
	}
}

// appears waits for a file.
func appears(t testing.TB, path string) {
	t.Helper()
	for start := time.Now(); time.Since(start) < systest.Within(time.Minute); {
		if _, err := os.Lstat(path); err == nil {
			return
		}
		time.Sleep(50 * time.Microsecond) // less than a sync takes
	}
	t.Errorf("%s never appeared", path)
}

// TestSignals: a polite signal undoes what was begun.
func TestSignals(t *testing.T) {
	t.Parallel()
	o := makeOriginals(t)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		for _, phase := range []string{"writing linuxfs", "reading linuxfs back"} {
			d := o.copy(t)
			ps, stderr := interrupted(t, d, phase, 0, func(p *os.Process) { p.Signal(sig) })
			for try := 0; ps.ExitCode() == 0 && try < 3; try++ { // it was over before the signal came
				systest.Must(t, os.RemoveAll(d))
				d = o.copy(t)
				ps, stderr = interrupted(t, d, phase, 0, func(p *os.Process) { p.Signal(sig) })
			}
			if ps.ExitCode() != exitFailed || !strings.Contains(stderr, "error: ") || !strings.Contains(stderr, sig.String()) {
				t.Errorf("%v while %s: exit code %d\n%s", sig, phase, ps.ExitCode(), stderr)
			}
			if o.whole(t, d, fmt.Sprintf("%v while %s", sig, phase)) {
				t.Errorf("%v while %s: the new state is in place", sig, phase)
			}
			systest.Must(t, os.RemoveAll(d))
		}
	}
}

// TestBusy: while one relive works on a directory, another is refused, or only
// looks.
func TestBusy(t *testing.T) {
	t.Parallel()
	o := makeOriginals(t)
	d := o.copy(t)
	asked := false
	ps, stderr := interrupted(t, d, "writing linuxfs", 0, func(p *os.Process) {
		asked = true
		systest.Must(t, p.Signal(syscall.SIGSTOP))
		defer p.Signal(syscall.SIGCONT)
		for _, verb := range []string{"compact", "rollback"} {
			code, _, stderr := relive(t, verb, "-q", d)
			if code != exitRefused || !strings.Contains(stderr, "hint: ") {
				t.Errorf("%s while another runs: exit code %d\n%s", verb, code, stderr)
			}
		}
		if code, _, stderr := relive(t, "compact", "--dry-run", "-q", d); code != 0 || !strings.Contains(stderr, "warning: ") {
			t.Errorf("compact --dry-run while another runs: exit code %d\n%s", code, stderr)
		}
	})
	if !asked || ps.ExitCode() != 0 {
		t.Errorf("the first ended with %d\n%s", ps.ExitCode(), stderr)
	}
	if !o.whole(t, d, "after both") {
		t.Error("the old state is there")
	}
}
