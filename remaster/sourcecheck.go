package remaster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"relive/remaster/checksum"
	"relive/remaster/refusal"
	"relive/remaster/sumlist"
	"relive/tree"
)

// sourceCheck compares files that are read to be copied with the sums that their
// medium has of them. It reads them from end to end, while what is made of them
// is written: what both read is read from the disk once.
type sourceCheck struct {
	files []checkedFile
	where string // of the files, for people
	force bool
	warn  func(format string, args ...any)
}

// checkedFile is a file of which there are sums.
type checkedFile struct {
	name  string // as its own medium knows it
	shown string // for people
	open  func() (tree.Content, error)
	inode tree.Inode // where it is a node of a tree
	known []sumlist.Known
	// changes: people change such files, so that another sum is told and no more.
	changes bool
}

// SumSource is a sum by which a file is checked while it is copied.
type SumSource struct {
	File string        `json:"file"`
	Kind checksum.Kind `json:"kind"`
	In   string        `json:"in"`
}

// planSourceCheck gathers the sums that there are of files of the live directory
// in its state. A list that should have a sum and has none is told.
func (l *Live) planSourceCheck(names []string, force bool, warn func(format string, args ...any)) *sourceCheck {
	c := &sourceCheck{where: l.Dir, force: force, warn: warn}
	for _, name := range names {
		known := sumlist.KnownOf(l.files.sums, name)
		if len(known) == 0 || c.of(name) != nil {
			continue
		}
		for i := range known {
			known[i].In += l.generation
		}
		at := l.path(name)
		c.files = append(c.files, checkedFile{name: name, shown: at, known: known, open: func() (tree.Content, error) { return l.at.open(at) }})
	}
	for _, list := range l.files.sums {
		about := slices.ContainsFunc(names, func(name string) bool {
			return sumlist.Stem(list.Name) == name || sumlist.Stem(list.Name) == sumlist.Stem(name)
		})
		if why := list.Unread(); why != "" && about {
			warn("%s: %s, so that what it is of is not checked", list.Name+l.generation, why)
		}
	}
	return c
}

// of gives the file of that name, nil where it has no sum.
func (c *sourceCheck) of(name string) *checkedFile {
	for i := range c.files {
		if c.files[i].name == name {
			return &c.files[i]
		}
	}
	return nil
}

// sources are the sums by which files are checked.
func (c *sourceCheck) sources() []SumSource {
	out := []SumSource{}
	for _, f := range c.files {
		for _, k := range f.known {
			out = append(out, SumSource{f.name, k.Kind, k.In})
		}
	}
	return out
}

// beside runs fn, and compares the files meanwhile. Where one is not what it was
// summed as that is a Refusal, which ends fn early, or a warning.
func (c *sourceCheck) beside(ctx context.Context, fn func(ctx context.Context) error) error {
	if c == nil || len(c.files) == 0 {
		return fn(ctx)
	}
	var wrong []string
	g, within := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		for i := range c.files {
			f := &c.files[i]
			facts, err := f.compare(within)
			if err != nil {
				return err
			}
			if len(facts) > 0 && !c.force && !f.changes {
				return refusal.New("relive verify "+c.where+" checks all that is there; get the file anew, or where it is known to be whole go on with --force", "%s", facts[0])
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

// compare sums the file, and tells which sums are others.
func (f *checkedFile) compare(ctx context.Context) (facts []string, err error) {
	content, err := f.open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.shown, err)
	}
	defer content.Close()
	var kinds []checksum.Kind
	for _, k := range f.known {
		kinds = append(kinds, k.Kind)
	}
	sums, err := sumlist.HashContent(ctx, content, nil, kinds...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.shown, err)
	}
	return f.differences(sums), nil
}

// differences tells which of the known sums are others.
func (f *checkedFile) differences(sums map[checksum.Kind]string) (facts []string) {
	for _, k := range f.known {
		if got := sums[k.Kind]; !strings.EqualFold(got, k.Sum) {
			facts = append(facts, fmt.Sprintf("%s is damaged or another one: its %s sum is %s, not %s as %s has it", f.shown, k.Kind, got, k.Sum, k.In))
		}
	}
	return facts
}
