package rebase_test

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/livetest"
	"relive/remaster/rebase"
	"relive/remaster/rollback"
	"relive/squash"
	"relive/tree"
	"relive/tree/systest"
)

// entry is what a path shows, in parts that are merged apart.
type entry struct {
	kind   tree.Type
	body   string
	perm   uint16
	owner  [2]uint32
	xattrs string
}

func entries(t testing.TB, root *tree.Node) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	systest.Must(t, tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		if slices.Contains([]string{"lost+found", "var/lib/dpkg"}, path) {
			if n.Type == tree.Directory {
				return tree.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(path, "etc/live/version/") {
			return nil
		}
		e := entry{kind: n.Type, body: n.Target + fmt.Sprint(n.Rdev), perm: n.Perm, owner: [2]uint32{n.UID, n.GID}}
		if n.Type == tree.Regular {
			h := sha256.New()
			sum, err := tree.Hash(n, h, make([]byte, 1<<16))
			if err != nil {
				return err
			}
			e.body = fmt.Sprintf("%d %x", n.Size, sum)
		}
		for _, x := range n.Xattrs {
			if squash.HoldsXattr(x.Name) {
				e.xattrs += fmt.Sprintf("%s=%q ", x.Name, x.Value)
			}
		}
		out[path] = e
		return nil
	}))
	delete(out, "")
	return out
}

// merged is what one part of a path is to show.
func mergedPart[T comparable](was, ours, theirs T) (T, bool) {
	switch {
	case ours == was:
		return theirs, true
	case theirs == was, ours == theirs:
		return ours, true
	}
	return ours, false
}

// mergeLaw holds a merge to what the four trees show at each path.
func mergeLaw(t testing.TB, was, ours, theirs, got map[string]entry, conflicts []rebase.Conflict, prefer rebase.Prefer) {
	t.Helper()
	const d = tree.Directory
	chosen := ours
	if prefer == rebase.PreferBase {
		chosen = theirs
	}
	whole, alone := map[string]bool{}, map[string]bool{}
	for _, c := range conflicts {
		if c.Database != "" {
			continue // see TestRebaseDatabases
		}
		o, th := ours[c.Path], theirs[c.Path]
		if o.kind == d && (th.kind == d || th.kind == 0 && was[c.Path].kind == d) {
			alone[c.Path] = true
		} else {
			whole[c.Path] = true
		}
		if o == (entry{}) && th == (entry{}) {
			t.Errorf("a conflict at %q, which neither side has", c.Path)
		}
	}
	wrong := 0
	bad := func(path, format string, args ...any) {
		if wrong++; wrong < 8 {
			t.Errorf("%q: "+format+"\nwas %v\nours %v\ntheirs %v\ngot %v", append(append([]any{path}, args...), was[path], ours[path],
				theirs[path], got[path])...)
		}
	}
	held := map[string]bool{}
	for path := range got {
		for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
			held[dir] = true
		}
	}
	for path := range livetest.MergedKeys(was, ours, theirs, got) {
		w, o, th, g := was[path], ours[path], theirs[path], got[path]
		in := ""
		for at := path; at != "."; at = filepath.Dir(at) {
			if whole[at] {
				in = at
			}
		}
		switch {
		case in != "":
			if g != chosen[path] {
				bad(path, "is not what is preferred in the conflict at %q", in)
			}
		case alone[path]:
			want := chosen[path]
			if want == (entry{}) && held[path] {
				want = o
			}
			if g != want {
				bad(path, "is not what is preferred")
			}
		case o.kind == d && th == (entry{}) && held[path]:
			if g != o { // what ours added keeps the directory
				bad(path, "is not what ours has")
			}
		case w.kind == o.kind && o.kind == th.kind && w.kind != 0 || o.kind == d && th.kind == d:
			// A path that is new on both sides, or of another type in the old base, has no
			// part that only one of them changed.
			known := w.kind == o.kind
			var want entry
			var ok [4]bool
			want.kind = o.kind
			want.body, ok[0] = mergedPart(w.body, o.body, th.body)
			want.perm, ok[1] = mergedPart(w.perm, o.perm, th.perm)
			want.owner, ok[2] = mergedPart(w.owner, o.owner, th.owner)
			want.xattrs, ok[3] = mergedPart(w.xattrs, o.xattrs, th.xattrs)
			if !known {
				want, ok = o, [4]bool{o == th, true, true, true}
				want.body = g.body
			}
			if slices.Contains(ok[:3], false) || g.xattrs == want.xattrs && g != want || ok[3] && g != want {
				bad(path, "is not the merge, or is no conflict")
			}
		default:
			want, ok := mergedPart(w, o, th)
			if !ok || g != want {
				bad(path, "is not what the side has that changed it, or is no conflict")
			}
		}
	}
}

