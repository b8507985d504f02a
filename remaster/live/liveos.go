package live

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/job"
	"relive/remaster/menu"
	"relive/remaster/nearest"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
	"relive/tree/hostfs"
)

// liveOS is the layout of Fedora's live media: LiveOS/squashfs.img with a file
// system image inside, or the system itself, and an overlay beside it, which is
// a device-mapper snapshot or overlayfs (dracut-ng,
// modules.d/*dmsquash-live/dmsquash-live-root.sh).
type liveOS struct{}

// Files of the layout, relative to the live directory.
const (
	LiveosDir     = "LiveOS"
	liveosBase    = "squashfs.img"
	LiveosOverlay = "overlay-" // followed by the label and UUID of the device
	LiveosWork    = "ovlwork"
	LiveosUpper   = "overlayfs" // within the file system that an overlay file holds
	liveosHome    = "home.img"
	liveosMinimal = "osmin.img"
)

// liveosImages are the names of the file system image, in the squashfs or, not
// compressed, in the live directory.
var liveosImages = []string{"rootfs.img", "ext3fs.img"}

// Name implements Layout.
func (liveOS) Name() string { return "LiveOS" }

// Traits implements Layout.
func (liveOS) Traits() Traits {
	return Traits{
		Key: "liveos", Sets: SetOverlays, BootsEROFS: true, HomeInside: true,
		NoEntries: "add rd.overlay=LABEL=<label of the stick>:/LiveOS/<overlay> to the kernel's arguments by hand",
	}
}

// within are the directories of a medium in which a live directory may be.
func (liveOS) within() []string { return []string{LiveosDir} }

// find takes the set that the search is for: a set is an overlay, which a boot's
// argument rd.overlay names.
func (o liveOS) find(s *search, dir string) (*Found, error) {
	at, generation := s.at, s.generation
	set := strings.TrimPrefix(s.set, "./")
	for _, dir := range append([]string{filepath.Join(dir, LiveosDir), dir}, o.dirs(s, dir)...) {
		medium := o.mediumOf(s, dir)
		names, others := o.bases(s, medium)
		for _, name := range names {
			if !IsFile(at, filepath.Join(dir, name+generation)) {
				continue
			}
			f := &Found{Dir: dir, Set: set, Files: Files{Base: name, Retired: []string{liveosMinimal}, Home: liveosHome}, medium: medium}
			for _, other := range others {
				if other.value != name && IsFile(at, filepath.Join(dir, other.value)) {
					f.unused(Unused{Path: other.value, Why: other.entry + " boots with rd.live.squashimg=" + other.value +
						", which is another system"})
				}
			}
			var err error
			f.Files.Overlay, err = liveosOverlays(at, dir, generation, set)
			if err == nil {
				err = o.places(s, f, set)
			}
			if set == anySet {
				f.Set = ""
				if len(f.Files.Overlay) > 0 {
					f.Set = f.Files.Overlay[0]
				}
			}
			return f, err
		}
	}
	return nil, nil
}

// dirs are the directories that the menus of a medium name with rd.live.dir=.
func (liveOS) dirs(s *search, root string) (dirs []string) {
	for _, one := range sure(s.menus(root).says(func(b *bootEntry) (string, bool) { return b.value("rd.live.dir", "live_dir") })) {
		if name := trimPath(one.value); name != "" && !dotted(name) {
			dirs = append(dirs, filepath.Join(root, name))
		}
	}
	return dirs
}

// mediumOf is the root of the medium that has a live directory of that path: one of
// the usual name, or one that the menus there name. It is "" of any other.
func (o liveOS) mediumOf(s *search, dir string) string {
	if medium := mediumOf(dir); medium != "" {
		return medium
	}
	if at, ok := s.at.(Tree); ok && dir == at.Name {
		return ""
	}
	full := dir
	if s.at == Place(Host{}) {
		var err error
		if full, err = hostfs.FromRoot(dir); err != nil {
			return ""
		}
	}
	if slices.Contains(o.dirs(s, filepath.Dir(full)), full) {
		return filepath.Join(dir, "..")
	}
	return ""
}

