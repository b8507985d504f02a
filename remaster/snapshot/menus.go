package snapshot

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"relive/remaster/bootedit"
	"relive/remaster/kernel"
	"relive/remaster/live"
	"relive/remaster/menu"
	"relive/tree"
)

// menus adapts the boot menus: the volume has another name and time, persistence
// is not on an ISO, and what the command line asks for.
func (p *Plan) menus(ctx context.Context, t *template) error {
	layout := p.live.Layout.Traits().Key
	changed := 0
	b := &bootedit.Edits{
		Swaps: p.swaps,
		Menus: func(image string, changes []menu.Change) {
			for _, f := range bootedit.EscapesForGRUB(changes) {
				if image != "" {
					f = image + ":" + f
				}
				p.warn("%s", bootedit.EscapesText(f))
			}
			for _, c := range changes {
				if image != "" {
					c.File = image + ":" + c.File
				}
				if c.Left != "" {
					p.warn("%s", c)
					continue
				}
				changed++
				p.Summary.Menus = append(p.Summary.Menus, c.String())
			}
		},
		Image:   func(string, bool) {},
		Mention: func(at string, m menu.Mention) { p.warn("%s", bootedit.MentionText(at, m)) },
		Stays:   func(image string, err error) { p.warn("the menus in %s stay as they are: %v", image, err) },
	}
	p.open = append(p.open, b)
	e := &b.Edits
	e.Add, e.Remove, e.Title = p.o.AddArgs, p.o.RemoveArgs, p.o.Title
	if !p.o.KeepPersistence {
		e.Remove = slices.Concat(e.Remove, menu.Persistence(layout))
	}
	e.Remove = slices.Concat(e.Remove, p.form.Machine)
	e.Saved = menu.Saved(layout)
	if err := p.dropSigned(ctx, e, layout); err != nil {
		return err
	}
	if err := p.dropDirectories(ctx, e); err != nil {
		return err
	}
	if p.form.Values != nil {
		e.Values = p.form.Values(menu.EncodeLabel(p.recipe.VolumeID), p.uuid())
	}
	if p.form.Rename[0] != p.form.Rename[1] {
		e.Paths = map[string]string{"/" + p.form.Rename[0]: "/" + p.form.Rename[1]}
		if p.form.Rename[0] == "" {
			e.Paths = nil // names within the root that became a directory are found by init
		}
	}
	labels, err := bootedit.Labels(ctx, p.root)
	if err != nil {
		return err
	}
	uuids, err := bootedit.UUIDs(ctx, p.root)
	if err != nil {
		return err
	}
	labels, uuids = append(labels, p.volume.Label), append(uuids, p.volume.UUID)
	if t != nil {
		labels, uuids = append(labels, t.info.VolumeID), append(uuids, t.info.UUID)
	}
	e.Labels, e.UUIDs = map[string]string{}, map[string]string{}
	for _, u := range uuids {
		if u != "" {
			e.UUIDs[u] = p.uuid()
		}
	}
	for _, l := range labels {
		if l != "" && l != p.recipe.VolumeID {
			e.Labels[l] = p.recipe.VolumeID
		}
	}
	if p.root, err = b.Apply(ctx, p.root, p.root, &p.recipe); err != nil {
		return bootedit.MenuError(err)
	}
	if changed == 0 && len(p.o.AddArgs)+len(p.o.RemoveArgs) > 0 {
		p.warn("no boot menu was changed: there is none, or all have and lack what was asked for")
	}
	return nil
}

// dropSigned takes out the arguments by which a boot would not take the new base,
// which has no signature.
func (p *Plan) dropSigned(ctx context.Context, e *menu.Edits, layout string) error {
	signed := menu.Signed(layout)
	args, err := live.Insistence(ctx, p.root)
	if err != nil || len(signed) == 0 {
		return err
	}
	args = slices.DeleteFunc(args, func(text string) bool {
		_, arg, _ := strings.Cut(text, ": ")
		name, _, _ := strings.Cut(arg, "=")
		return slices.Contains(p.o.AddArgs, arg) || !slices.ContainsFunc(signed, func(pattern string) bool {
			return pattern == arg ||
				strings.TrimSuffix(pattern, "=") == name
		})
	})
	if len(args) > 0 {
		e.Remove = append(e.Remove, signed...)
		p.warn("taken out of the menus, since the new %s has no signature and a boot with them takes none without: %s",
			path.Base(p.form.Base), strings.Join(args, ", "))
	}
	return nil
}

// dropDirectories takes out the arguments that name a directory which is not the live
// system's: the ISO has no other.
func (p *Plan) dropDirectories(ctx context.Context, e *menu.Edits) error {
	dirs, err := bootedit.Directories(ctx, p.root)
	if err != nil {
		return err
	}
	for _, arg := range dirs {
		_, dir, _ := strings.Cut(arg, "=")
		if dir = strings.Trim(dir, "/"); dir != p.form.Rename[0] && dir != path.Dir(p.form.Base) {
			e.Remove = append(e.Remove, arg)
		}
	}
	return nil
}

// uuid is the identity that GRUB and libblkid make of the volume's time.
func (p *Plan) uuid() string {
	t := p.recipe.Time
	return t.Time().UTC().Format("2006-01-02-15-04-05-") + string([]byte{'0' + byte(t.Nsec/1e8), '0' + byte(t.Nsec/1e7%10)})
}

// checkKernel tells where kernel, initrd and the system's modules are of
// different versions.
func (p *Plan) checkKernel(ctx context.Context, rd kernel.Ramdisk) error {
	s := &p.Summary
	modules, err := kernel.Modules(p.base.System)
	if err != nil {
		return err
	}
	k, err := readNode(p.root, s.Kernel, func(c tree.Content) (kernel.Image, error) { return kernel.Read(ctx, c, s.Kernel) })
	if err != nil {
		if !errors.Is(err, tree.ErrUnsupported) && !errors.Is(err, tree.ErrCorrupt) {
			return err
		}
		p.warn("the version of the kernel is unknown: %v", err)
		return nil
	}
	s.Version = k.Version
	for _, w := range kernel.Check(k, rd, modules) {
		p.warn("%s", w)
	}
	return nil
}

// readNode opens a file of a tree for fn.
func readNode[T any](root *tree.Node, at string, fn func(tree.Content) (T, error)) (out T, err error) {
	n, err := root.Lookup(at)
	if err != nil {
		return out, err
	}
	c, err := n.Open()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return fn(c)
}
