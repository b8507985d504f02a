package compact_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"relive/remaster/changes"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/tree"
	"relive/tree/systest"
)

// TestLiveOS: over several rounds of use and compaction, in every form of base
// and overlay, the kernel shows of the new base what it showed of the old one
// with the overlay, and relive did so before.
func TestLiveOS(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "setfattr")
	seed := rand.Uint64()
	if s := os.Getenv("RELIVE_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		systest.Must(t, err)
	}
	for i, c := range []struct {
		name       string
		kind       string
		flat, bare bool
		squash     []string
		arch       bool
	}{
		{"snapshot gzip", "dm", false, false, []string{"-comp", "gzip", "-b", "128K"}, false},
		{"snapshot xz 1M", "dm", false, false, []string{"-comp", "xz", "-b", "1M"}, false},
		{"snapshot zstd 16K", "dm", false, false, []string{"-comp", "zstd", "-b", "16K"}, false},
		{"snapshot over a bare image", "dm", false, true, nil, false},
		{"image", "image", false, false, []string{"-comp", "gzip"}, false},
		{"directory", "dir", false, false, []string{"-comp", "zstd"}, false},
		{"directory over a bare image", "dir", false, true, nil, false},
		{"flat image", "image", true, false, []string{"-comp", "lz4"}, false},
		{"flat directory", "dir", true, false, []string{"-comp", "gzip", "-b", "64K"}, false},
		{"EROFS, flat image", "image", true, false, []string{"erofs", "lz4hc"}, false},
		{"EROFS, flat directory", "dir", true, false, []string{"erofs", "zstd"}, false},
		{"EROFS, not compressed", "dir", true, false, []string{"erofs", "none"}, false},
		{"EROFS, snapshot", "dm", false, false, []string{"erofs", "lzma"}, false},
		{"archiso snapshot", "dm", false, false, []string{"-comp", "xz"}, true},
		{"archiso directory", "dir", true, false, []string{"-comp", "zstd"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Logf("RELIVE_SEED=%d", seed)
			d := systest.TempDir(t)
			livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
			livetest.Write(t, d+"/etc/hostname", []byte("live\n"), 0o644)
			h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, uint64(i))), Root: d}
			for range 100 {
				h.Act()
			}
			os.MkdirAll(d+"/usr", 0o755)
			m := livetest.LiveOS(t)
			if c.arch {
				m = livetest.Archiso(t, c.kind)
			}
			m.Fill(d, c.kind, c.flat, c.bare, c.squash...)
			if c.arch {
				livetest.Write(t, m.Path("arch/x86_64/airootfs.sha512"),
					[]byte(systest.Run(t, "sh", "-c", "cd "+m.Dir+"/arch/x86_64 && sha512sum airootfs.sfs")), 0o644)
				livetest.Write(t, m.Path("arch/x86_64/airootfs.sfs.sig"), []byte("signature"), 0o644)
			}
			for round := range 3 {
				dirty := round == 1
				m.Boot(dirty, func(mnt string) {
					h.Root = mnt
					for range 60 {
						h.Act()
					}
					os.MkdirAll(mnt+"/usr", 0o755) // by which dracut tells a system
				})
				liveOSTruth(m, compact.Options{KeepOld: 1})
				if c.arch {
					systest.Run(t, "sh", "-c", "cd "+m.Dir+"/arch/x86_64 && sha512sum -c airootfs.sha512 && ! test -e airootfs.sfs.sig")
				}
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
		})
	}
}

// liveOSTruth compacts the medium and compares what relive and the kernel show before
// and after.
func liveOSTruth(m *livetest.Medium, o compact.Options) *compact.Result {
	m.T.Helper()
	before := m.View()
	want := livetest.Without(m.T, livetest.OpenDir(m.T, before), "lost+found")
	livetest.SameTree(m.T, "the kernel before", "relive before", want, livetest.Without(m.T, livetest.OpenTree(m.T, m.Dir, ""),
		"lost+found"))
	diffTruth(m, before)
	res := m.Compact(o)
	livetest.SameTree(m.T, "the kernel before", "relive after", want, livetest.Without(m.T, livetest.OpenTree(m.T, m.Dir, ""),
		"lost+found"))
	livetest.SameTree(m.T, "the kernel before", "the kernel after", want, livetest.Without(m.T, livetest.OpenDir(m.T, m.View()),
		"lost+found"))
	s := m.Status()
	if s.Overlay == nil || !s.Overlay.Empty || s.Overlay.Changes.Sum() != 0 {
		m.T.Errorf("the overlay is not empty: %+v", s.Overlay)
	}
	if !m.Flat {
		systest.Fsck(m.T, m.Image())
		if got := systest.Run(m.T, "dumpe2fs", "-h", m.Image()); strings.Contains(got, "needs_recovery") {
			m.T.Error("the image in the new base still has a journal to be replayed")
		}
	}
	return res
}

// diffTruth compares the changes that relive lists with those that a comparison
// of all content finds.
func diffTruth(m *livetest.Medium, view string) {
	m.T.Helper()
	e := livetest.Env(m.T, 0)
	l, err := live.Open(m.T.Context(), e, m.Dir)
	systest.Must(m.T, err)
	defer l.Close()
	got := map[string]bool{}
	systest.Must(m.T, changes.All(m.T.Context(), l, func(c changes.Change) error {
		got[c.Path] = true
		return nil
	}))
	want := map[string]bool{}
	o := tree.CompareOptions{WholeSeconds: l.Base.WholeSeconds()}
	systest.Must(m.T, tree.Compare(m.T.Context(), l.Base.Root, l.Merged, o, func(c tree.Change) error {
		want[c.Path] = true
		return nil
	}))
	for p := range want {
		if !got[p] {
			m.T.Errorf("the change of %q is not listed", p)
		}
	}
	for p := range got {
		if !want[p] {
			m.T.Errorf("%q is listed, but did not change", p)
		}
	}
}

// TestLiveOSFlatten: a flattened base holds the files, and the overlay that goes
// with it is one that works above it.
func TestLiveOSFlatten(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.Write(t, d+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
	m := livetest.LiveOS(t).Fill(d, "dm", false, false, "-comp", "gzip")
	m.Boot(false, func(mnt string) {
		livetest.Write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
		systest.Must(t, os.Remove(mnt+"/usr/share/big.db"))
	})
	want := livetest.Without(t, livetest.OpenDir(t, m.View()), "lost+found")
	m.Compact(compact.Options{KeepOld: 1, Flatten: true})
	m.Flat, m.Kind = true, "image"
	livetest.SameTree(t, "before", "after", want, livetest.Without(t, livetest.OpenDir(t, m.View()), "lost+found"))
	m.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/etc/newer", []byte("newer\n"), 0o600) })
	liveOSTruth(m, compact.Options{KeepOld: 1})
	if got := livetest.ReadFile(t, livetest.OpenTree(t, m.Dir, ""), "etc/newer"); got != "newer\n" {
		t.Error(got)
	}
}
