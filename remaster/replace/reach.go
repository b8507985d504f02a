package replace

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/swap"
	"relive/tree/hostfs"
)

// reach is where the names of a transaction's steps lead, seen from the live
// directory. Callers have one kind of names, relative to that: "rootfs",
// "persistence/rw" where something is mounted at persistence, "../boot/vmlinuz",
// "../../media/me/persist/rw". The swap has names of the directory that its journal
// is in, and volumes for what lies elsewhere.
type reach struct {
	dir string // the live directory as it was given
	// ground is the directory of the transaction, and prefix the name that the live
	// directory has in it: "" where it is the same.
	ground, prefix string
	volumes        []swap.Volume
	// away are the absolute paths of those volumes that have a name that no file has.
	away map[string]string
}

// reachOf looks at where the names of steps lead. Names of files that are not made
// yet stand in parentheses.
func reachOf(disk swap.FS, dir string, steps []swap.Step) (*reach, error) {
	r := &reach{dir: dir, ground: dir, away: map[string]string{}}
	here, err := hostfs.RealPath(dir)
	if err != nil {
		return nil, err
	}
	home, err := swap.MountOf(disk, here)
	if err != nil {
		return nil, err
	}
	above := path.Dir(here)
	var mounts, far []string // mount points in the directory, and directories elsewhere
	for _, name := range namesOf(steps) {
		at, err := hostfs.RealPath(filepath.Join(dir, path.Dir(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the plan tells
		}
		if err != nil {
			return nil, err
		}
		mount, err := swap.MountOf(disk, at)
		if err != nil {
			return nil, err
		}
		switch {
		case mount != home && within(here, mount):
			if !slices.Contains(mounts, mount) {
				mounts = append(mounts, mount)
			}
		case mount == home && within(here, at):
		case mount == home && within(above, at):
			r.goAbove()
		case !slices.Contains(far, at):
			far = append(far, at)
		}
	}
	base := here
	if r.prefix != "" {
		base = above
	}
	for _, at := range mounts {
		name, err := filepath.Rel(base, at)
		if err != nil {
			return nil, err
		}
		r.volumes = append(r.volumes, swap.Volume{Name: name})
	}
	slices.Sort(far)
	tops := map[string]string{} // directories of which no other holds one, and their mounts
	for _, at := range far {
		mount, err := swap.MountOf(disk, at)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(slices.Collect(maps.Keys(tops)), func(top string) bool { return within(top, at) && tops[top] == mount }) {
			continue
		}
		tops[at] = mount
		v := swap.Volume{Name: r.alias(), Dir: at}
		if mount == home {
			// It goes with the live directory, wherever that is mounted.
			if v.Dir, err = filepath.Rel(base, at); err != nil {
				return nil, err
			}
		}
		r.volumes = append(r.volumes, v)
		r.away[v.Name] = at
	}
	if len(r.volumes) > 0 {
		r.ground = base // what is beside the volumes names it
	}
	return r, nil
}

// goAbove makes the directory above the live directory the transaction's.
func (r *reach) goAbove() {
	if r.prefix == "" {
		r.ground, r.prefix = filepath.Join(r.dir, ".."), hostdisk.BaseName(r.dir)
	}
}

// alias makes up a name that nothing in the transaction's directory has.
func (r *reach) alias() string {
	for n := 1; ; n++ {
		name := fmt.Sprintf("volume-%d.relive-away", n)
		if _, taken := r.away[name]; !taken && !hostdisk.Exists(filepath.Join(r.ground, name)) {
			return name
		}
	}
}

// name translates a name.
func (r *reach) name(name string) (string, error) {
	if at, rest, err := r.awayFrom(name); at != "" || err != nil {
		return path.Join(at, rest), err
	}
	in := path.Join(r.prefix, name)
	if in == ".." || strings.HasPrefix(in, "../") {
		return "", fmt.Errorf("%s: leads further away than the steps that the transaction began with", name)
	}
	return in, nil
}

// awayFrom returns the volume that a name leads to, "" where it leads to none that
// is away, and what the name is in that.
func (r *reach) awayFrom(name string) (volume, rest string, err error) {
	if len(r.away) == 0 {
		return "", "", nil
	}
	dir, err := hostfs.RealPath(filepath.Join(r.dir, path.Dir(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	for alias, at := range r.away {
		if within(at, dir) && (volume == "" || within(r.away[volume], at)) {
			volume = alias // the innermost, since a mount may lie in another
		}
	}
	if volume == "" {
		return "", "", nil
	}
	rest, err = filepath.Rel(r.away[volume], dir)
	return volume, path.Join(rest, path.Base(name)), err
}

// show is a name for people.
func (r *reach) show(name string) string {
	if volume, rest, err := r.awayFrom(name); volume != "" && err == nil {
		return filepath.Join(r.away[volume], rest)
	}
	return name
}

// Elsewhere returns the directory of a name of the live directory where that lies on
// another mount; "" where it does not.
func Elsewhere(dir, name string) (string, error) {
	at := filepath.Dir(filepath.Join(dir, name))
	var mounts [2]string
	for i, d := range []string{dir, at} {
		real, err := hostfs.RealPath(d)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if mounts[i], err = swap.MountOf(swap.OS{}, real); err != nil {
			return "", err
		}
	}
	if mounts[0] == mounts[1] {
		return "", nil
	}
	return at, nil
}

// OverlayDirs are the directories in which an overlay lies, where that is on
// another mount than the live directory.
func OverlayDirs(dir string, f *live.Files) (dirs []string, err error) {
	for _, name := range f.Overlay {
		at, err := Elsewhere(dir, name)
		if err != nil {
			return dirs, err
		}
		if at != "" && !slices.Contains(dirs, at) {
			dirs = append(dirs, at)
		}
	}
	return dirs, nil
}

// namesOf lists the names of steps, but for those that stand for files that are
// not made yet.
func namesOf(steps []swap.Step) (names []string) {
	for _, s := range steps {
		swap.Named(s, func(name string) string {
			if !strings.HasPrefix(name, "(") && !slices.Contains(names, name) {
				names = append(names, name)
			}
			return name
		})
	}
	return names
}

// within reports whether a path is that of a directory or lies below it; both are
// free of symlinks.
func within(dir, at string) bool {
	return at == dir || strings.HasPrefix(at, strings.TrimSuffix(dir, "/")+"/")
}
