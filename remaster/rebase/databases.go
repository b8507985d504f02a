package rebase

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"relive/remaster/packages"
	"relive/remaster/threeway"
	"relive/tree"
)

// packageDatabases are the databases of installed packages. Two states of one
// cannot be merged by file: what is installed is told by all of its files
// together.
var packageDatabases = []threeway.Unit{
	{Name: "dpkg", Paths: []string{"var/lib/dpkg", "var/lib/apt/extended_states"}, Told: toldByDpkg},
	{Name: "rpm", Paths: []string{"usr/lib/sysimage/rpm", "var/lib/rpm"}, Told: func(name string) bool {
		return slices.Contains([]string{"rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages", "Packages.db", "rpm"}, path.Base(name))
	}},
	{Name: "pacman", Paths: []string{"var/lib/pacman/local"}},
	{Name: "apk", Paths: []string{"lib/apk/db", "usr/lib/apk/db"}, Told: func(name string) bool { return path.Base(name) != "lock" }},
	{Name: "portage", Paths: []string{"var/db/pkg", "var/lib/portage/world"}},
	{Name: "xbps", Paths: []string{"var/db/xbps"}},
}

// DatabasePaths are the files and directories of all databases.
func DatabasePaths() (paths []string) {
	for _, u := range packageDatabases {
		paths = append(paths, u.Paths...)
	}
	return paths
}

// toldByDpkg leaves out locks, what is available, and what dpkg keeps of its
// former state.
func toldByDpkg(name string) bool {
	switch base := path.Base(name); {
	case base == "lock", base == "lock-frontend", base == "Lock", base == "available", base == "cmethopt", strings.HasSuffix(base, "-old"):
		return false
	}
	return true
}

// Database is a database of packages that both the overlay and the new base
// have changed. It is taken whole from one side, and does not know of what the
// other did.
type Database struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Taken Prefer `json:"taken"`
	// Unknown are the packages that are as they are on the other side, and that the
	// database tells otherwise. Files of them may be there all the same.
	Unknown []PackageChange `json:"unknown"`
	// Unread tells why the packages cannot be told, "" where they can.
	Unread string `json:"unread,omitempty"`
}

// PackageChange is a package that one side installed, removed or exchanged.
type PackageChange struct {
	Name string `json:"name"` // with the architecture, where there may be several
	Was  string `json:"was"`  // the version in the former base, "" for none
	Is   string `json:"is"`   // that on its side, "" for none
	Told string `json:"told"` // that which the database has now, "" for none
}

// databasesOf tells of the databases that were in conflict.
func databasesOf(ctx context.Context, decided map[string]decidedUnit, base, ours, theirs *tree.Node) ([]Database, error) {
	out := []Database{}
	if len(decided) == 0 {
		return out, nil
	}
	var lists [3][]packages.List
	damaged := ""
	for i, root := range []*tree.Node{base, ours, theirs} {
		var err error
		lists[i], err = packages.Find(ctx, root)
		switch {
		case tree.IsDamage(err):
			damaged = err.Error() // which is no worse than it was
		case err != nil:
			return nil, err
		}
	}
	for _, u := range packageDatabases {
		unit, ok := decided[u.Name]
		if !ok {
			continue
		}
		d := Database{Name: u.Name, Path: unit.path, Taken: PreferBase, Unknown: []PackageChange{}, Unread: damaged}
		taken, other := lists[2], lists[1]
		if unit.side == threeway.Ours {
			d.Taken, taken, other = PreferOverlay, lists[1], lists[2]
		}
		was, is, told := versions(lists[0], u.Name), versions(other, u.Name), versions(taken, u.Name)
		for _, l := range [][]packages.List{lists[0], lists[1], lists[2]} {
			if i := slices.IndexFunc(l, func(l packages.List) bool { return l.Manager.String() == u.Name }); i >= 0 && l[i].Unread != "" {
				d.Unread = l[i].Unread
			}
		}
		if len(was)+len(is)+len(told) == 0 && d.Unread == "" {
			d.Unread = "a form of " + u.Name + " that relive does not read"
		}
		names := map[string]bool{}
		for name := range was {
			names[name] = true
		}
		for name := range is {
			names[name] = true
		}
		for name := range names {
			if was[name] != is[name] && is[name] != told[name] && d.Unread == "" {
				d.Unknown = append(d.Unknown, PackageChange{Name: name, Was: was[name], Is: is[name], Told: told[name]})
			}
		}
		slices.SortFunc(d.Unknown, func(a, b PackageChange) int { return strings.Compare(a.Name, b.Name) })
		out = append(out, d)
	}
	return out, nil
}

// unknownShown is how many packages a warning names.
const unknownShown = 12

// Warning tells what the database does not know of.
func (d *Database) Warning() string {
	of, other := "the new base's", "the overlay"
	if d.Taken == PreferOverlay {
		of, other = "the overlay's", "the new base"
	}
	head := fmt.Sprintf("the database of %s in /%s is %s", d.Name, d.Path, of)
	switch {
	case d.Unread != "":
		return fmt.Sprintf("%s, and what %s did with packages it does not know of; it is unknown here: %s", head, other, d.Unread)
	case len(d.Unknown) == 0:
		return fmt.Sprintf("%s; both tell of the same packages", head)
	}
	var names []string
	for i := range d.Unknown[:min(unknownShown, len(d.Unknown))] {
		p := &d.Unknown[i]
		if p.Is == "" {
			names = append(names, "no "+p.Name)
		} else {
			names = append(names, p.Name+" "+p.Is)
		}
	}
	if more := len(d.Unknown) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return fmt.Sprintf("%s, and does not know of what %s has otherwise: %s; bring the system in line with the package manager after the "+
		"next boot", head, other, strings.Join(names, ", "))
}

// versions returns the version of each package of a manager.
func versions(lists []packages.List, manager string) map[string]string {
	out := map[string]string{}
	for _, l := range lists {
		if l.Manager.String() != manager {
			continue
		}
		for _, p := range l.Packages {
			name := p.Name
			if p.Same || p.Arch != "" && l.Native != "" && p.Arch != l.Native && p.Arch != "all" {
				name += ":" + p.Arch
			}
			if old, ok := out[name]; ok {
				p.Version = old + ", " + p.Version // kernels of rpm are there several times
			}
			out[name] = p.Version
		}
	}
	return out
}
