package remaster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relive/iso"
	"relive/remaster/menu"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// RebuildMenuLine is a line of a boot menu that the new image has otherwise, or
// that Left tells why it stays.
type RebuildMenuLine struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Before string `json:"before"`
	After  string `json:"after"`
	Left   string `json:"left,omitempty"`
}

// bootVolume is a FAT image that firmware boots from. It may lie in the image
// several times: as a file, and again as an appended partition.
type bootVolume struct {
	paths    []string // in the tree
	appended []int    // indices of the recipe's partitions
}

// editMenus edits the menus of the image and of its EFI images, and has copies
// of an EFI image that was replaced follow it.
func (p *RebuildPlan) editMenus(ctx context.Context) error {
	volumes, err := p.bootVolumes(ctx)
	if err != nil {
		return err
	}
	edits := &menu.Edits{Add: p.o.AddArgs, Remove: p.o.RemoveArgs}
	if old := p.Summary.OldVolumeID; old != p.Summary.VolumeID && old != "" {
		edits.Labels = map[string]string{old: p.Summary.VolumeID}
	}
	asked := len(edits.Add)+len(edits.Remove)+len(edits.Labels) > 0
	if asked {
		root, changes, err := edits.Tree(ctx, p.root)
		if err != nil {
			return menuError(err)
		}
		p.root = root
		p.noteMenus("", changes)
	} else {
		edits = nil
	}
	for _, v := range volumes {
		if err := p.editVolume(ctx, v, edits); err != nil {
			return err
		}
	}
	if asked && len(p.Summary.Menus) == 0 && len(edits.Add)+len(edits.Remove) > 0 {
		p.warn("no entry of a boot menu was changed: there is none, or all have and lack what was asked for")
	}
	return nil
}

// menuError tells edits that are wrong in themselves from menus that are.
func menuError(err error) error {
	if errors.Is(err, menu.ErrEdits) {
		return &optionError{err}
	}
	return err
}

// noteMenus records changes of menus. prefix is the path of the image that they
// are in.
func (p *RebuildPlan) noteMenus(prefix string, changes []menu.Change) {
	lines := map[string]int{}
	for _, c := range changes {
		file := prefix + tree.Quote(c.File)
		p.Summary.Menus = append(p.Summary.Menus, RebuildMenuLine{file, c.Line, c.Before, c.After, c.Left})
		if c.Left != "" {
			p.warn("%s: line %d: it stays as it is: %s", file, c.Line, c.Left)
			continue
		}
		lines[c.File]++
		if prefix == "" {
			p.changed[strings.Trim(c.File, "/")] = true
		}
	}
	for _, c := range changes {
		if n := lines[c.File]; n > 0 {
			p.Summary.Changes = append(p.Summary.Changes, RebuildChange{prefix + tree.Quote(c.File), changeMenu, plural(n, "line")})
			delete(lines, c.File)
		}
	}
}

// bootVolumes finds the EFI images and their copies.
func (p *RebuildPlan) bootVolumes(ctx context.Context) ([]*bootVolume, error) {
	var out []*bootVolume
	byPath := map[string]*bootVolume{}
	for _, b := range p.recipe.Boot {
		at := strings.Trim(b.Path, "/")
		if at == "" || b.Platform != iso.PlatformEFI || byPath[at] != nil {
			continue
		}
		v := &bootVolume{paths: []string{at}}
		byPath[at] = v
		out = append(out, v)
	}
	for i, a := range p.recipe.Appended {
		twins, err := p.twinsOf(ctx, a)
		if err != nil {
			return nil, err
		}
		var v *bootVolume
		for _, at := range twins {
			if v == nil {
				v = byPath[at]
			}
		}
		if v == nil {
			v = &bootVolume{}
			out = append(out, v)
		}
		v.appended = append(v.appended, i)
		for _, at := range twins {
			if byPath[at] == nil {
				byPath[at] = v
				v.paths = append(v.paths, at)
			}
		}
	}
	return out, nil
}

