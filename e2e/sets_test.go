//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relive/e2e/frugal"
	"relive/e2e/lists"
	"relive/e2e/part"
)

// TestSets is about sets of changes: one live directory in antiX's layout boots with two
// sets, which pdir= chooses, and each shows what was changed in it alone, also after
// relive has folded one of them into the base and has carried the other one over to that,
// or has carried one over to a newer base. What the guest does is in e2e/guest/antix/sets.
func TestSets(t *testing.T) {
	p := part.Begin(t, "sets", "setcap", "setfattr")
	s := frugal.Prepare(p, "zstd", *keep)
	s.MakeDisk(128)
	s.Opened("make a menu and homefs", func() {
		makeMenu(s)
		p.Relive("sync-home", "--reverse", "--size", "64M", s.Live)
	})
	s.Boot("sets-first", "persist_static")

	// The copy, booted by an entry of its own.
	var work []string
	var before string
	s.Opened("clone", func() {
		work = cloneSet(s)
		before = p.Sums(s.Live, "rootfs", "homefs")
	})
	s.Boot("sets-work", work...)

	// The other one, which knows nothing of that.
	s.Opened("compare work", func() {
		s.Lists.Same("sets-first.left", "sets-work.found")
		p.Expect(p.Sums(s.Live, "rootfs", "homefs") == before, "a boot with one set changed the other")
		before = p.Sums(s.InLive("work"), p.Names(s.InLive("work"))...)
	})
	s.Boot("sets-default", "persist_static")
	s.Opened("compare default", func() {
		s.Lists.Same("sets-first.left", "sets-default.found")
		p.Expect(p.Sums(s.InLive("work"), p.Names(s.InLive("work"))...) == before, "a boot with one set changed the other")
	})

	// One is folded in; the other one goes along to the new base.
	var was state
	s.Opened("fold work in", func() {
		was = stateOfSets(s)
		foldIn(s, was)
	})
	s.Boot("sets-work-folded", work...).Has("INIT: persistence: root, static")
	s.Boot("sets-default-restamped", "persist_static").Has("INIT: version ids match")
	s.Opened("carry work over", func() {
		s.Lists.Same("sets-work.left", "sets-work-folded.found", squashed...)
		s.Lists.Same("sets-default.left", "sets-default-restamped.found", notOfWork...)

		// Back again, both.
		p.Relive("rollback", s.Live)
		p.Expect(stateOfSets(s) == was, "relive rollback did not bring both sets back")
		carryOver(s, was)
	})
	s.Boot("sets-work-rebased", work...).Has("INIT: version ids match")

	// Staged, for a boot with that set to take up.
	s.Opened("stage work", func() {
		s.Lists.Same("sets-work.left", "sets-work-rebased.found", notNewer...)
		p.Relive("rollback", "--set", "work", s.Live)
		p.Expect(stateOfSets(s) == was, "relive rollback did not bring the former base back")
		removeFormer(s)
		was = stateOfSets(s)
		p.ReliveMayWarn("compact", "--set", "work", "--stage", s.Live)
		p.Expect(part.Exists(s.InLive("linuxfs.new")) && part.Exists(s.InLive("work/rootfs.new")),
			"--stage wrote no linuxfs.new and work/rootfs.new")
	})
	s.Boot("sets-work-staged", work...).
		Has("INIT: remastered from linuxfs.new", "INIT: rootfs.new taken up in", "INIT: version ids match")
	s.Opened("compare staged", func() {
		s.Lists.Same("sets-work.left", "sets-work-staged.found", squashed...)
		// init has set the other set's rootfs aside too, and relive staged the same again.
		p.Expect(p.Sum(s.InLive("rootfs")) == was.rootfs && part.Exists(s.InLive("rootfs.old")),
			"a boot that takes up linuxfs.new takes the other set away")
	})

	// The boot parameter takes both back.
	s.Boot("sets-work-rolled-back", append(slices.Clone(work), "rollback")...).
		Has("INIT: rolled back to linuxfs.old", "INIT: rootfs.old taken up in", "INIT: version ids match")
	s.Opened("compare rolled back", func() {
		s.Lists.Same("sets-work.left", "sets-work-rolled-back.found", squashed...)
		is := stateOfSets(s)
		p.Expect(is.linuxfs == was.linuxfs && is.rootfs == was.rootfs, "the other set was not brought back with linuxfs")
	})
}

// What is the same on both sides of a squashfs; besides that, but for the paths at which
// only the set work had changes, and the directories that hold them, and but for the
// paths at which the newer base is another.
var (
	squashed  = []lists.Filter{lists.Squashed, lists.WithoutMark}
	notOfWork = append(slices.Clone(squashed),
		lists.Without(`^(/srv(/work.*)?|/usr/local/bin(/work-tool)?|/usr/share/doc(/sed(/.*)?)?)\t`))
	notNewer = append(slices.Clone(squashed),
		lists.Without(`^/(etc/issue|usr/share(/newer|/doc(/gzip(/.*)?)?)?)\t`))
)

// state is the sums of the base and of the sets' changes.
type state struct{ linuxfs, rootfs, work string }

