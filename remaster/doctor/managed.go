package doctor

import (
	"bytes"
	"context"
	_ "crypto/md5" // sums that databases of packages have
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"relive/remaster/packages"
	"relive/tree"
)

// What the databases of rpm and pacman tell of files in the overlay that the base
// has not, or has in another version.
var (
	packageCapability = symptom{"package-capability-lost", Likely,
		"%d files of the overlay are as their packages brought them, but for the capabilities, which are gone",
		"reinstall the packages, or rpm --setcaps PACKAGE"}
	packageSetuid = symptom{"package-setuid-lost", Possible,
		"%d programs of the overlay are as their packages brought them, but for the setuid or setgid bit, which is gone",
		"if it was not done on purpose, reinstall the packages; with rpm, rpm --setperms PACKAGE"}
)

// managed is a look at the packages of a manager whose database knows modes.
type managed struct {
	d       *doctor
	manager packages.Manager
	// is are the packages of the system, by what sets one apart whatever its
	// version, and then by version.
	is  map[string]map[string]bool
	usr func(string) string
}

// key is what sets a package apart whatever its version.
func (m *managed) key(p *packages.Installed) string {
	if m.manager == packages.RPM {
		return p.Name + "." + p.Arch
	}
	return p.Name
}

// managed looks at the packages of a manager: for files of the base that belong
// to none any more, and for files of the overlay that are not as their packages
// brought them.
func (d *doctor) managed(ctx context.Context, manager packages.Manager) error {
	l := d.l
	usr, err := usrMerged(l.Merged)
	if err != nil {
		return err
	}
	m := &managed{d: d, manager: manager, is: map[string]map[string]bool{}, usr: usr}
	read, err := m.walk(ctx, l.Merged, "", func(p *packages.Installed) error {
		versions := m.is[m.key(p)]
		if versions == nil {
			versions = map[string]bool{}
			m.is[m.key(p)] = versions
		}
		versions[p.Version] = true
		return p.Files(func(f *packages.File) error { return m.compare(ctx, f) })
	})
	if err != nil || !read {
		return err
	}
	candidates := map[string]*symptom{}
	read, err = m.walk(ctx, l.Base.Root, " in the base", func(p *packages.Installed) error { return m.gone(p, candidates) })
	if err != nil || !read || len(candidates) == 0 {
		return err
	}
	// Another package may own them now.
	if _, err = m.walk(ctx, l.Merged, "", func(p *packages.Installed) error {
		return p.Files(func(f *packages.File) error {
			delete(candidates, usr(f.Path))
			return nil
		})
	}); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(candidates)) {
		d.add(candidates[path], "/"+tree.Escape(path))
	}
	return nil
}

// walk goes through a database. Where it cannot be read that is told of, and read
// is false.
func (m *managed) walk(ctx context.Context, root *tree.Node, where string, fn func(p *packages.Installed) error) (read bool, err error) {
	list, err := packages.Walk(ctx, root, m.manager, fn)
	switch {
	case errors.Is(err, tree.ErrCorrupt):
		m.d.tell("package-database", Certain, "rebuild it on the running system (rpm --rebuilddb), or bring it back from a former state; "+
			"of its packages nothing is told here",
			"the database of %s%s is damaged: %v", m.manager, where, err)
		return false, nil
	case errors.Is(err, tree.ErrUnsupported):
		m.d.notes = append(m.d.notes, fmt.Sprintf("of the packages of %s%s nothing is told: %v", m.manager, where, err))
		return false, nil
	case err != nil || list == nil:
		return false, err
	case list.Unread != "":
		m.d.notes = append(m.d.notes, fmt.Sprintf("of the packages of %s%s nothing is told: %s", m.manager, where, list.Unread))
		return false, nil
	}
	return true, nil
}

// gone gathers the files of a package of the base that show from there, though
// the system has not that version of the package.
func (m *managed) gone(p *packages.Installed, candidates map[string]*symptom) error {
	versions := m.is[m.key(p)]
	if versions[p.Version] {
		return nil
	}
	what := &removedShow
	if len(versions) > 0 {
		what = &upgradedShow
	}
	return p.Files(func(f *packages.File) error {
		if f.Config || f.Ghost || f.Type == tree.Directory {
			return nil
		}
		path := m.usr(f.Path)
		shows, err := m.d.fromBase(path)
		if shows {
			candidates[path] = what
		}
		return err
	})
}

// compare looks at a file of a package that has capabilities or is setuid or
// setgid.
func (m *managed) compare(ctx context.Context, f *packages.File) error {
	const setID = 0o6000
	if f.Type != tree.Regular || f.Ghost || f.Caps == "" && f.Perm&setID == 0 {
		return nil
	}
	path := m.usr(f.Path)
	n, err := m.d.l.Merged.Lookup(path)
	if err != nil || n == nil || n.Type != tree.Regular {
		return err
	}
	if shows, err := m.d.fromBase(path); err != nil || shows {
		return err
	}
	_, has := n.Xattrs.Get("security.capability")
	capability, suid := f.Caps != "" && !has, f.Perm&setID&^n.Perm != 0
	// A change of the owner takes both away, and so does writing.
	if !capability && !suid || f.Root != (n.UID == 0) {
		return nil
	}
	shown := "/" + tree.Escape(path)
	if m.d.told[shown] {
		return nil
	}
	if as, err := asBrought(ctx, n, f); err != nil || !as {
		return err
	}
	if capability {
		m.d.add(&packageCapability, shown)
	}
	if suid {
		m.d.add(&packageSetuid, shown)
	}
	return nil
}

// asBrought reports whether a file has the content that its package brought.
func asBrought(ctx context.Context, n *tree.Node, f *packages.File) (bool, error) {
	if n.Size != f.Size || f.Hash == 0 || !f.Hash.Available() {
		return false, nil
	}
	c, err := n.Open()
	if err != nil {
		return false, err
	}
	defer c.Close()
	h := f.Hash.New()
	b := make([]byte, 256<<10)
	for r := io.NewSectionReader(c, 0, n.Size); ; {
		if err := ctx.Err(); err != nil {
			return false, context.Cause(ctx)
		}
		k, err := r.Read(b)
		h.Write(b[:k])
		if err == io.EOF {
			return bytes.Equal(h.Sum(nil), f.Digest), nil
		}
		if err != nil {
			return false, err
		}
	}
}
