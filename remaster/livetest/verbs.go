package livetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/doctor"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/remaster/resize"
	"relive/remaster/rollback"
	"relive/remaster/save"
	"relive/remaster/status"
	"relive/remaster/synchome"
	"relive/remaster/update"
	"relive/squash/codec"
	"relive/tree/systest"
)

// Env is what the pipelines need.
func Env(t testing.TB, mode codec.Mode) *job.Env {
	t.Helper()
	lib, err := codec.Open(mode)
	systest.Must(t, err)
	return &job.Env{Library: lib, Jobs: 2, Tool: "relive test"}
}

// KeepOne is what the command line compacts with.
func KeepOne() compact.Options { return compact.Options{KeepOld: 1} }

// Plan plans a compaction of the directory; it is closed with the test.
func (l *Live) Plan(o compact.Options) (*compact.Plan, error) {
	l.T.Helper()
	e := Env(l.T, codec.Auto)
	opened, err := live.Open(l.T.Context(), e, l.Dir)
	if err != nil {
		return nil, err
	}
	l.T.Cleanup(func() { opened.Close() })
	return compact.New(l.T.Context(), e, opened, o)
}

// Compact compacts the directory, which must succeed.
func (l *Live) Compact(o compact.Options) *compact.Result {
	l.T.Helper()
	p, err := l.Plan(o)
	if err != nil {
		l.T.Fatalf("plan: %v (hint: %s)", err, refusal.Hint(err))
	}
	res, err := p.Run(l.T.Context())
	if err != nil {
		l.T.Fatalf("compact: %v (hint: %s)", err, refusal.Hint(err))
	}
	return res
}

// Refused plans a compaction that must be refused, with a hint, and must leave
// the directory as it is.
func (l *Live) Refused(o compact.Options, fact string) {
	l.T.Helper()
	before := Hashes(l.T, l.Dir)
	_, err := l.Plan(o)
	r, ok := refusal.Is(err)
	switch {
	case !ok:
		l.T.Errorf("not refused, but: %v", err)
	case !strings.Contains(r.Fact, fact):
		l.T.Errorf("refused with %q, which does not say %q", r.Fact, fact)
	case r.Hint == "":
		l.T.Errorf("refused with %q and no hint", r.Fact)
	}
	if after := Hashes(l.T, l.Dir); after != before {
		l.T.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
	}
}

// Status gives the directory's status.
func (l *Live) Status() *status.Status {
	l.T.Helper()
	e := Env(l.T, codec.Auto)
	opened, err := live.Open(l.T.Context(), e, l.Dir)
	systest.Must(l.T, err)
	defer opened.Close()
	s, err := status.Of(l.T.Context(), e, opened)
	systest.Must(l.T, err)
	return s
}

func StatusOf(t testing.TB, dir string) *status.Status {
	t.Helper()
	return (&Live{T: t, Dir: dir}).Status()
}

func (l *Live) Rollback() {
	l.T.Helper()
	p, err := rollback.New(l.T.Context(), Env(l.T, codec.Auto), l.Dir)
	if err != nil {
		l.T.Fatalf("rollback: %v (hint: %s)", err, refusal.Hint(err))
	}
	systest.Must(l.T, p.Run(l.T.Context()))
}

func KeepRules(t testing.TB, patterns ...string) (rules []reset.Rule) {
	t.Helper()
	for _, p := range patterns {
		r, err := reset.ParseRule(p, "test")
		systest.Must(t, err)
		rules = append(rules, r)
	}
	return rules
}

// reset resets a live directory, which must succeed.
func Reset(t testing.TB, dir string, o reset.Options) *reset.Result {
	t.Helper()
	e := Env(t, codec.Auto)
	l, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer l.Close()
	p, err := reset.New(t.Context(), e, l, o)
	if err != nil {
		t.Fatalf("plan: %v (hint: %s)", err, refusal.Hint(err))
	}
	res, err := p.Run(t.Context())
	systest.Must(t, err)
	return res
}

// resize resizes a directory, which must succeed.
func Resize(t testing.TB, dir string, o resize.Options) resize.Summary {
	t.Helper()
	res, err := TryResize(t, Env(t, codec.Auto), dir, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	for _, i := range res.Plan.Images {
		st, err := os.Stat(filepath.Join(dir, i.Name))
		systest.Must(t, err)
		if st.Size() != i.Size {
			t.Errorf("%s has %d bytes, not %d", i.Name, st.Size(), i.Size)
		}
		if st.Sys().(*syscall.Stat_t).Blocks*512 > i.OldSize+i.Size/2 && !i.Whole {
			t.Errorf("%s has no holes any more", i.Name)
		}
	}
	return res.Plan
}

func Mebibytes(mib int64) *resize.NewSize { return &resize.NewSize{Bytes: mib << 20} }

func Save(t testing.TB, dir, from string, o save.Options) *save.Summary {
	t.Helper()
	s, err := TrySave(t, Env(t, codec.Auto), dir, from, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
}

// save brings a layer into a rootfs.
func TrySave(t testing.TB, e *job.Env, dir, from string, o save.Options) (*save.Summary, error) {
	t.Helper()
	l, err := live.Open(t.Context(), e, dir)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p, err := save.New(t.Context(), e, l, from, o)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return &p.Summary, p.Run(t.Context())
}

// Phases is called with the name of each phase.
type Phases func(name string)

func (p Phases) Phase(name string, _ int64) { p(name) }

func (Phases) Done(int64) {}

func SyncHome(t testing.TB, dir string, o synchome.Options) *synchome.Summary {
	t.Helper()
	o.KeepOld = 1
	s, err := TrySyncHome(t, Env(t, codec.Auto), dir, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
}

// Restamp stamps a set, and gives the error of the plan.
func Restamp(t testing.TB, e *job.Env, dir, set string) error {
	t.Helper()
	l, err := live.Open(t.Context(), e, dir, live.WithSet(set))
	systest.Must(t, err)
	defer l.Close()
	p, err := rebase.NewRestamp(t.Context(), e, l, rebase.RestampOptions{KeepOld: 1})
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Run(t.Context())
}

// TryUpdate updates a live directory.
func TryUpdate(t testing.TB, e *job.Env, dir, from string, o update.Options) (*update.Result, error) {
	t.Helper()
	src, err := OpenSource(t, e, from)
	systest.Must(t, err)
	defer src.Close()
	opened, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer opened.Close()
	p, err := update.New(t.Context(), e, opened, src, o)
	if err != nil {
		return nil, err
	}
	return p.Run(t.Context())
}

// source opens where an update takes a base from.
func OpenSource(t testing.TB, e *job.Env, path string) (*live.Live, error) {
	t.Helper()
	if Stat(t, path).IsDir() {
		return live.Open(t.Context(), e, path)
	}
	return live.OpenOnStick(t.Context(), e, path, "")
}

func Kinds(d *doctor.Diagnosis) string {
	var out []string
	for _, f := range d.Findings {
		out = append(out, f.Kind)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TryResize resizes a directory.
func TryResize(t testing.TB, e *job.Env, dir string, o resize.Options) (*resize.Result, error) {
	t.Helper()
	opened, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer opened.Close()
	p, err := resize.New(t.Context(), e, opened, o)
	if err != nil {
		return nil, err
	}
	return p.Run(t.Context())
}

// TrySyncHome syncs the homes of a live directory.
func TrySyncHome(t testing.TB, e *job.Env, dir string, o synchome.Options) (*synchome.Summary, error) {
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
