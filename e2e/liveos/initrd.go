package liveos

import (
	"path/filepath"
	"regexp"

	"relive/e2e/liveroot"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// Hooks are scripts of e2e/guest/live that dracut sources, by their places among its
// hooks. That before the mount runs before those that dracut itself has there.
type Hooks map[string]string

// The hooks of guests that run a step, and of those that only have a first process of
// their own.
var (
	ForSteps = Hooks{"pre-mount/00-e2e.sh": "live/pre-mount.sh", "pre-pivot/50-e2e.sh": "live/pre-pivot.sh"}
	ForInit  = Hooks{"pre-pivot/50-e2e.sh": "live/pre-pivot.sh"}
)

// Addition makes an initrd that goes behind dracut's: the hooks, and what they put into
// the live root, files of e2e/guest, of which init is its first process.
func (i Images) Addition(p *part.Part, file string, hooks Hooks, init string, guest ...string) {
	p.Helper()
	tree := p.Fresh(p.In("_initrd"))
	machine.Guest(p, filepath.Join(tree, "e2e"), guest...)
	machine.InstallGuest(p, init, filepath.Join(tree, "e2e/init"))
	// With dracut 106 the first of the two is a link to the other.
	names := liveroot.Names(p, i.Initrd)
	at := regexp.MustCompile(`(?m)^var/lib/dracut/hooks$`).FindString(names)
	if at == "" {
		at = regexp.MustCompile(`(?m)^usr/lib/dracut/hooks$`).FindString(names)
	}
	p.Expect(at != "", "%s has no hooks of dracut", i.Initrd)
	for place, script := range hooks {
		machine.InstallGuest(p, script, filepath.Join(tree, at, place))
	}
	machine.Pack(p, tree, file)
	p.RemoveTree(tree)
}
