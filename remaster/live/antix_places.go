package live

import (
	"path"
	"path/filepath"
	"strings"

	"relive/remaster/refusal"
)

// places finds the files of persistence: beside linuxfs, or on another partition
// in a directory of that name, where init looks with pdev=, puuid= or plab=
// (initrd/init: mount_persist_device).
func (a antiX) places(s *search, f *Found) error {
	for _, one := range []struct {
		given func(string) (*overlayAt, error)
		file  string
		to    *overlayAt
	}{{s.named, AntixRoot, &f.overlay}, {s.namedHome, AntixHome, &f.home}} {
		o, err := one.given(f.Dir)
		if err != nil {
			return err
		}
		if o == nil {
			continue
		}
		if IsDir(s.at, filepath.Join(f.Dir, o.name)) {
			if in := path.Join(o.name, one.file); IsFile(s.at, filepath.Join(f.Dir, in)) {
				o.name, o.partition = in, false
			} else {
				return refusal.New("name the file", "%s: there is no %s in it", o.where.Path, one.file)
			}
		}
		*one.to = *o
	}
	if f.overlay.name != "" {
		f.Files.Overlay = []string{f.overlay.name}
	}
	if f.home.name != "" {
		f.Files.Home = f.home.name
	}
	if f.overlay.name != "" || s.hasEither(f.Dir, AntixRoot) {
		return nil
	}
	return a.elsewhere(s, f)
}

// elsewhere looks for a rootfs on the other partitions of the stick.
func (antiX) elsewhere(s *search, f *Found) error {
	dirs := []string{path.Base(f.Dir)}
	if at, ok := s.at.(Tree); ok && f.Dir == at.Name || s.at == Place(Host{}) {
		dirs = []string{"antiX"}
	}
	for _, one := range sure(s.menus(filepath.Dir(f.Dir)).says(func(b *bootEntry) (string, bool) { return b.value("pdir", "persistdir") })) {
		dirs = append(dirs, trimPath(one.value))
	}
	var found []overlayAt
	for _, n := range s.neighbours(f.Dir) {
		for _, dir := range dirs {
			at := filepath.Join(n.Root, dir, AntixRoot)
			if n.Root == "" || !IsFile(s.at, at) {
				continue
			}
			where := Where{Path: n.Name + ":/" + path.Join(dir, AntixRoot), Source: "init takes it with pdev=, puuid= or plab= and that partition"}
			if n.mounted {
				f.unused(Unused{Path: strings.TrimPrefix(at, "//"), Boots: true, Why: "a boot may use it (" + where.Source + ")", Hint: "name it with --overlay " + at})
				continue
			}
			name, err := s.dirOf(f.Dir, at)
			if err != nil {
				return err
			}
			found = append(found, overlayAt{name: name, where: where})
		}
	}
	o, err := choose(f.Dir, found)
	if err != nil || o == nil {
		return err
	}
	f.overlay = *o
	f.Files.Overlay = []string{o.name}
	return nil
}
