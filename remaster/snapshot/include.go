package snapshot

import (
	"context"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
	"relive/tree/hostfs"
)

// include puts further files on the ISO.
func (p *Plan) include(ctx context.Context) error {
	for _, at := range slices.Sorted(maps.Keys(p.o.Include)) {
		file := p.o.Include[at]
		wrong := func(format string, args ...any) error {
			return refusal.Option(fmt.Errorf(say.Include+" %s=%s: %w", at, file, fmt.Errorf(format, args...)))
		}
		to := strings.Trim(path.Clean("/"+at), "/")
		if to == "" || slices.Contains(strings.Split(at, "/"), "..") {
			return wrong("%q is no path on the ISO", at)
		}
		if p.makes(to) {
			return wrong("%s is made with the ISO", to)
		}
		for above := path.Dir(to); above != "."; above = path.Dir(above) {
			if n, err := p.root.Lookup(above); err != nil {
				return err
			} else if n != nil && n.Type != tree.Directory {
				return wrong("%s is no directory on the ISO", above)
			}
		}
		n, resolved, err := hostNode(file)
		if err != nil {
			return refusal.Option(fmt.Errorf(say.Include+": %w", err))
		}
		if n.Type == tree.Directory {
			if err := p.notWithin(resolved, func(string) bool { return true }); err != nil {
				return err
			}
		}
		if err := onlyFiles(ctx, file, n); err != nil {
			return err
		}
		var edits tree.Edits
		edits.Put(to, worldReadable(n))
		if p.root, err = edits.Apply(p.root); err != nil {
			return err
		}
	}
	return nil
}

// makes reports whether a path of the ISO is one that is written with it, or above
// one.
func (p *Plan) makes(at string) bool {
	own := slices.Concat([]string{p.form.Base}, p.form.EmptyImages)
	for _, c := range p.form.Sidecars {
		own = append(own, c.Name)
	}
	return slices.ContainsFunc(own, func(name string) bool { return name == at || strings.HasPrefix(name, at+"/") })
}

// hostNode shows a file or directory of the host as a node, and tells what a
// symlink leads to.
func hostNode(name string) (n *tree.Node, resolved string, err error) {
	if resolved, err = filepath.EvalSymlinks(name); err != nil {
		return nil, "", err
	}
	above, err := hostfs.Open(filepath.Dir(resolved))
	if err != nil {
		return nil, "", err
	}
	if base := filepath.Base(resolved); base == "." || base == ".." || base == "/" {
		n, err = hostfs.Open(resolved)
	} else if n, err = above.Child(base); err == nil && n != nil && n.Type == tree.Directory {
		n, err = hostfs.Open(resolved)
	}
	if err == nil && (n == nil || n.Type != tree.Regular && n.Type != tree.Directory) {
		err = fmt.Errorf("%s: neither a regular file nor a directory", name)
	}
	return n, resolved, err
}

// notWithin refuses an output that lies in a directory of the host, below
// something that goes along: the ISO would hold itself.
func (p *Plan) notWithin(dir string, goes func(at string) bool) error {
	out, err := filepath.Abs(p.o.Output)
	if err != nil {
		return err
	}
	if above, err := filepath.EvalSymlinks(filepath.Dir(out)); err == nil {
		out = filepath.Join(above, filepath.Base(out))
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	in, err := filepath.Rel(dir, out)
	if err != nil || in == ".." || strings.HasPrefix(in, "../") {
		return nil //nolint:nilerr // two paths without a way between them
	}
	for at := in; at != "."; at = path.Dir(at) {
		if goes(at) {
			return refusal.New(refusal.SameFile, "name another place with "+say.Output, "%s: lies in %s, which goes along to the ISO",
				p.o.Output, filepath.Join(dir, at))
		}
	}
	return nil
}
