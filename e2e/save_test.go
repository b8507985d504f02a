//go:build e2e

package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"relive/e2e/frugal"
	"relive/e2e/lists"
	"relive/e2e/part"
)

// TestSave is about relive save and relive reset: a live system in antiX's layout keeps
// its changes in memory; they are saved by the running system itself, and on the host out
// of a copy of the layer, and the next boot shows what the system showed. Then all is
// reset but for some paths. What the guest does is in e2e/guest/antix/save.
func TestSave(t *testing.T) {
	p := part.Begin(t, "save", "setcap", "setfattr")
	s := frugal.Prepare(p, "zstd", *keep)
	s.MakeDisk(256)
	var rootfs string
	s.Opened("put relive on the disk", func() {
		p.Do("cp", p.ReliveCommand().Path, filepath.Join(s.Mnt, "relive"))
		rootfs = p.Sum(s.InLive("rootfs"))
	})

	// Saved in the running system, out of its memory.
	s.Boot("save-running", "persist_root").Has("INIT: persistence: root, dynamic")
	s.Opened("look at what was saved", func() {
		p.Expect(p.Sum(s.InLive("rootfs")) != rootfs, "relive save changed nothing")
		s.ExpectSound(s.Live)
		p.Relive("doctor", s.Live)
	})
	s.Boot("save-saved", "p_static_root").Has("INIT: version ids match")
	s.Opened("compare saved", func() { s.Lists.Same("save-running.left", "save-saved.found") })

	// Once more on top of that, and saved on the host out of a copy of the layer.
	s.Boot("save-again", "persist_root").Has("INIT: persistence: root, dynamic")
	s.Opened("save a copy", func() {
		dir := filepath.Join(s.Mnt, "copy")
		p.MkdirAll(dir)
		p.Do("tar", "-C", dir, "--xattrs", "--xattrs-include=*", "-xpf", filepath.Join(s.Mnt, "upper.tar"))
		rootfs = p.Sum(s.InLive("rootfs"))
		p.Relive("save", "--dry-run", s.Live, "--from", dir)
		p.Expect(p.Sum(s.InLive("rootfs")) == rootfs, "relive save --dry-run changed rootfs")
		p.Relive("save", "--plain", s.Live, "--from", filepath.Join(dir, "upper"))
		p.Expect(p.Sum(s.InLive("rootfs.old")) == rootfs, "rootfs.old is not the former rootfs")
		s.ExpectSound(s.Live)
	})
	s.Boot("save-saved-again", "p_static_root")
	s.Opened("compare saved again", func() { s.Lists.Same("save-again.left", "save-saved-again.found") })

	// What was deleted stays so when the layer is copied to memory.
	s.Boot("save-plain", "persist_root").Has("INIT: persistence: root, dynamic")
	s.Opened("reset", func() {
		s.Lists.Same("save-saved-again.found", "save-plain.found", unattributed...)
		resetAndBack(s)
	})
	s.Boot("save-reset", "p_static_root").Has("INIT: version ids match")
	s.Opened("compare reset", func() {
		expectedAfterReset(s)
		s.Lists.Same("expected", "save-reset.found", lists.WithoutMark)
	})
}

// unattributed is what init's copy to memory takes along: no attributes, whole seconds,
// and no times of links.
var unattributed = []lists.Filter{
	lists.Without(`\t(user|trusted|security|system)\.`),
	lists.WholeSeconds,
	lists.Replace(`\tl ([0-7]+ [0-9]+ [0-9]+) [0-9]+`, "\tl $1"),
}

// resetAndBack resets all but some paths, takes that back, and goes there again.
func resetAndBack(s *frugal.System) {
	s.Helper()
	rootfs := s.Sum(s.InLive("rootfs"))
	keeping := []string{"--preset", "machine-id,ssh-host-keys,network", "--keep", "/var/log", "--keep", "!/var/log/journal",
		"--keep", "/root/kind?", "--keep", "/usr/share/common-licenses", "--keep", "/etc/pam.conf", "--keep", "/usr/bin/o[d]", s.Live}
	s.Relive(slices.Concat([]string{"reset", "--preview"}, keeping)...)
	s.Expect(s.Sum(s.InLive("rootfs")) == rootfs, "relive reset --preview changed rootfs")
	s.Relive(slices.Concat([]string{"reset"}, keeping)...)
	s.ExpectSound(s.Live)
	s.Relive("reset", "--undo", s.Live)
	s.Expect(s.Sum(s.InLive("rootfs")) == rootfs, "relive reset --undo did not bring the former rootfs back")
	s.Relive("reset", "--undo", s.Live)
	s.ExpectSound(s.Live)
}

// kept is what that reset keeps: paths with all below, and the directories that lead
// there. unkept is what is below them and is not.
var (
	kept = regexp.MustCompile(`^(/etc/machine-id|/etc/ssh/ssh_host_[^/]*|/etc/NetworkManager/system-connections(/.*)?` +
		`|/var/log(/.*)?|/root/kinds(/.*)?|/usr/share/common-licenses(/.*)?|/etc/pam\.conf|/usr/bin/od` +
		`|/|/etc|/etc/ssh|/etc/NetworkManager|/var|/root|/usr|/usr/share|/usr/bin)\t`)
	unkept = regexp.MustCompile(`^/var/log/journal`)
)

// expectedAfterReset makes the list of the base, with what is kept as it was shown
// before.
func expectedAfterReset(s *frugal.System) {
	s.Helper()
	isKept := func(line string) bool { return kept.MatchString(line) && !unkept.MatchString(line) }
	var expected []string
	for line := range s.Lists.Lines("save-running.found") {
		if !isKept(line) {
			expected = append(expected, line)
		}
	}
	for line := range s.Lists.Lines("save-saved-again.found") {
		if isKept(line) {
			expected = append(expected, line)
		}
	}
	slices.Sort(expected)
	s.Write(filepath.Join(s.Lists.Path(), "expected"), strings.Join(expected, "\n")+"\n")
}
