package packages

import (
	"context"
	"fmt"
	"strings"

	"relive/tree"
)

const (
	dpkgStatus = "var/lib/dpkg/status"
	dpkgDir    = "var/lib/dpkg/status.d"
)

// readDpkg reads dpkg's status file, and the files of status.d, each of which is
// the control data of an installed package.
func readDpkg(ctx context.Context, root *tree.Node) (*List, error) {
	l := &List{Manager: Dpkg, Source: dpkgStatus}
	n, err := regular(root, dpkgStatus)
	if err != nil {
		return nil, err
	}
	if n != nil {
		if err := l.stanzas(ctx, n, true); err != nil {
			return nil, err
		}
	}
	dir, err := root.Lookup(dpkgDir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(dpkgDir), err)
	}
	if dir != nil && dir.Type == tree.Directory {
		kids, err := dir.Children()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tree.Quote(dpkgDir), err)
		}
		for _, k := range kids {
			if k.Type != tree.Regular || strings.HasSuffix(k.Name, ".md5sums") {
				continue
			}
			l.Source = dpkgDir + "/" + k.Name
			if err := l.stanzas(ctx, k, false); err != nil {
				return nil, err
			}
		}
		l.Source = dpkgDir
		if n != nil {
			l.Source = dpkgStatus
		}
	}
	for _, p := range l.Packages {
		if p.Name == "dpkg" {
			l.Native = p.Arch
		}
	}
	return l, nil
}

// stanzas reads paragraphs of fields. With status, only what is installed, be it
// in part, counts: not what has left its configuration alone, nor what dpkg only
// knows of.
func (l *List) stanzas(ctx context.Context, n *tree.Node, status bool) error {
	var p Package
	state, any, line := "", false, 0
	end := func() error {
		defer func() { p, state, any = Package{}, "", false }()
		if !any || status && (state == "" || state == "not-installed" || state == "config-files") {
			return nil
		}
		return l.add(p)
	}
	err := eachLine(ctx, n, func(s string, cut bool) error {
		line++
		if strings.TrimSpace(s) == "" {
			return end()
		}
		any = true
		if s[0] == ' ' || s[0] == '\t' || s[0] == '#' {
			return nil
		}
		key, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("a line that is no field: %.60q", s)
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(key) {
		case "package":
			p.Name = value
		case "version":
			p.Version = value
		case "architecture":
			p.Arch = value
		case "multi-arch":
			p.Same = value == "same"
		case "status":
			words := strings.Fields(value)
			if len(words) != 3 {
				return fmt.Errorf("status %.60q", value)
			}
			state = words[2]
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
		return err
	}
	return l.corrupt(fmt.Sprintf("line %d", line), err)
}
