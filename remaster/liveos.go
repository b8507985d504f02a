package remaster

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/job"
	"relive/remaster/nearest"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/tree"
)

// LiveOS is the layout of Fedora's live media: LiveOS/squashfs.img with a file
// system image inside, or the system itself, and an overlay beside it, which is
// a device-mapper snapshot or overlayfs (dracut-ng,
// modules.d/*dmsquash-live/dmsquash-live-root.sh).
type LiveOS struct{}

// Files of the layout, relative to the live directory.
const (
	liveosDir     = "LiveOS"
	liveosBase    = "squashfs.img"
	liveosOverlay = "overlay-" // followed by the label and UUID of the device
	liveosWork    = "ovlwork"
	liveosUpper   = "overlayfs" // within the file system that an overlay file holds
	liveosHome    = "home.img"
	liveosMinimal = "osmin.img"
)

// liveosImages are the names of the file system image, in the squashfs or, not
// compressed, in the live directory.
var liveosImages = []string{"rootfs.img", "ext3fs.img"}

// Name implements Layout.
func (LiveOS) Name() string { return "LiveOS" }

// Traits implements Layout.
func (LiveOS) Traits() Traits {
	return Traits{
		Key: "liveos", Sets: SetOverlays, HomeInside: true,
		NoEntries: "add rd.live.overlay=LABEL=<label of the stick>:/LiveOS/<overlay> to the kernel's arguments by hand",
	}
}

// within are the directories of a medium in which a live directory may be.
func (LiveOS) within() []string { return []string{liveosDir} }

func (l LiveOS) find(at place, dir, generation string) (*Found, error) {
	return l.findSet(at, dir, generation, "")
}

// findSet implements setLayout: a set is an overlay, which a boot's argument
// rd.live.overlay names.
func (LiveOS) findSet(at place, dir, generation, set string) (*Found, error) {
	set = strings.TrimPrefix(set, "./")
	for _, dir := range []string{filepath.Join(dir, liveosDir), dir} {
		for _, name := range append([]string{liveosBase}, liveosImages...) {
			if !isFile(at, filepath.Join(dir, name+generation)) {
				continue
			}
			f := &Found{Dir: dir, Set: set, files: fileSet{base: name, retired: []string{liveosMinimal}, home: liveosHome}}
			var err error
			f.files.overlay, err = liveosOverlays(at, dir, generation, set)
			if set == anySet {
				f.Set = ""
				if len(f.files.overlay) > 0 {
					f.Set = f.files.overlay[0]
				}
			}
			return f, err
		}
	}
	return nil, nil
}

// liveosOverlays names the overlay of a live directory, and its work directory
// where it is a directory. Of several it is the one that set names.
func liveosOverlays(at place, dir, generation, set string) ([]string, error) {
	found, err := liveosOverlayNames(at, dir, generation)
	if err != nil {
		return nil, err
	}
	switch {
	case set == anySet && len(found) > 1:
		found = found[:1]
	case set != "" && set != anySet && (set != DefaultSet || len(found) > 1):
		if !slices.Contains(found, set) {
			return nil, refusal.New(refusal.JoinHints(nearest.DidYouMean(set, found), "relive sets "+dir+" lists those that are there"), "%s: there is no overlay %s", dir, set)
		}
		found = []string{set}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, refusal.New("name the one that is meant with --set, or move those away that are not used, and begin again", "%s: there are %d overlays, and only the boot's arguments tell which is used: %s",
			dir, len(found), strings.Join(found, ", "))
	}
	if isDir(at, filepath.Join(dir, found[0]+generation)) {
		found = append(found, liveosWork)
	}
	return found, nil
}

// liveosOverlayNames names all overlays of a live directory.
func liveosOverlayNames(at place, dir, generation string) (found []string, err error) {
	names, err := at.list(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if generation != "" {
			// The present names tell what the former ones were.
			name = strings.TrimSuffix(name, generation)
		}
		if !strings.HasPrefix(name, liveosOverlay) || isExtra(name) || slices.Contains(found, name) {
			continue
		}
		found = append(found, name)
	}
	return found, nil
}

func (LiveOS) open(ctx context.Context, e *job.Env, l *Live) error {
	path := l.path(l.files.base)
	if err := l.openLiveOSBase(e, path); err != nil {
		return damageHint(err, "relive verify "+path+" tells more; if the .old beside it is sound, relive rollback "+l.Dir+" brings it back")
	}
	if len(l.files.overlay) > 0 {
		if err := l.openLiveOSOverlay(); err != nil {
			return err
		}
	}
	if l.generation == "" {
		l.openHome(liveosHome)
	}
	return nil
}

func (l *Live) openLiveOSBase(e *job.Env, path string) error {
	if slices.Contains(liveosImages, l.files.base) {
		return l.openBare(path)
	}
	return l.openWrapped(e, path)
}

// openWrapped opens a base that is compressed, with or without a file system
// image inside.
func (l *Live) openWrapped(e *job.Env, path string) error {
	var inner []string
	for _, name := range liveosImages {
		inner = append(inner, liveosDir+"/"+name)
	}
	if err := l.openBase(e, path, inner...); err != nil {
		return err
	}
	if l.Base.Inner != nil {
		return nil
	}
	for _, name := range append([]string{"proc"}, systemDirs...) {
		if n, err := l.Base.Root.Child(name); err != nil || n != nil {
			return err
		}
	}
	return tree.Unsupported(l.Base.Name(), "root directory", "holds neither a system nor %s", strings.Join(inner, " or "))
}

// openBare opens a base that is an ext image, not compressed.
func (l *Live) openBare(path string) error {
	img, err := l.openImage(path)
	if err != nil {
		return err
	}
	c, err := l.open(path)
	if err != nil {
		return err
	}
	l.Base = &Base{Path: path, Size: img.Size, Inner: &Inner{Content: c, FS: img.FS}}
	l.Base.Root, err = img.FS.Root()
	return err
}

// openLiveOSOverlay opens the overlay by what it is, as dracut does.
func (l *Live) openLiveOSOverlay() error {
	path := l.path(l.files.overlay[0])
	st, err := l.at.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.dir {
		return l.openDirOverlay(path, l.path(liveosWork))
	}
	res, err := probeFile(l.at, path)
	switch {
	case err != nil:
		return err
	case res.Kind.IsExt():
		return l.openImageOverlay(path, liveosUpper, liveosWork)
	case !res.Kind.Known(), res.Kind == probe.COW:
		// dracut takes a file of no known type for a snapshot's.
		if l.Base.Inner == nil {
			return refusal.New("move it away: above a base without one, changes are kept by overlayfs in a directory or a file system", "%s is a device-mapper snapshot, but %s holds no file system image that it could be over", path, l.Base.Path)
		}
		return l.openSnapshot(path)
	}
	return holdsOther(l.rel(path), res, readsExt+", and device-mapper snapshots,")
}

// rel is a path for messages.
func (l *Live) rel(path string) string {
	if r, err := filepath.Rel(l.Dir, path); err == nil && !strings.HasPrefix(r, "..") {
		return r
	}
	return path
}

func (LiveOS) openAlone(e *job.Env, l *Live, path string, kind probe.Kind) error {
	if kind.IsExt() {
		return l.openBare(path)
	}
	return l.openWrapped(e, path)
}

func (LiveOS) check(ctx context.Context, e *job.Env, l *Live, to *Intent) error {
	return l.checkSnapshot(ctx, e, to)
}

func (LiveOS) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}
