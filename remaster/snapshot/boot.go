package snapshot

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/iso"
	"relive/remaster/accounts"
	"relive/remaster/bootedit"
	"relive/remaster/checksum"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sumlist"
	"relive/tree"
	"relive/tree/hostfs"
)

// template is an ISO whose boot set-up and files are taken.
type template struct {
	name   string
	root   *tree.Node // without the live system in it
	recipe iso.Recipe
	info   iso.Info
	left   []string // what cannot be taken
	sums   []*sumlist.List
}

// planMedium gathers what lies on the ISO beside the system's image, and how it
// boots.
func (p *Plan) planMedium(ctx context.Context) error {
	l, o, s := p.live, &p.o, &p.Summary
	tpl, err := p.template(ctx)
	if err != nil {
		return err
	}
	medium := live.IsMedium(l.Place, p.form.Root)
	p.volume = l.Volume(medium)
	if o.Boot == BootAuto {
		o.Boot = BootSystem
		if medium {
			o.Boot = BootMedium
		}
	}
	takes := p.form.Own
	if o.Boot == BootMedium {
		if !medium {
			return refusal.New(refusal.NoBootFiles, "give an ISO with "+say.Template+", or take boot files of packages with "+say.Boot+
				" system or "+say.Boot+
				" host", "%s: is no medium that boots: there is no directory boot, EFI or isolinux with boot files", p.form.Root)
		}
		takes = slices.Concat(takes, live.BootTakes, p.form.Whole)
	}
	mine, err := p.pickMedium(ctx, takes, medium)
	if err != nil {
		return err
	}
	own, err := p.ownKernels(mine, medium)
	if err != nil {
		return err
	}
	taken := []*tree.Node{mine}
	if own != mine {
		taken = append(taken, own)
	}
	for _, root := range taken {
		if err := p.checkTaken(ctx, root, p.live.Files.Sums, p.ownName, p.form.Root); err != nil {
			return err
		}
	}
	p.root = mine
	switch {
	case tpl != nil:
		if err := p.checkTaken(ctx, tpl.root, tpl.sums, func(at string) string { return at }, tpl.name); err != nil {
			return err
		}
		if p.root, err = laid(ctx, tpl.root, mine); err != nil {
			return err
		}
		p.recipe, p.left = tpl.recipe, tpl.left
		if err := p.holdVolume(nil); err != nil {
			return err
		}
		s.Boot = tpl.name
		for _, left := range tpl.left {
			p.warn("of %s the ISO does without %s", tpl.name, left)
		}
	default:
		if err := p.bootFiles(ctx, own); err != nil {
			return err
		}
	}
	if err := p.include(ctx); err != nil {
		return err
	}
	if err := p.kernel(ctx, own); err != nil {
		return err
	}
	read, unread, err := p.readInitrds(ctx)
	if err != nil {
		return err
	}
	if err := p.checkKernel(ctx, read[s.Initrd]); err != nil {
		return err
	}
	if why := unread[s.Initrd]; why != nil {
		p.warn("the initrd cannot be inspected: %v", why)
	}
	if err := p.texts(ctx); err != nil {
		return err
	}
	if err := p.initrds(read, len(unread) > 0); err != nil {
		return err
	}
	for _, b := range p.recipe.Boot {
		name := map[uint8]string{iso.PlatformBIOS: "BIOS", iso.PlatformEFI: "UEFI"}[b.Platform]
		if name != "" && !slices.Contains(s.Firmware, name) {
			s.Firmware = append(s.Firmware, name)
		}
	}
	if err := p.bootSums(ctx); err != nil {
		return err
	}
	return p.menus(ctx, tpl)
}

// bootSums writes the sum beside each kernel and initrd, which antiX's init
// verifies; with other layouts those that the medium has follow. See sumLists.
func (p *Plan) bootSums(ctx context.Context) error {
	if !p.live.Layout.Traits().KernelSums {
		return nil
	}
	files, err := globAll(p.root, slices.Concat(p.form.Kernels, p.form.Initrds))
	if err != nil {
		return err
	}
	var edits tree.Edits
	for _, at := range files {
		n, err := p.root.Lookup(at)
		if err != nil {
			return err
		}
		sum, err := sumlist.HashNode(ctx, n, checksum.MD5, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(at), err)
		}
		c := tree.NewFile("", 0o444, []byte(checksum.FormatLine(sum, path.Base(at))))
		c.Mtime = n.Mtime
		edits.Put(at+".md5", c)
	}
	p.root, err = edits.Apply(p.root)
	return err
}

