package live

import (
	"path"
	"path/filepath"
	"strings"

	"relive/remaster/refusal"
)

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
	if medium := mediumOf(f.Dir); medium != "" {
		if got := o.atRoot(s, medium); got != "" {
			found = append(found, overlayAt{name: path.Join("..", got), where: Where{Path: got, Source: "dracut's module overlayfs takes it with rd.overlay= and the medium's own partition"}})
		}
		if IsFile(s.at, filepath.Join(medium, kiwiFile+s.generation)) {
			found = append(found, overlayAt{name: "../" + kiwiFile, kiwi: true, where: Where{Path: kiwiFile, Source: "kiwi-live takes a file of that name with rd.live.overlay.persistent"}})
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
			f.unused(Unused{Path: other.where.Path, Boots: true, Why: "a boot with rd.overlay= lays it over " + f.Files.Overlay[0] + ", or takes it instead (" + other.where.Source + ")",
				Hint: "name the one that is meant with --overlay"})
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
	if medium := mediumOf(f.Dir); medium != "" {
		return medium
	}
	return f.Dir
}

// atRoot looks for a pair of overlay and ovlwork in which something was written:
// dracut also leaves an empty one where it has another overlay.
func (liveOS) atRoot(s *search, root string) string {
	at := filepath.Join(root, dracutUpper+s.generation)
	if !IsDir(s.at, at) || !IsDir(s.at, filepath.Join(root, dracutWork)) {
		return ""
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
			f.unused(Unused{Path: n.Name, Boots: true, Why: "a boot keeps the changes there (" + n.by(kiwiLabel, "LiveOS_persist", "overlay") + "), and it cannot be read: " + n.Why, Hint: "mount it, and name the directory with --overlay"})
		}
		return nil, nil
	}
	add := func(name string, at overlayAt, source string) error {
		full := filepath.Join(n.Root, name)
		if n.mounted {
			f.unused(Unused{Path: full, Boots: true, Why: "a boot keeps the changes there (" + source + ")", Hint: "name it with --overlay " + full})
			return nil
		}
		at.where = Where{Path: strings.TrimSuffix(n.Name+":/"+name, ":/"), Source: source}
		at.name, err = s.dirOf(f.Dir, full)
		found = append(found, at)
		return err
	}
	if kiwi && IsDir(s.at, filepath.Join(n.Root, UnionUpper)) {
		return found, add("", overlayAt{kiwi: true, partition: !n.mounted}, "kiwi-live takes the partition with "+n.by(kiwiLabel))
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
		if err := add(path.Join(LiveosDir, name), overlayAt{}, "dracut's dmsquash-live takes it with rd.overlay= and that partition"); err != nil {
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
			return refusal.New("name the overlay itself", "%s: holds neither overlay with ovlwork, nor LiveOS/overlay-*, nor rw with work", named.where.Path)
		}
	} else if path.Base(named.name) == kiwiFile {
		named.kiwi = true
	}
	o.take(s, f, named)
	return nil
}
