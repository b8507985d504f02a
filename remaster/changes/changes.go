package changes

import (
	"context"
	"errors"
	"path"
	"sort"
	"strings"

	"relive/extfs"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/tree"
)

// Kind is what an overlay does to a path.
type Kind string

// The kinds.
const (
	Added    Kind = "added"
	Deleted  Kind = "deleted"
	Content  Kind = "content"  // other bytes, maybe other metadata too
	Metadata Kind = "metadata" // same content, other owner, mode, time, attributes, links or target
	Replaced Kind = "replaced" // by another type
)

// Change is one path that an overlay changes against its base.
type Change struct {
	Path string
	Kind Kind
	Diff tree.Difference
	// Old and New are the nodes of the base and of the merged tree, nil where
	// there is none.
	Old, New *tree.Node
}

// Size is the size of the file in the state that the change leads to, or in the
// base where it is deleted.
func (c *Change) Size() int64 {
	n := c.New
	if n == nil {
		n = c.Old
	}
	if n.Type != tree.Regular {
		return 0
	}
	return n.Size
}

// All calls fn for every path that the overlay changes, in the tree's
// order. Files that the overlay holds, but equal to the base, are no changes,
// nor are parts of a second, which no base holds, and the version file that
// every boot writes.
func All(ctx context.Context, l *live.Live, fn func(Change) error) error {
	return Readable(ctx, l, fn, nil)
}

// Readable is Changes for those who only look: it goes on without what
// cannot be read, for which bad is called.
func Readable(ctx context.Context, l *live.Live, fn func(Change) error, bad func(path string, err error) error) error {
	if l.Overlay == nil || l.Overlay.Union == nil && l.Overlay.COW == nil {
		return nil
	}
	return Between(ctx, l, l.Base.Root, l.Merged, fn, bad)
}

// Between is Changes for two trees of nodes of the base and of the overlay.
func Between(ctx context.Context, l *live.Live, from, to *tree.Node, fn func(Change) error, bad func(path string, err error) error) error {
	o := tree.CompareOptions{Bad: bad}
	if s := l.COW(); s != nil {
		// Two states of one file system, which holds all of a time.
		o.SameContent = func(_ string, a, b *tree.Node) (bool, error) {
			return extfs.SameBlocks(a.Data, b.Data, s.Device.ChangedIn)
		}
	} else {
		stored := packed.NewStoredComparer()
		o.TrustInode, o.WholeSeconds = true, l.Base.WholeSeconds()
		o.SameContent = func(_ string, a, b *tree.Node) (bool, error) { return stored.Same(a, b) }
	}
	return tree.Compare(ctx, from, to, o, func(c tree.Change) error {
		if c.Path == live.RootVIDFile {
			return nil
		}
		out := Change{Path: c.Path, Kind: KindOf(c.Diff), Diff: c.Diff, Old: c.A, New: c.B}
		return fn(out)
	})
}

// KindOf tells what kind of change a difference is.
func KindOf(d tree.Difference) Kind {
	switch {
	case d&tree.Only != 0:
		return Added
	case d&tree.Absent != 0:
		return Deleted
	case d&tree.TypeOf != 0:
		return Replaced
	case d&tree.Contents != 0:
		return Content
	}
	return Metadata
}

// Totals count changes.
type Totals struct {
	Added    int64 `json:"added"`
	Deleted  int64 `json:"deleted"`
	Content  int64 `json:"content"`
	Metadata int64 `json:"metadata"`
	Replaced int64 `json:"replaced"`
	// AddedBytes are those of added files and of the new content of changed
	// ones, DeletedBytes those of deleted files.
	AddedBytes   int64 `json:"added_bytes"`
	DeletedBytes int64 `json:"deleted_bytes"`
}

// Add counts one more.
func (t *Totals) Add(c *Change) {
	switch c.Kind {
	case Added:
		t.Added++
		t.AddedBytes += c.Size()
	case Deleted:
		t.Deleted++
		t.DeletedBytes += c.Size()
	case Content:
		t.Content++
		t.AddedBytes += c.Size()
	case Metadata:
		t.Metadata++
	case Replaced:
		t.Replaced++
		t.AddedBytes += c.Size()
	}
}

// Sum is the number of changes.
func (t *Totals) Sum() int64 {
	return t.Added + t.Deleted + t.Content + t.Metadata + t.Replaced
}

// TopDirectory is the first part of a path, by which totals are grouped.
func TopDirectory(p string) string {
	top, _, _ := strings.Cut(p, "/")
	return "/" + top
}

// PathFilter reports whether a path is wanted: all, where there are no patterns;
// otherwise those that equal a pattern, lie below one, or match one as a shell
// pattern whose '*' stops at slashes.
func PathFilter(patterns []string) (func(p string) bool, error) {
	clean := make([]string, 0, len(patterns))
	for _, p := range patterns {
		p = strings.Trim(path.Clean("/"+p), "/")
		if _, err := path.Match(p, ""); err != nil {
			return nil, refusal.WithHint(err, "the pattern "+p+" is not a shell pattern")
		}
		clean = append(clean, p)
	}
	sort.Strings(clean)
	return func(p string) bool {
		if len(clean) == 0 {
			return true
		}
		for _, c := range clean {
			if c == "" || p == c || strings.HasPrefix(p, c+"/") {
				return true
			}
			// A pattern that matches a directory takes what is below it.
			for q := p; q != "." && q != ""; q = path.Dir(q) {
				if ok, _ := path.Match(c, q); ok {
					return true
				}
			}
		}
		return false
	}, nil
}

// ErrDiffers ends a comparison at the first difference.
var ErrDiffers = errors.New("differs")

// ShowsBase reports whether base and overlay show what the base alone shows, but
// for the traces that a boot itself leaves.
func ShowsBase(ctx context.Context, l *live.Live) (bool, error) {
	err := All(ctx, l, func(Change) error { return ErrDiffers })
	if errors.Is(err, ErrDiffers) {
		return false, nil
	}
	return err == nil, err
}
