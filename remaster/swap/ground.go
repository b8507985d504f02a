package swap

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"relive/tree"
	"relive/tree/hostfs"
)

// Volume is where names of a transaction lead that lie on another mount than its
// directory, or further away than below it.
type Volume struct {
	// Name is what these names begin with: the path of a mount point in the
	// directory or, with Dir, a name that nothing in the directory has.
	Name string
	// Dir is the directory that Name stands for: an absolute path or, on the mount
	// of the transaction's directory, one relative to that, which begins with "..".
	// It leads through no symlink. Empty, Name is a mount point.
	Dir string
}

// maxVolumes bounds the volumes of a transaction.
const maxVolumes = 16

// volume is a Volume as the journal has it.
type volume struct {
	Name string `json:"name"`
	Dir  string `json:"dir,omitempty"`
	// Mount is the mount point at or above Dir, where that is absolute.
	Mount string `json:"mount,omitempty"`
	// Filesystem is what is mounted there.
	Filesystem hostfs.Filesystem `json:"filesystem"`

	// bare: there is no record beside it, so that nothing of the run is there; see
	// attach.
	bare bool
}

// ground is where the names of a transaction lead: its directory, and volumes.
type ground struct {
	fsys    FS
	dir     string
	volumes []volume
}

// volume returns the volume that a name leads into; nil for the directory itself.
func (g *ground) volume(name string) (in *volume) {
	for i := range g.volumes {
		v := &g.volumes[i]
		if (name == v.Name || strings.HasPrefix(name, v.Name+"/")) && (in == nil || len(v.Name) > len(in.Name)) {
			in = v // a mount may lie in another
		}
	}
	return in
}

// path is where a name leads.
func (g *ground) path(name string) string {
	v := g.volume(name)
	switch {
	case v == nil || v.Dir == "":
		return g.dir + "/" + name
	case strings.HasPrefix(v.Dir, "/"):
		return v.Dir + name[len(v.Name):]
	}
	return g.dir + "/" + v.Dir + name[len(v.Name):]
}

// show is a name for people: one that lies elsewhere is an absolute path.
func (g *ground) show(name string) string {
	if v := g.volume(name); v == nil || v.Dir == "" {
		return name
	}
	return g.absolute(name)
}

func (g *ground) showAll(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, g.show(n))
	}
	return out
}

// absolute is where a name leads, as an absolute path: for people, and to find
// mounts.
func (g *ground) absolute(name string) string {
	if v := g.volume(name); v != nil && strings.HasPrefix(v.Dir, "/") {
		return g.path(name)
	}
	return path.Clean(absolute(g.dir) + strings.TrimPrefix(g.path(name), g.dir))
}

// absolute is the absolute form of the path of a directory. It is free of symlinks
// where the directory is the host's.
func absolute(dir string) string {
	if real, err := hostfs.RealPath(dir); err == nil {
		return real
	}
	return path.Clean(dir)
}

// bare reports whether a name leads into a volume on which nothing of the run
// is.
func (g *ground) bare(name string) bool {
	v := g.volume(name)
	return v != nil && v.bare
}

// apart names two of the names that lead into different volumes, between which
// no name can change hands.
func (g *ground) apart(names ...string) (a, b string, is bool) {
	for _, n := range names[1:] {
		if g.volume(n) != g.volume(names[0]) {
			return names[0], n, true
		}
	}
	return "", "", false
}

// checkParents refuses a name whose way leads through anything but real
// directories: a symlink could lead out of the live directory.
func (g *ground) checkParents(name string) error {
	top := "."
	if v := g.volume(name); v != nil {
		top = v.Name
	}
	at, err := g.fsys.Lstat(g.path(top) + "/.")
	if err != nil {
		return err
	}
	for d := path.Dir(name); d != top && d != "."; d = path.Dir(d) {
		info, err := g.fsys.Lstat(g.path(d))
		if err != nil {
			return err
		}
		if info.Kind != Directory {
			return fmt.Errorf("%s is a %s, not a directory", g.show(d), info.Kind)
		}
		if info.Dev != at.Dev || info.Mount {
			return fmt.Errorf("%s is another file system; names cannot change hands across it", g.show(d))
		}
	}
	return nil
}

