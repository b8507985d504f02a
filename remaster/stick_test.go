package remaster_test

import (
	"os"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/status"
	"relive/tree"
	"relive/tree/systest"
)

// TestStick: what is on a stick that is not mounted shows as it does in a
// directory; nothing on it can be replaced, but a new base can be written
// beside it.
func TestStick(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "mksquashfs", "sfdisk", "mkfs.vfat", "mcopy")
	sys := systest.TempDir(t)
	livetest.Write(t, sys+"/usr/share/big.db", livetest.Text(1, 300_000), 0o644)
	livetest.Write(t, sys+"/etc/hostname", []byte("live\n"), 0o644)
	m := livetest.LiveOS(t).Fill(sys, "dm", false, false, "-comp", "gzip")
	was := m.Image()
	changed := systest.TempDir(t) + "/changed.img"
	systest.CopyFile(t, was, changed)
	systest.Run(t, "debugfs", "-w", "-R", "write "+sys+"/etc/hostname /etc/added", changed)
	m.Store(was, changed)
	a := livetest.Small(t)
	want := livetest.OpenTree(t, m.Dir, "")

	stick := systest.TempDir(t) + "/stick.img"
	systest.Must(t, os.WriteFile(stick, nil, 0o644))
	systest.Must(t, os.Truncate(stick, 200<<20))
	systest.Run(t, "sh", "-c", "printf 'size=80M, type=c\\ntype=83\\n' | sfdisk -q -X dos "+stick)
	fat, ext := systest.TempDir(t)+"/fat", systest.TempDir(t)+"/ext"
	systest.Run(t, "mkfs.vfat", "-C", fat, "81920")
	systest.Run(t, "mcopy", "-i", fat, "-s", m.Dir, "::/LiveOS")
	d := systest.TempDir(t)
	systest.Run(t, "cp", "-a", a.Dir, d+"/antiX")
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", d, ext, "110M")
	systest.Run(t, "dd", "if="+fat, "of="+stick, "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
	systest.Run(t, "dd", "if="+ext, "of="+stick, "bs=1M", "seek=81", "conv=notrunc,sparse", "status=none")
	before := livetest.Hashes(t, d)

	s, err := live.OpenStick(t.Context(), stick)
	systest.Must(t, err)
	var found []string
	for _, f := range s.Lives {
		found = append(found, f.Where()+" "+f.Layout.Name())
	}
	systest.Must(t, s.Close())
	if got := strings.Join(found, ", "); got != "1/LiveOS LiveOS, 2/antiX antiX/MX" || len(s.Problems) > 0 {
		t.Fatalf("found %s; problems %q", got, s.Problems)
	}

	e := livetest.Env(t, codec.Auto)
	_, err = live.OpenOnStick(t.Context(), e, stick, "")
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "1/LiveOS, 2/antiX") {
		t.Errorf("two live systems: %v", err)
	}
	for on, want := range map[string]*tree.Node{"1": want, "2/antiX": livetest.OpenTree(t, a.Dir, "")} {
		l, err := live.OpenOnStick(t.Context(), e, stick, on)
		systest.Must(t, err)
		livetest.SameTree(t, "in a directory", "on a stick", want, l.Merged)
		st, err := status.Of(t.Context(), e, l)
		systest.Must(t, err)
		if st.Overlay == nil || st.Overlay.Changes.Added == 0 || st.Compact.Refused == "" || st.Compact.Hint == "" {
			t.Errorf("%s: %+v, %+v", on, st.Overlay, st.Compact)
		}
		if _, err := compact.New(t.Context(), e, l, compact.Options{Output: stick, Force: true}); err == nil {
			t.Error("the stick itself is taken for the output")
		}
		out := systest.TempDir(t) + "/new"
		p, err := compact.New(t.Context(), e, l, compact.Options{Output: out})
		systest.Must(t, err)
		_, err = p.Run(t.Context())
		systest.Must(t, err)
		systest.Must(t, l.Close())
		if on == "1" {
			dir := systest.TempDir(t) + "/LiveOS"
			systest.Must(t, os.Mkdir(dir, 0o755))
			systest.Must(t, os.Rename(out, dir+"/squashfs.img"))
			livetest.SameTree(t, "before", "the new base", want, livetest.OpenTree(t, dir, ""))
		}
	}
	if livetest.Hashes(t, d) != before {
		t.Error("something was changed")
	}
}
