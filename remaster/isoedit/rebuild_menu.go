package isoedit

import (
	"context"
	"strings"

	"relive/remaster/bootedit"
	"relive/remaster/menu"
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

// editMenus edits the menus of the image and of its EFI images, and has copies
// of an EFI image that was replaced follow it.
func (p *Rebuild) editMenus(ctx context.Context) error {
	b := &bootedit.Edits{
		Edits: menu.Edits{Add: p.o.AddArgs, Remove: p.o.RemoveArgs},
		Given: func(at string) bool { return p.replaced[at] },
		Menus: func(image string, changes []menu.Change) {
			if image != "" {
				image += ":"
			}
			p.noteMenus(image, changes)
		},
		Image: func(at string, copy bool) {
			if copy && !p.changed[at] {
				p.note(at, changeReplaced, "as another place of the EFI image is")
			}
			p.changed[at] = true
		},
	}
	b.Mention = func(image string, m menu.Mention) { p.warn("%s", bootedit.MentionText(image, m)) }
	p.opened = append(p.opened, b)
	if old := p.Summary.OldVolumeID; old != p.Summary.VolumeID && old != "" {
		b.Edits.Labels = map[string]string{old: p.Summary.VolumeID}
	}
	asked := len(b.Edits.Add)+len(b.Edits.Remove)+len(b.Edits.Labels) > 0
	b.Stays = func(_ string, err error) {
		if asked {
			p.warn("the menus in it stay as they are: %v", err)
		}
	}
	var err error
	if p.root, err = b.Apply(ctx, p.in.Root, p.root, &p.recipe); err != nil {
		return bootedit.MenuError(err)
	}
	if asked && len(p.Summary.Menus) == 0 && len(b.Edits.Add)+len(b.Edits.Remove) > 0 {
		p.warn("no entry of a boot menu was changed: there is none, or all have and lack what was asked for")
	}
	return nil
}

// noteMenus records changes of menus. prefix is the path of the image that they
// are in.
func (p *Rebuild) noteMenus(prefix string, changes []menu.Change) {
	lines := map[string]int{}
	for _, f := range bootedit.EscapesForGRUB(changes) {
		p.warn("%s", bootedit.EscapesText(prefix+tree.Quote(f)))
	}
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
