package livetest

import (
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/remaster/status"
	"relive/tree/systest"
)

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

// Status returns the directory's status.
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

// StatusOf returns the status of a live directory.
func StatusOf(t testing.TB, dir string) *status.Status {
	t.Helper()
	return (&Live{T: t, Dir: dir}).Status()
}

// Rollback takes the last change of the directory back, which must succeed.
func (l *Live) Rollback() {
	l.T.Helper()
	p, err := rollback.New(l.T.Context(), Env(l.T, codec.Auto), l.Dir)
	if err != nil {
		l.T.Fatalf("rollback: %v (hint: %s)", err, refusal.Hint(err))
	}
	systest.Must(l.T, p.Run(l.T.Context()))
}
