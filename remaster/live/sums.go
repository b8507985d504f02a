package live

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/remaster/hostdisk"
	"relive/remaster/sumlist"
)

// mediumName is the name that the live directory has on its medium, "" where it
// is the medium's root.
func (f *Found) mediumName() string {
	if !f.Layout.belowRoot(f) {
		return ""
	}
	if at, ok := f.Place.(Tree); ok {
		if f.Dir == at.Name {
			return ""
		}
		return path.Base(f.Dir)
	}
	if name := hostdisk.BaseName(f.Dir); name != "/" {
		return name
	}
	return ""
}

// onMedium returns the path on the medium of a name of the live directory, and
// fromMedium the other way about.
func onMedium(dir, name string) string {
	return strings.Trim(path.Clean("/"+path.Join(dir, name)), "/")
}

// FromMedium returns the name relative to the live directory of a path of its medium.
func FromMedium(dir, at string) string {
	if dir == "" || at == "" {
		return at
	}
	if in, ok := strings.CutPrefix(at, dir+"/"); ok {
		return in
	}
	return "../" + at
}

// listDirs are the directories, relative to the live directory, that are looked
// through for lists of sums: the root of the medium, its .disk, those at the
// root of a medium that is the live directory, and where base and kernels lie.
func (f *Found) listDirs() (dirs []string, err error) {
	root := "."
	if f.mediumName() != "" {
		root = ".."
	}
	dirs = []string{root, path.Join(root, ".disk")}
	for _, name := range append([]string{f.Files.Base}, f.Files.Kernel...) {
		for dir := path.Dir(name); dir != "." && dir != ".."; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	dirs = append(dirs, ".")
	if root == "." {
		names, err := f.Place.List(f.Dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !isExtra(name) && IsDir(f.Place, filepath.Join(f.Dir, name)) {
				dirs = append(dirs, name)
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// findLists reads the lists of sums on the medium that have a line of one of
// the live directory's files, in the state of that generation. Other lists are
// nobody's business here. foreign are lists that name the base, of digests that
// are not known.
func (f *Found) findLists(generation string) (lists []*sumlist.List, foreign []string, err error) {
	dirs, err := f.listDirs()
	if err != nil {
		return nil, nil, err
	}
	medium := f.mediumName()
	own := map[string]bool{}
	for _, name := range append(slices.Concat(f.Files.Together(), f.Files.Stack), f.Files.Home) {
		if name != "" && name != "." {
			own[name] = true
		}
	}
	isOwn := func(name string) bool { return own[name] }
	there := func(at string) bool {
		name := FromMedium(medium, at)
		return own[name] || Has(f.Place, filepath.Join(f.Dir, name))
	}
	var all []*sumlist.List
	for _, dir := range dirs {
		names, err := f.Place.List(filepath.Join(f.Dir, dir))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // what cannot be seen is no part of it
		}
		if err != nil {
			return nil, nil, err
		}
		for _, entry := range names {
			stem, ok := strings.CutSuffix(entry, generation)
			if !ok {
				continue
			}
			name := path.Join(dir, stem)
			kind, ok := checksum.Named(stem)
			at := filepath.Join(f.Dir, dir, entry)
			if !IsFile(f.Place, at) {
				continue
			}
			if checksum.Foreign(stem) != "" {
				text, err := ReadSmall(f.Place, at, checksum.MaxList)
				if err == nil && strings.Contains(string(text), path.Base(f.Files.Base)) ||
					strings.HasPrefix(stem, path.Base(f.Files.Base)+".") {
					foreign = append(foreign, name)
				}
				continue
			}
			if !ok {
				continue
			}
			text, err := ReadSmall(f.Place, at, checksum.MaxList)
			if err != nil {
				return nil, nil, err
			}
			l := &sumlist.List{List: checksum.Parse(onMedium(medium, name), kind, text), Name: name}
			if about := sumlist.Stem(name); dir == path.Dir(f.Files.Base) && IsFile(f.Place, filepath.Join(f.Dir, about)) {
				own[about] = true // whatever it is, its sum stands among those of the live directory
			}
			for i := range l.Lines {
				target := ""
				if at := l.Target(&l.Lines[i], there); at != "" {
					target = FromMedium(medium, at)
				}
				l.Targets = append(l.Targets, target)
			}
			f.aimAtBase(l)
			all = append(all, l)
		}
	}
	// A list of which another tells is kept in step with it.
	for grown := true; grown; {
		grown = false
		all = slices.DeleteFunc(all, func(l *sumlist.List) bool {
			if !l.Lists(isOwn) && !f.namedAfterOwn(l, own) {
				return false
			}
			lists, own[l.Name], grown = append(lists, l), true, true
			return true
		})
	}
	return lists, foreign, nil
}

// aimAtBase makes a list of one sum without a name, or with one that is not
// there, one of the base where it is called after it: airootfs.sha512 is of
// airootfs.sfs.
func (f *Found) aimAtBase(l *sumlist.List) {
	base := f.Files.Base
	if path.Dir(l.Name) != path.Dir(base) || sumlist.Stem(l.Name) != sumlist.Stem(base) || l.Sums() != 1 {
		return
	}
	for i := range l.Lines {
		if l.Lines[i].Kind != "" && !Has(f.Place, filepath.Join(f.Dir, l.Targets[i])) {
			l.Targets[i] = base
		}
	}
}

// namedAfterOwn reports whether a list without a sum is called after one of the
// live directory's files: what it was to tell is missed then.
func (f *Found) namedAfterOwn(l *sumlist.List, own map[string]bool) bool {
	return l.Sums() == 0 && (own[sumlist.Stem(l.Name)] || path.Dir(l.Name) == path.Dir(f.Files.Base) &&
		sumlist.Stem(l.Name) == sumlist.Stem(f.Files.Base))
}
