package live

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
)

// places finds the persistence that a boot uses, and the homes: a partition of
// that label, or on FAT a file, in the directory that persistent-path= names
// (casper-helpers: find_cow_device).
func (c casper) places(s *search, f *Found) error {
	c.copied(s, f)
	if err := c.homes(s, f); err != nil {
		return err
	}
	o, err := s.named(f.Dir)
	if err != nil {
		return err
	}
	if o == nil {
		if o, err = c.overlay(s, f); err != nil || o == nil {
			return err
		}
	}
	at := filepath.Join(f.Dir, o.name)
	switch {
	case o.partition || !IsDir(s.at, at):
		f.use(o)
	default:
		f.use(o, casperUpper, casperWork)
		f.Files.Overlay = slices.DeleteFunc(f.Files.Overlay, func(name string) bool { return !s.hasEither(f.Dir, name) })
	}
	return nil
}

// casperWay is how an entry of the menus has casper look for persistence.
type casperWay struct{ path, entry string }

func casperWays(m *bootMenus) (ways []casperWay) {
	for _, one := range sure(m.says(func(b *bootEntry) (string, bool) {
		v, _ := b.value("persistent-path")
		return trimPath(v), b.has("persistent") && !b.has("nopersistent")
	})) {
		ways = append(ways, casperWay{one.value, one.entry})
	}
	return ways
}

func (c casper) overlay(s *search, f *Found) (*overlayAt, error) {
	ways := casperWays(s.menus(f.Dir))
	told := len(ways) > 0
	if !told {
		ways = []casperWay{{}}
	}
	var partitions, files []overlayAt
	for _, n := range s.neighbours(f.Dir) {
		if !n.called(casperOverlays...) {
			continue
		}
		where := Where{Path: n.Name, Source: n.by(casperOverlays...)}
		mounted := filepath.Join(f.Dir, n.Label)
		switch {
		case n.Root == "":
			f.unused(Unused{Path: n.Name, Boots: true, Why: "a boot uses it as persistence (" + where.Source + "), and it cannot be read: " + n.Why, Hint: "mount it, and name the directory with --overlay"})
		case n.mounted && sameFile(n.Root, mounted):
			partitions = append(partitions, overlayAt{name: n.Label, where: where})
		case n.mounted:
			f.unused(Unused{Path: n.Name, Boots: true, Why: "a boot uses it as persistence (" + where.Source + ")", Hint: "name it with --overlay " + n.Root})
		default:
			name, err := s.dirOf(f.Dir, n.Root)
			if err != nil {
				return nil, err
			}
			partitions = append(partitions, overlayAt{name: name, partition: true, where: where})
		}
	}
	for _, w := range ways {
		found := false
		for _, label := range casperOverlays {
			name := path.Join(w.path, label)
			at := filepath.Join(f.Dir, name)
			switch {
			case IsDir(s.at, at):
				if len(partitions) == 0 {
					partitions = append(partitions, overlayAt{name: name, where: c.where(name, w)})
				}
				found = true
			case IsFile(s.at, at+s.generation):
				found = true
				if why := c.ignores(s, f, label); why != "" {
					f.unused(Unused{Path: name, Why: why, Hint: "--overlay names it all the same"})
					continue
				}
				if len(partitions) > 0 {
					f.unused(Unused{Path: name, Why: "a boot ignores it: " + partitions[0].where.Path + " is taken before a file", Hint: "--overlay names it all the same"})
					continue
				}
				files = append(files, overlayAt{name: name, where: c.where(name, w)})
			}
		}
		if !found && w.path != "" && len(partitions) == 0 {
			f.unused(Unused{Path: w.path, Boots: true, Why: w.entry + " boots with persistent-path=" + w.path + ", and there is no persistence in it", Hint: "name the one that is meant with --overlay"})
		}
	}
	if told && !slices.ContainsFunc(ways, func(w casperWay) bool { return w.path == "" }) {
		for _, label := range casperOverlays {
			if IsFile(s.at, filepath.Join(f.Dir, label)) {
				f.unused(Unused{Path: label, Why: "no entry of the menus boots with it: " + ways[0].entry + " has persistent-path=" + ways[0].path, Hint: "--overlay names it"})
			}
		}
	}
	if len(partitions) > 0 {
		return choose(f.Dir, partitions)
	}
	return choose(f.Dir, files)
}

func (casper) where(name string, w casperWay) Where {
	if w.entry == "" {
		return Where{}
	}
	text := w.entry + " boots with persistent"
	if w.path != "" {
		text += " persistent-path=" + w.path
	}
	return Where{Path: name, Source: text}
}

// ignores tells why a boot ignores a file of persistence, "" where it takes it or
// nothing tells.
func (casper) ignores(s *search, f *Found, label string) string {
	if kind := s.mediumKind(f.Dir); kind != "" && kind != "vfat" && kind != "fat" {
		return "a boot ignores it: casper takes a file on FAT only, and this is " + kind
	}
	if label != casperOverlays[0] {
		for _, initrd := range s.initrds(filepath.Join(f.Dir, casperDir)) {
			text := s.initrdFile(initrd, "scripts/casper") + s.initrdFile(initrd, "scripts/casper-helpers")
			if strings.Contains(text, casperOverlays[0]) {
				return "a boot ignores it: casper, which is in " + filepath.Base(initrd) + ", looks for " + casperOverlays[0]
			}
		}
	}
	return ""
}

// mediumKind is the kind of the file system of a medium, as blkid has it; "" where
// the directory is a copy of one, or it is not known.
func (s *search) mediumKind(dir string) string {
	if at, ok := s.at.(Tree); ok {
		if at.stick == nil || dir != at.Name {
			return ""
		}
		for _, p := range at.stick.partitions() {
			if at.stick.partitionPath(p) == at.Name {
				return p.FileSystem
			}
		}
		return ""
	}
	if !isMountPoint(dir) {
		return ""
	}
	kind, err := hostdisk.FilesystemType(dir)
	if err != nil {
		return ""
	}
	return kind
}

// homes finds the image of homes.
func (casper) homes(s *search, f *Found) error {
	o, err := s.namedHome(f.Dir)
	if err != nil {
		return err
	}
	if o != nil {
		f.Files.Home, f.home = o.name, *o
		return nil
	}
	for _, n := range s.neighbours(f.Dir) {
		if !n.called(casperHome) {
			continue
		}
		if n.Root == "" || n.mounted {
			f.unused(Unused{Path: n.Name, Why: "a boot mounts it at /home (" + n.by(casperHome) + ")", Hint: "name it with --home"})
			continue
		}
		name, err := s.dirOf(f.Dir, n.Root)
		if err != nil {
			return err
		}
		f.Files.Home, f.home = name, overlayAt{name: name, partition: true, where: Where{Path: n.Name, Source: n.by(casperHome)}}
		return nil
	}
	for _, w := range casperWays(s.menus(f.Dir)) {
		if name := path.Join(w.path, casperHome); w.path != "" && IsFile(s.at, filepath.Join(f.Dir, name)) {
			f.Files.Home = name
		}
	}
	return nil
}

// copied tells of the snapshots that casper copies into memory at a boot.
func (casper) copied(s *search, f *Found) {
	names, err := s.at.List(f.Dir)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, "casper-sn") || strings.HasPrefix(name, "home-sn") {
			f.unused(Unused{Path: name, Why: "a boot copies its files into the running system (casper's try_snap), where a new base would not have them"})
		}
	}
}
