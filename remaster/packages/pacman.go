package packages

import (
	"context"
	"fmt"

	"relive/tree"
)

const pacmanLocal = "var/lib/pacman/local"

// readPacman reads the desc file of every directory of pacman's local database:
// a line %KEY%, then its values, a line each, to an empty line.
func readPacman(ctx context.Context, root *tree.Node) (*List, error) {
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
		if err == nil {
			err = l.add(p)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, &tree.FormatError{File: tree.Quote(path), Kind: tree.ErrCorrupt, Err: err}
		}
	}
	return l, nil
}