// template opens the ISO that boot files are taken from: the one that is given,
// or the one that the live system itself lies on.
func (p *Plan) template(ctx context.Context) (*template, error) {
	l, o := p.live, &p.o
	if o.Template != "" {
		if st, err := os.Stat(o.Template); err != nil {
			return nil, refusal.Option(fmt.Errorf(say.Template+": %w", err))
		} else if st.IsDir() {
			return nil, refusal.WithHint(refusal.Option(fmt.Errorf(say.Template+" %s: is a directory", o.Template)),
				"give an ISO, as a file or on a device")
		} else if own, err := os.Stat(o.Output); err == nil && os.SameFile(st, own) {
			return nil, refusal.New(refusal.SameFile, "name another file with "+say.Output, "%s: is the template itself", o.Output)
		}
		c, err := hostfs.OpenFile(o.Template)
		if err != nil {
			return nil, err
		}
		p.open = append(p.open, c)
		img, err := iso.Open(c, c.Size(), filepath.Base(o.Template))
		if err != nil {
			return nil, refusal.WithHint(err, say.Template+" takes an ISO that boots")
		}
		return p.readTemplate(ctx, img, o.Template)
	}
	if l.Partition == nil || l.Partition.FileSystem != "iso9660" || l.Partition.Number != 0 || o.Boot != BootAuto {
		return nil, nil
	}
	// An ISO, or a stick that one was written to, boots as it did.
	section := l.Partition.Section()
	img, err := iso.Open(section, section.Size(), filepath.Base(l.Stick.Disk.Path))
	if err != nil {
		return nil, err
	}
	o.Boot = BootTemplate
	return p.readTemplate(ctx, img, l.Stick.Disk.Path)
}

// readTemplate takes the live system out of an ISO's tree.
func (p *Plan) readTemplate(ctx context.Context, img *iso.Image, name string) (*template, error) {
	t := &template{name: name, info: img.Info()}
	var err error
	if t.recipe, t.left, err = img.Replay(ctx); err != nil {
		return nil, err
	}
	if len(t.recipe.Boot) == 0 {
		return nil, refusal.New(refusal.NoBootFiles, "name another one, or take boot files of packages with "+say.Boot+" system or "+
			say.Boot+" host", "%s: does not boot: it has no boot catalogue", name)
	}
	root, err := img.Root()
	if err != nil {
		return nil, err
	}
	if t.sums, err = sumlist.Find(ctx, root); err != nil {
		return nil, err
	}
	found, err := findInTree(root, name)
	if err != nil {
		return nil, err
	}
	if found == nil {
		t.root = root
		return t, nil
	}
	if found.Layout.Name() != p.live.Layout.Name() {
		return nil, refusal.New(refusal.AnotherSystem, "name an ISO of the same kind", "%s: boots %s, and the live directory is %s", name,
			found.Layout.Name(), p.live.Layout.Name())
	}
	var edits tree.Edits
	for _, own := range append(found.Files.Together(), found.Files.Home) {
		if at := strings.Trim(strings.TrimPrefix(filepath.Join(found.Dir, own), name), "/"); own != "" {
			edits.Remove(at)
		}
	}
	for _, own := range found.Files.Stack {
		edits.Remove(strings.Trim(strings.TrimPrefix(filepath.Join(found.Dir, own), name), "/"))
	}
	// Lists of sums are made anew, for all files.
	for _, c := range found.Files.Companions {
		if c.List == nil {
			continue
		}
		at := strings.Trim(strings.TrimPrefix(filepath.Join(found.Dir, c.Name), name), "/")
		if n, err := root.Lookup(at); err != nil {
			return nil, err
		} else if n != nil {
			edits.Put(at, n)
		}
	}
	t.root, err = edits.Apply(root)
	return t, err
}

// findInTree looks for a live system in the root of a medium's tree and one
// directory below; where there is none it gives nil.
func findInTree(root *tree.Node, name string) (*live.Found, error) {
	at := live.Tree{Name: name, Root: root}
	f, err := live.FindAt(at, name, "")
	if f != nil || err != nil {
		return f, err
	}
	kids, err := root.Children()
	if err != nil {
		return nil, err
	}
	for _, k := range kids {
		if k.Type != tree.Directory {
			continue
		}
		if f, err := live.FindAt(at, filepath.Join(name, k.Name), ""); f != nil || err != nil {
			return f, err
		}
	}
	return nil, nil
}

