package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/kernel"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree/hostfs"
)

// search is how a live system is looked for: where, in which state, and with
// which of the overlays that may be there.
type search struct {
	selection
	at         Place
	generation string
	boots      map[string]*bootMenus // read menus, by the root of their medium
	// initrdTexts are files of initrds that were read, by their paths.
	initrdTexts map[string]map[string][]byte
}

// Where tells where a boot has an overlay, and what says so.
type Where struct {
	// Path is the file, directory or partition, as people know it.
	Path string `json:"path"`
	// Source says why it is the one: `boot/grub/grub.cfg: "Live" boots with
	// persistence-path=sub`, or "the label persistence of partition 2".
	Source string `json:"source"`
}

// Unused is a file, directory or partition that looks like an overlay and is not
// taken for the overlay.
type Unused struct {
	Path string `json:"path"`
	// Why it is not used, a sentence.
	Why string `json:"why"`
	// Hint says how it is used, "" where it cannot be.
	Hint string `json:"hint,omitempty"`
	// Boots: a boot uses it, as far as is known, so that what relive shows without
	// it is not what the running system has.
	Boots bool `json:"boots"`
}

// String is the text for people, without the hint.
func (u Unused) String() string { return u.Path + ": " + u.Why }

// RefuseUnused refuses where a boot has an overlay, or images, that are not among
// what was opened: the system would be another than the one that runs.
func (l *Live) RefuseUnused(force bool) error {
	for _, u := range l.Unused {
		if u.Boots && !force {
			return refusal.New(refusal.InTheWay, u.Hint, "%s: %s", l.Dir, u)
		}
	}
	return nil
}

// overlayAt is a place of an overlay: a name relative to the live directory, which may
// lead out of it, and what is known of it.
type overlayAt struct {
	name string
	// partition: it is the file system of a whole partition that is not mounted,
	// read like an image of it.
	partition bool
	// dracut: it is an overlay of dracut on a medium that has live-boot's layout.
	dracut bool
	// kiwi: it is that of kiwi-live, with rw and work at its root.
	kiwi  bool
	where Where
}

// dirOf returns the name, relative to the live directory dir, of a path of the
// same place: what joined to dir as text leads there.
func (s *search) dirOf(dir, at string) (string, error) {
	if s.at == Place(Host{}) {
		var err error
		if dir, err = hostfs.FromRoot(dir); err != nil {
			return "", err
		}
		if at, err = hostfs.FromRoot(at); err != nil {
			return "", err
		}
	}
	return filepath.Rel(dir, at)
}

// named is the overlay that the caller has named: nil where none is.
func (s *search) named(dir string) (*overlayAt, error) { return s.resolve(dir, s.overlay, say.Overlay) }

// placeHome puts what the caller has named for the homes in the place of what the
// layout has found: an image of them, a directory that holds such an image under
// the name that the layout has for it, or a directory of the homes themselves.
func (s *search) placeHome(f *Found) error {
	o, err := s.resolve(f.Dir, s.home, say.Home)
	if o == nil {
		return err
	}
	if !o.partition && IsDir(s.at, filepath.Join(f.Dir, o.name)) {
		in := path.Join(o.name, path.Base(f.Files.Home))
		if f.Files.Home == "" || !IsFile(s.at, filepath.Join(f.Dir, in)) {
			f.Files.Home, f.home, f.homes = "", overlayAt{}, *o
			return nil
		}
		o.name = in
	}
	f.Files.Home, f.home = o.name, *o
	return nil
}

func (s *search) resolve(dir, given, flag string) (*overlayAt, error) {
	if given == "" {
		return nil, nil
	}
	out := &overlayAt{where: Where{Path: given, Source: "it was named with " + flag}}
	var full string
	if tree, ok := s.at.(Tree); ok {
		number, in, _ := strings.Cut(given, "/")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, refusal.New(refusal.InvalidName, "as "+flag+" 2 or "+flag+" 2/persistence",
				"%s: on a stick that is not mounted an overlay is named "+
					"by the number of its partition, and what lies in it by the way to it", given)
		}
		if full = tree.partitionName(n); full == "" {
			return nil, refusal.New(refusal.NotFound, say.Status+" shows the partitions",
				"%s: there is no partition %d on the stick, or none that can be read", given, n)
		}
		if full = filepath.Join(full, in); in == "" {
			out.partition = true
		}
	} else {
		real, err := filepath.EvalSymlinks(given)
		if err != nil {
			return nil, refusal.WithHint(err, "name the file or the directory that holds the overlay")
		}
		if st, err := os.Stat(real); err != nil {
			return nil, err
		} else if !st.IsDir() && !st.Mode().IsRegular() {
			return nil, refusal.New(refusal.WrongKind, "mount it, and name the directory", "%s: neither a file nor a directory", given)
		}
		full = real
	}
	if !Has(s.at, full) {
		return nil, refusal.WithHint(fmt.Errorf("%s: %w", given, fs.ErrNotExist), "name the file or the directory that holds the overlay")
	}
	name, err := s.dirOf(dir, full)
	if err != nil {
		return nil, err
	}
	if name == "." || strings.HasSuffix(name, "..") {
		return nil, refusal.New(refusal.WrongKind, "name what holds the overlay itself", "%s: the live directory lies in it", given)
	}
	out.name = name
	return out, nil
}

