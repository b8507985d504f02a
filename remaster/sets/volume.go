package sets

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/menu"
)

// BootMenus is the file system of a live directory as a boot sees it, whose menus
// name kernels and sets by paths from its root.
type BootMenus struct {
	dir     string // the live directory, from /
	root    string // the directory that is the root
	entries []bootEntry
}

// bootEntry is an entry of one of the volume's menus that boots Linux.
type bootEntry struct {
	menu.Entry
	file string // path of the menu
	kind menu.Kind
}

// arg returns the value of the last argument that has one of those names.
func (e *bootEntry) arg(names ...string) (value string, ok bool) {
	for _, a := range e.Args {
		if name, v, has := strings.Cut(strings.Trim(a, `"`), "="); has && slices.Contains(names, name) {
			value, ok = v, true
		}
	}
	return value, ok
}

// mediumDirs are what lies at the root of a medium that boots.
var mediumDirs = []string{"boot", "EFI", "efi", "isolinux", "syslinux", "grub", ".disk"}

// ReadBootMenus looks for the root of the file system and for menus. What cannot be
// read there is left out: it only helps to find sets and to name them.
func ReadBootMenus(ctx context.Context, f *live.Found) *BootMenus {
	v := &BootMenus{dir: f.Dir}
	top := "/"
	if s, ok := f.Place.(live.Tree); ok {
		top = s.Name
	} else if abs, err := filepath.Abs(f.Dir); err == nil {
		v.dir = abs
	}
	medium := ""
	for at, i := v.dir, 0; i < 2 && at != top && medium == ""; i++ {
		at = filepath.Dir(at)
		if slices.ContainsFunc(mediumDirs, func(name string) bool { return live.IsDir(f.Place, filepath.Join(at, name)) }) {
			medium = at
		}
	}
	v.read(f.Place, filepath.Join(v.dir, "grub.entry"), menu.GRUB)
	if medium != "" && (medium != "/" || top != "/") {
		if root, err := live.PlainDirectory(f.Place, medium); err == nil {
			files, err := menu.Files(ctx, root)
			if err == nil {
				for _, file := range files {
					v.add(filepath.Join(medium, file.Path), file.Kind, file.Text)
				}
			}
		}
	}
	// A kernel's path tells where the root is.
	for _, e := range v.entries {
		if at := path.Clean(strings.TrimLeft(path.Dir(e.Kernel), "/")); at != "." && !strings.ContainsAny(at, "$()") {
			if root, ok := strings.CutSuffix(v.dir, "/"+at); ok {
				v.root = path.Join("/", root)
				if top != "/" {
					v.root = root
				}
				return v
			}
		}
	}
	switch {
	case top != "/":
		v.root = top
	case medium != "" && medium != "/":
		v.root = medium
	default:
		v.root = mountPoint(v.dir)
	}
	return v
}

func (v *BootMenus) read(at live.Place, file string, kind menu.Kind) {
	if !live.IsFile(at, file) {
		return
	}
	if text, err := live.ReadSmall(at, file, menu.MaxText); err == nil {
		v.add(file, kind, text)
	}
}

func (v *BootMenus) add(file string, kind menu.Kind, text []byte) {
	entries, err := menu.Read(kind, file, text)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Linux() && !slices.ContainsFunc(v.entries, func(o bootEntry) bool {
			return o.file == file && o.Title == e.Title &&
				slices.Equal(o.Args, e.Args)
		}) {
			v.entries = append(v.entries, bootEntry{e, file, kind})
		}
	}
}

// mountPoint goes up to where another file system begins.
func mountPoint(dir string) string {
	var here, above syscall.Stat_t
	if syscall.Stat(dir, &here) != nil {
		return "/"
	}
	for dir != "/" {
		up := filepath.Dir(dir)
		if syscall.Stat(up, &above) != nil || above.Dev != here.Dev {
			return dir
		}
		dir = up
	}
	return dir
}

// path returns a path from the root of the volume, without a leading slash; false
// for what lies outside.
func (v *BootMenus) path(name string) (string, bool) {
	rel, err := filepath.Rel(v.root, filepath.Join(v.dir, name))
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return rel, true
}

// set returns the name of the set that an entry boots; false where that is none
// of this live directory.
func (v *BootMenus) set(e *bootEntry) (string, bool) {
	at := path.Clean(strings.TrimLeft(path.Dir(e.Kernel), "/"))
	if own, ok := v.path("."); !ok || at != own {
		return "", false
	}
	pdir, ok := e.arg("pdir", "persistdir")
	if !ok || strings.Contains(pdir, "$") {
		return live.DefaultSet, true
	}
	rel, err := filepath.Rel(v.dir, filepath.Join(v.root, pdir))
	if err != nil {
		return "", false
	}
	if rel == "." {
		rel = live.DefaultSet
	}
	return rel, true
}

// holdsAny reports whether a directory holds files of persistence, or what the init
// has set aside of them.
func holdsAny(at live.Place, dir string) bool {
	return slices.ContainsFunc([]string{"", ".old", ".bad"}, func(generation string) bool { return live.HoldsSet(at, dir, generation) })
}

// setDirs bounds how many names are looked at where sets may lie.
const setDirs = 4096

// SetNames finds the sets of a live directory of antiX: the directories in it
// and, on a medium, beside it that hold a rootfs or homefs, and those that its
// menus name. The default one comes first.
func SetNames(f *live.Found, v *BootMenus) (names []string, err error) {
	seen := map[string]bool{}
	add := func(name string) {
		at := filepath.Join(f.Dir, name)
		if !seen[name] && live.IsDir(f.Place, at) && !live.IsFile(f.Place, filepath.Join(at, live.AntixBase)) && holdsAny(f.Place, at) {
			names = append(names, name)
		}
		seen[name] = true
	}
	places := []string{"."}
	if filepath.Dir(v.dir) == v.root &&
		slices.ContainsFunc(mediumDirs, func(name string) bool { return live.IsDir(f.Place, filepath.Join(v.root, name)) }) {
		places = append(places, "..")
	}
	for _, at := range places {
		kids, err := f.Place.List(filepath.Join(f.Dir, at))
		if err != nil && at == "." {
			return nil, err
		}
		for _, name := range kids[:min(len(kids), setDirs)] {
			if at == ".." && name == hostdisk.BaseName(f.Dir) || strings.Contains(name, ".relive-") {
				continue
			}
			add(path.Join(at, name))
		}
	}
	for i := range v.entries {
		if name, ok := v.set(&v.entries[i]); ok && name != live.DefaultSet && strings.Count(name, "../") <= 1 {
			add(name)
		}
	}
	slices.Sort(names)
	return slices.Insert(names, 0, live.DefaultSet), nil
}
