package isoedit

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/remaster/live"
	"relive/remaster/say"
	"relive/remaster/sumlist"
	"relive/tree"
)

// followLists brings lists of sums up to what is changed: linuxfs.md5,
// md5sum.txt and their like, and then lists that list those. A list that the
// caller gave stays as it is.
func (p *Rebuild) followLists(ctx context.Context) error {
	if len(p.changed) == 0 {
		return nil
	}
	all, err := sumlist.Find(ctx, p.root)
	if err != nil {
		return err
	}
	var lists []*sumlist.List
	for _, l := range all {
		if !p.replaced[l.Name] {
			lists = append(lists, l)
		}
	}
	known := map[string]string{} // by digest and path
	lines, circle, err := sumlist.Follow(lists, p.changed, func(at string, kind checksum.Kind) (string, bool, error) {
		key := string(kind) + " " + at
		if sum, ok := known[key]; ok {
			return sum, false, nil
		}
		n, err := p.root.Lookup(at)
		if err != nil || n == nil {
			return "", err == nil, err // it was removed
		}
		p.env.Phase("summing "+tree.Quote(at), n.Size)
		var done int64
		sum, err := sumlist.HashNode(ctx, n, kind, func(k int64) {
			done += k
			p.env.Done(done)
		})
		if err != nil {
			return "", false, fmt.Errorf("%s: %w", tree.Quote(at), err)
		}
		known[key] = sum
		return sum, false, nil
	})
	if err != nil {
		return err
	}
	if circle {
		p.warn("lists of sums list each other in a circle; not all can be right")
	}
	var e tree.Edits
	for _, l := range lists {
		if n := lines[l]; n > 0 {
			old, err := p.root.Lookup(l.Name)
			if err != nil {
				return err
			}
			e.Put(l.Name, edited(old, l.Bytes()))
			p.changed[l.Name] = true
			p.note(l.Name, changeSums, plural(n, "line"))
			if l.Signed {
				p.warn("%s: the signature in it is of the former text, and does not hold any more", tree.Quote(l.Name))
			}
		} else if l.Unknown > 0 && l.Sums() == 0 {
			p.warn("%s: not a list of sums in a form that is known; it stays as it is", tree.Quote(l.Name))
		}
	}
	if p.root, err = e.Apply(p.root); err != nil {
		return err
	}
	if err := p.warnForeign(ctx); err != nil {
		return err
	}
	return p.warnFollowers(ctx, all)
}

// warnForeign warns of lists of sums of digests that are not known, which name
// what changes.
func (p *Rebuild) warnForeign(ctx context.Context) error {
	return tree.Walk(ctx, p.root, func(at string, n *tree.Node) error {
		kind := checksum.Foreign(n.Name)
		if n.Type != tree.Regular || kind == "" || p.replaced[at] || n.Size > checksum.MaxList {
			return nil
		}
		text, err := tree.ReadAll(n, checksum.MaxList)
		if err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(at), err)
		}
		for changed := range p.changed {
			if strings.Contains(string(text), path.Base(changed)) {
				p.warn("%s: its sums are of a kind that is not known here (%s), and stay as they are", tree.Quote(at), kind)
				return nil
			}
		}
		return nil
	})
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
func (p *Rebuild) warnFollowers(ctx context.Context, lists []*sumlist.List) error {
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
		sig, err := sumlist.SignatureOf(p.root, at)
		if err != nil {
			return err
		}
		if sig != "" && !p.changed[sig] {
			p.warn("%s: a signature, which does not fit %s any more", tree.Quote(sig), tree.Quote(at))
			if isImage(at) {
				p.untied = at
			}
		}
		if err := p.warnTied(at); err != nil {
			return err
		}
	}
	if err := p.warnInsistence(ctx); err != nil {
		return err
	}
	return p.warnAddressed(ctx, lists)
}

// warnInsistence warns of the arguments by which a boot takes no base whose signature
// or hash tree does not fit it.
func (p *Rebuild) warnInsistence(ctx context.Context) error {
	if p.untied == "" {
		return nil
	}
	args, err := live.Insistence(ctx, p.root)
	if err == nil && len(args) > 0 {
		p.warn("a boot with these arguments does not take the new %s; take them out with "+say.RemoveArg+": %s", tree.Quote(p.untied),
			strings.Join(args, ", "))
	}
	return err
}

// imageNames are the names of bases, or their extensions.
var imageNames = []string{live.AntixBase, ".squashfs", ".sfs", ".erofs", ".img"}

// isImage reports whether a file may be a base, by its name.
func isImage(at string) bool {
	return slices.Contains(imageNames, path.Base(at)) || slices.Contains(imageNames, path.Ext(at))
}

// warnTied warns of what is tied to an image that changes and was not brought up
// to it.
func (p *Rebuild) warnTied(at string) error {
	dir, name := path.Split(at)
	if !isImage(at) {
		return nil
	}
	n, err := p.root.Lookup(strings.Trim(dir, "/"))
	if err != nil || n == nil {
		return err
	}
	kids, err := n.Children()
	if err != nil {
		return err
	}
	for _, k := range kids {
		i := slices.IndexFunc(live.Ties, func(t live.Tie) bool { return t.Sum == "" && t.Matches(name, k.Name) })
		if i < 0 || p.changed[dir+k.Name] || slices.Contains(sumlist.Signatures, strings.TrimPrefix(k.Name, name)) {
			continue
		}
		if live.Ties[i].Made() {
			p.warn("%s: it tells of the former %s; replace it, too", tree.Quote(dir+k.Name), tree.Quote(at))
		} else {
			p.warn("%s: a %s, which does not fit %s any more", tree.Quote(dir+k.Name), live.Ties[i].What, tree.Quote(at))
			p.untied = at
		}
	}
	return nil
}

// warnAddressed warns of lists with the sums of boot images that hold their
// address, where they were right: the address changes.
func (p *Rebuild) warnAddressed(ctx context.Context, lists []*sumlist.List) error {
	addressed := map[string]bool{}
	for _, b := range p.recipe.Boot {
		if b.Path != "" && (b.BootInfo || b.Grub2Info) {
			addressed[strings.Trim(b.Path, "/")] = true
		}
	}
	for _, l := range lists {
		for i, target := range l.Targets {
			if !addressed[target] {
				continue
			}
			n, err := p.root.Lookup(target)
			if err != nil {
				return err
			}
			if n == nil {
				continue
			}
			sum, err := sumlist.HashNode(ctx, n, l.Lines[i].Kind, nil)
			if err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(target), err)
			}
			if l.Lines[i].Is(sum) {
				p.warn("%s: its sum of %s will be wrong, since that file holds its own address in the image", tree.Quote(l.Name),
					tree.Quote(target))
			}
		}
	}
	return nil
}