// menus returns what the menus of the medium with that root say, which is nothing
// where they cannot be read or it is no medium.
func (s *search) menus(root string) *bootMenus {
	if s.boots == nil {
		s.boots = map[string]*bootMenus{}
	}
	if m := s.boots[root]; m != nil {
		return m
	}
	m := readBootMenus(context.Background(), s.at, root)
	s.boots[root] = m
	return m
}

// has reports whether a name of the live directory is there, in the state that is
// looked for.
func (s *search) has(dir, name string) bool {
	return Has(s.at, filepath.Join(dir, name+s.generation))
}

// hasEither reports whether a name is there, or its former state.
func (s *search) hasEither(dir, name string) bool {
	return Has(s.at, filepath.Join(dir, name)) || Has(s.at, filepath.Join(dir, name+".old"))
}

// choose takes the overlay of several places of the same rank. Two are a Refusal.
func choose(dir string, found []overlayAt) (*overlayAt, error) {
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	var all []string
	for _, f := range found {
		all = append(all, cmp.Or(f.where.Path, f.name))
	}
	return nil, refusal.New(refusal.Ambiguous, "name the one that is meant with "+say.Overlay,
		"%s: there are %d overlays, and only the boot's arguments tell which is used: %s", dir, len(found), strings.Join(all, ", "))
}

// use makes that place the overlay's, with these names below it; none where the
// place itself is the overlay.
func (f *Found) use(o *overlayAt, below ...string) {
	f.overlay = *o
	f.Files.Overlay = nil
	if len(below) == 0 {
		f.Files.Overlay = []string{o.name}
	}
	for _, name := range below {
		f.Files.Overlay = append(f.Files.Overlay, path.Join(o.name, name))
	}
}

// unused notes what is not taken for the overlay.
func (f *Found) unused(u Unused) { f.Unused = append(f.Unused, u) }

// absent reports whether an error is one of nothing being there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// initrds are the initrds in a directory of the medium.
func (s *search) initrds(dir string) (paths []string) {
	names, err := s.at.List(dir)
	if err != nil {
		return nil
	}
	for _, name := range names {
		if strings.HasPrefix(name, "initrd") && !isExtra(name) && IsFile(s.at, filepath.Join(dir, name)) {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// initrdWanted are the files of initrds that tell how a medium boots. A path may
// begin at usr as well.
var initrdWanted = []string{
	"lib/live/boot/9990-misc-helpers.sh",
	"scripts/casper-helpers", "scripts/casper", "conf/conf.d/default-layer.conf",
}

// initrdFile returns the text of a file in an initrd, one of initrdWanted; "" where
// there is none or the initrd cannot be read.
func (s *search) initrdFile(path, file string) string {
	if s.initrdTexts == nil {
		s.initrdTexts = map[string]map[string][]byte{}
	}
	files, read := s.initrdTexts[path]
	if !read {
		files = s.readInitrd(path)
		s.initrdTexts[path] = files
	}
	if text, ok := files[file]; ok {
		return string(text)
	}
	return string(files["usr/"+file])
}

func (s *search) readInitrd(path string) map[string][]byte {
	c, err := s.at.Open(path)
	if err != nil {
		return nil
	}
	defer c.Close()
	wanted := slices.Clone(initrdWanted)
	for _, file := range initrdWanted {
		wanted = append(wanted, "usr/"+file)
	}
	r, err := kernel.Initrd(context.Background(), c, path, wanted...)
	if err != nil {
		return nil
	}
	return r.Files
}

// isMedium reports whether a directory is the root of a medium, and not a copy of
// its files: what a boot takes depends on the file system there.
func (s *search) isMedium(dir string) bool {
	if at, ok := s.at.(Tree); ok {
		return dir == at.Name
	}
	return isMountPoint(dir)
}

func isMountPoint(dir string) bool { return hostdisk.IsMountPoint(dir) }

// sameFile reports whether two paths of the host are the same file.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
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
