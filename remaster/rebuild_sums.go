package remaster

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"relive/tree"
)

// followSums brings lists of sums up to what is changed: linuxfs.md5, md5sum.txt
// and their like, and then lists that list those. A list that the caller gave
// stays as it is.
func (p *RebuildPlan) followSums(ctx context.Context) error {
	if len(p.changed) == 0 {
		return nil
	}
	lists, err := findSumLists(ctx, p.root)
	if err != nil {
		return err
	}
	f := &sumFollower{p: p, sums: map[string]string{}, buf: make([]byte, 1<<20), lines: map[*sumsFile]int{}}
	dirty := p.changed
	for round := 0; len(dirty) > 0; round++ {
		if round > len(lists) {
			p.warn("lists of sums list each other in a circle; not all can be right")
			break
		}
		next := map[string]bool{}
		for _, l := range lists {
			if p.replaced[l.path] {
				continue
			}
			touched, err := f.update(ctx, l, dirty)
			if err != nil {
				return err
			}
			if touched {
				next[l.path] = true
			}
		}
		if err := f.apply(lists, next); err != nil {
			return err
		}
		dirty = next
	}
	for _, l := range lists {
		if n := f.lines[l]; n > 0 {
			p.changed[l.path] = true
			p.note(l.path, changeSums, plural(n, "line"))
		} else if l.unknown > 0 && l.unknown == len(l.lines) || len(l.lines) == 0 && l.unknown > 0 {
			p.warn("%s: not a list of sums in a form that is known; it stays as it is", tree.Quote(l.path))
		}
	}
	return p.warnFollowers(ctx, lists)
}

// sumFollower changes lists.
type sumFollower struct {
	p     *RebuildPlan
	sums  map[string]string // by hash and path
	lines map[*sumsFile]int // how many were changed
	buf   []byte
}

// update changes the lines of a list that are of dirty files.
func (f *sumFollower) update(ctx context.Context, l *sumsFile, dirty map[string]bool) (touched bool, err error) {
	var out []sumLine
	for _, line := range l.lines {
		if line.target == "" || !dirty[line.target] || line.target == l.path {
			out = append(out, line)
			continue
		}
		n, err := f.p.root.Lookup(line.target)
		if err != nil {
			return false, err
		}
		if n == nil {
			// It was removed.
			touched = true
			f.lines[l]++
			continue
		}
		sum, err := f.sum(ctx, n, line.target, l.kind)
		if err != nil {
			return false, err
		}
		if !strings.EqualFold(sum, line.sum) {
			line.set(sum)
			touched = true
			f.lines[l]++
		}
		out = append(out, line)
	}
	l.lines = out
	return touched, nil
}

func (f *sumFollower) sum(ctx context.Context, n *tree.Node, at, kind string) (string, error) {
	key := kind + " " + at
	if sum, ok := f.sums[key]; ok {
		return sum, nil
	}
	f.p.env.phase("summing "+tree.Quote(at), n.Size)
	var done int64
	sum, err := hashNode(ctx, n, kind, f.buf, func(k int64) {
		done += k
		f.p.env.done(done)
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", tree.Quote(at), err)
	}
	f.sums[key] = sum
	return sum, nil
}

// apply puts changed lists into the tree.
func (f *sumFollower) apply(lists []*sumsFile, touched map[string]bool) error {
	var e tree.Edits
	for _, l := range lists {
		if !touched[l.path] {
			continue
		}
		old, err := f.p.root.Lookup(l.path)
		if err != nil {
			return err
		}
		e.Put(l.path, edited(old, l.bytes()))
		for _, kind := range sumKinds {
			delete(f.sums, kind+" "+l.path)
		}
	}
	var err error
	f.p.root, err = e.Apply(f.p.root)
	return err
}

// edited is a file with another content.
func edited(n *tree.Node, content []byte) *tree.Node {
	c := *n
	c.Data, c.Size = tree.Bytes(content), int64(len(content))
	c.Inode, c.Nlink, c.Was = tree.Inode{}, 1, nil
	return &c
}

// warnFollowers warns of what tells of changed files and does not follow:
// signatures, sums of what holds its own address, linuxfs.info.
func (p *RebuildPlan) warnFollowers(ctx context.Context, lists []*sumsFile) error {
	changed := make([]string, 0, len(p.changed))
	for at := range p.changed {
		changed = append(changed, at)
	}
	slices.Sort(changed)
	for _, at := range changed {
		if n, err := p.root.Lookup(at); err != nil {
			return err
		} else if n == nil || n.Type != tree.Regular {
			continue
		}
		sig, err := signatureOf(p.root, at)
		if err != nil {
			return err
		}
		if sig != "" && !p.changed[sig] {
			p.warn("%s: a signature, which does not fit %s any more", tree.Quote(sig), tree.Quote(at))
		}
		for _, about := range tellsOf(at) {
			n, err := p.root.Lookup(about)
			if err != nil {
				return err
			}
			if n != nil && !p.changed[about] {
				p.warn("%s: it tells of the former %s; replace it, too", tree.Quote(about), tree.Quote(at))
			}
		}
	}
	return p.warnAddressed(ctx, lists)
}

// tellsOf are the files by which systems know size or packages of an image that
// they boot from.
func tellsOf(at string) []string {
	dir, name := path.Split(at)
	switch ext := path.Ext(name); {
	case name == antixBase:
		return []string{dir + antixInfo}
	case ext == ".squashfs":
		stem := dir + strings.TrimSuffix(name, ext)
		return []string{stem + ".size", stem + ".manifest", stem + ".packages"}
	}
	return nil
}

// warnAddressed warns of lists with the sums of boot images that hold their
// address, where they were right: the address changes.
func (p *RebuildPlan) warnAddressed(ctx context.Context, lists []*sumsFile) error {
	addressed := map[string]bool{}
	for _, b := range p.recipe.Boot {
		if b.Path != "" && (b.BootInfo || b.Grub2Info) {
			addressed[strings.Trim(b.Path, "/")] = true
		}
	}
	buf := make([]byte, 64<<10)
	for _, l := range lists {
		for _, line := range l.lines {
			if !addressed[line.target] {
				continue
			}
			n, err := p.root.Lookup(line.target)
			if err != nil || n == nil {
				return err
			}
			sum, err := hashNode(ctx, n, l.kind, buf, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(line.target), err)
			}
			if strings.EqualFold(sum, line.sum) {
				p.warn("%s: its sum of %s will be wrong, since that file holds its own address in the image", tree.Quote(l.path), tree.Quote(line.target))
			}
		}
	}
	return nil
}