// unused finds a free name that ends in suffix, or suffix and a number.
func (g *ground) unused(name, suffix string, taken func(string) bool) (string, error) {
	for i := 1; i < 1000; i++ {
		candidate := name + suffix
		if i > 1 {
			candidate = fmt.Sprintf("%s%s.%d", name, suffix, i)
		}
		if taken(candidate) {
			continue
		}
		_, err := g.fsys.Lstat(g.path(candidate))
		if errors.Is(err, fs.ErrNotExist) {
			return candidate, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: a thousand names ending in %s are taken", g.show(name), suffix)
}

// syncDirs makes the names in directories durable, each on its own file system.
func (g *ground) syncDirs(names []string) error {
	for _, n := range names {
		if err := g.fsys.SyncDir(g.path(n)); err != nil {
			return err
		}
	}
	return nil
}

// MountOf returns the mount point that a directory lies at or below. The path has
// to be absolute. Where the kernel does not tell mounts, those of other devices
// are found.
func MountOf(fsys FS, dir string) (string, error) {
	info, err := fsys.Lstat(dir + "/.")
	if err != nil {
		return "", err
	}
	for dir != "/" && !info.Mount {
		above := path.Dir(dir)
		up, err := fsys.Lstat(above + "/.")
		if err != nil {
			return "", err
		}
		if up.Dev != info.Dev {
			break
		}
		dir, info = above, up
	}
	return dir, nil
}

// there tells why a volume is not what it was by its place: a mount point where
// nothing is mounted, or a directory that is gone with its mount. why is nil where it is.
func (g *ground) there(v *volume) (why, err error) {
	at, shown := g.path(v.Name), g.absolute(v.Name)
	info, err := g.fsys.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("there is no %s", shown), nil
	case err != nil:
		return nil, err
	case info.Kind != Directory:
		return fmt.Errorf("%s is a %s, not a directory", shown, info.Kind), nil
	case v.Dir == "":
		above, err := g.fsys.Lstat(path.Dir(at) + "/.")
		if err == nil && !info.Mount && info.Dev == above.Dev {
			return fmt.Errorf("nothing is mounted at %s", shown), nil
		}
		return nil, err
	case v.Mount == "":
		here, err := g.fsys.Lstat(g.dir + "/.")
		if err == nil && here.Dev != info.Dev {
			return fmt.Errorf("another file system is at %s", shown), nil
		}
		return nil, err
	}
	mount, err := MountOf(g.fsys, at)
	if err == nil && mount != v.Mount {
		return fmt.Errorf("nothing is mounted at %s", v.Mount), nil
	}
	return nil, err
}

// place is what the directory of a journal is known by, wherever it is mounted.
type place struct {
	// Dir was its absolute path, Within its path from the mount point.
	Dir        string            `json:"dir"`
	Within     string            `json:"within"`
	Filesystem hostfs.Filesystem `json:"filesystem"`
}

func placeOf(fsys FS, dir string) (p place, err error) {
	p.Dir = absolute(dir)
	mount, err := MountOf(fsys, p.Dir)
	if err != nil {
		return p, err
	}
	p.Within = path.Clean("./" + strings.TrimPrefix(p.Dir, mount))
	p.Filesystem, err = fsys.Filesystem(dir)
	return p, err
}

// is reports whether two places are one, as far as that is known.
func (p place) is(o place) bool {
	if p.Filesystem.UUID != "" && o.Filesystem.UUID != "" {
		return p.Filesystem.UUID == o.Filesystem.UUID && p.Within == o.Within
	}
	return p.Dir == o.Dir
}

func (p place) String() string {
	return fmt.Sprintf("%s, on %s", tree.Quote(p.Dir), p.Filesystem)
}

// enter takes the locks of the directory and of the volumes, in this order, and
// looks up what they are.
func (g *ground) enter(volumes []Volume) (locks tree.Closers, err error) {
	lock, err := g.fsys.Lock(g.dir)
	if err != nil {
		return nil, err
	}
	locks = tree.Closers{lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, locks.Close())
			locks = nil
		}
	}()
	for _, v := range volumes {
		g.volumes = append(g.volumes, volume{Name: v.Name, Dir: v.Dir})
	}
	if err := g.checkVolumes(); err != nil {
		return locks, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	for i := range g.volumes {
		v := &g.volumes[i]
		at := g.path(v.Name)
		if strings.HasPrefix(v.Dir, "/") {
			if v.Mount, err = MountOf(g.fsys, v.Dir); err != nil {
				return locks, err
			}
		}
		why, err := g.there(v)
		if why == nil && err == nil {
			why, err = g.fits(v)
		}
		if why != nil {
			err = fmt.Errorf("%w: %w", ErrPlan, why)
		}
		if err != nil {
			return locks, err
		}
		if v.Filesystem, err = g.fsys.Filesystem(at); err != nil {
			return locks, err
		}
		if lock, err = g.fsys.Lock(at); err != nil {
			return locks, err
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

// fits tells why the name of a volume is not what it should be in the directory.
func (g *ground) fits(v *volume) (why, err error) {
	if v.Dir == "" {
		others := *g
		others.volumes = slices.DeleteFunc(slices.Clone(g.volumes), func(o volume) bool { return o.Name == v.Name })
		return others.checkParents(v.Name), nil
	}
	_, err = g.fsys.Lstat(g.dir + "/" + v.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		why = fmt.Errorf("%s exists, and was to stand for %s", v.Name, v.Dir)
	}
	return why, err
}

// checkVolumes tells why volumes cannot be those of a transaction.
func (g *ground) checkVolumes() error {
	if len(g.volumes) > maxVolumes {
		return fmt.Errorf("%d volumes, more than %d", len(g.volumes), maxVolumes)
	}
	for i := range g.volumes {
		v := &g.volumes[i]
		if err := checkPath(v.Name); err != nil {
			return err
		}
		for _, o := range g.volumes[:i] {
			if o.Name == v.Name {
				return fmt.Errorf("two volumes have the name %q", v.Name)
			}
		}
		switch {
		case v.Dir == "" && v.Mount == "":
			continue
		case strings.Contains(v.Name, "/"):
			return fmt.Errorf("the volume %q stands for %q, but is a path", v.Name, v.Dir)
		case path.Clean(v.Dir) != v.Dir, strings.ContainsRune(v.Dir, 0), !utf8.ValidString(v.Dir),
			!strings.HasPrefix(v.Dir, "/") && v.Dir != ".." && !strings.HasPrefix(v.Dir, "../"):
			return fmt.Errorf("the volume %q stands for %q, which leads nowhere", v.Name, v.Dir)
		}
	}
	return nil
}

// checkOnVolumes refuses a name that is a volume's own, or of a directory that
// holds a mount point.
func (g *ground) checkOnVolumes(name string) error {
	for i := range g.volumes {
		if v := &g.volumes[i]; name == v.Name || strings.HasPrefix(v.Name, name+"/") {
			return fmt.Errorf("something is mounted at %s", g.show(v.Name))
		}
	}
	return nil
}
