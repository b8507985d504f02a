package doctor_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/doctor"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sets"
	"relive/tree"
	"relive/tree/systest"
)

// TestHiddenSets: with any linuxfs that it takes up or brings back the init of
// antiX renames the rootfs of the default set, and of the one that is booted. What
// is then the only one of its set is told, with the way back, and nothing advises
// to remove it.
func TestHiddenSets(t *testing.T) {
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	was, is := livetest.Dir("", livetest.Dir("etc"), f("a", "1")), livetest.Dir("", livetest.Dir("etc"), f("a", "1"), f("b", "2"))
	e := livetest.Env(t, codec.Auto)
	for name, c := range map[string]struct {
		to   string // the name that work/rootfs, which was written over linuxfs.old, gets
		back bool   // linuxfs.old is the present base again
		set  string
		says string
	}{
		"staged, the default set":  {"rootfs.old", false, "default", say.RebaseSet},
		"staged, another set":      {"work/rootfs.old", false, "work", say.RebaseSet},
		"rolled back by the init":  {"rootfs.bad", true, "default", "brings it back"},
		"rolled back, another set": {"work/rootfs.bad", true, "work", "brings it back"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := livetest.RestampDir(t, was, is, livetest.Merging(livetest.Dir("", livetest.Dir("etc"), f("c", "3"))))
			at := func(name string) string { return filepath.Join(dir, name) }
			systest.Must(t, os.Rename(at("work/rootfs"), at(c.to)))
			if c.back {
				systest.Must(t, os.Rename(at("linuxfs"), at("linuxfs.bad")))
				systest.Must(t, os.Rename(at("linuxfs.old"), at("linuxfs")))
			}
			if c.set == "default" {
				systest.Must(t, os.RemoveAll(at("work")))
			}
			l, err := live.Open(t.Context(), e, dir)
			systest.Must(t, err)
			defer l.Close()
			d, err := doctor.Diagnose(t.Context(), e, l)
			systest.Must(t, err)
			told := false
			for _, f := range d.Findings {
				if f.Kind == "set-hidden" {
					told = strings.Contains(f.Summary, c.to) && strings.Contains(f.Action, "mv "+at(c.to)) &&
						strings.Contains(f.Action, c.says)
				} else if strings.Contains(f.Summary, c.to) && strings.Contains(f.Action, "remove") {
					t.Errorf("%s: %s: %s", f.Kind, f.Summary, f.Action)
				}
			}
			if !told {
				t.Errorf("nothing tells of %s: %+v", c.to, d.Findings)
			}
			list, err := sets.List(t.Context(), e, l)
			systest.Must(t, err)
			i := slices.IndexFunc(list.Sets, func(s sets.Status) bool { return s.Name == c.set })
			if i < 0 || len(list.Sets[i].Aside) != 1 || !list.Sets[i].Aside[0].Only || list.Sets[i].Aside[0].Name != c.to {
				t.Errorf("the list has %+v", list.Sets)
			}
			if err := livetest.Restamp(t, e, dir, c.set); !strings.Contains(refusal.Hint(err), "mv "+at(c.to)) {
				t.Errorf("sets rebase: %v (hint: %s)", err, refusal.Hint(err))
			}
			// The advice is right.
			root := at(sets.RootOf(c.set))
			systest.Must(t, os.MkdirAll(filepath.Dir(root), 0o755))
			systest.Must(t, os.Rename(at(c.to), root))
			if !c.back {
				systest.Must(t, livetest.Restamp(t, e, dir, c.set))
			}
			l, err = live.Open(t.Context(), e, dir, live.WithSet(c.set))
			systest.Must(t, err)
			defer l.Close()
			if n, err := l.Merged.Child("c"); err != nil || n == nil {
				t.Errorf("after it the system has %v, %v", n, err)
			}
			vids, err := l.VIDs()
			if err != nil || !vids.State.Used() {
				t.Errorf("after it a boot ignores it: %+v, %v", vids, err)
			}
		})
	}
}
