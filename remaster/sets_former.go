package remaster

import (
	"context"
	"path"
	"path/filepath"
	"relive/overlay"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"slices"
)

// setOverlays names the overlays of all other sets, relative to the live
// directory. What lies beside it may belong to another live directory.
func (l *Live) setOverlays(ctx context.Context) (names []string, err error) {
	switch l.Layout.Traits().Sets {
	case SetDirectories:
		f := &Found{Dir: l.Dir, Layout: l.Layout, at: l.at, files: l.files}
		if names, err = f.setNames(f.bootView(ctx)); err != nil {
			return nil, err
		}
		for i, name := range names {
			names[i] = rootOf(name)
		}
	case SetOverlays:
		if names, err = liveosOverlayNames(l.at, l.Dir, ""); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(l.files.overlay, name) }), nil
}

// rootOf names the rootfs of a set of antiX, relative to the live directory.
func rootOf(set string) string {
	if set == DefaultSet {
		return antixRoot
	}
	return path.Join(set, antixRoot)
}

// baseVID gives the version id of a base of antiX that lies in the live
// directory, "" where it has none or cannot be read.
func (l *Live) baseVID(e *job.Env, name string) VID {
	former, err := l.openFormer(e, filepath.Join(l.Dir, name))
	if err != nil {
		return "" // it is of no use then
	}
	text, err := readVersionFile(former.Base.Root, baseVIDFile)
	if cerr := former.Close(); err != nil || cerr != nil {
		return ""
	}
	return parseVID(text)
}

// keptWith picks those of the overlays of other sets whose n-th generation was
// kept with the n-th former base: with antiX those that have its version id, with
// others those that are there.
func (l *Live) keptWith(e *job.Env, overlays []string, n int) (names []string, err error) {
	base := generation(l.files.base, n)
	if !hostdisk.Exists(filepath.Join(l.Dir, base)) {
		return nil, nil
	}
	for _, name := range overlays {
		if hostdisk.Exists(filepath.Join(l.Dir, generation(name, n))) {
			names = append(names, name)
		}
	}
	if !l.Layout.Traits().VersionIDs || len(names) == 0 {
		return names, nil
	}
	over := l.baseVID(e, base)
	var kept []string
	for _, name := range names {
		vid, err := rootVID(filepath.Join(l.Dir, generation(name, n)))
		if err != nil {
			return nil, err
		}
		if vid == over && vid != "" {
			kept = append(kept, name)
		}
	}
	return kept, nil
}

// ofFormer tells whether the n-th generation of an overlay is known to have been
// written over another base than the present one: antiX's version ids tell.
func (l *Live) ofFormer(n int) (bool, error) {
	if !l.Layout.Traits().VersionIDs {
		return false, nil
	}
	vid, err := rootVID(filepath.Join(l.Dir, generation(l.files.overlay[0], n)))
	if err != nil || vid == "" {
		return false, err
	}
	text, err := readVersionFile(l.Base.Root, baseVIDFile)
	return vid != parseVID(text), err
}

// rootVID gives the version id of a rootfs, "" where there is none that can be
// read.
func rootVID(path string) (VID, error) {
	if !isFile(host{}, path) {
		return "", nil
	}
	var l Live
	defer l.Close()
	img, err := l.openImage(path)
	if err != nil {
		return "", nil // those who use it tell of it
	}
	root, err := img.FS.Root()
	if err != nil {
		return "", nil
	}
	found, err := overlay.Detect(root)
	if err != nil {
		return "", nil
	}
	text, err := readVersionFile(found.Upper, rootVIDFile)
	return parseVID(text), err
}
