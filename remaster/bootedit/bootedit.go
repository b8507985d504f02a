package bootedit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"relive/iso"
	"relive/remaster/menu"
	"relive/remaster/refusal"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// Edits edits what boots of an ISO: the menus in its tree, and those in the
// FAT images that firmware for UEFI starts from, each with all its copies.
type Edits struct {
	Edits menu.Edits
	// Swaps are files that other ones take the place of, wherever they lie in
	// those images.
	Swaps []FileSwap
	// Given tells which files of the tree were put there on purpose: copies of an
	// EFI image become like it. Nil for none.
	Given func(at string) bool
	// Menus is told of the lines of menus that the edits are about; image is the
	// EFI image that they are in, "" for the tree.
	Menus func(image string, changes []menu.Change)
	// Image is told that an EFI image at a path has another content: its own, or
	// as a copy of another place.
	Image func(at string, copy bool)
	// Stays is told why the menus in an EFI image stay as they are.
	Stays func(image string, err error)
	// Mention is told of lines that name a volume as it was called before, in a place
	// or a form that is not edited; image is as for menus.
	Mention func(image string, m menu.Mention)
	open    tree.Closers
}

// FileSwap is a file and the one that takes its place.
type FileSwap struct{ Was, Now *tree.Node }

// bootVolume is a FAT image that firmware boots from. It may lie in the ISO
// several times: as a file, and again as an appended partition.
type bootVolume struct {
	paths    []string // in the tree
	hidden   []int    // indices of the recipe's boot images that have no name
	appended []int    // indices of the recipe's partitions
}

// Close closes what edited images read from.
func (b *Edits) Close() error { return b.open.Close() }

