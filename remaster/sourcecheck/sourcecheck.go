package sourcecheck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"relive/remaster/checksum"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sumlist"
	"relive/tree"
)

// Check compares files that are read to be copied with the sums that their
// medium has of them. It reads them from end to end, while what is made of them
// is written: what both read is read from the disk once.
type Check struct {
	Files []File
	where string // of the files, for people
	force bool
	warn  func(format string, args ...any)
}

// File is a file of which there are sums.
type File struct {
	Name  string // as its own medium knows it
	Shown string // for people
	Open  func() (tree.Content, error)
	Inode tree.Inode // where it is a node of a tree
	Known []sumlist.Known
	// Changes: people change such files, so that another sum is told and no more.
	Changes bool
}

// Source is a sum by which a file is checked while it is copied.
type Source struct {
	File string        `json:"file"`
	Kind checksum.Kind `json:"kind"`
	In   string        `json:"in"`
}

// New gathers the sums that there are of files of the live directory
// in its state. A list that should have a sum and has none is told.
func New(l *live.Live, names []string, force bool, warn func(format string, args ...any)) *Check {
	c := &Check{where: l.Dir, force: force, warn: warn}
	for _, name := range names {
		known := sumlist.KnownOf(l.Files.Sums, name)
		if len(known) == 0 || c.Of(name) != nil {
			continue
		}
		for i := range known {
			known[i].In += l.Generation
		}
		at := l.Path(name)
		c.Files = append(c.Files, File{Name: name, Shown: at, Known: known, Open: func() (tree.Content, error) { return l.Place.Open(at) }})
	}
	for _, list := range l.Files.Sums {
		about := slices.ContainsFunc(names, func(name string) bool {
			return sumlist.Stem(list.Name) == name || sumlist.Stem(list.Name) == sumlist.Stem(name)
		})
		if why := list.Unread(); why != "" && about {
			warn("%s: %s, so that what it is of is not checked", list.Name+l.Generation, why)
		}
	}
	return c
}

// Of returns the file of that name, nil where it has no sum.
func (c *Check) Of(name string) *File {
	for i := range c.Files {
		if c.Files[i].Name == name {
			return &c.Files[i]
		}
	}
	return nil
}

// Sources are the sums by which files are checked.
func (c *Check) Sources() []Source {
	out := []Source{}
	for _, f := range c.Files {
		for _, k := range f.Known {
			out = append(out, Source{f.Name, k.Kind, k.In})
		}
	}
	return out
}

// Beside runs fn, and compares the files meanwhile. Where one is not what it was
// summed as that is a Refusal, which ends fn early, or a warning.
func (c *Check) Beside(ctx context.Context, fn func(ctx context.Context) error) error {
	if c == nil || len(c.Files) == 0 {
		return fn(ctx)
	}
	var wrong []string
	g, within := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		for i := range c.Files {
			f := &c.Files[i]
			facts, err := f.Compare(within)
			if err != nil {
				return err
			}
			if len(facts) > 0 && !c.force && !f.Changes {
				return refusal.New(refusal.SumsDiffer, say.Verify+" "+c.where+
					" checks all that is there; get the file anew, or where it is known to be whole go on with "+say.Force, "%s", facts[0])
			}
			wrong = append(wrong, facts...)
		}
		return nil
	})
	g.Go(func() error { return fn(within) })
	if err := g.Wait(); err != nil {
		return err
	}
	for _, fact := range wrong {
		c.warn("%s", fact)
	}
	return nil
}

// Compare sums the file, and tells which sums are others.
func (f *File) Compare(ctx context.Context) (facts []string, err error) {
	content, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Shown, err)
	}
	defer content.Close()
	var kinds []checksum.Kind
	for _, k := range f.Known {
		kinds = append(kinds, k.Kind)
	}
	sums, err := sumlist.HashContent(ctx, content, nil, kinds...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Shown, err)
	}
	return f.Differences(sums), nil
}

// Differences tells which of the known sums are others.
func (f *File) Differences(sums map[checksum.Kind]string) (facts []string) {
	for _, k := range f.Known {
		if got := sums[k.Kind]; !strings.EqualFold(got, k.Sum) {
			facts = append(facts, fmt.Sprintf("%s is damaged or another one: its %s sum is %s, not %s as %s has it", f.Shown, k.Kind, got,
				k.Sum, k.In))
		}
	}
	return facts
}
