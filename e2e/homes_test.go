//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"relive/e2e/frugal"
	"relive/e2e/part"
)

// TestHomes is about homes: a live system in antiX's layout boots with its homes in
// homefs and, after relive sync-home or its way back, without, and shows the same. relive
// runs without root. What the users do is in e2e/guest/antix/homes.
func TestHomes(t *testing.T) {
	p := part.Begin(t, "homes", "setpriv", "setcap", "setfattr")
	// Whoever owns the live directory.
	const owner = "65534"
	p.As = []string{"setpriv", "--reuid=" + owner, "--regid=" + owner, "--clear-groups"}
	s := frugal.Prepare(p, "zstd", *keep)
	opened := func(step string, do func()) {
		s.Opened(step, func() {
			p.Do("chown", "-R", owner+":"+owner, s.Live)
			do()
		})
	}
	s.MakeDisk(128)

	// Homes of the system, changed over those of the base; homefs is made of them.
	s.Boot("homes-first", "p_static_root")
	opened("bring homes to homefs", func() {
		syncHome(s, "--reverse", "--size", "96M")
		p.Expect(p.Size(s.InLive("homefs")) == 96<<20, "homefs has another size than asked for")
		p.Expect(s.Label(s.InLive("homefs")) == "homefs", "homefs has another label")
		s.ExpectSound(s.Live, "homefs")
	})

	// A boot with homefs, until the power goes.
	s.BootAndCut("homes-second", "persist_static").Has("INIT: persistence: home")
	var homefs string
	opened("bring homes back", func() {
		s.Lists.Same("homes-first.left", "homes-second.found")
		s.ExpectDirty(s.InLive("homefs"))
		s.ExpectDirty(s.InLive("rootfs"))
		homefs = p.Sum(s.InLive("homefs"))
		rootfs := p.Sum(s.InLive("rootfs"))
		syncHome(s)
		p.Expect(p.Sum(s.InLive("homefs")) == homefs, "sync-home changed homefs")
		p.Expect(p.Sum(s.InLive("rootfs.old")) == rootfs, "rootfs.old is not the former rootfs")
		s.ExpectSound(s.Live)
	})

	// A boot without.
	s.Boot("homes-third", "p_static_root").Lacks("INIT: persistence: home")
	opened("bring homes to homefs again", func() {
		s.Lists.Same("homes-second.left", "homes-third.found")
		rootfs := p.Sum(s.InLive("rootfs"))
		syncHome(s, "--reverse")
		p.Expect(p.Sum(s.InLive("rootfs")) == rootfs, "sync-home --reverse changed rootfs")
		p.Expect(p.Sum(s.InLive("homefs.old")) == homefs, "homefs.old is not the former homefs")
		s.ExpectSound(s.Live, "homefs")
	})

	// And with it again.
	s.Boot("homes-fourth", "persist_static")
	opened("compare", func() { s.Lists.Same("homes-third.left", "homes-fourth.found") })
}

// syncHome brings the homes to the other side, once: doing it again changes nothing.
func syncHome(s *frugal.System, args ...string) {
	s.Helper()
	began, before := time.Now(), stateOf(s)
	sync := append([]string{"sync-home"}, args...)
	s.Relive(append(sync, "--dry-run", s.Live)...)
	s.Expect(stateOf(s) == before, "sync-home --dry-run changed something")
	sync = append(sync, s.Live)
	s.Relive(sync...)
	after := stateOf(s)
	s.Expect(after != before, "sync-home changed nothing")
	s.Say("homes brought over after %.0f s %q", time.Since(began).Seconds(), args)
	s.Relive(sync...)
	s.Expect(stateOf(s) == after, "a second sync-home changed something")
}

// stateOf returns all files of the live directory, with what tells a file from one that
// was written anew.
func stateOf(s *frugal.System) string {
	s.Helper()
	var b strings.Builder
	for _, name := range s.Names(s.Live) {
		cmd := exec.Command("stat", "-c", "%n %i %s %y %z", name)
		cmd.Dir = s.Live
		fmt.Fprintf(&b, "%s %s\n", s.Finish(cmd), s.Sum(s.InLive(name)))
	}
	return b.String()
}