// twinsOf gives the files of the old image that hold what an appended partition
// does. A partition ends with a sector, and may so have zeros more.
func (p *RebuildPlan) twinsOf(ctx context.Context, a iso.Partition) (twins []string, err error) {
	const sector = 2048
	part := &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: a.Size}, Data: a.Data}
	err = tree.Walk(ctx, p.in.Root, func(at string, n *tree.Node) error {
		if n.Type != tree.Regular || n.Size == 0 || n.Size > a.Size || a.Size-n.Size >= sector {
			return nil
		}
		same, err := sameUpTo(ctx, n, part, n.Size)
		if same {
			twins = append(twins, at)
		}
		return err
	})
	return twins, err
}

// editVolume edits the menus in an EFI image, and gives all its copies the new
// content.
func (p *RebuildPlan) editVolume(ctx context.Context, v *bootVolume, edits *menu.Edits) error {
	var n *tree.Node
	from, other := "", false
	for _, at := range v.paths {
		now, err := p.root.Lookup(at)
		if err != nil {
			return err
		}
		if now == nil || now.Type != tree.Regular {
			continue // it was removed
		}
		// One that was replaced is what the copies are to be like.
		if n == nil || p.replaced[at] && !other {
			n, from, other = now, at, p.replaced[at]
		}
	}
	name := tree.Quote(from)
	if n == nil {
		if len(v.appended) == 0 {
			return nil
		}
		a := p.recipe.Appended[v.appended[0]]
		n, name = &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: a.Size}, Data: a.Data}, fmt.Sprintf("appended partition %d", v.appended[0]+1)
	}
	data, size, changed := n.Data, n.Size, other
	if edits != nil {
		d, s, edited, err := p.rewriteVolume(ctx, n, name, edits)
		if err != nil {
			return err
		}
		if edited {
			data, size, changed = d, s, true
			p.changed[from] = true
		}
	}
	if !changed {
		return nil
	}
	return p.setVolume(v, data, size)
}

// setVolume puts the new content of an EFI image in all its places.
func (p *RebuildPlan) setVolume(v *bootVolume, data tree.Data, size int64) error {
	var e tree.Edits
	for _, at := range v.paths {
		old, err := p.root.Lookup(at)
		if err != nil {
			return err
		}
		if old == nil || old.Type != tree.Regular {
			continue
		}
		c := *old
		c.Data, c.Size, c.Inode, c.Nlink, c.Was = data, size, tree.Inode{}, 1, nil
		e.Put(at, &c)
		if !p.changed[at] {
			p.changed[at] = true
			p.note(at, changeReplaced, "as another place of the EFI image is")
		}
	}
	p.recipe.Appended = slices.Clone(p.recipe.Appended)
	for _, i := range v.appended {
		p.recipe.Appended[i].Data, p.recipe.Appended[i].Size = data, size
	}
	var err error
	p.root, err = e.Apply(p.root)
	return err
}

// rewriteVolume edits the menus in one FAT image. What cannot be edited stays
// as it is, with a warning.
func (p *RebuildPlan) rewriteVolume(ctx context.Context, n *tree.Node, name string, edits *menu.Edits) (data tree.Data, size int64, changed bool, err error) {
	c, err := n.Open()
	if err != nil {
		return nil, 0, false, fmt.Errorf("%s: %w", name, err)
	}
	p.opened = append(p.opened, c)
	if hfs, err := isHFS(newSection(c, 0, c.Size())); err != nil {
		return nil, 0, false, fmt.Errorf("%s: %w", name, err)
	} else if hfs {
		p.warn("%s: an HFS file system for Macs; menus in it stay as they are", name)
		return nil, 0, false, nil
	}
	boot := make([]byte, 512)
	if c.Size() < int64(len(boot)) || tree.ReadFull(c, boot, 0) != nil || !fat.IsFAT(boot) {
		return nil, 0, false, nil
	}
	var changes []menu.Change
	data, size, changed, err = fat.Rewrite(ctx, c, name, func(root *tree.Node) (*tree.Node, error) {
		out, ch, err := edits.Tree(ctx, root)
		changes = ch
		return out, err
	})
	if err != nil {
		if errors.Is(err, menu.ErrEdits) {
			return nil, 0, false, menuError(err)
		}
		if damage(err) {
			p.warn("the menus in it stay as they are: %v", err)
			return nil, 0, false, nil
		}
		return nil, 0, false, err
	}
	p.noteMenus(name+":", changes)
	return data, size, changed, nil
}
