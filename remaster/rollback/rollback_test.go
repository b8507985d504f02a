package rollback_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/tree/systest"
)

// TestRollback: after a compaction the former state can be had back, byte for
// byte, and one that is not whole is refused.
func TestRollback(t *testing.T) {
	t.Parallel()
	read := func(l *livetest.Live, name string) string {
		b, err := os.ReadFile(l.Path(name))
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			t.Fatal(err)
		}
		return string(b)
	}
	rollback := func(l *livetest.Live) error {
		p, err := rollback.New(t.Context(), livetest.Env(t, codec.Auto), l.Dir)
		if err != nil {
			return err
		}
		return p.Run(t.Context())
	}
	l := livetest.Small(t)
	base, root := read(l, "linuxfs"), read(l, "rootfs")
	if _, ok := refusal.Is(rollback(l)); !ok {
		t.Error("a rollback without a former state is not refused")
	}
	l.Compact(livetest.KeepOne())
	newBase, newRoot := read(l, "linuxfs"), read(l, "rootfs")
	systest.Must(t, rollback(l))
	if read(l, "linuxfs") != base || read(l, "rootfs") != root {
		t.Error("the former state is not back")
	}
	if read(l, "linuxfs.bad") != newBase || read(l, "rootfs.bad") != newRoot {
		t.Error("the state that was left is not kept as .bad")
	}
	if got := l.Names(); got != "linuxfs linuxfs.bad linuxfs.info.bad linuxfs.md5 linuxfs.md5.bad rootfs rootfs.bad" {
		t.Errorf("the directory holds %s", got)
	}
	if s := l.Status(); s.Overlay.VIDState != live.VIDMatch {
		t.Errorf("version ids after the rollback: %s", s.Overlay.VIDState)
	}
	// Forward again, and back with a damaged former base.
	l.Compact(livetest.KeepOne())
	systest.Must(t, os.WriteFile(l.Path("linuxfs.old"), []byte(base[:len(base)-5000]), 0o644))
	before := livetest.Hashes(t, l.Dir)
	if r, ok := refusal.Is(rollback(l)); !ok || !strings.Contains(r.Fact, "linuxfs") || r.Hint == "" {
		t.Errorf("a rollback to a damaged base: %v", r)
	}
	systest.Must(t, os.WriteFile(l.Path("linuxfs.old"), []byte(base), 0o644))
	systest.Must(t, os.Remove(l.Path("rootfs.old")))
	if r, ok := refusal.Is(rollback(l)); !ok || !strings.Contains(r.Fact, "rootfs.old") {
		t.Errorf("a rollback without the former rootfs: %v", r)
	}
	_ = before
}

// TestLiveOSRollback: the state before comes back whole, osmin.img with it.
func TestLiveOSRollback(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	for _, kind := range []string{"dm", "dir", "image"} {
		t.Run(kind, func(t *testing.T) {
			d := systest.TempDir(t)
			livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			m := livetest.LiveOS(t).Fill(d, kind, false, false, "-comp", "gzip")
			livetest.Write(t, m.Path("osmin.img"), livetest.Text(9, 5000), 0o644)
			m.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/etc/new", []byte("new\n"), 0o600) })
			before := livetest.Hashes(t, m.Dir)
			m.Compact(compact.Options{KeepOld: 1})
			if _, err := os.Stat(m.Path("osmin.img")); err == nil {
				t.Error("osmin.img is still there, over another base")
			}
			p, err := rollback.New(t.Context(), livetest.Env(t, 0), filepath.Dir(m.Dir))
			systest.Must(t, err)
			systest.Must(t, p.Run(t.Context()))
			for _, name := range strings.Fields(m.Names()) {
				if strings.HasSuffix(name, ".bad") {
					systest.Must(t, os.RemoveAll(m.Path(name)))
				}
			}
			if after := livetest.Hashes(t, m.Dir); !livetest.SameButRootTime(before, after) {
				t.Errorf("not as before:\n%s\nnow\n%s", before, after)
			}
		})
	}
}
