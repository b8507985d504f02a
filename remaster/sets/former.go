package sets

import (
	"context"
	"path"
	"path/filepath"
	"slices"

	"relive/overlay"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
)

// SetOverlays names the overlays of all other sets, relative to the live
// directory. What lies beside it may belong to another live directory.
func SetOverlays(ctx context.Context, l *live.Live) (names []string, err error) {
	switch l.Layout.Traits().Sets {
	case live.SetDirectories:
		f := l.Found()
		if names, err = SetNames(f, ReadBootMenus(ctx, f)); err != nil {
			return nil, err
		}
		for i, name := range names {
			names[i] = RootOf(name)
		}
	case live.SetOverlays:
		if names, err = live.LiveosOverlayNames(l.Place, l.Dir, ""); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(l.Files.Overlay, name) }), nil
}

// RootOf names the rootfs of a set of antiX, relative to the live directory.
func RootOf(set string) string {
	if set == live.DefaultSet {
		return live.AntixRoot
	}
	return path.Join(set, live.AntixRoot)
}

// BaseVID returns the version id of a base of antiX that lies in the live
// directory, "" where it has none or cannot be read.
func BaseVID(l *live.Live, e *job.Env, name string) live.VID {
	former, err := l.OpenFormer(e, filepath.Join(l.Dir, name))
	if err != nil {
		return "" // it is of no use then
	}
	text, err := live.ReadVersionFile(former.Base.Root, live.BaseVIDFile)
	if cerr := former.Close(); err != nil || cerr != nil {
		return ""
	}
	return live.ParseVID(text)
}

// KeptWith picks those of the overlays of other sets whose n-th generation was
// kept with the n-th former base: with antiX those that have its version id, with
// others those that are there.
func KeptWith(l *live.Live, e *job.Env, overlays []string, n int) (names []string, err error) {
	base := live.OldName(l.Files.Base, n)
	if !hostdisk.Exists(filepath.Join(l.Dir, base)) {
		return nil, nil
	}
	for _, name := range overlays {
		if hostdisk.Exists(filepath.Join(l.Dir, live.OldName(name, n))) {
			names = append(names, name)
		}
	}
	if !l.Layout.Traits().VersionIDs || len(names) == 0 {
		return names, nil
	}
	over := BaseVID(l, e, base)
	var kept []string
	for _, name := range names {
		vid, err := RootVID(filepath.Join(l.Dir, live.OldName(name, n)))
		if err != nil {
			return nil, err
		}
		if vid == over && vid != "" {
			kept = append(kept, name)
		}
	}
	return kept, nil
}

// OfFormer reports whether the n-th generation of an overlay is known to have been
// written over another base than the present one: antiX's version ids tell.
func OfFormer(l *live.Live, n int) (bool, error) {
	if !l.Layout.Traits().VersionIDs {
		return false, nil
	}
	vid, err := RootVID(filepath.Join(l.Dir, live.OldName(l.Files.Overlay[0], n)))
	if err != nil || vid == "" {
		return false, err
	}
	text, err := live.ReadVersionFile(l.Base.Root, live.BaseVIDFile)
	return vid != live.ParseVID(text), err
}

// RootVID returns the version id of a rootfs, "" where there is none that can be
// read.
func RootVID(path string) (live.VID, error) {
	if !live.IsFile(live.Host{}, path) {
		return "", nil
	}
	root, img, err := live.OpenRoot(path)
	if err != nil {
		return "", nil // those who use it tell of it
	}
	defer img.Close()
	found, err := overlay.Detect(root)
	if err != nil {
		return "", nil
	}
	text, err := live.ReadVersionFile(found.Upper, live.RootVIDFile)
	return live.ParseVID(text), err
}
