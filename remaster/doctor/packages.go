package doctor

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"relive/remaster/packages"
	"relive/tree"
)

// Files of packages that show again after a directory lost its mark.
var (
	removedShow = symptom{"removed-package-shows", Likely,
		"%d files of the base belong to packages that are removed, and show all the same",
		"remove the files, or install and remove the packages again; the overlay lost marks of deleted files"}
	upgradedShow = symptom{"upgraded-package-shows", Likely,
		"%d files of the base belong to packages that were upgraded to versions without them, and show all the same",
		"remove the files, or reinstall the packages; the overlay lost marks of deleted files"}
)

// Where dpkg keeps its database, and how much of a file of it is read, in bytes.
const (
	dpkgStatus = "var/lib/dpkg/status"
	dpkgInfo   = "var/lib/dpkg/info"
	dpkgMax    = 64 << 20
)

// debPackage is what dpkg's status tells of a package.
type debPackage struct {
	version   string
	installed bool
	conffiles map[string]bool
}

// dpkgPackages reads dpkg's status (dpkg's man page, deb-control(5)): packages
// by the names of their lists without ".list"; nil where there is none.
func dpkgPackages(root *tree.Node) (map[string]*debPackage, error) {
	n, err := root.Lookup(dpkgStatus)
	if err != nil || n == nil || n.Type != tree.Regular {
		return nil, err
	}
	text, err := tree.ReadAll(n, dpkgMax)
	if err != nil {
		return nil, err
	}
	out := map[string]*debPackage{}
	for stanza := range bytes.SplitSeq(text, []byte("\n\n")) {
		p := &debPackage{conffiles: map[string]bool{}}
		var name, arch, field string
		same := false
		for line := range strings.Lines(string(stanza)) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, " ") {
				if field == "Conffiles" {
					if f := strings.Fields(line); len(f) > 0 {
						p.conffiles[strings.TrimPrefix(f[0], "/")] = true
					}
				}
				continue
			}
			var value string
			field, value, _ = strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			switch field {
			case "Package":
				name = value
			case "Architecture":
				arch = value
			case "Multi-Arch":
				same = value == "same"
			case "Version":
				p.version = value
			case "Status":
				f := strings.Fields(value)
				p.installed = len(f) == 3 && (f[2] == "installed" || f[2] == "unpacked" || strings.HasPrefix(f[2], "half-") ||
					strings.HasPrefix(f[2], "triggers-"))
			}
		}
		if name == "" {
			continue
		}
		if same {
			name += ":" + arch
		}
		out[name] = p
	}
	return out, nil
}

// dpkgList returns the paths that a package's list names, nil where there is no
// list.
func dpkgList(root *tree.Node, name string, fn func(path string)) (bool, error) {
	n, err := root.Lookup(dpkgInfo + "/" + name + ".list")
	if err != nil || n == nil || n.Type != tree.Regular {
		return false, err
	}
	text, err := tree.ReadAll(n, dpkgMax)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(text)) {
		if path := strings.Trim(line, "/.\n"); path != "" {
			fn(strings.TrimPrefix(strings.TrimRight(line, "\n"), "/"))
		}
	}
	return true, nil
}

// packages looks at what the databases of packages tell.
func (d *doctor) packages(ctx context.Context) error {
	l := d.l
	if l.Overlay == nil || l.Merged == nil || l.Overlay.COW != nil {
		return nil
	}
	if err := d.dpkg(ctx); err != nil {
		return err
	}
	for _, m := range []packages.Manager{packages.RPM, packages.Pacman} {
		if err := d.managed(ctx, m); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}

// dpkg looks for files of the base that belong to no package of dpkg any more.
func (d *doctor) dpkg(ctx context.Context) error {
	l := d.l
	was, err := dpkgPackages(l.Base.Root)
	if err != nil || was == nil {
		return err
	}
	is, err := dpkgPackages(l.Merged)
	if err != nil || is == nil {
		return err
	}
	usr, err := usrMerged(l.Merged)
	if err != nil {
		return err
	}
	candidates := map[string]*symptom{}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		old, now := was[name], is[name]
		what := &removedShow
		switch {
		case !old.installed || now != nil && now.installed && now.version == old.version:
			continue
		case now != nil && now.installed:
			what = &upgradedShow
			// Without its new list all of its files would look left over.
			if n, err := l.Merged.Lookup(dpkgInfo + "/" + name + ".list"); err != nil || n == nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		var paths []string
		if _, err := dpkgList(l.Base.Root, name, func(p string) { paths = append(paths, usr(p)) }); err != nil {
			return err
		}
		for _, p := range paths {
			if old.conffiles[p] {
				continue // dpkg leaves them
			}
			if shows, err := d.fromBase(p); err != nil {
				return err
			} else if shows {
				candidates[p] = what
			}
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	// Another package may own them now.
	for name, p := range is {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !p.installed {
			continue
		}
		if _, err := dpkgList(l.Merged, name, func(path string) { delete(candidates, usr(path)) }); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(candidates)) {
		d.add(candidates[path], "/"+tree.Escape(path))
	}
	return nil
}

// fromBase reports whether the merged view shows at a path a file, no directory,
// that is the base's own.
func (d *doctor) fromBase(path string) (bool, error) {
	b, err := d.l.Base.Root.Lookup(path)
	if err != nil || b == nil || b.Type == tree.Directory {
		return false, err
	}
	m, err := d.l.Merged.Lookup(path)
	if err != nil || m == nil {
		return false, err
	}
	return m.Inode == b.Inode && m.Inode != tree.Inode{}, nil
}

// usrMerged returns a function that tells where a path lies on a system whose
// /bin, /lib and the like are links into /usr, and /usr/sbin one to /usr/bin:
// lists name either.
func usrMerged(root *tree.Node) (func(string) string, error) {
	links := map[string]string{}
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr/sbin", "usr/lib64"} {
		n, err := root.Lookup(name)
		if err != nil {
			return nil, err
		}
		if n == nil || n.Type != tree.Symlink {
			continue
		}
		target := path.Join(path.Dir(name), n.Target)
		if path.IsAbs(n.Target) {
			target = path.Clean(n.Target)[1:]
		}
		if strings.HasPrefix(target, "usr/") && target != name {
			links[name] = target
		}
	}
	return func(p string) string {
		if top, rest, _ := strings.Cut(p, "/"); links[top] != "" {
			p = path.Join(links[top], rest)
		}
		for _, name := range []string{"usr/sbin", "usr/lib64"} {
			if rest, in := strings.CutPrefix(p, name+"/"); in && links[name] != "" {
				return path.Join(links[name], rest)
			}
		}
		return p
	}, nil
}
