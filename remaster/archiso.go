package remaster

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"relive/tree"
)

// Archiso is the layout of Arch Linux's live media: <dir>/<arch>/airootfs.sfs
// and, at the root of the device with the changes, persistent_<label>/<arch>,
// which holds overlayfs's upperdir and workdir, or airootfs.cow where
// airootfs.sfs holds an airootfs.img (mkinitcpio-archiso, hooks/archiso).
type Archiso struct{}

// Files of the layout.
const (
	archisoBase    = "airootfs.sfs"
	archisoInner   = "airootfs.img"
	archisoSum     = "airootfs.sha512"
	archisoCOW     = "airootfs.cow"
	archisoUpper   = "upperdir"
	archisoWork    = "workdir"
	archisoChanges = "persistent_"
)

// Name implements Layout.
func (Archiso) Name() string { return "archiso" }

func (Archiso) find(dir, generation string) (*Found, error) {
	bases, err := filepath.Glob(filepath.Join(globQuote(dir), "*", "*", archisoBase+generation))
	if err != nil || len(bases) == 0 {
		return nil, err
	}
	if len(bases) > 1 {
		return nil, refuse("give a directory that holds one of them", "%s: there are %d bases: %s", dir, len(bases), strings.Join(bases, ", "))
	}
	at, err := filepath.Rel(dir, filepath.Dir(bases[0]))
	if err != nil {
		return nil, err
	}
	f := &Found{Dir: dir, files: fileSet{
		base:    filepath.Join(at, archisoBase),
		retired: []string{filepath.Join(at, archisoBase+".sig"), filepath.Join(at, archisoBase+".cms.sig")},
	}}
	sum := filepath.Join(at, archisoSum)
	if exists(filepath.Join(dir, sum)) || exists(filepath.Join(dir, sum+generation)) {
		f.files.companions = []companion{{name: sum, sum: "sha512"}}
	}
	arch := filepath.Base(at)
	changes, err := filepath.Glob(filepath.Join(globQuote(dir), archisoChanges+"*", arch))
	if err != nil {
		return nil, err
	}
	if len(changes) > 1 {
		return nil, refuse("move those away that are not used, and begin again", "%s: there are %d overlays, and only the boot's arguments tell which is used: %s",
			dir, len(changes), strings.Join(changes, ", "))
	}
	for _, c := range changes {
		rel, err := filepath.Rel(dir, c)
		if err != nil {
			return nil, err
		}
		if exists(filepath.Join(c, archisoCOW+generation)) {
			f.files.overlay = []string{filepath.Join(rel, archisoCOW)}
		} else if exists(filepath.Join(c, archisoUpper+generation)) {
			f.files.overlay = []string{filepath.Join(rel, archisoUpper), filepath.Join(rel, archisoWork)}
		}
	}
	return f, nil
}

// globQuote makes a path that filepath.Glob takes as it is.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

func (Archiso) open(_ context.Context, e *Env, l *Live) error {
	path := l.path(l.files.base)
	if err := l.openBase(e, path, archisoInner); err != nil {
		return withHint(err, "relive verify "+path+" tells more")
	}
	if len(l.files.overlay) == 0 {
		return nil
	}
	at := l.path(l.files.overlay[0])
	if st, err := os.Stat(at); err != nil || st.IsDir() {
		return l.openDirOverlay(at, l.path(l.files.overlay[1]))
	}
	if l.Base.Inner == nil {
		return refuse("move it away", "%s is a device-mapper snapshot, but %s holds no %s that it could be over", at, l.Base.Path, archisoInner)
	}
	return l.openSnapshot(at)
}

func (Archiso) check(p *CompactPlan) error { return p.live.damagedSnapshot() }

func (Archiso) system(_ context.Context, _ *CompactPlan, merged *tree.Node) (*tree.Node, error) {
	return merged, nil
}

func (Archiso) resets(p *CompactPlan) ([]part, error) {
	o, names := p.live.Overlay, p.live.files.overlay
	if o.Snapshot == nil {
		return p.freshLayer(o, names[0], names[1])
	}
	if p.o.Flatten {
		return nil, refuse("compact without --flatten, or use -o", "%s: a flattened archiso base takes its changes from %s, not from %s", p.live.Dir, archisoUpper, archisoCOW)
	}
	return []part{p.freshSnapshot(o, names[0])}, nil
}