// mediumRoot shows the medium's root. Of a directory that holds other things
// too, which come and go, nothing shows but the live directory.
func (p *Plan) mediumRoot() (*tree.Node, error) {
	l := p.live
	if p.o.Boot == BootMedium || !l.OnHost() || p.form.Root == l.Absolute() || live.IsMedium(l.Place, p.form.Root) {
		return live.PlainDirectory(l.Place, p.form.Root)
	}
	own, err := live.PlainDirectory(l.Place, l.Absolute())
	if err != nil {
		return nil, err
	}
	n := *own
	n.Name = filepath.Base(l.Absolute())
	return tree.NewDir("", 0o755, &n), nil
}

// ownKernels are the kernel and the initrd that the live directory's medium
// boots, as far as they lie in other places of it than what is taken.
func (p *Plan) ownKernels(mine *tree.Node, medium bool) (*tree.Node, error) {
	for _, patterns := range [][]string{p.form.Kernels, p.form.Initrds} {
		if found, err := globAll(mine, patterns); err != nil || len(found) > 0 {
			return mine, err
		}
	}
	if !medium || p.form.Rename[0] != p.form.Rename[1] {
		return mine, nil
	}
	root, err := p.mediumRoot()
	if err != nil {
		return nil, err
	}
	kernels, err := pick(root, slices.Concat(p.form.Kernels, p.form.Initrds), p.base.Now, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	return kernels.root, nil
}

// pickMedium takes of the medium what goes along.
func (p *Plan) pickMedium(ctx context.Context, takes []string, medium bool) (*tree.Node, error) {
	l := p.live
	dir, err := p.mediumRoot()
	if err != nil {
		return nil, err
	}
	if err := p.notWithin(p.form.Root, func(at string) bool { whole, _ := reach(takes, at); return whole }); err != nil {
		return nil, err
	}
	mine, err := pick(dir, takes, p.base.Now, func(at string) bool { return ownFile(l, p.form.Root, at) })
	if err != nil {
		return nil, err
	}
	if err := onlyFiles(ctx, p.form.Root, mine.root); err != nil {
		return nil, err
	}
	p.tellOfLeft(mine.left, medium)
	from, to := p.form.Rename[0], p.form.Rename[1]
	if from == to {
		return mine.root, nil
	}
	n, err := mine.root.Lookup(from)
	if err != nil || n == nil {
		return mine.root, err
	}
	var edits tree.Edits
	if from == "" {
		// The live directory is the root itself: its own files move below.
		kids, err := n.Children()
		if err != nil {
			return nil, err
		}
		for _, k := range kids {
			if whole, _ := reach(p.form.Own, k.Name); whole {
				edits.Remove(k.Name)
				edits.Put(tree.Join(to, k.Name), k)
			}
		}
		return edits.Apply(n)
	}
	edits.Remove(from)
	c := *n
	edits.Put(to, &c)
	return edits.Apply(mine.root)
}

// tellOfLeft tells of what stays behind on the medium, whatever boots the ISO.
func (p *Plan) tellOfLeft(left []string, medium bool) {
	own := map[string]bool{} // directories of the live system's own
	for _, pattern := range p.form.Own {
		if dir, _, below := strings.Cut(pattern, "/"); below && dir != ".disk" {
			own[strings.ReplaceAll(dir, `\`, "")] = true
		}
	}
	others := slices.Concat(live.BootTakes, p.form.Whole)
	for _, at := range left {
		dir, _, below := strings.Cut(strings.TrimSuffix(at, "/"), "/")
		switch {
		case below && own[dir]:
		case !medium:
			continue // what else lies on a disk that is no medium is not the live system's
		case p.o.Boot != BootMedium && slices.Contains(others, dir):
			continue // the ISO has others
		}
		p.Summary.Left = append(p.Summary.Left, shown(at))
	}
	for _, m := range p.form.Missed {
		var names []string
		for _, at := range left {
			if whole, _ := reach(m.Patterns, strings.TrimSuffix(at, "/")); whole && (!m.System || p.o.Accounts.Mode == accounts.Preserve) {
				names = append(names, at)
			}
		}
		switch n := len(names); {
		case n == 1:
			p.warn("%s does not come along: %s", shown(names[0]), m.Why)
		case n > 1:
			p.warn("%s and %d more do not come along: %s", shown(names[0]), n-1, m.Why)
		}
	}
}

// kernel finds the kernel and the initrd on the ISO, and puts others in their
// place where they are asked for, or where the live directory has its own and
// the template another.
func (p *Plan) kernel(ctx context.Context, mine *tree.Node) error {
	s := &p.Summary
	for _, k := range []struct {
		what, option, file string
		patterns           []string
		at                 *string
	}{
		{"kernel", say.Kernel, p.o.Kernel, p.form.Kernels, &s.Kernel},
		{"initrd", say.Initrd, p.o.Initrd, p.form.Initrds, &s.Initrd},
	} {
		found, err := globAll(p.root, k.patterns)
		if err != nil {
			return err
		}
		var own *tree.Node
		if k.file != "" {
			n, _, err := hostNode(k.file)
			if err == nil && n.Type != tree.Regular {
				err = fmt.Errorf("%s: not a regular file", k.file)
			}
			if err != nil {
				return refusal.Option(fmt.Errorf("%s: %w", k.option, err))
			}
			own = worldReadable(n)
		} else if ours, err := globAll(mine, k.patterns); err != nil {
			return err
		} else if len(ours) > 0 {
			if own, err = mine.Lookup(ours[0]); err != nil {
				return err
			}
			if i := slices.Index(found, ours[0]); i > 0 {
				found[0], found[i] = found[i], found[0]
			}
		}
		switch {
		case len(found) == 0 && own == nil:
			return refusal.New(refusal.NotFound, fmt.Sprintf("give one with %s, or an ISO that has one with "+say.Template, k.option),
				"%s: there is no %s on the medium (looked for %s)", p.live.Dir, k.what, strings.Join(k.patterns, ", "))
		case len(found) == 0:
			found = []string{strings.NewReplacer("*", "", "[0-9]", "").Replace(k.patterns[0])}
			fallthrough
		case own != nil:
			var edits tree.Edits
			was, err := p.root.Lookup(found[0])
			if err != nil {
				return err
			}
			if was != nil {
				p.swaps = append(p.swaps, bootedit.FileSwap{Was: was, Now: own})
			}
			for _, at := range found {
				// The same kernel may lie in several places.
				n, err := p.root.Lookup(at)
				if err != nil {
					return err
				}
				if n != was {
					if same, err := bootedit.SameFile(ctx, was, n); err != nil {
						return err
					} else if !same {
						continue
					}
				}
				c := *own
				edits.Put(at, &c)
			}
			if p.root, err = edits.Apply(p.root); err != nil {
				return err
			}
		}
		*k.at = found[0]
	}
	return nil
}

// globAll is globTree for several patterns, the best first, each path once.
func globAll(root *tree.Node, patterns []string) (out []string, err error) {
	for _, pattern := range patterns {
		found, err := globTree(root, pattern)
		if err != nil {
			return nil, err
		}
		for _, at := range found {
			if !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	return out, nil
}

// texts fills in the volume descriptor.
func (p *Plan) texts(ctx context.Context) error {
	r, o := &p.recipe, &p.o
	r.Time, r.Zone = p.volumeTime(), 0
	r.Created, r.Expires, r.Effective = tree.Time{}, tree.Time{}, tree.Time{}
	// Menus that cannot be edited go on finding the volume by the name it had.
	labels, err := bootedit.Labels(ctx, p.root)
	if err != nil {
		return err
	}
	labels = slices.DeleteFunc(labels, func(l string) bool { return len(l) > bootedit.MaxVolumeID })
	r.VolumeID = cmp.Or(o.VolumeID, r.VolumeID, p.volume.VolumeID(), cmp.Or(labels...), p.madeLabel())
	r.Publisher = cmp.Or(o.Publisher, r.Publisher)
	r.Preparer = cmp.Or(o.Preparer, p.env.Tool)
	r.Application = cmp.Or(o.Application, r.Application, p.live.Layout.Name())
	p.Summary.VolumeID, p.Summary.UUID = r.VolumeID, p.uuid()
	return nil
}

// madeLabel is a label of the system's id and the date of what is newest in it.
func (p *Plan) madeLabel() string {
	id, err := p.systemID()
	if err != nil {
		id = "live"
	}
	const day = "-20060102"
	if len(id) > bootedit.MaxVolumeID-len(day) {
		id = id[:bootedit.MaxVolumeID-len(day)]
	}
	return strings.ToUpper(id) + p.base.Now.Time().UTC().Format(day)
}