// groups returns for each path of a tree all names of its file, in one string.
func groups(t testing.TB, root *tree.Node) map[string]string {
	t.Helper()
	names := map[tree.Inode][]string{}
	systest.Must(t, tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		if n.Type != tree.Directory {
			names[n.Inode] = append(names[n.Inode], path)
		}
		return nil
	}))
	out := map[string]string{}
	for _, group := range names {
		for _, path := range group {
			out[path] = strings.Join(group, "\x00")
		}
	}
	return out
}

// linkLaw: names that one side linked, and whose files only that side changed,
// are linked in the merge. The four are as for mergeLaw, each with its groups.
func linkLaw(t testing.TB, entries [4]map[string]entry, groups [4]map[string]string, conflicts []rebase.Conflict) {
	t.Helper()
	in := func(path string) bool {
		return slices.ContainsFunc(conflicts, func(c rebase.Conflict) bool {
			return path == c.Path || strings.HasPrefix(path, c.Path+"/")
		})
	}
	for side, other := range map[int]int{1: 2, 2: 1} {
		// What the other side left alone, links and all.
		alone := func(path string) bool {
			e, was := entries[other][path], entries[0][path]
			return !in(path) && e == was && groups[other][path] == groups[0][path] && !strings.HasPrefix(path, "var/lib/dpkg") &&
				!strings.HasPrefix(path, "lost+found")
		}
		for path, group := range groups[side] {
			first, _, _ := strings.Cut(group, "\x00")
			if first == path || !alone(path) || !alone(first) || groups[side][path] == groups[0][path] {
				continue
			}
			if groups[3][path] != groups[3][first] || groups[3][path] == "" {
				t.Errorf("%q and %q are linked on side %d, and not in the merge", first, path, side)
			}
		}
	}
}

