package live

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"relive/remaster/job"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/tree"
)

// archiso is the layout of Arch Linux's live media: <dir>/<arch>/airootfs.sfs,
// or airootfs.erofs, which is found and not read,
// and, at the root of the device with the changes, persistent_<label>/<arch>,
// which holds overlayfs's upperdir and workdir, or airootfs.cow where
// airootfs.sfs holds an airootfs.img (mkinitcpio-archiso, hooks/archiso).
type archiso struct{}

// Files of the layout.
const (
	archisoBase    = "airootfs.sfs"
	archisoEROFS   = "airootfs.erofs"
	archisoInner   = "airootfs.img"
	ArchisoCOW     = "airootfs.cow"
	archisoUpper   = "upperdir"
	archisoWork    = "workdir"
	archisoChanges = "persistent_"
)

// Name implements Layout.
func (archiso) Name() string { return "archiso" }

// Traits implements Layout.
func (archiso) Traits() Traits {
	return Traits{
		Key: "archiso", FlatOverlay: archisoUpper,
		OtherSets: "the boot arguments cow_label= and cow_directory= name another partition or directory; --overlay names the one that is meant",
	}
}

func (a archiso) find(s *search, dir string) (*Found, error) {
	at, generation := s.at, s.generation
	var bases []string
	name := ""
	for _, name = range []string{archisoBase, archisoEROFS} {
		var err error
		bases, err = twoBelow(at, dir, func(first, second string) string {
			if !IsFile(at, filepath.Join(dir, first, second, name+generation)) {
				return ""
			}
			return name
		})
		if err != nil {
			return nil, err
		}
		if len(bases) > 0 {
			break
		}
	}
	if len(bases) == 0 {
		return nil, nil
	}
	if len(bases) > 1 {
		return nil, refusal.New("give a directory that holds one of them", "%s: there are %d bases: %s", dir, len(bases), strings.Join(bases, ", "))
	}
	f := &Found{Dir: dir, Files: Files{Base: bases[0]}}
	return f, a.places(s, f)
}

// twoBelow looks two directories below dir for the names that name gives for
// them, relative to dir; "" does not count.
func twoBelow(at Place, dir string, name func(first, second string) string) (out []string, err error) {
	firsts, err := at.List(dir)
	if err != nil {
		return nil, err
	}
	for _, first := range firsts {
		if !IsDir(at, filepath.Join(dir, first)) {
			continue
		}
		seconds, err := at.List(filepath.Join(dir, first))
		if errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, second := range seconds {
			n := name(first, second)
			if n == "" {
				continue
			}
			out = append(out, filepath.Join(first, second, n))
		}
	}
	return out, nil
}

func (archiso) open(_ context.Context, e *job.Env, l *Live) error {
	path := l.Path(l.Files.Base)
	if err := l.openBase(e, path, archisoInner); err != nil {
		return damageHint(err, "relive verify "+path+" tells more")
	}
	if len(l.Files.Overlay) == 0 {
		return nil
	}
	at := l.Path(l.Files.Overlay[0])
	if !Has(l.Place, at) {
		return nil
	}
	if !IsFile(l.Place, at) {
		return l.openDirOverlay(at, l.Path(l.Files.Overlay[1]))
	}
	if l.Base.Inner == nil {
		return refusal.New("move it away: above a base without one, changes are kept in "+archisoUpper, "%s is a device-mapper snapshot, but %s holds no %s that it could be over", at, l.Base.Path, archisoInner)
	}
	return l.openCOW(at)
}

func (archiso) openAlone(e *job.Env, l *Live, path string, _ probe.Kind) error {
	return l.openBase(e, path, archisoInner)
}

func (archiso) check(ctx context.Context, e *job.Env, l *Live, to *Intent) error {
	return l.CheckMerged(ctx, e, to)
}

func (archiso) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}
