package tree

import (
	"context"
	"fmt"
	"sort"
)

// BadEntry is a name in a directory of which nothing more can be read.
type BadEntry struct {
	Name string
	Err  error
}

// PartialError is what Dir.Children gives for a directory of which some entries
// cannot be read: an error for all who do not ask for it, so that nothing is
// taken for the whole that is not, and the rest for those who do, by
// [Node.Readable].
type PartialError struct {
	Good []*Node    // in the order of Dir
	Bad  []BadEntry // in the same order, at least one
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%q%s: %v", e.Bad[0].Name, more(len(e.Bad)-1), e.Bad[0].Err)
}

// Unwrap returns the errors of the entries.
func (e *PartialError) Unwrap() []error {
	out := make([]error, len(e.Bad))
	for i := range e.Bad {
		out[i] = e.Bad[i].Err
	}
	return out
}

func more(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more of the directory's entries)", n)
}

// Partial returns what a Dir returns from Children: good, which is in order, where
// bad is empty, and a PartialError otherwise. It sorts bad.
func Partial(good []*Node, bad []BadEntry) ([]*Node, error) {
	if len(bad) == 0 {
		return good, nil
	}
	sort.Slice(bad, func(i, j int) bool { return bad[i].Name < bad[j].Name })
	return nil, &PartialError{Good: good, Bad: bad}
}

// FindBad returns the entry of that name in a list that is in order, or nil.
func FindBad(bad []BadEntry, name string) *BadEntry {
	i := sort.Search(len(bad), func(i int) bool { return bad[i].Name >= name })
	if i < len(bad) && bad[i].Name == name {
		return &bad[i]
	}
	return nil
}

// Readable is Children for those who go on without the entries that cannot be
// read: it lists them apart. What passes a directory on, such as a layer, passes
// them on by [Partial]; what shows it names them.
func (n *Node) Readable() (good []*Node, bad []BadEntry, err error) {
	kids, err := n.Children()
	// One that is wrapped is that of another directory.
	if p, ok := err.(*PartialError); ok { //nolint:errorlint // see above
		return p.Good, p.Bad, nil
	}
	return kids, nil, err
}

// EntryError is the error of a path that cannot be read, found on the way through
// a tree that was to be read whole.
type EntryError struct {
	Path string // from the root of the walk
	Err  error
	more int // entries of the same directory
}

func (e *EntryError) Error() string {
	return fmt.Sprintf("%s%s: %v", Quote(e.Path), more(e.more), e.Err)
}

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// ChildrenAt is Children of the node at that path. Errors name the path, and that
// of an entry that cannot be read is an *EntryError.
func (n *Node) ChildrenAt(path string) ([]*Node, error) {
	good, bad, err := n.Readable()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", Quote(path), err)
	case len(bad) > 0:
		return nil, &EntryError{Path: Join(path, bad[0].Name), Err: bad[0].Err, more: len(bad) - 1}
	}
	return good, nil
}

// WalkReadable is Walk for those who only look: for an entry that cannot be read,
// and for a directory that cannot be listed after fn was called for it, it calls
// bad and goes on, unless that gives an error.
func WalkReadable(ctx context.Context, root *Node, fn func(path string, n *Node) error, bad func(path string, err error) error) error {
	return (&walker{ctx, fn, bad}).walk("", root, 0)
}
