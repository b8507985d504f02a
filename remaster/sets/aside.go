package sets

import (
	"fmt"
	"path/filepath"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/say"
)

// Aside is the rootfs of a set of antiX under the name that the init, or a
// roll-back, has given it: the init renames the default set's, and that of the
// set that is booted, with any linuxfs that it takes up or brings back.
type Aside struct {
	Name string   `json:"name"` // relative to the live directory
	VID  live.VID `json:"vid"`
	// Base names the base in the live directory that it was written over, "" where
	// that is not there.
	Base string `json:"base,omitempty"`
	// Only: the set has no rootfs besides, so that this is the set itself.
	Only bool `json:"only"`
}

// asideExts are what the init appends to what it sets aside (MAKE_OLD).
var asideExts = []string{".old", ".bad", ".bak"}

// Asides tells of the rootfs of a set that were set aside and can be read.
func Asides(l *live.Live, e *job.Env, set string) (out []Aside, err error) {
	if l.Layout.Traits().Sets != live.SetDirectories || !l.OnHost() {
		return nil, nil
	}
	root := RootOf(set)
	only := !hostdisk.Exists(filepath.Join(l.Dir, root))
	for _, ext := range asideExts {
		vid, err := RootVID(filepath.Join(l.Dir, root+ext))
		if err != nil {
			return nil, err
		}
		if vid == "" {
			continue
		}
		a := Aside{Name: root + ext, VID: vid, Only: only}
		if vids, err := l.VIDs(); err != nil {
			return nil, err
		} else if vids.Base == vid {
			a.Base = l.Files.Base
		} else {
			a.Base = FormerWith(l, e, vid)
		}
		out = append(out, a)
	}
	return out, nil
}

// Back says how a set is brought back whose rootfs was set aside, "" where it was
// written over no base that is there.
func (a *Aside) Back(l *live.Live, set string) string {
	move := fmt.Sprintf("mv %s %s", filepath.Join(l.Dir, a.Name), filepath.Join(l.Dir, RootOf(set)))
	switch a.Base {
	case "":
		return ""
	case l.Files.Base:
		return move + " brings it back"
	}
	return fmt.Sprintf("%s and then "+say.RebaseSet+" %s %s bring it back over the present linuxfs", move, l.Dir, set)
}