// bases are the names that a base can have: what the menus of the medium say first,
// where they say one thing. Others are images that some of the entries name.
func (liveOS) bases(s *search, medium string) (names []string, others []said) {
	names = append([]string{liveosBase}, liveosImages...)
	if medium == "" {
		return names, nil
	}
	all := sure(s.menus(medium).says(func(b *bootEntry) (string, bool) {
		v, ok := b.value("rd.live.squashimg", "squashimg")
		if !ok && b.has("rd.live.image", "liveimg") {
			return liveosBase, true
		}
		return v, ok
	}))
	all = slices.DeleteFunc(all, func(one said) bool { return one.value == "" || strings.Contains(one.value, "/") })
	if len(all) == 1 {
		return append([]string{all[0].value}, names...), nil
	}
	for _, one := range all {
		names = append(names, one.value)
	}
	return names, all
}

// liveosOverlays names the overlay of a live directory, and its work directory
// where it is a directory. Of several it is the one that set names.
func liveosOverlays(at Place, dir, generation, set string) ([]string, error) {
	found, err := LiveosOverlayNames(at, dir, generation)
	if err != nil {
		return nil, err
	}
	switch {
	case set == anySet && len(found) > 1:
		found = found[:1]
	case set != "" && set != anySet && (set != DefaultSet || len(found) > 1):
		if !slices.Contains(found, set) {
			return nil, refusal.New(refusal.NotFound, refusal.JoinHints(nearest.DidYouMean(set, found), say.ListSets+" "+dir+
				" lists those that are there"), "%s: there is no overlay %s", dir, set)
		}
		found = []string{set}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, refusal.New(refusal.Ambiguous, "name the one that is meant with "+say.Set+
			", or move those away that are not used, and begin again",
			"%s: there are %d overlays, and only the boot's arguments tell which is used: %s",
			dir, len(found), strings.Join(found, ", "))
	}
	if IsDir(at, filepath.Join(dir, found[0]+generation)) {
		found = append(found, path.Join(path.Dir(found[0]), LiveosWork))
	}
	return found, nil
}

// LiveosOverlayNames names all overlays of a live directory.
func LiveosOverlayNames(at Place, dir, generation string) (found []string, err error) {
	names, err := at.List(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if generation != "" {
			// The present names tell what the former ones were.
			name = strings.TrimSuffix(name, generation)
		}
		if !strings.HasPrefix(name, LiveosOverlay) || isExtra(name) {
			continue
		}
		for _, name := range slashed(at, dir, name, generation) {
			if !slices.Contains(found, name) {
				found = append(found, name)
			}
		}
	}
	return found, nil
}

// slashed returns the overlay of a device whose label has a slash in it, which lies
// a directory further down, with the work directory of its own; any other name
// stands for itself.
func slashed(at Place, dir, name, generation string) []string {
	in := filepath.Join(dir, name)
	if !IsDir(at, in) || IsDir(at, filepath.Join(dir, LiveosWork)) {
		return []string{name}
	}
	kids, err := at.List(in)
	if err != nil {
		return []string{name}
	}
	var out []string
	for _, k := range kids {
		below := strings.TrimSuffix(k, generation)
		if k == LiveosWork || isExtra(below) || slices.Contains(out, path.Join(name, below)) {
			continue
		}
		if IsDir(at, filepath.Join(in, LiveosWork)) || IsFile(at, filepath.Join(in, k)) {
			out = append(out, path.Join(name, below))
		}
	}
	if len(out) != 1 {
		return []string{name}
	}
	return out
}

