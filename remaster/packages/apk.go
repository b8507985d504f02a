package packages

import (
	"context"
	"fmt"

	"relive/tree"
)

// readApk reads apk's installed database: paragraphs of lines with a letter, a
// colon and a value; P is the name, V the version, A the architecture.
func readApk(ctx context.Context, root *tree.Node) (*List, error) {
	for _, path := range []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"} {
		n, err := regular(root, path)
		if err != nil {
			return nil, err
		}
		if n == nil {
			continue
		}
		l := &List{Manager: Apk, Source: path}
		var p Package
		line := 0
		end := func() error {
			if p == (Package{}) {
				return nil
			}
			defer func() { p = Package{} }()
			return l.add(p)
		}
		err = eachLine(ctx, n, func(s string, cut bool) error {
			line++
			if s == "" {
				return end()
			}
			if len(s) < 2 || s[1] != ':' {
				return fmt.Errorf("a line that is no field: %.60q", s)
			}
			switch s[0] {
			case 'P':
				p.Name = s[2:]
			case 'V':
				p.Version = s[2:]
			case 'A':
				p.Arch = s[2:]
			default:
				return nil
			}
			if cut {
				return errLong
			}
			return nil
		})
		if err == nil {
			err = end()
		}
		if err == nil || ctx.Err() != nil {
			return l, err
		}
		return nil, l.corrupt(fmt.Sprintf("line %d", line), err)
	}
	return nil, nil
}
