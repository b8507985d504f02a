package livetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"relive/codec"
	"relive/remaster/doctor"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/remaster/resize"
	"relive/remaster/save"
	"relive/remaster/synchome"
	"relive/remaster/update"
	"relive/tree/systest"
)

// Env is what the pipelines need.
func Env(t testing.TB, mode codec.Mode) *job.Env {
	t.Helper()
	lib, err := codec.Open(mode)
	systest.Must(t, err)
	return &job.Env{Library: lib, Jobs: 2, Tool: "relive (test)"}
}

// Phases is a job.Progress that is called with the name of each phase.
type Phases func(name string)

// Phase calls p.
func (p Phases) Phase(name string, _ int64) { p(name) }

// Done does nothing.
func (Phases) Done(int64) {}

// KeepRules are the rules of these patterns.
func KeepRules(t testing.TB, patterns ...string) (rules []reset.Rule) {
	t.Helper()
	for _, p := range patterns {
		r, err := reset.ParseRule(p, "test")
		systest.Must(t, err)
		rules = append(rules, r)
	}
	return rules
}

// Reset resets a live directory, which must succeed.
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

// Mebibytes is a size to resize to.
func Mebibytes(mib int64) *resize.NewSize { return &resize.NewSize{Bytes: mib << 20} }

// Resize resizes a directory, which must succeed.
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

// Save brings a layer into the rootfs of a live directory, which must succeed.
func Save(t testing.TB, dir, from string, o save.Options) *save.Summary {
	t.Helper()
	s, err := TrySave(t, Env(t, codec.Auto), dir, from, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
}

// TrySave brings a layer into the rootfs of a live directory.
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

// SyncHome syncs the homes of a live directory, which must succeed.
func SyncHome(t testing.TB, dir string, o synchome.Options) *synchome.Summary {
	t.Helper()
	o.KeepOld = 1
	s, err := TrySyncHome(t, Env(t, codec.Auto), dir, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
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

// Restamp brings a set to the base that is there now.
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

// OpenSource opens where an update takes a base from.
func OpenSource(t testing.TB, e *job.Env, path string) (*live.Live, error) {
	t.Helper()
	if Stat(t, path).IsDir() {
		return live.Open(t.Context(), e, path)
	}
	return live.OpenOnStick(t.Context(), e, path, "")
}

// Kinds are those of all findings, sorted.
func Kinds(d *doctor.Diagnosis) string {
	var out []string
	for _, f := range d.Findings {
		out = append(out, f.Kind)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
