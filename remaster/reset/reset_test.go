package reset_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/reset"
	"relive/tree"
	"relive/tree/systest"
)

func undo(t testing.TB, dir string) {
	t.Helper()
	p, err := reset.NewUndo(t.Context(), livetest.Env(t, codec.Auto), dir)
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
}

// TestResetTruth: in every form of overlay the kernel shows, after a reset that
// keeps paths, what one makes by hand: the base, into which the kept paths are
// copied from what was shown before, or removed where they were. After an undo it
// shows what it showed before.
func TestResetTruth(t *testing.T) {
	all := livetest.Forms(t, func(dir string) {
		livetest.SmallSystem(t, dir)
		livetest.Write(t, dir+"/etc/ssh/ssh_host_key", []byte("the base's"), 0o600)
		livetest.Write(t, dir+"/srv/was/a/file", []byte("a file"), 0o644)
		livetest.Write(t, dir+"/srv/again/old", []byte("old"), 0o644)
		livetest.Write(t, dir+"/srv/again/gone", []byte("gone"), 0o644)
		livetest.Settle(t, dir)
	})
	for name, make := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := make(t)
			s.Boot(func(string) {})
			base := livetest.Duplicate(t, s.View()) // nothing was written yet
			for _, image := range []string{"live/filesystem.squashfs", "linuxfs"} {
				if !livetest.Has(s.Dir + "/" + image) {
					continue
				}
				// There the layer holds directories already.
				c := systest.TempDir(t) + "/base"
				systest.CopyFile(t, s.Dir+"/"+image, c)
				m, _ := systest.Mount(t, "squashfs", "loop,ro", c)
				for _, dir := range []string{"/var", "/var/lib", "/etc"} {
					systest.Run(t, "touch", "-r", m+dir, base+dir)
				}
			}
			s.Boot(func(mnt string) {
				livetest.UseSmall(t, mnt)
				livetest.Write(t, mnt+"/etc/ssh/ssh_host_key", []byte("my own"), 0o600)
				livetest.Write(t, mnt+"/etc/ssh/ssh_host_new", []byte("another"), 0o600)
				livetest.Write(t, mnt+"/etc/ssh/config", []byte("not kept"), 0o600)
				systest.Must(t, os.Chmod(mnt+"/etc/ssh", 0o700))
				systest.Must(t, unix.Lsetxattr(mnt+"/etc/ssh", "trusted.note", []byte("ancestor"), 0))
				livetest.Write(t, mnt+"/etc/machine-id", []byte("4711"), 0o444)
				systest.Must(t, os.Link(mnt+"/etc/machine-id", mnt+"/srv/id"))
				livetest.Write(t, mnt+"/var/lib/other/x", []byte("x"), 0o644)
				livetest.Write(t, mnt+"/var/lib/dpkg/status", livetest.Text(60, 2_000), 0o644)
				systest.Must(t, os.RemoveAll(mnt+"/srv/was"))
				livetest.Write(t, mnt+"/srv/was", []byte("a file now"), 0o644)
				systest.Must(t, os.RemoveAll(mnt+"/srv/again"))
				livetest.Write(t, mnt+"/srv/again/new", []byte("new"), 0o644)
				livetest.Write(t, mnt+"/srv/again/drop", []byte("drop"), 0o644)
				livetest.Sparse(t, mnt+"/srv/data/sparse", 3_000_000, 2_000_000)
				systest.Must(t, unix.Lsetxattr(mnt+"/srv/data/sparse", "security.capability", livetest.Capability, 0))
				systest.Must(t, unix.Mknod(mnt+"/srv/data/pipe", unix.S_IFIFO|0o640, 0))
			})
			before := livetest.Duplicate(t, s.View())

			// By hand.
			want := livetest.Duplicate(t, base)
			take := func(paths ...string) {
				for _, p := range paths {
					systest.Must(t, os.RemoveAll(want+"/"+p))
					if livetest.Has(before + "/" + p) {
						systest.Run(t, "sh", "-c", `cd "$1" && cp -a --parents "$2" "$3"`, "sh", before, p, want)
					}
				}
			}
			take("etc/ssh/ssh_host_key", "etc/ssh/ssh_host_new", "opt/gone", "srv/was", "srv/again", "srv/data", "usr/share/deep",
				"etc/machine-id", "etc/live/version")
			systest.Must(t, os.Link(want+"/etc/machine-id", want+"/srv/id"))
			systest.Must(t, os.Remove(want+"/srv/again/drop"))
			// that lead to them
			for _, dir := range []string{".", "etc", "etc/ssh", "opt", "srv", "srv/again", "usr", "usr/share", "etc/live"} {
				systest.Run(t, "touch", "-r", before+"/"+dir, want+"/"+dir)
				systest.Run(t, "chmod", "--reference", before+"/"+dir, want+"/"+dir)
			}
			systest.Must(t, unix.Lsetxattr(want+"/etc/ssh", "trusted.note", []byte("ancestor"), 0))

			o := reset.Options{KeepOld: 1, Keep: livetest.KeepRules(t, "/etc/ssh/ssh_host_*", "/opt/gone", "srv/was/", "/srv/again",
				"!/srv/again/drop", "/srv/data/", "/usr/share/deep", "**/machine-id", "/etc/live/version")}
			res := livetest.Reset(t, s.Dir, o)
			if !livetest.HasWarning(res.Warnings, "/etc/machine-id is one file with /srv/id, which is kept as well") ||
				len(res.Warnings) != 1 {
				t.Errorf("warnings: %q", res.Warnings)
			}
			drop := []string{"lost+found", "etc/live"}
			if name == "antiX" {
				drop = drop[:1]
			}
			livetest.Exactly(t, "by hand", "the kernel after", livetest.Without(t, livetest.OpenDir(t, want), drop...),
				livetest.Without(t, livetest.OpenDir(t, s.View()), drop...))
			if s.Over != "" {
				systest.Fsck(t, s.Over)
			}
			if st := livetest.StatusOf(t, s.Dir); len(st.Warnings) > 0 {
				t.Errorf("the status warns: %q", st.Warnings)
			}
			o.AllowUnmatched = true // what a rule with '!' has named is gone
			if again := livetest.Reset(t, s.Dir, o); !again.Plan.UpToDate {
				t.Errorf("a second reset has something to do: lost %+v", again.Plan.Lost)
			}
			undo(t, s.Dir)
			livetest.Exactly(t, "before", "the kernel after undo", livetest.Without(t, livetest.OpenDir(t, before), drop[0]),
				livetest.Without(t, livetest.OpenDir(t, s.View()), drop[0]))
			undo(t, s.Dir)
			livetest.Exactly(t, "by hand", "the kernel after a second undo", livetest.Without(t, livetest.OpenDir(t, want), drop...),
				livetest.Without(t, livetest.OpenDir(t, s.View()), drop...))
			livetest.Reset(t, s.Dir, reset.Options{KeepOld: 1})
			if strings.HasPrefix(name, "Debian") {
				drop = append(drop, "usr/share/deep", "var/lib") // as for the root's, these are of layers
			}
			if !livetest.StatusOf(t, s.Dir).Overlay.Empty {
				t.Error("the overlay is not empty")
			}
			empty := livetest.Without(t, livetest.OpenDir(t, s.View()), append(drop, "etc/live")...)
			bare := livetest.Without(t, livetest.OpenDir(t, base), append(drop, "etc/live")...)
			top := *bare
			top.Meta = empty.Meta // that of the layer's root
			livetest.Exactly(t, "base", "the kernel after a whole reset", &top, empty)
		})
	}
}

