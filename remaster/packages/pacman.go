package packages

import (
	"context"
	"fmt"

	"relive/tree"
)

const pacmanLocal = "var/lib/pacman/local"

// readPacman reads pacman's local database.
func readPacman(ctx context.Context, root *tree.Node) (*List, error) {
	var all List
	l, err := pacmanPackages(ctx, root, func(dir *tree.Node, p Package) error {
		if err := all.add(p); err != nil {
			return &tree.FormatError{File: tree.Quote(pacmanLocal + "/" + dir.Name + "/desc"), Kind: tree.ErrCorrupt, Err: err}
		}
		return nil
	})
	if l != nil {
		l.Packages = all.Packages
	}
	return l, err
}

// pacmanPackages calls fn for every package, with its directory. It reads the
// desc file in there: a line %KEY%, then its values, a line each, to an empty
// line.
func pacmanPackages(ctx context.Context, root *tree.Node, fn func(dir *tree.Node, p Package) error) (*List, error) {
	dir, err := root.Lookup(pacmanLocal)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(pacmanLocal), err)
	}
	if dir == nil || dir.Type != tree.Directory {
		return nil, nil
	}
	kids, err := dir.Children()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(pacmanLocal), err)
	}
	l := &List{Manager: Pacman, Source: pacmanLocal}
	for _, k := range kids {
		if k.Type != tree.Directory { // ALPM_DB_VERSION
			continue
		}
		path := pacmanLocal + "/" + k.Name + "/desc"
		desc, err := regular(k, "desc")
		if err != nil {
			return nil, err
		}
		if desc == nil {
			return nil, tree.Corrupt(tree.Quote(path), "", "is not there")
		}
		var p Package
		var into *string
		err = eachLine(ctx, desc, func(s string, cut bool) error {
			switch {
			case s == "%NAME%":
				into = &p.Name
			case s == "%VERSION%":
				into = &p.Version
			case s == "%ARCH%":
				into = &p.Arch
			case into != nil && cut:
				return errLong
			case into != nil:
				*into, into = s, nil
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, &tree.FormatError{File: tree.Quote(path), Kind: tree.ErrCorrupt, Err: err}
		}
		if err := fn(k, p); err != nil {
			return nil, err
		}
	}
	return l, nil
}