func stateOfSets(s *frugal.System) state {
	s.Helper()
	return state{s.Sum(s.InLive("linuxfs")), s.Sum(s.InLive("rootfs")), s.Sum(s.InLive("work/rootfs"))}
}

// makeMenu makes a medium of the open disk, by a boot menu for its live directory.
func makeMenu(s *frugal.System) {
	s.Helper()
	s.Copy(s.Kernel.Image(), s.InLive("vmlinuz"))
	s.Copy(s.Initrd, s.InLive("initrd.gz"))
	s.MkdirAll(filepath.Join(s.Mnt, "boot/grub"))
	s.Write(menuOf(s), `menuentry "e2e" {
    search --no-floppy --set=root --label live
    linux /antiX/vmlinuz quiet bdir=antiX persist_static
    initrd /antiX/initrd.gz
}
`)
}

func menuOf(s *frugal.System) string { return filepath.Join(s.Mnt, "boot/grub/grub.cfg") }

// cloneSet makes the set work, and an entry that boots it; it returns the words that the
// entry boots with.
func cloneSet(s *frugal.System) (words []string) {
	s.Helper()
	s.Relive("sets", "clone", s.Live, "work")
	for _, name := range []string{"rootfs", "homefs"} {
		s.Expect(s.Sum(s.InLive("work/"+name)) == s.Sum(s.InLive(name)), "the copy of %s is another", name)
	}
	s.Relive("sets", s.Live).Tells("work")
	s.Relive("sets", "entry", s.Live, "work", "--title", "work", "--mode", "persist_static", "--write-entry", menuOf(s))
	words = wordsOf(s, "work")
	pdir := slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "pdir=") && strings.HasSuffix(w, "work") })
	s.Expect(pdir && slices.Contains(words, "persist_static"), "the entry boots with: %q", words)
	return words
}

// wordsOf returns what an entry of the menu boots with, without the kernel.
func wordsOf(s *frugal.System, entry string) (words []string) {
	s.Helper()
	found := false
	for line := range strings.Lines(s.Read(menuOf(s))) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "menuentry":
			found = strings.Contains(line, `"`+entry+`"`) || strings.Contains(line, `'`+entry+`'`)
		case found && f[0] == "linux":
			return f[2:]
		}
	}
	s.Fatalf("the menu has no entry %q", entry)
	return nil
}

// foldIn folds the set work into the base, and has the other one go along.
func foldIn(s *frugal.System, was state) {
	s.Helper()
	began := time.Now()
	s.ReliveMayWarn("compact", "--set", "work", s.Live)
	s.Expect(s.Sum(s.InLive("rootfs")) == was.rootfs, "compact --set changed the other set")
	s.Relive("sets", "rebase", s.Live, "default")
	s.ExpectSound(s.Live, "work/rootfs", "homefs", "work/homefs")
	s.Say("folded one set in, and restamped the other, after %.0f s", time.Since(began).Seconds())
}

// carryOver carries the set work over to a newer base; what both changed is decided for
// the set.
func carryOver(s *frugal.System, was state) {
	s.Helper()
	removeFormer(s)
	newer := s.In("newer")
	makeNewer(s, newer)
	began := time.Now()
	s.ReliveEnds([]int{4}, "rebase", "--set", "work", "--onto", newer, s.Live).
		Tells("/usr/share/doc/sed: deleted in the overlay, changed below in the new base")
	s.Expect(stateOfSets(s) == was, "a refused rebase changed something")
	s.ReliveMayWarn("rebase", "--set", "work", "--prefer", "ours", "--onto", newer, s.Live)
	s.ExpectSound(s.Live, "work/rootfs")
	s.Expect(s.Sum(s.InLive("linuxfs")) == s.Sum(newer), "the new base is another")
	s.Say("carried one set over to a newer base, after %.0f s", time.Since(began).Seconds())
	s.RemoveTree(newer)
}

// makeNewer makes a newer release of the base, which changes some of what the set work
// has changed as well.
func makeNewer(s *frugal.System, file string) {
	s.Helper()
	tree := s.In("_newer")
	s.RemoveTree(tree, file)
	s.Do("unsquashfs", "-quiet", "-no-progress", "-dest", tree, s.Linuxfs)
	s.Write(filepath.Join(tree, "etc/live/version/linuxfs.ver"), fmt.Sprintf("==== %032d\n\ntitle: newer\n", 7))
	s.Write(filepath.Join(tree, "usr/share/newer"), "the newer base\n")
	s.Append(filepath.Join(tree, "etc/issue"), "a newer release\n")
	s.Append(filepath.Join(tree, "usr/share/doc/sed/copyright"), "a newer one\n")
	s.RemoveTree(filepath.Join(tree, "usr/share/doc/gzip"))
	s.Do("mksquashfs", tree, file, "-comp", "zstd", "-Xcompression-level", "3", "-b", "262144", "-noappend", "-no-progress", "-quiet")
	s.RemoveTree(tree)
}

// removeFormer removes what relive and init have set aside.
func removeFormer(s *frugal.System) {
	s.Helper()
	s.Do("find", s.Live, "(", "-name", "*.old", "-o", "-name", "*.bad", ")", "-delete")
}