// TestRebaseLaw: whatever is done to a system and to the base that it came from,
// in every form of base and overlay, the kernel shows of the new ones at each
// path what the law of the merge gives of what it shows of the old system, with
// and without overlay, and of the new base.
func TestRebaseLaw(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("RELIVE_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		systest.Must(t, err)
	}
	ways := []string{"usr/share/deep", "var/lib", "etc/live/version", "opt"}
	acts := func(h *livetest.Hand, in []string, times int) {
		root := h.Root
		for i := range times {
			at := in[i%len(in)]
			if at == "/usr" {
				livetest.Directories(t, root, at)
			}
			h.Root = root + at
			h.Act()
		}
		h.Root = root
	}
	var first string
	old := livetest.Forms(t, func(dir string) {
		livetest.SmallSystem(t, dir)
		h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, 99)), Root: dir}
		acts(h, []string{""}, 60)
		livetest.Directories(t, dir, ways...)
		livetest.Write(t, dir+"/etc/live/version/linuxfs.ver", []byte(livetest.VersionText), 0o644)
		first = dir
	})
	next := livetest.Forms(t, func(dir string) {
		systest.Run(t, "cp", "-a", first+"/.", dir)
		h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, 98)), Root: dir}
		acts(h, []string{"", "/usr"}, 40)
		livetest.Directories(t, dir, ways...)
		systest.Must(t, os.RemoveAll(dir+"/etc/live/version/linuxfs.ver"))
		livetest.Write(t, dir+"/etc/live/version/linuxfs.ver", []byte(livetest.NewVersion+"\n"), 0o644)
		first = cmp.Or(first, dir)
	})
	single := func(system string) func(t *testing.T) *livetest.Form {
		return func(t *testing.T) *livetest.Form {
			d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "writable", Names: [2]string{"upper", "work"},
				Unions: []string{"/ ."}, Images: []string{"casper/filesystem.squashfs"}}
			livetest.Squashed(t, d.Path("casper/filesystem.squashfs"), func(dir string) { systest.Run(t, "cp", "-a", system+"/.", dir) })
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", d.Path("writable"), "32M")
			return d.Form()
		}
	}
	old["casper"] = single(first)
	nextCasper := systest.TempDir(t)
	systest.Run(t, "cp", "-a", first+"/.", nextCasper)
	acts(&livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, 97)), Root: nextCasper}, []string{"", "/usr"}, 40)
	next["casper"] = single(nextCasper)
	for i, name := range slices.Sorted(maps.Keys(old)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("RELIVE_SEED=%d", seed)
			s, n := old[name](t), next[name](t)
			for _, s := range []*livetest.Form{s, n} {
				s.Boot(func(string) {}) // makes what a boot makes
			}
			views := [4]*tree.Node{livetest.OpenDir(t, s.View()), nil, livetest.OpenDir(t, n.View())}
			was, theirs := entries(t, views[0]), entries(t, views[2])
			if strings.HasPrefix(name, "Debian") { // where a layer holds something from the start
				was, theirs = entries(t, livetest.OpenTree(t, s.Dir, "base")), entries(t, livetest.OpenTree(t, n.Dir, "base"))
			}
			h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, uint64(i)))}
			in := []string{"", "/usr"}
			if strings.HasPrefix(name, "Debian") {
				in = []string{"/opt", "/usr/share/deep", "/var/lib"} // mounts stay where they are
			}
			s.Boot(func(mnt string) {
				h.Root = mnt
				acts(h, in, 50)
				livetest.Directories(t, mnt, ways...)
			})
			before := livetest.Copied(t, s.View())
			ours := entries(t, before)
			views[1] = before
			for _, prefer := range []rebase.Prefer{rebase.PreferOverlay, rebase.PreferBase} {
				d := s.Dir
				var conflicts []rebase.Conflict
				res := mustRebase(t, d, n.Dir, rebase.Options{Prefer: prefer, Grow: true, Conflict: func(c rebase.Conflict) error {
					conflicts = append(conflicts, c)
					return nil
				}})
				if r := res.Plan.Rebase; r.Conflicts != len(conflicts) || r.Overlay+r.NewBase != r.Conflicts {
					t.Errorf("%d conflicts, and %+v", len(conflicts), r)
				}
				views[3] = livetest.OpenDir(t, s.View())
				got := entries(t, views[3])
				mergeLaw(t, was, ours, theirs, got, conflicts, prefer)
				if !strings.HasPrefix(name, "Debian") { // where a link cannot lead from one mount to another
					linkLaw(t, [4]map[string]entry{was, ours, theirs, got}, [4]map[string]string{groups(t, views[0]), groups(t, views[1]),
						groups(t, views[2]), groups(t, views[3])}, conflicts)
				}
				livetest.Same(t, "the kernel", "relive", livetest.Without(t, livetest.OpenDir(t, s.View()), "lost+found"),
					livetest.Without(t, livetest.OpenTree(t, d, ""), "lost+found"),
					tree.CompareOptions{Links: !strings.HasPrefix(name, "Debian")})
				if s.Over != "" {
					systest.Fsck(t, s.Over)
				}
				p, err := rollback.New(t.Context(), livetest.Env(t, codec.Auto), d)
				systest.Must(t, err)
				systest.Must(t, p.Run(t.Context()))
				livetest.SameTree(t, "before", "after the rollback", livetest.Without(t, before, "lost+found"),
					livetest.Without(t, livetest.Copied(t, s.View()), "lost+found"))
				if t.Failed() {
					t.Fatalf("prefer %s", prefer)
				}
				systest.Run(t, "sh", "-c", `cd "$1" && find . -depth -name '*.bad' -exec rm -rf {} +`, "sh", d)
			}
		})
	}
}
