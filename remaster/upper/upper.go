package upper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"relive/extfs"
	"relive/extfs/mkfs"
	"relive/overlay"
	"relive/remaster/bootable"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/tree"
)

// Options say how an overlay is made anew.
type Options struct {
	// Size is that of the new image in bytes, 0 for that of the present one.
	Size int64
	// Grow makes the image larger where the new layer does not fit.
	Grow bool
	// KeepOld is how many former overlays are kept beside the new one.
	KeepOld int
	// Restamp gives an antiX rootfs the version id of its base, whatever it has.
	// Otherwise it keeps its own, and gets that of the base where it has none.
	Restamp bool
	// DropHidden leaves out what a layer holds below a directory that another
	// union lies over, where no boot shows it. Otherwise it stays.
	DropHidden bool
	// Force goes on where the version ids do not match.
	Force bool
	// Lower is the base that the layer is to lie over, nil for the present one.
	// The plan is then one of parts for another transaction, which replaces the
	// base as well.
	Lower *tree.Node
}

// Plan is what it takes to make an overlay show another tree.
type Plan struct {
	Live *live.Live
	Env  *job.Env
	Verb string
	want *tree.Node
	// layer is the very layer that is to be made, nil for the least one that shows
	// want.
	layer *tree.Node
	O     Options
	now   tree.Time
	// Made are the layers, and parts what is made of them, in the order in which it
	// is put in place.
	Made  []newLayer
	Parts []replace.Part

	Summary Summary
}

