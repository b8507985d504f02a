package compact_test

import (
	"os"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/tree/systest"
)

// TestStageAlong: what the init sets aside when it takes a staged linuxfs up is
// staged as it is, so that it stays in force (initrd/init: do_remaster, MAKE_OLD).
func TestStageAlong(t *testing.T) {
	t.Parallel()
	d := livetest.Small(t)
	d.T = t
	for name, text := range map[string]string{"xtra": "x", "xtra.tgz": "y", "state": "z", "deb/a.deb": "d", "xtra.new": "stale"} {
		livetest.Write(t, d.Path(name), []byte(text), 0o644)
	}
	d.Compact(compact.Options{Stage: true, KeepOld: 1})
	for name, want := range map[string]string{"xtra.new": "x", "xtra.tgz.new": "y", "state.new": "z", "deb.new/a.deb": "d", "xtra": "x"} {
		if got, err := os.ReadFile(d.Path(name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if !livetest.Has(d.Path("linuxfs.new")) {
		t.Error("linuxfs.new is not there")
	}
}

// TestStageOfSet: the boot that takes up what is staged for another set renames the
// default set's rootfs too, so that a copy of it is staged.
func TestStageOfSet(t *testing.T) {
	t.Parallel()
	d := livetest.Small(t)
	d.T = t
	systest.Must(t, os.Mkdir(d.Path("work"), 0o755))
	systest.CopyFile(t, d.Path("rootfs"), d.Path("work/rootfs"))
	e := livetest.Env(t, codec.Auto)
	l, err := live.Open(t.Context(), e, d.Dir, live.WithSet("work"))
	systest.Must(t, err)
	defer l.Close()
	p, err := compact.New(t.Context(), e, l, compact.Options{Stage: true, KeepOld: 1})
	systest.Must(t, err)
	if _, err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{"rootfs": "rootfs.new"} {
		a, err := systest.Sum(d.Path(name))
		systest.Must(t, err)
		b, err := systest.Sum(d.Path(other))
		if err != nil || a != b {
			t.Errorf("%s is no copy of %s: %v", other, name, err)
		}
	}
	if !livetest.Has(d.Path("work/rootfs.new")) || !livetest.Has(d.Path("linuxfs.new")) {
		t.Error("work/rootfs.new or linuxfs.new is not there")
	}
}