func (liveOS) open(ctx context.Context, e *job.Env, l *Live) error {
	path := l.Path(l.Files.Base)
	if err := l.openLiveOSBase(e, path); err != nil {
		return damageHint(err, say.Verify+" "+path+" tells more; if the .old beside it is sound, "+say.Rollback+" "+l.Dir+
			" brings it back")
	}
	if len(l.Files.Overlay) > 0 {
		if err := l.OpenLiveOSOverlay(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Live) openLiveOSBase(e *job.Env, path string) error {
	if slices.Contains(liveosImages, l.Files.Base) {
		return l.openBare(path)
	}
	return l.openWrapped(e, path)
}

// openWrapped opens a base that is compressed, with or without a file system
// image inside.
func (l *Live) openWrapped(e *job.Env, path string) error {
	var inner []string
	for _, name := range liveosImages {
		inner = append(inner, LiveosDir+"/"+name)
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
	img, err := l.OpenImage(path)
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

// OpenLiveOSOverlay opens the overlay by what it is, as dracut does.
func (l *Live) OpenLiveOSOverlay() error {
	path := l.Path(l.Files.Overlay[0])
	st, err := l.Place.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.dir && !l.overlay.partition {
		return l.openDirOverlay(path, l.Path(l.Files.Overlay[1]))
	}
	res, err := ProbeFile(l.Place, path)
	switch {
	case err != nil:
		return err
	case res.Kind.IsExt() && l.overlay.kiwi:
		return l.openImageOverlay(path, UnionUpper, UnionWork)
	case res.Kind.IsExt():
		return l.openImageOverlay(path, LiveosUpper, LiveosWork)
	case !res.Kind.Known(), res.Kind == probe.COW:
		// dracut takes a file of no known type for a snapshot's.
		if l.Base.Inner == nil {
			return refusal.New(refusal.UnsupportedForm, "move it away: above a base without one, changes are kept by overlayfs in a "+
				"directory or a file system",
				"%s is a device-mapper snapshot, but %s holds no file system image that it could be over", path, l.Base.Path)
		}
		return l.openCOW(path)
	}
	return holdsOther(l.Rel(path), res, readsExt+", and device-mapper snapshots,")
}

// Rel is a path for messages.
func (l *Live) Rel(path string) string {
	if r, err := filepath.Rel(l.Dir, path); err == nil && !strings.HasPrefix(r, "..") {
		return r
	}
	return path
}

func (liveOS) openAlone(e *job.Env, l *Live, path string, kind probe.Kind) error {
	if kind.IsExt() {
		return l.openBare(path)
	}
	return l.openWrapped(e, path)
}

func (liveOS) check(ctx context.Context, e *job.Env, l *Live, to *Intent) error {
	return l.CheckMerged(ctx, e, to)
}

func (liveOS) system(_ context.Context, _ *Live, merged *tree.Node, _ Stamp) (*tree.Node, Version, error) {
	return merged, Version{}, nil
}

// Names of overlays that are no LiveOS/overlay-*.
const (
	dracutUpper = "overlay"         // with dracutWork, at the root of a file system
	dracutWork  = "ovlwork"         // (prepare-overlayfs.sh)
	kiwiLabel   = "cow"             // of kiwi-live's partition, which has rw and work
	kiwiFile    = "live_system.cow" // at the root of the medium (55kiwi-live)
)

// places finds the overlay of a boot where there is none beside the base: at the
// root of the medium or of another partition, where dracut's module overlayfs has
// it with rd.overlay=DEVICE, in LiveOS on another partition, and where kiwi-live
// has it. Where one is beside the base, others are told of.
func (o liveOS) places(s *search, f *Found, set string) error {
	named, err := s.named(f.Dir)
	if err != nil {
		return err
	}
	if named != nil {
		return o.takeNamed(s, f, named)
	}
	var found []overlayAt
	if medium := f.medium; medium != "" {
		if got := o.atRoot(s, medium); got != "" {
			found = append(found, overlayAt{name: path.Join("..", got),
				where: Where{Path: got, Source: "dracut's module overlayfs takes it with rd.overlay= and the medium's own partition"}})
		}
		if IsFile(s.at, filepath.Join(medium, kiwiFile+s.generation)) {
			found = append(found, overlayAt{name: "../" + kiwiFile, kiwi: true,
				where: Where{Path: kiwiFile, Source: "kiwi-live takes a file of that name with rd.live.overlay.persistent"}})
		}
	}
	for _, n := range s.neighbours(f.Dir) {
		more, err := o.onNeighbour(s, f, &n)
		if err != nil {
			return err
		}
		found = append(found, more...)
	}
	said := sure(s.menus(o.mediumRoot(f)).says(func(b *bootEntry) (string, bool) { return b.value("rd.overlay", "rd.live.overlay") }))
	for i := range found {
		for _, one := range said {
			found[i].where.Source += "; " + one.entry + " boots with rd.overlay=" + one.value
		}
	}
	if len(f.Files.Overlay) > 0 {
		f.overlay.name = f.Files.Overlay[0]
		for _, other := range found {
			f.unused(Unused{Path: other.where.Path, Boots: true, Why: "a boot with rd.overlay= lays it over " + f.Files.Overlay[0] +
				", or takes it instead (" + other.where.Source + ")",
				Hint: "name the one that is meant with " + say.Overlay})
		}
		return nil
	}
	got, err := choose(f.Dir, found)
	if err != nil || got == nil || set != "" && set != anySet && set != DefaultSet {
		return err
	}
	o.take(s, f, got)
	return nil
}

// mediumRoot is the root of the medium.
func (liveOS) mediumRoot(f *Found) string {
	return cmp.Or(f.medium, f.Dir)
}

// atRoot looks for a pair of overlay and ovlwork that a boot uses: dracut also leaves
// an empty one where it has another overlay. One with a former state beside it was
// in use, and is empty since that was set aside.
func (liveOS) atRoot(s *search, root string) string {
	at := filepath.Join(root, dracutUpper)
	if !IsDir(s.at, at+s.generation) || !IsDir(s.at, filepath.Join(root, dracutWork)) {
		return ""
	}
	for _, aside := range []string{".old", ".bad"} {
		if IsDir(s.at, at+aside) {
			return dracutUpper
		}
	}
	names, err := s.at.List(at)
	if err != nil || len(names) == 0 {
		return ""
	}
	return dracutUpper
}

// onNeighbour looks on another partition of the stick.
func (o liveOS) onNeighbour(s *search, f *Found, n *neighbour) (found []overlayAt, err error) {
	kiwi := n.called(kiwiLabel)
	if n.Root == "" {
		if kiwi || n.called("LiveOS_persist", "overlay") {
			_, err = s.beside(f, n, "", overlayAt{where: Where{Path: n.Name, Source: n.by(kiwiLabel, "LiveOS_persist", "overlay")}})
		}
		return nil, err
	}
	add := func(name string, at overlayAt, source string) error {
		at.where = Where{Path: strings.TrimSuffix(n.Name+":/"+name, ":/"), Source: source}
		o, err := s.beside(f, n, filepath.Join(n.Root, name), at)
		if o != nil {
			found = append(found, *o)
		}
		return err
	}
	if kiwi && IsDir(s.at, filepath.Join(n.Root, UnionUpper)) {
		err := add("", overlayAt{kiwi: true, partition: !n.mounted}, "kiwi-live takes the partition with "+n.by(kiwiLabel))
		return found, err
	}
	if got := o.atRoot(s, n.Root); got != "" {
		if err := add(got, overlayAt{}, "dracut's module overlayfs takes it with rd.overlay= and that partition"); err != nil {
			return nil, err
		}
	}
	names, err := LiveosOverlayNames(s.at, filepath.Join(n.Root, LiveosDir), s.generation)
	if err != nil {
		return found, nil //nolint:nilerr // there is no such directory
	}
	for _, name := range names {
		if err := add(path.Join(LiveosDir, name), overlayAt{},
			"dracut's dmsquash-live takes it with rd.overlay= and that partition"); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// take makes that the overlay, with the work directory of one that is a directory.
func (liveOS) take(s *search, f *Found, o *overlayAt) {
	f.use(o)
	if !o.partition && IsDir(s.at, filepath.Join(f.Dir, o.name+s.generation)) {
		work := path.Join(path.Dir(o.name), LiveosWork)
		if o.kiwi {
			f.Files.Overlay[0], work = path.Join(o.name, UnionUpper), path.Join(o.name, UnionWork)
		}
		f.Files.Overlay = append(f.Files.Overlay, work)
	}
}

// takeNamed takes the overlay that was named: itself, or in the root of a file
// system that a boot looks in.
func (o liveOS) takeNamed(s *search, f *Found, named *overlayAt) error {
	at := filepath.Join(f.Dir, named.name)
	f.Files.Overlay, f.Set = nil, ""
	if IsDir(s.at, at) && !named.partition || named.partition {
		names, err := LiveosOverlayNames(s.at, filepath.Join(at, LiveosDir), s.generation)
		switch {
		case err == nil && len(names) == 1:
			named.name, named.partition = path.Join(named.name, LiveosDir, names[0]), false
		case IsDir(s.at, filepath.Join(at, dracutUpper)) && IsDir(s.at, filepath.Join(at, dracutWork)):
			named.name, named.partition = path.Join(named.name, dracutUpper), false
		case IsDir(s.at, filepath.Join(at, UnionUpper)) && IsDir(s.at, filepath.Join(at, UnionWork)):
			named.kiwi = true
		case named.partition || !IsDir(s.at, filepath.Join(at, "..", LiveosWork)):
			return refusal.New(refusal.NotFound, "name the overlay itself", "%s: holds neither overlay with ovlwork, nor "+
				"LiveOS/overlay-*, nor rw with work", named.where.Path)
		}
	} else if path.Base(named.name) == kiwiFile {
		named.kiwi = true
	}
	o.take(s, f, named)
	return nil
}

func (liveOS) Medium(l *Live) Medium {
	root, name := l.AboveDir()
	f := Medium{Root: root, Base: LiveosDir + "/" + liveosBase}
	own := literally(name)
	f.Own = []string{path.Join(own, "vmlinuz*"), path.Join(own, "initrd*"), path.Join(own, "initramfs*")}
	f.Whole = []string{"images", ".discinfo", ".treeinfo", "GPL", "LICENSE", "Fedora-Legal-README.txt", "media.repo"}
	if name != LiveosDir {
		// The base lies in the directory that was given.
		f.Rename = [2]string{name, LiveosDir}
	}
	for _, dir := range []string{"images/pxeboot", "isolinux", "boot/*/loader", "syslinux", "boot/*", "boot", "EFI/BOOT", LiveosDir} {
		f.Kernels = append(f.Kernels, dir+"/vmlinuz", dir+"/vmlinuz*", dir+"/linux")
		f.Initrds = append(f.Initrds, dir+"/initrd.img", dir+"/initrd*", dir+"/initramfs*")
	}
	f.Arguments = func(label, uuid string) []string {
		root := "root=live:CDLABEL=" + label
		if label == "" {
			root = "root=live:UUID=" + uuid
		}
		return []string{root, "rd.live.image", "quiet"}
	}
	f.Machine, f.Values = menu.Machine(l.Layout.Traits().Key), dracutRoot
	if own := l.Files.Base; own != liveosBase {
		f.Values = func(label, uuid string) []menu.ValueEdit {
			return append(dracutRoot(label, uuid),
				menu.ValueEdit{Old: []string{"rd.live.squashimg=" + own}, New: "rd.live.squashimg=" + liveosBase})
		}
	}
	return f
}

// bootDirs: Fedora's media have kernels in images/pxeboot and isolinux, or in
// boot/ARCH/loader, sticks by livecd-tools in syslinux, older ones in EFI/BOOT.
func (liveOS) bootDirs(f *Found) []string {
	dirs := []string{"."}
	if f.medium == "" {
		return dirs
	}
	for _, dir := range []string{"images/pxeboot", "isolinux", "syslinux", "boot/x86_64/loader", "boot/aarch64/loader", "EFI/BOOT"} {
		dirs = append(dirs, "../"+dir)
	}
	return dirs
}

// belowRoot: the live directory is a medium's LiveOS, or one that somebody made.
func (liveOS) belowRoot(f *Found) bool { return f.medium != "" }

// dracutRoot is for the forms of root=live: that name a partition or a device, which
// another medium has not (parse-dmsquash-live.sh). With rd.live.image, or liveimg,
// live: may be missing.
func dracutRoot(label, uuid string) []menu.ValueEdit {
	e := menu.ValueEdit{Old: []string{"root=live:PARTUUID=", "root=live:PARTLABEL=", "root=live:/dev/"}, New: "root=live:CDLABEL=" + label}
	if strings.Contains(label, `\`) {
		e.GRUB = "root=live:UUID=" + uuid
	}
	bare := e
	bare.Old, bare.Beside = []string{"root=PARTUUID=", "root=PARTLABEL=", "root=/dev/"}, []string{"rd.live.image", "liveimg"}
	return []menu.ValueEdit{e, bare}
}