// Summary is the part of a plan that is shown.
type Summary struct {
	Overlay  string   `json:"overlay"`            // its name in the live directory
	OldSize  int64    `json:"old_size,omitempty"` // of the image, in bytes; 0 for a directory
	Size     int64    `json:"size,omitempty"`
	Before   Fill     `json:"before"`
	After    Fill     `json:"after"`
	KeepOld  int      `json:"keep_old"`
	Need     int64    `json:"space_needed"`
	Free     int64    `json:"space_free"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
}

// Fill tells how full an overlay is. What is free of a directory is not told: it
// is what the disk has.
type Fill struct {
	Bytes      int64 `json:"bytes"` // in use, of an image with journal and tables
	FreeBytes  int64 `json:"free_bytes,omitempty"`
	Inodes     int64 `json:"inodes"`
	FreeInodes int64 `json:"free_inodes,omitempty"`
}

// New looks at everything that showing want over the base depends on,
// and decides how the overlay is made anew. It changes nothing. What makes it
// unsafe is a Refusal. verb is what the journal is to tell of.
//
// want is a tree like l.Merged, of which its nodes may be: attributes of nested
// overlays are escaped. Its root's metadata become those of the layer.
func New(ctx context.Context, e *job.Env, l *live.Live, verb string, want *tree.Node, o Options) (*Plan, error) {
	return planned(ctx, l, e, verb, want, nil, o)
}

// planned does as PlanRelayer, or planLayer where there is a layer.
func planned(ctx context.Context, l *live.Live, e *job.Env, verb string, want, layer *tree.Node, o Options) (*Plan, error) {
	p := &Plan{Live: l, Env: e, Verb: verb, want: want, layer: layer, O: o}
	p.Summary = Summary{KeepOld: o.KeepOld, Steps: []string{}, Warnings: []string{}}
	if err := p.CheckState(ctx); err != nil {
		return nil, err
	}
	lost, err := bootable.CheckBoots(ctx, l, l.Merged, want, l, o.Force)
	if err != nil {
		return nil, err
	}
	p.Summary.Warnings = append(p.Summary.Warnings, lost...)
	p.Summary.Overlay = l.Rel(l.Overlay.Path)
	_, newest, err := l.State(ctx)
	if err != nil {
		return nil, err
	}
	p.now = e.ImageTime(newest)
	if err := p.stamp(); err != nil {
		return nil, err
	}
	layers, err := p.layers(ctx)
	if err != nil {
		return nil, err
	}
	p.Made = layers
	if err := p.warnFlags(ctx, layers); err != nil {
		return nil, err
	}
	if l.Overlay.Image != nil {
		err = p.planImage(ctx, layers)
	} else {
		err = p.planDirectories(ctx, layers)
	}
	if err != nil || o.Lower != nil {
		return p, err
	}
	return p, p.Finish()
}

// Finish decides the steps, once it is known what is made.
func (p *Plan) Finish() error {
	if err := p.checkSpace(); err != nil {
		return err
	}
	steps, err := p.steps(p.placeholders())
	if err == nil {
		p.Summary.Steps, err = replace.ShowSteps(p.Live.Dir, steps)
	}
	return err
}

// Warn notes what a person should know.
func (p *Plan) Warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

// CheckPlace refuses what is no overlay that a boot uses and that can be
// replaced.
func (p *Plan) CheckPlace() error {
	l := p.Live
	o := l.Overlay
	if err := l.RefuseOnStick(""); err != nil {
		return err
	}
	switch {
	case o == nil:
		return refusal.New(refusal.NotFound, "boot once with persistence, so that there is one", "%s: there is no overlay", l.Dir)
	case o.Upper == nil && o.Image == nil && o.COW == nil && len(o.UnionLayers) == 0, len(o.Kept) > 0 && len(o.UnionLayers) == 0:
		return refusal.New(refusal.NotFound, "write a persistence.conf with a line like: / union",
			"%s: no layer of it lies over the system", o.Path)
	}
	return nil
}

// CheckState refuses what cannot be made anew as it is.
func (p *Plan) CheckState(ctx context.Context) error {
	l := p.Live
	if err := p.CheckPlace(); err != nil {
		return err
	}
	switch o := l.Overlay; {
	case o.COW != nil:
		return refusal.New(refusal.UnsupportedForm, l.FilesHint(),
			"%s: is a device-mapper snapshot, which holds chunks of a file system and no files, so that files cannot be put into it",
			o.Path)
	case o.Form == live.FormAufs && (o.ByConf || o.AtRoot || o.Image == nil):
		return refusal.New(refusal.UnsupportedForm, say.Compact+" folds it in", "%s: is a layer of aufs, and new ones are made for antiX "+
			"alone", o.Path)
	case o.Image == nil && o.COW == nil && os.Geteuid() != 0:
		return refusal.New(refusal.NotPermitted, "run it as root", "%s: is a directory, and only root can give files the owners and "+
			"attributes that a layer has", o.Path)
	}
	if err := l.Check(ctx, p.Env, live.Intent{Force: p.O.Force}); err != nil {
		return err
	}
	if p.layer == nil { // of which the present overlay would be no part
		warnings, err := l.OverlayWarnings()
		if err != nil {
			return err
		}
		p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	}
	return p.Live.RefuseInUse("", p.Live.OverlayPaths()...)
}

// stamp puts the version id that a boot looks for into what antiX's rootfs is to
// show.
func (p *Plan) stamp() error {
	l := p.Live
	if !l.Layout.Traits().VersionIDs || p.layer != nil {
		return nil
	}
	var was *tree.Node
	var err error
	if !p.O.Restamp {
		if was, err = l.Merged.Lookup(live.RootVIDFile); err != nil {
			return err
		}
	}
	if was == nil || was.Type != tree.Regular {
		base := l.Base.Root
		if p.O.Lower != nil {
			base = p.O.Lower
		}
		text, err := live.ReadVersionFile(base, live.BaseVIDFile)
		if err != nil {
			return fmt.Errorf("%s: %w", l.Base.Path, err)
		}
		if text == "" {
			return nil
		}
		was = tree.NewFile("", 0o644, []byte(text))
		was.Mtime = p.now
	}
	var edits tree.Edits
	edits.Put(live.RootVIDFile, was)
	p.want, err = edits.Apply(p.want)
	return err
}

// newLayer is a layer and where it belongs.
type newLayer struct {
	live.UnionLayer
	lower, want *tree.Node
	Root        *tree.Node // of the new layer
}

// form is how the layers mark what they hide.
func (p *Plan) form() overlay.Form {
	if p.Live.Overlay.Form == live.FormAufs {
		return overlay.Aufs
	}
	return overlay.OverlayFS
}

// flagForm is how the layers hold what chattr sets. Files of a directory of the
// host that are immutable themselves could not be set aside or removed.
func (p *Plan) flagForm() overlay.FlagForm {
	if p.Live.Overlay.Image == nil {
		return overlay.FlagsMarked
	}
	return overlay.FlagsKept
}

// shownFlags are the flags that a new layer must show.
func (p *Plan) shownFlags() tree.Flags {
	switch {
	case p.Live.Overlay.Image != nil:
		return extfs.KeptFlags
	case p.form() == overlay.OverlayFS:
		return tree.FlagImmutable | tree.FlagAppend
	}
	return 0
}

// layers makes the layer of each union, the outer ones first.
func (p *Plan) layers(ctx context.Context) ([]newLayer, error) {
	if p.layer != nil {
		return p.given(ctx, p.layer)
	}
	out, err := p.shares(ctx)
	if err != nil {
		return nil, err
	}
	p.Env.Phase("comparing with the base", 0)
	for i := range out {
		n := &out[i]
		// Marks of a nested overlay in the base are no part of either tree; see
		// live.Live.lay for their form.
		n.Root, err = overlay.Difference(ctx, n.lower, n.want, overlay.DifferenceOptions{
			Form: p.form(), Namespace: overlay.Trusted, Origins: true, Escaped: true, TrustInode: true,
			Plain: p.Live.Layout.Traits().CopiesPlain, Flags: p.flagForm()})
		if err != nil {
			return nil, fmt.Errorf("the new layer of %s: %w", p.Live.Overlay.Name(), err)
		}
	}
	return out, nil
}

// placeholders stand for the temporary files in a plan that is shown.
func (p *Plan) placeholders() map[string]string { return replace.Placeholders(p.targets()...) }

// checkSpace refuses where the new overlay cannot fit on the disk.
func (p *Plan) checkSpace() (err error) {
	s := &p.Summary
	r := replace.Room{Dir: p.Live.Dir, Old: live.OldName(s.Overlay, 1), More: "use a larger disk", Less: "choose a smaller size"}
	for _, part := range p.Parts {
		if err := r.Add(part.Target, part.Need, s.Size); err != nil {
			return err
		}
	}
	s.Need = r.Sum()
	s.Free, err = r.Check()
	return err
}

// Run does what the plan says.
func (p *Plan) Run(ctx context.Context) error {
	if p.O.Lower != nil {
		return errors.New("a layer for another base is put in place together with that")
	}
	return refusal.DiskFull(p.run(ctx), refusal.NothingChanged, "", "")
}

func (p *Plan) run(ctx context.Context) error {
	x := replace.Exchange{
		Env: p.Env, Live: p.Live, Verb: p.Verb, Parts: p.Parts, Steps: p.steps, Placing: "putting the new overlay in place",
		Free: func() error { return p.Live.RefuseInUse("", p.Live.OverlayPaths()...) },
	}
	return x.Run(ctx, p.placeholders())
}

// planImage plans the image that takes the place of the present one.
func (p *Plan) planImage(ctx context.Context, layers []newLayer) error {
	l, s := p.Live, &p.Summary
	o := l.Overlay
	root, err := p.imageTree(layers)
	if err != nil {
		return err
	}
	f, err := replace.NewImage(o.Name(), o.Image.FS, root, p.now)
	if err != nil {
		return err
	}
	p.Summary.Warnings = append(p.Summary.Warnings, f.Losses()...)
	// Inodes of 128 bytes hold no nanoseconds, and the new tree may have some.
	f.Options.InodeSize = max(f.Options.InodeSize, 256)
	info := o.Image.FS.Info()
	s.OldSize, s.Before = o.Image.Size, FillOfImage(o.Image)
	if p.O.Size != 0 {
		f.Options = ResizedOptions(f.Options, info, p.O.Size)
	}
	p.Env.Phase("measuring", 0)
	needs, err := mkfs.Measure(ctx, root, f.Options)
	if err == nil && !needs.Fits && p.O.Grow {
		f.Options, needs, err = Grown(ctx, root, f.Options, info)
	}
	if err != nil {
		return fmt.Errorf("the new %s: %w", o.Name(), err)
	}
	if !needs.Fits {
		return p.tooSmall(needs, f.Options.Size)
	}
	s.Size = f.Options.Size
	free := int64(needs.FreeBlocks-needs.Blocks) * int64(needs.BlockSize)
	s.After = Fill{Bytes: s.Size - free, FreeBytes: free, Inodes: int64(needs.Inodes), FreeInodes: int64(needs.FreeInodes - needs.Inodes)}
	if holes, err := f.WillHaveHoles(o.Image); err != nil {
		return err
	} else if holes != "" && l.ToRAM == "" {
		p.Warn("%s", holes)
	}
	need := s.Size
	if sparse, err := hostdisk.HoldsHoles(filepath.Dir(o.Path)); err == nil && sparse &&
		(l.ToRAM == "" || o.Image.Allocated < o.Image.Size) {
		need = min(s.Size, s.After.Bytes)
	}
	p.Parts = []replace.Part{{Target: l.Files.Overlay[0], Need: need, Make: func(ctx context.Context, path string) error {
		if err := f.Build(ctx, path, o.Path); err != nil {
			return err
		}
		if err := f.Check(ctx, path); err != nil {
			return err
		}
		return p.checkImage(ctx, path, layers)
	}}}
	return nil
}

// FillOfImage tells how full an image is.
func FillOfImage(i *live.Image) Fill {
	info := i.FS.Info()
	free := info.FreeBlocks * info.BlockSize
	return Fill{Bytes: i.Size - free, FreeBytes: free, Inodes: info.Inodes - info.FreeInodes, FreeInodes: info.FreeInodes}
}

// tooSmall is the refusal of a tree that does not fit into the image.
func (p *Plan) tooSmall(n mkfs.Needs, size int64) error {
	hint := say.Grow + " makes it larger"
	if n.MinSize > 0 {
		hint += fmt.Sprintf(": it takes at least %s", bytesize.Format(n.MinSize))
	}
	if n.Inodes > n.FreeInodes {
		return refusal.New(refusal.WrongSize, hint, "%s: the new one would hold %d files, and an image of %s like this one has room for %d",
			p.Live.Overlay.Path, n.Inodes, bytesize.Format(size), n.FreeInodes)
	}
	unit := int64(n.BlockSize)
	return refusal.New(refusal.WrongSize, hint, "%s: the new one would hold %s, and an image of %s like this one has room for %s",
		p.Live.Overlay.Path, bytesize.Format(int64(n.Blocks)*unit), bytesize.Format(size), bytesize.Format(int64(n.FreeBlocks)*unit))
}

// imageTree is the tree of the new image: the layers, and all else as it is.
func (p *Plan) imageTree(layers []newLayer) (*tree.Node, error) {
	o := p.Live.Overlay
	if o.Form == live.FormAufs {
		return layers[0].Root, nil
	}
	root, err := o.Image.FS.Root()
	if err != nil {
		return nil, err
	}
	var works []string
	var edits tree.Edits
	for _, n := range layers {
		works = append(works, n.Work)
		edits.Put(n.Upper, n.Root)
	}
	if root, err = replace.EmptyAt(root, p.now, works...); err != nil {
		return nil, err
	}
	return edits.Apply(root)
}

// ResizedOptions are those of an image of another size: with as many inodes and
// reserved blocks in proportion.
func ResizedOptions(o mkfs.Options, like extfs.Info, size int64) mkfs.Options {
	o.ReservedPercent, o.ReservedBlocks = -1, 0
	if like.ReservedBlocks > 0 {
		o.ReservedPercent = min(50, 100*float64(like.ReservedBlocks)/float64(like.Blocks))
	}
	o.BytesPerInode = min(max(1024, like.Blocks*like.BlockSize/max(1, like.Inodes)), 64<<20)
	o.Inodes, o.Size = 0, size
	return o
}

// Grown returns the options of an image like another that the tree fits into, with
// a quarter of its size and a little more to spare.
func Grown(ctx context.Context, root *tree.Node, o mkfs.Options, like extfs.Info) (mkfs.Options, mkfs.Needs, error) {
	const unit = 1 << 20
	smallest := ResizedOptions(o, like, 0)
	smallest.BlockSize = int(min(like.BlockSize, replace.MaxBuiltBlock))
	n, err := mkfs.Measure(ctx, root, smallest)
	if err != nil {
		return o, n, err
	}
	size := max(o.Size, n.MinSize+n.MinSize/4+4*unit)
	smallest.Size = (size + unit - 1) / unit * unit
	n, err = mkfs.Measure(ctx, root, smallest)
	return smallest, n, err
}

// checkImage compares what the new image shows over the base with what it is to
// show. That its files hold what they should is known already.
func (p *Plan) checkImage(ctx context.Context, path string, layers []newLayer) error {
	root, img, err := live.OpenRoot(path)
	if err != nil {
		return err
	}
	defer img.Close()
	for _, n := range layers {
		var at *tree.Node
		if p.Live.Overlay.Form == live.FormAufs {
			var edits tree.Edits
			edits.Remove("lost+found")
			at, err = edits.Apply(root)
		} else {
			at, err = live.DirectoryAt(root, n.Upper)
		}
		if err != nil {
			return err
		}
		if err := p.checkShown(ctx, path, at, n); err != nil {
			return err
		}
	}
	return nil
}

// checkShown compares what a layer shows over its base with what it is to show.
func (p *Plan) checkShown(ctx context.Context, path string, layer *tree.Node, n newLayer) error {
	if layer == nil {
		return fmt.Errorf("%s: %w: %s is missing", path, readback.Err, n.Upper)
	}
	form := p.form()
	merged, err := overlay.Merge([]overlay.Layer{{Root: layer, Form: form, Namespace: overlay.Trusted}, {Root: n.lower}},
		overlay.KeepEscaped())
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, readback.Err, err)
	}
	f := &readback.Findings{What: path}
	o := tree.CompareOptions{TrustInode: true, Links: true, Flags: p.shownFlags(), SameContent: func(string, *tree.Node, *tree.Node) (bool,
		error) {
		return true, nil
	}}
	if form == overlay.OverlayFS {
		o.IgnoreXattr = overlay.IsBareMark
	}
	err = tree.Compare(ctx, n.want, merged.Root(), o, func(c tree.Change) error {
		if form == overlay.OverlayFS && (overlay.IsWhiteout(c.A) && c.B == nil || c.A == nil && overlay.IsWhiteout(c.B)) {
			return nil // of a nested overlay in the base, which a mount does not show
		}
		return f.Add(c)
	})
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, readback.Err, err)
	}
	return f.Err()
}
