package remaster

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"relive/overlay"
	"relive/squash"
	"relive/tree"
)

// openStack opens a base that is several SquashFS images over each other, the
// bottom first. The one at top is the Base; the others lie below it.
func (l *Live) openStack(e *Env, paths []string, top int) error {
	var roots []*tree.Node
	for _, path := range paths {
		if err := l.openBase(e, path); err != nil {
			return err
		}
		l.Base.Below = nil
		roots = append(roots, l.Base.Root)
		l.stack = append(l.stack, l.Base)
	}
	l.Base = l.stack[top]
	if len(paths) == 1 {
		return nil
	}
	for i, b := range l.stack {
		if i != top {
			l.Base.Below = append(l.Base.Below, b.Path)
		}
	}
	for i := len(roots) - 1; i >= 0; i-- {
		l.lowers = append(l.lowers, overlay.Layer{Root: roots[i], Form: overlay.OverlayFS, Namespace: overlay.Trusted})
	}
	union, err := overlay.Merge(l.lowers, overlay.KeepEscaped())
	if err != nil {
		return err
	}
	l.Base.Root = union.Root()
	return nil
}

// lowerLayers are what an overlay lies over, the uppermost first.
func (l *Live) lowerLayers() []overlay.Layer {
	if len(l.lowers) > 0 {
		return l.lowers
	}
	return []overlay.Layer{{Root: l.Base.Root}}
}

// ownLayer gives the tree that the base's image is to hold so that it shows
// the system over the images below it.
func (l *Live) ownLayer(ctx context.Context, system *tree.Node) (*tree.Node, error) {
	below, err := overlay.Merge(l.lowers[1:], overlay.KeepEscaped())
	if err != nil {
		return nil, err
	}
	stored := squash.NewStoredComparer()
	return overlay.Difference(ctx, below.Root(), system, overlay.DifferenceOptions{
		Namespace: overlay.Trusted, Escaped: true, WholeSeconds: true, TrustInode: true,
		SameContent: func(_ string, a, b *tree.Node) (bool, error) { return stored.Same(a, b) },
	})
}

// sumLists are the lists of sums that media of Debian and Ubuntu hold at their
// root, by the hash.
var sumLists = []struct{ kind, name string }{
	{"md5", "md5sum.txt"}, {"md5", "MD5SUMS"}, {"sha256", "sha256sum.txt"}, {"sha256", "SHA256SUMS"}, {"sha512", "sha512sum.txt"}, {"sha512", "SHA512SUMS"},
}

// listedSums gives the lists in dir in which a base has a line, to be kept in
// step with it. The lines of images that are set aside are left out.
func listedSums(at place, dir string, files *fileSet) (out []companion, err error) {
	for _, list := range sumLists {
		path := filepath.Join(dir, list.name)
		if !isFile(at, path) {
			continue
		}
		old, err := readSmall(at, path, sumListMax)
		if err != nil {
			return nil, err
		}
		if _, ok := withSum(string(old), files.base, ""); ok {
			c := companion{name: list.name, sum: list.kind, list: string(old)}
			for _, name := range files.retired {
				c.list = withoutSum(c.list, name)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

// sumListMax bounds what is read of a list of sums, in bytes.
const sumListMax = 4 << 20

// listedFile gives the sum and the file of a line of a list, "" for other lines.
func listedFile(line string) (sum, file string) {
	sum, rest, ok := strings.Cut(line, " ")
	if !ok || strings.HasPrefix(line, "#") {
		return "", ""
	}
	return sum, strings.TrimPrefix(strings.TrimRight(strings.TrimLeft(rest, " *"), "\r\n"), "./")
}

// withSum gives a list of sums with another one for a file; false where the
// list has no line for it.
func withSum(list, file, sum string) (string, bool) {
	lines := strings.SplitAfter(list, "\n")
	found := false
	for i, line := range lines {
		if old, name := listedFile(line); name == file {
			lines[i], found = sum+line[len(old):], true
		}
	}
	return strings.Join(lines, ""), found
}

// withoutSum takes the lines of a file out of a list.
func withoutSum(list, file string) string {
	lines := strings.SplitAfter(list, "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool {
		_, name := listedFile(line)
		return name == file
	})
	return strings.Join(lines, "")
}