// Apply edits a tree and the images that the recipe boots. former is the tree in
// which the copies of appended partitions are. What is opened stays so until
// Close, since the edited images read from it.
func (b *Edits) Apply(ctx context.Context, former, root *tree.Node, r *iso.Recipe) (*tree.Node, error) {
	volumes, err := bootVolumes(ctx, former, r)
	if err != nil {
		return nil, err
	}
	root, changes, err := b.Edits.Tree(ctx, root)
	if err != nil {
		return nil, err
	}
	b.Menus("", changes)
	if err := b.mentions(ctx, "", root, changes); err != nil {
		return nil, err
	}
	r.Appended, r.Boot = slices.Clone(r.Appended), slices.Clone(r.Boot)
	for _, v := range volumes {
		if root, err = b.volume(ctx, v, root, r); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// bootVolumes finds the EFI images and their copies.
func bootVolumes(ctx context.Context, root *tree.Node, r *iso.Recipe) ([]*bootVolume, error) {
	var out []*bootVolume
	byPath := map[string]*bootVolume{}
	for i, b := range r.Boot {
		at := strings.Trim(b.Path, "/")
		if at == "" && b.Hidden != nil && b.Platform == iso.PlatformEFI {
			out = append(out, &bootVolume{hidden: []int{i}})
		}
		if at == "" || b.Platform != iso.PlatformEFI || byPath[at] != nil {
			continue
		}
		v := &bootVolume{paths: []string{at}}
		byPath[at] = v
		out = append(out, v)
	}
	for i, a := range r.Appended {
		twins, err := twinsOf(ctx, root, a)
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

// twinsOf returns the files of a tree that hold what an appended partition does. A
// partition ends with a sector, and may so have zeros more.
func twinsOf(ctx context.Context, root *tree.Node, a iso.Partition) (twins []string, err error) {
	const sector = 2048
	part := partitionNode(a)
	err = tree.Walk(ctx, root, func(at string, n *tree.Node) error {
		if n.Type != tree.Regular || n.Data == nil || n.Size == 0 || n.Size > a.Size || a.Size-n.Size >= sector {
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

// partitionNode shows an appended partition as a file.
func partitionNode(a iso.Partition) *tree.Node {
	return &tree.Node{Meta: tree.Meta{Type: tree.Regular, Size: a.Size}, Data: a.Data}
}

// volume edits the menus in an EFI image, and gives all its copies the new
// content.
func (b *Edits) volume(ctx context.Context, v *bootVolume, root *tree.Node, r *iso.Recipe) (*tree.Node, error) {
	var n *tree.Node
	from, changed := "", false
	for _, at := range v.paths {
		now, err := root.Lookup(at)
		if err != nil {
			return nil, err
		}
		if now == nil || now.Type != tree.Regular {
			continue // it was removed
		}
		// One that was given is what the copies are to be like.
		given := b.Given != nil && b.Given(at)
		if n == nil || given && !changed {
			n, from, changed = now, at, given
		}
	}
	name := tree.Quote(from)
	switch {
	case n != nil:
	case len(v.hidden) > 0:
		b := &r.Boot[v.hidden[0]]
		n, name = partitionNode(iso.Partition{Data: b.Hidden, Size: b.Size}), fmt.Sprintf("boot image %d", v.hidden[0]+1)
	case len(v.appended) > 0:
		n, name = partitionNode(r.Appended[v.appended[0]]), fmt.Sprintf("appended partition %d", v.appended[0]+1)
	default:
		return root, nil
	}
	data, size, edited, err := b.rewrite(ctx, n, name)
	if err != nil || !edited && !changed {
		return root, err
	}
	if edited && from != "" {
		b.Image(from, false)
	}
	var e tree.Edits
	for _, at := range v.paths {
		old, err := root.Lookup(at)
		if err != nil {
			return nil, err
		}
		if old == nil || old.Type != tree.Regular {
			continue
		}
		c := *old
		c.Data, c.Size, c.Inode, c.Nlink, c.Was = data, size, tree.Inode{}, 1, nil
		e.Put(at, &c)
		if at != from {
			b.Image(at, true)
		}
	}
	for _, i := range v.hidden {
		r.Boot[i].Hidden, r.Boot[i].Size = data, size
	}
	for _, i := range v.appended {
		r.Appended[i].Data, r.Appended[i].Size = data, size
	}
	return e.Apply(root)
}

// rewrite edits one FAT image. What cannot be edited stays as it is.
func (b *Edits) rewrite(ctx context.Context, n *tree.Node, name string) (data tree.Data, size int64, changed bool, err error) {
	c, err := n.Open()
	if err != nil {
		return nil, 0, false, fmt.Errorf("%s: %w", name, err)
	}
	b.open = append(b.open, c)
	boot := make([]byte, 512)
	if c.Size() < int64(len(boot)) {
		return n.Data, n.Size, false, nil
	}
	if err := tree.ReadFull(c, boot, 0); err != nil {
		return nil, 0, false, fmt.Errorf("%s: %w", name, err)
	}
	if hfs, err := IsHFS(NewSection(c, 0, c.Size())); err != nil {
		return nil, 0, false, fmt.Errorf("%s: %w", name, err)
	} else if hfs {
		b.Stays(name, fmt.Errorf("%s: an HFS file system for Macs", name))
		return n.Data, n.Size, false, nil
	}
	if !fat.IsFAT(boot) {
		return n.Data, n.Size, false, nil // an appended partition may hold anything
	}
	var changes []menu.Change
	var edited *tree.Node
	data, size, changed, err = fat.Rewrite(ctx, c, name, func(root *tree.Node) (*tree.Node, error) {
		out, ch, err := b.Edits.Tree(ctx, root)
		if err != nil {
			return nil, err
		}
		changes, edited = ch, out
		return b.swap(ctx, out)
	})
	switch {
	case err == nil:
		b.Menus(name, changes)
		if err := b.mentions(ctx, name, edited, changes); err != nil {
			return nil, 0, false, err
		}
		if !changed {
			data, size = n.Data, n.Size
		}
		return data, size, changed, nil
	case tree.IsDamage(err):
		b.Stays(name, err)
		return n.Data, n.Size, false, nil
	}
	return nil, 0, false, err
}

// mentions tells of lines that name a volume as it was called before, but for
// those that changes tell of.
func (b *Edits) mentions(ctx context.Context, image string, root *tree.Node, changes []menu.Change) error {
	former := func(names map[string]string) (out []string) {
		for old, now := range names {
			if !strings.EqualFold(old, now) {
				out = append(out, old)
			}
		}
		slices.Sort(out)
		return out
	}
	found, err := menu.Mentions(ctx, root, former(b.Edits.Labels), former(b.Edits.UUIDs))
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, c := range changes {
		if c.Left != "" {
			told[fmt.Sprint(strings.Trim(c.File, "/"), ":", c.Line)] = true
		}
	}
	for _, m := range found {
		if !told[fmt.Sprint(m.File, ":", m.Line)] && !b.namesNew(m.Text) {
			b.Mention(image, m)
		}
	}
	return nil
}

// namesNew reports whether a line has the new name of a volume, which may hold the
// old one.
func (b *Edits) namesNew(line string) bool {
	for old, now := range b.Edits.Labels {
		if strings.Contains(now, old) && (strings.Contains(line, now) || strings.Contains(line, menu.EncodeLabel(now))) {
			return true
		}
	}
	return false
}

// MentionText tells a person of a line that names a volume as it was called.
func MentionText(image string, m menu.Mention) string {
	if image != "" {
		image += ":"
	}
	return fmt.Sprintf("%s%s: line %d names the volume as it was called before, and stays as it is: %q", image, tree.Quote(m.File), m.Line,
		strings.TrimSpace(m.Text))
}

// EscapesForGRUB names the menus of GRUB in which an argument has got \xNN that had
// none: Fedora's GRUB hands that on, the others write two backslashes.
func EscapesForGRUB(changes []menu.Change) (files []string) {
	for _, c := range changes {
		kind, _ := menu.KindOf(c.File, []byte(c.After))
		if kind == menu.GRUB && c.Left == "" && strings.Contains(c.After, `\x`) && !strings.Contains(c.Before, `\x`) &&
			!slices.Contains(files, c.File) {
			files = append(files, c.File)
		}
	}
	return files
}

// EscapesText tells a person of such a menu.
func EscapesText(file string) string {
	return file + `: the new name of the volume has signs that a kernel argument tells as \xNN, which GRUB hands on as \\xNN ` +
		`unless it is that of Fedora, RHEL or their kin, so that the entry finds no volume; ` +
		`a name of letters, digits, "-", "_" and "." has none`
}

// swap puts files in the place of others of the same content.
func (b *Edits) swap(ctx context.Context, root *tree.Node) (*tree.Node, error) {
	if len(b.Swaps) == 0 {
		return root, nil
	}
	var edits tree.Edits
	err := tree.Walk(ctx, root, func(at string, n *tree.Node) error {
		for _, s := range b.Swaps {
			if n.Type != tree.Regular {
				continue
			}
			if same, err := SameFile(ctx, s.Was, n); err != nil {
				return err
			} else if same {
				c := *n
				c.Data, c.Size = s.Now.Data, s.Now.Size
				edits.Put(at, &c)
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return edits.Apply(root)
}

// MenuError tells edits that are wrong in themselves from menus that are.
func MenuError(err error) error {
	if errors.Is(err, menu.ErrEdits) {
		return refusal.Option(err)
	}
	return err
}

// Labels are the labels that menus look for the live system's volume by, in
// the order of the menus.
func Labels(ctx context.Context, root *tree.Node) (labels []string, err error) {
	return bootNames(ctx, root, []string{"root=live:CDLABEL=", "root=live:LABEL=", "archisolabel=", "blab="}, menu.DecodeLabel)
}

// UUIDs are the same for identities.
func UUIDs(ctx context.Context, root *tree.Node) (uuids []string, err error) {
	return bootNames(ctx, root, []string{"root=live:UUID=", "archisosearchuuid=", "buuid=", "bootuuid="}, strings.ToLower)
}

// Directories are the arguments by which menus of antiX and MX name the directory of
// the live system, as they stand there.
func Directories(ctx context.Context, root *tree.Node) (args []string, err error) {
	for _, name := range []string{"bdir=", "bootdir="} {
		values, err := bootNames(ctx, root, []string{name}, func(s string) string { return s })
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			args = append(args, name+v)
		}
	}
	return args, nil
}

// bootNames are the values of arguments with those prefixes.
func bootNames(ctx context.Context, root *tree.Node, prefixes []string, clean func(string) string) (out []string, err error) {
	files, err := menu.Files(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.Err != nil {
			continue // the edits tell of it
		}
		entries, err := menu.Read(f.Kind, f.Path, f.Text)
		if err != nil {
			continue
		}
		for _, e := range entries {
			// With these dracut takes root= for root=live: (parse-dmsquash-live.sh).
			live := slices.Contains(e.Args, "rd.live.image") || slices.Contains(e.Args, "liveimg")
			for _, a := range e.Args {
				if root, ok := strings.CutPrefix(a, "root="); ok && live && !strings.HasPrefix(root, "live:") {
					a = "root=live:" + root
				}
				for _, prefix := range prefixes {
					if name, ok := strings.CutPrefix(a, prefix); ok && name != "" && !strings.Contains(name, "$") {
						if name = clean(name); !slices.Contains(out, name) {
							out = append(out, name)
						}
					}
				}
			}
		}
	}
	return out, nil
}