// keepOracle is what a keep pattern means, as a regular expression.
func keepOracle(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^")
	parts := strings.Split(strings.Trim(pattern, "/"), "/")
	for i, part := range parts {
		if part == "**" {
			if i == len(parts)-1 {
				b.WriteString(".+")
			} else {
				b.WriteString("(?:[^/]+/)*")
			}
			continue
		}
		b.WriteString(strings.NewReplacer(`\*`, "[^/]*", `\?`, "[^/]").Replace(regexp.QuoteMeta(part)))
		if i < len(parts)-1 {
			b.WriteString("/")
		}
	}
	return regexp.MustCompile(b.String() + "$")
}

// TestKeepLaw: of random trees and patterns, the tree that a reset leaves has at
// each path what the merged tree has where the last rule that matches it or a
// directory above it keeps it, and what the base has elsewhere, but for
// directories that lead to something kept.
func TestKeepLaw(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", ".d"}
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 1))
		var grow func(depth int, text string) *tree.Node
		grow = func(depth int, text string) *tree.Node {
			d := tree.NewDir("", 0o755)
			d.Mtime.Sec = int64(r.IntN(1000))
			var kids tree.List
			for _, name := range names {
				switch k := r.IntN(6); {
				case k < 2:
				case k < 4 && depth < 4:
					n := grow(depth+1, text)
					n.Name = name
					kids = append(kids, n)
				default:
					n := tree.NewFile(name, 0o644, []byte(text))
					n.Mtime.Sec = int64(r.IntN(1000))
					kids = append(kids, n)
				}
			}
			tree.Sort(kids)
			d.Dir = kids
			return d
		}
		base, merged := grow(0, "base"), grow(0, "merged")
		var patterns []string
		for range 1 + r.IntN(4) {
			var parts []string
			for range 1 + r.IntN(3) {
				parts = append(parts, []string{"a", "b", "c", ".d", "*", "?", "**"}[r.IntN(7)])
			}
			p := strings.Join(slices.CompactFunc(parts, func(a, b string) bool { return a == "**" && b == "**" }), "/")
			if r.IntN(3) == 0 {
				p = "!" + p
			}
			patterns = append(patterns, p)
		}
		got, matches, err := reset.KeepTree(t.Context(), base, merged, livetest.KeepRules(t, patterns...))
		systest.Must(t, err)

		kept := func(p string) bool {
			best, keep := -1, false
			for ; p != "."; p = path.Dir(p) {
				for i, pattern := range patterns {
					rest, dropped := strings.CutPrefix(pattern, "!")
					if i > best && keepOracle(rest).MatchString(p) {
						best, keep = i, !dropped
					}
				}
			}
			return keep
		}
		all := map[string]bool{}
		counted := make([]int64, len(patterns))
		for _, root := range []*tree.Node{base, merged} {
			systest.Must(t, tree.Walk(t.Context(), root, func(p string, _ *tree.Node) error {
				if p != "" && !all[p] {
					all[p] = true
					for i, pattern := range patterns {
						if keepOracle(strings.TrimPrefix(pattern, "!")).MatchString(p) {
							counted[i]++
						}
					}
				}
				return nil
			}))
		}
		at := func(root *tree.Node, p string) *tree.Node {
			n, err := root.Lookup(p)
			systest.Must(t, err)
			return n
		}
		text := func(n *tree.Node) string {
			if n == nil || n.Type == tree.Directory {
				return fmt.Sprint(n != nil)
			}
			return livetest.ReadFile(t, tree.NewDir("", 0, &tree.Node{Name: "f", Meta: n.Meta, Data: n.Data}), "f")
		}
		for p := range all {
			b, m, g := at(base, p), at(merged, p), at(got, p)
			want := b
			if kept(p) {
				want = m
			}
			// What a directory is decides of what it holds, so that files and
			// directories in each other's place are looked at from below.
			isDir := func(n *tree.Node) bool { return n != nil && n.Type == tree.Directory }
			if isDir(b) || isDir(m) {
				continue
			}
			up := path.Dir(p)
			if up != "." && (!isDir(at(got, up)) || !isDir(at(base, up)) && !isDir(at(merged, up))) {
				want = nil
			}
			if kept(p) && m == nil && b != nil && !isDir(at(got, up)) && up != "." {
				continue
			}
			if text(g) != text(want) {
				t.Errorf("%s: %q, not %q (base %q, merged %q, kept %v)", p, text(g), text(want), text(b), text(m), kept(p))
			}
		}
		for i, n := range matches {
			if n != counted[i] {
				t.Errorf("%s matches %d, not %d", patterns[i], n, counted[i])
			}
		}
		if t.Failed() {
			for name, root := range map[string]*tree.Node{"base": base, "merged": merged, "got": got} {
				t.Logf("%s\n%s", name, listing(t, root))
			}
			t.Fatalf("seed %d: %q", seed, patterns)
		}
	}
}

func listing(t testing.TB, root *tree.Node) string {
	t.Helper()
	var b strings.Builder
	systest.Must(t, tree.Walk(t.Context(), root, func(p string, n *tree.Node) error {
		fmt.Fprintf(&b, "%s %s\n", p, n.Type)
		return nil
	}))
	return b.String()
}

// TestKeepPatterns: what patterns mean, and which there are not.
func TestKeepPatterns(t *testing.T) {
	base := tree.NewDir("", 0o755)
	merged := tree.NewDir("", 0o755,
		tree.NewDir("etc", 0o755, tree.NewFile("a.conf", 0o644, nil), tree.NewFile(".hidden", 0o644, nil), tree.NewFile("[x]", 0o644, nil),
			tree.NewFile("\xff", 0o644, nil),
			tree.NewDir("ssh", 0o755, tree.NewFile("key", 0o600, nil))),
		tree.NewFile("!odd", 0o644, nil))
	for _, tt := range []struct {
		patterns []string
		kept     string
	}{
		{[]string{"/etc/*.conf"}, "etc/a.conf"},
		{[]string{"etc/*"}, "etc/.hidden etc/[x] etc/a.conf etc/ssh/key etc/\xff"},
		{[]string{"etc/*/"}, "etc/ssh/key"},
		{[]string{"etc/a.conf/"}, ""},
		{[]string{"//etc/./ssh//"}, "etc/ssh/key"},
		{[]string{`etc/\[x\]`}, "etc/[x]"},
		{[]string{"etc/?"}, "etc/\xff"},
		{[]string{"etc/[a-b]*"}, "etc/a.conf"},
		{[]string{"**/key"}, "etc/ssh/key"},
		{[]string{"/etc/**"}, "etc/.hidden etc/[x] etc/a.conf etc/ssh/key etc/\xff"},
		{[]string{"etc", "!etc/ssh", "etc/ssh/key", "!etc/[.[]*", "!**/\xff"}, "etc/a.conf etc/ssh/key"},
		{[]string{"!etc", "**/**/a.conf"}, "etc/a.conf"},
		{[]string{`\!odd`}, "!odd"},
	} {
		got, _, err := reset.KeepTree(t.Context(), base, merged, livetest.KeepRules(t, tt.patterns...))
		systest.Must(t, err)
		var names []string
		systest.Must(t, tree.Walk(t.Context(), got, func(p string, n *tree.Node) error {
			if n.Type != tree.Directory {
				names = append(names, p)
			}
			return nil
		}))
		if strings.Join(names, " ") != tt.kept {
			t.Errorf("%q keeps %q, not %q", tt.patterns, names, tt.kept)
		}
	}
	for _, p := range []string{"", "/", "!", "a/../b", "[", "a/[b", `a\`, strings.Repeat("a/", 600), strings.Repeat("a", 20_000)} {
		if _, err := reset.ParseRule(p, "test"); err == nil || refusal.Hint(err) == "" {
			t.Errorf("%.20q is taken: %v", p, err)
		}
	}
	rules, err := reset.ReadRules(strings.NewReader("# a comment\n\n  /etc\r\n\\#x\n!y"), "list")
	if err != nil || len(rules) != 3 || rules[2].Source != "list:5" || rules[0].Pattern != "/etc" {
		t.Errorf("%+v, %v", rules, err)
	}
	if _, err := reset.ReadRules(strings.NewReader(strings.Repeat("a", 1<<16)), "list"); err == nil {
		t.Error("a long line is read")
	}
}

// TestKeepPresets: the presets are whole, and name places that exist in systems.
func TestKeepPresets(t *testing.T) {
	all, err := reset.Presets()
	systest.Must(t, err)
	files, err := filepath.Glob("presets/*")
	systest.Must(t, err)
	if len(all) != len(files) || len(all) < 12 {
		t.Errorf("%d presets, %d files", len(all), len(files))
	}
	for _, p := range all {
		if p.Title == "" || len(p.Patterns) == 0 {
			t.Errorf("%+v", p)
		}
		for _, pattern := range p.Patterns {
			if !strings.HasPrefix(pattern, "/") || strings.HasSuffix(pattern, "/") {
				t.Errorf("%s: %s", p.Name, pattern)
			}
		}
		if _, err := reset.PresetRules(p.Name); err != nil {
			t.Error(err)
		}
	}
}

// TestResetUndoCrash: wherever an undo is cut off, a boot shows the one overlay or
// the other, and recovery leads to one of the two states.
func TestResetUndoCrash(t *testing.T) {
	all := livetest.Forms(t, func(dir string) { livetest.SmallSystem(t, dir) })
	for _, name := range []string{"antiX", "LiveOS, directory"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := all[name](t)
			s.Boot(func(mnt string) { livetest.UseSmall(t, mnt) })
			livetest.Reset(t, s.Dir, reset.Options{KeepOld: 1, Keep: livetest.KeepRules(t, "/etc/new")})
			run := func(d string, n int) (*livetest.Dying, error) {
				e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n, NoLink: name == "antiX"}
				e.Disk = disk
				p, err := reset.NewUndo(t.Context(), e, d)
				systest.Must(t, err)
				return disk, p.Run(t.Context())
			}
			done := livetest.Duplicate(t, s.Dir)
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			before, after := livetest.Sums(t, s.Dir), livetest.Sums(t, done)
			old, new := livetest.Shown(t, s.Dir), livetest.Shown(t, done)
			if old == new {
				t.Fatal("nothing happens")
			}
			for n := range whole.Done {
				d := livetest.Duplicate(t, s.Dir)
				if _, err := run(d, n); !errors.Is(err, livetest.ErrPower) {
					t.Fatalf("after %d changes: %v", n, err)
				}
				if got := livetest.Shown(t, d); got != old && got != new {
					t.Errorf("after %d changes a boot shows neither", n)
				}
				livetest.Recovered(t, d, n)
				if s := livetest.Sums(t, d); !maps.Equal(s, before) && !maps.Equal(s, after) {
					t.Errorf("after %d changes there is then\n%v\nbefore\n%v\nafter\n%v", n, s, before, after)
				}
			}
		})
	}
}
