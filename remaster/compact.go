package remaster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"relive/remaster/accounts"
	"relive/remaster/exclude"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
)

// CompactOptions say how a live directory is compacted.
type CompactOptions struct {
	// Codec is the compressor, nil for that of the base with its options.
	Codec *codec.ID
	// Level is the compressor's level, 0 for the base's or its default.
	Level int
	// BlockSize in bytes, 0 for the base's.
	BlockSize int
	// Excludes leave paths out of the new base.
	Excludes []exclude.Rule
	// AllowUnmatched goes on where an exclude matches nothing.
	AllowUnmatched bool
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
	// NoReset keeps the overlay as it is, stamped for the new base.
	NoReset bool
	// Stage leaves the new files for the next boot to take up.
	Stage bool
	// Output, where not empty, is a file that the new base is written to, and
	// nothing else is changed.
	Output string
	// Force goes on where the version ids do not match, and replaces Output.
	Force bool
	// Image, where not empty, is a file that the merged file system image is
	// written to, not compressed, and nothing else is changed.
	Image string
	// Flatten writes the system's files themselves where the base holds them in
	// a file system image.
	Flatten bool
	// KeepFree keeps what is free in a file system image as it is.
	KeepFree bool
	// FullVerify decodes all of the new base, also what was copied as stored.
	FullVerify bool
}

// MaxKeepOld is the most former states that can be kept.
const MaxKeepOld = 99

// CompactPlan is what a compaction will do.
type CompactPlan struct {
	live   *Live
	env    *Env
	o      CompactOptions
	system *tree.Node // of the new base
	make   maker
	// resets take the place of the overlay; none where it stays or there is none.
	resets []part
	// more are further files that are made and put in place after the base and
	// its companions.
	more []string
	// companions are what is made anew of what tells of the base and of more; void
	// is what is set aside. facts are what companions tell of the new system.
	companions []companion
	void       []string
	facts      baseFacts
	// shown is what the new base shows.
	shown *tree.Node
	check *sourceCheck
	rules []exclude.RuleCount
	// apart: the new base and the old overlay do not show what they are to
	// together, so that the overlay is set aside before the base is replaced. A
	// boot in between shows the old base alone, and one after it the new.
	apart bool
	// emptied are layers that stay, in which marks that would lead to other files
	// of the new base are emptied before it is put in place.
	emptied []markedLayer
	// forISO is not nil where the new base is a file of a snapshot ISO.
	forISO *isoSystem
	// touched: the system differs from what base and overlay show.
	touched bool
	// state is the hash of the overlay's state, now the time that all that is
	// made carries.
	state []byte
	now   tree.Time
	// version is the text of antiX's version files.
	version []byte

	Summary PlanSummary
}

// PlanSummary is the part of a plan that is shown.
type PlanSummary struct {
	Dir       string `json:"dir"`
	Layout    string `json:"layout"`
	Mode      string `json:"mode"` // "swap", "stage", "output" or "image"
	Form      string `json:"form"` // of the new base: "squashfs", "nested" or "ext"
	Output    string `json:"output,omitempty"`
	KeepOld   int    `json:"keep_old"` // former states that are there afterwards, at most
	Codec     string `json:"codec"`
	Library   string `json:"codec_library"` // that compresses, with its version; "" where nothing is
	BlockSize int    `json:"block_size"`
	VID       string `json:"vid,omitempty"`
	Inodes    uint64 `json:"inodes"`
	Bytes     int64  `json:"bytes"`
	Reused    uint64 `json:"files_reused"`
	Mixed     uint64 `json:"files_partly_reused"`
	Duplicate uint64 `json:"files_duplicate"`
	Copy      int64  `json:"bytes_to_copy"`
	Compress  int64  `json:"bytes_to_compress"`
	Repacked  int    `json:"fragment_blocks_repacked"`
	Dead      int64  `json:"dead_bytes_kept"`
	Freed     int64  `json:"bytes_free_left_out"` // of a file system image inside, in whole blocks of the base
	Estimate  int64  `json:"size_estimate"`
	Need      int64  `json:"space_needed"`
	Free      int64  `json:"space_free"`
	Excluded  int64  `json:"excluded_entries"`
	// Sums are those by which the base is checked while it is copied.
	Sums     []SumSource `json:"sums"`
	Steps    []string    `json:"steps"`
	Warnings []string    `json:"warnings"`
	// Standing: there is nothing to fold in and no other work was asked for, so
	// that nothing is written. Nothing tells why.
	Standing
	Nothing string `json:"nothing,omitempty"`
}

// CompactResult is what a compaction did.
type CompactResult struct {
	Plan     PlanSummary `json:"plan"`
	OldSize  int64       `json:"old_size"`
	NewSize  int64       `json:"new_size"`
	Path     string      `json:"path"`
	MD5      string      `json:"md5,omitempty"`
	Seconds  float64     `json:"seconds"`
	Warnings []string    `json:"warnings"`
}

// PlanCompact looks at everything that a compaction depends on and decides
// what it will do. It changes nothing. What makes the compaction unsafe is a
// Refusal.
func (l *Live) PlanCompact(ctx context.Context, e *Env, o CompactOptions) (*CompactPlan, error) {
	p := &CompactPlan{live: l, env: e, o: o}
	p.Summary = PlanSummary{Dir: l.Dir, Layout: l.Layout.Name(), Mode: "swap", Output: o.Output, KeepOld: o.KeepOld, Sums: []SumSource{}, Steps: []string{}, Warnings: []string{}}
	switch {
	case o.Output != "" && (o.Stage || o.NoReset):
		return nil, withHint(&optionError{errors.New("--output writes one file and changes nothing, so that --stage and --no-reset have no meaning with it")}, "give one of them")
	case o.Output != "" && o.Image != "":
		return nil, withHint(&optionError{errors.New("--output and --image each write one file and change nothing")}, "give one of them")
	case o.Image != "":
		if o.Stage || o.NoReset || o.Flatten || o.Codec != nil || o.Level != 0 || o.BlockSize != 0 || len(o.Excludes) > 0 {
			return nil, withHint(&optionError{errors.New("--image writes the merged image as it is and changes nothing")}, "of the other options only --keep-free and --force have a meaning with it")
		}
		p.o.Output, p.Summary.Output = o.Image, o.Image
		p.Summary.Mode = "image"
	case o.Output != "":
		p.Summary.Mode = "output"
	case o.Flatten && o.NoReset && l.snapshot() != nil:
		return nil, withHint(&optionError{errors.New("a snapshot holds chunks of the image that --flatten does away with, so that it cannot stay as --no-reset has it")}, "give one of them")
	case o.Stage:
		p.Summary.Mode = "stage"
	}
	if err := p.checkState(ctx); err != nil {
		return nil, err
	}
	if err := p.checkNothing(ctx); err != nil || p.Summary.NothingToDo {
		return p, err
	}
	if err := p.planTree(ctx); err != nil {
		return nil, err
	}
	if err := p.checkSpace(); err != nil {
		return nil, err
	}
	p.planCheck()
	if p.o.Output == "" {
		if err := p.planCompanions(ctx, p.shown); err != nil {
			return nil, err
		}
		if err := p.checkSets(ctx, o.Force); err != nil {
			return nil, err
		}
		p.Summary.Steps = append(p.Summary.Steps, p.marksEmptied()...)
		steps, err := shownSteps(l.Dir, p.steps(p.placeholders()))
		if err != nil {
			return nil, err
		}
		p.Summary.Steps = append(p.Summary.Steps, steps...)
	}
	return p, nil
}

func (p *CompactPlan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

// isPartOf gives the name of the image that path is, by whatever name, or "".
func (l *Live) isPartOf(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if l.stick != nil {
		if own, err := os.Stat(l.stick.Disk.Path); err == nil && os.SameFile(st, own) {
			return "stick"
		}
		return ""
	}
	for _, name := range append(l.files.together(), l.files.home) {
		if own, err := os.Stat(filepath.Join(l.Dir, name)); name != "" && err == nil && os.SameFile(st, own) {
			return name
		}
	}
	return ""
}

// planTree decides what the new base holds and how it is written.
func (p *CompactPlan) planTree(ctx context.Context) error {
	l, e, s := p.live, p.env, &p.Summary
	var newest tree.Time
	var err error
	if p.state, newest, err = l.state(ctx); err != nil {
		return err
	}
	var wo squash.WriteOptions
	if l.Base.Image != nil || p.forISO != nil {
		if wo, err = p.writeOptions(); err != nil {
			return err
		}
		s.Codec, s.BlockSize = wo.Codec.ID.String(), wo.BlockSize
		s.Library = e.Library.Implementation(wo.Codec.ID).Name
	}
	p.now = e.imageTime(tree.Time{Sec: int64(wo.MkfsTime)}, newest)
	wo.MkfsTime = uint32(p.now.Sec)

	root := l.Merged
	if len(p.o.Excludes) > 0 && p.forISO == nil {
		p.touched = true
		if root, err = p.exclude(root); err != nil {
			return err
		}
	}
	p.shown = root
	if p.forISO != nil {
		p.system, err = p.forISO.system(ctx, p, root)
		p.shown = p.system
	} else {
		p.system, err = l.Layout.system(ctx, p, root)
	}
	if err != nil {
		return err
	}
	if p.forISO != nil {
		root = p.system
	}
	if err := p.checkResult(ctx, root); err != nil {
		return err
	}
	if p.make, err = p.maker(ctx, wo); err != nil {
		return err
	}
	if l.Overlay == nil || p.o.Output != "" {
		return nil
	}
	if _, antix := l.Layout.(AntiX); p.o.NoReset && !antix {
		return p.planStay()
	}
	if p.resets, err = l.Layout.resets(p); err != nil {
		return err
	}
	p.apart, err = p.mustPart()
	return err
}

// planStay plans what an overlay needs that stays over the new base.
func (p *CompactPlan) planStay() error {
	if p.live.snapshot() != nil {
		if len(p.o.Excludes) > 0 {
			return refuse("compact without --no-reset, or without -e", "%s holds chunks of the image in the present base, and with things left out that is built anew, so that it cannot stay as --no-reset has it", p.live.Overlay.Path)
		}
		return nil
	}
	misled, err := p.misled()
	if err != nil || !misled {
		return err
	}
	p.resets, err = p.keepLayer()
	p.apart = len(p.resets) > 0
	return err
}

// checkResult refuses a new system that cannot boot, or of which the excludes
// leave less than half.
func (p *CompactPlan) checkResult(ctx context.Context, now *tree.Node) error {
	force := p.o.Force || p.forISO != nil && p.forISO.o.Force
	out, err := p.live.checkLeftOut(ctx, now, p.Summary.Excluded, force)
	if err != nil {
		return err
	}
	lost, err := p.live.checkBoots(ctx, p.live.Base.Root, now, p.live, force)
	p.Summary.Warnings = slices.Concat(p.Summary.Warnings, out, lost)
	return err
}

// mustPart tells whether the old overlay must not be met with the new base: a
// snapshot has no place over a flattened base or over an image that was built
// anew, what overlayfs finds in its lower layers by names is not there any more,
// and what it finds by inode numbers may be something else. With version ids a
// boot tells by itself.
func (p *CompactPlan) mustPart() (bool, error) {
	l := p.live
	if met, err := l.boots(VID(p.Summary.VID)); !met || err != nil {
		return false, err
	}
	if l.snapshot() != nil {
		return p.o.Flatten || len(p.o.Excludes) > 0, nil
	}
	if leans, err := l.Overlay.leans(); leans || err != nil {
		return leans, err
	}
	return p.misled()
}

// exclude leaves paths out of the tree.
func (p *CompactPlan) exclude(root *tree.Node) (*tree.Node, error) {
	set, err := exclude.New(p.o.Excludes)
	if err != nil {
		return nil, err
	}
	p.env.phase("excludes", 0)
	if p.rules, err = set.Count(root); err != nil {
		return nil, err
	}
	for _, r := range p.rules {
		p.Summary.Excluded += r.Entries
	}
	var u unmatched
	u.excludes(p.rules, 0, "", root)
	warnings, err := u.check(p.live.Dir, p.o.AllowUnmatched)
	p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	return set.Apply(root), err
}

// keepsImage tells whether the new base holds a file system image, as the old
// one does.
func (p *CompactPlan) keepsImage() bool {
	_, antix := p.live.Layout.(AntiX) // whose init takes either form
	return p.live.Base.Inner != nil && !p.o.Flatten && !antix
}

// maker decides of what form the new base is and plans it.
func (p *CompactPlan) maker(ctx context.Context, wo squash.WriteOptions) (maker, error) {
	l, s := p.live, &p.Summary
	bare := l.Base.Image == nil
	if bare && p.forISO == nil && (p.o.Codec != nil || p.o.Level != 0 || p.o.BlockSize != 0) {
		return nil, withHint(&optionError{fmt.Errorf("--comp, --level and -b: %s is not compressed", l.Base.Path)}, "compact without them")
	}
	switch {
	case bare && p.o.Flatten && p.forISO == nil:
		return nil, refuse("compress it with mksquashfs first", "%s is not compressed, so that there is nothing to flatten it into", l.Base.Path)
	case p.Summary.Mode == "image" && l.Base.Inner == nil:
		return nil, refuse("-o writes the new base, which holds the files themselves", "%s holds no file system image that --image could write", l.Base.Path)
	case !p.keepsImage():
		s.Form = "squashfs"
		return p.squashMaker(ctx, wo, p.system)
	}
	// The image is patched where nothing but chunks of it changed.
	if !p.touched && (l.Overlay == nil || l.Overlay.Empty || l.snapshot() != nil) {
		image, err := p.patched(wo.BlockSize)
		if err != nil {
			return nil, err
		}
		size := l.Base.Inner.Content.Size()
		if bare && p.forISO == nil || s.Mode == "image" {
			s.Form, s.Bytes = "ext", size-image.freed()
			s.Copy = s.Bytes
			return &deviceMaker{p: p, data: image, size: size}, nil
		}
		root, err := p.wrap(image, size)
		if err != nil {
			return nil, err
		}
		s.Form, s.Freed = "nested", image.freed()
		return p.squashMaker(ctx, wo, root)
	}
	inner, err := p.planInner(ctx, p.system)
	if err != nil {
		return nil, err
	}
	s.Bytes = inner.size
	if bare && p.forISO == nil || s.Mode == "image" {
		s.Form = "ext"
		return &extMaker{p: p, inner: inner}, nil
	}
	s.Form, s.Compress = "nested", inner.used
	return &squashMaker{p: p, options: wo, inner: inner}, nil
}

// squashMaker plans a SquashFS image of that tree.
func (p *CompactPlan) squashMaker(ctx context.Context, wo squash.WriteOptions, root *tree.Node) (maker, error) {
	m := &squashMaker{p: p, options: wo, root: root}
	if err := m.look(ctx); err != nil {
		return nil, err
	}
	s, st := &p.Summary, &m.plan.Stats
	s.Inodes, s.Bytes = st.Inodes, st.Bytes
	s.Reused, s.Mixed, s.Duplicate = st.ReusedFiles, st.MixedFiles, st.DuplicateFiles
	s.Copy, s.Compress, s.Repacked, s.Dead = st.CopyBytes, st.CompressBytes, st.RepackedBlocks, st.DeadBytes
	p.warnLosses(st)
	return m, nil
}

// patched gives the merged image with what is free left out, in units of
// blocks of the new base.
func (p *CompactPlan) patched(unit int) (*patchedImage, error) {
	l := p.live
	if unit == 0 {
		unit = copyUnit
	}
	var dev device = untouched{l.Base.Inner.Content}
	fs := l.Base.Inner.FS
	if s := l.snapshot(); s != nil {
		dev, fs = s.Device, s.FS
	}
	var empty bool // the journal
	var err error
	if l.journalMayStay(fs) {
		p.warn("the file system in %s was not unmounted cleanly, and its journal is left for the next boot to replay", l.Base.Name())
	} else if dev, empty, err = recovered(dev, fs); err != nil {
		return nil, err
	}
	below := tree.Data(nil)
	if l.Base.Image != nil {
		root, err := l.Base.Image.Root()
		if err != nil {
			return nil, err
		}
		n, err := root.Lookup(l.Base.Inner.Path)
		if err != nil {
			return nil, err
		}
		below = n.Data
	}
	if p.o.KeepFree {
		fs = nil
	}
	image, err := newPatchedImage(dev, below, int64(unit), fs, empty)
	if errors.Is(err, tree.ErrUnsupported) {
		p.warn("what is free in the file system is kept as it is: %v", err)
		return newPatchedImage(dev, below, int64(unit), nil, false)
	}
	return image, err
}

// copyUnit is the unit in which a bare image leaves out what is free, in bytes.
const copyUnit = 64 << 10

// untouched is a device on which nothing changed.
type untouched struct{ tree.Content }

// ChangedIn implements device.
func (untouched) ChangedIn(int64, int64) bool { return false }

// bareBlock is the block size for a base that was not compressed, in bytes.
const bareBlock = 128 << 10

// salt is what decides a new base besides the old one and the overlay.
func (p *CompactPlan) salt() string {
	s := fmt.Sprint(p.Summary.Codec, p.o.Level, p.Summary.BlockSize, p.o.Excludes)
	if p.forISO != nil {
		s += p.forISO.salt()
	}
	return s
}

// warnLosses tells what the new base cannot hold.
func (p *CompactPlan) warnLosses(st *squash.PlanStats) {
	acls := uint64(0)
	for name, n := range st.DroppedXattrs {
		if (tree.Xattr{Name: name}).IsACL() {
			acls += n
		} else {
			p.warn("SquashFS cannot hold the attribute %s, which %d files lose", name, n)
		}
	}
	if acls > 0 {
		p.warn("SquashFS cannot hold POSIX ACLs: %d are lost", acls)
	}
	if text := flagsLost(st.DroppedFlags, st.FirstFlagged); text != "" {
		p.warn("SquashFS cannot hold flags that chattr sets: %s", text)
	}
	if st.TimesOutOfRange > 0 {
		p.warn("SquashFS cannot hold times before 1970 and after 2106: %d are set to the nearest", st.TimesOutOfRange)
	}
}

// writeOptions joins what was asked for with what the base has.
func (p *CompactPlan) writeOptions() (squash.WriteOptions, error) {
	// What is not compressed yet is compressed as the media of that layout are.
	wo := squash.WriteOptions{Codec: codec.DefaultOptions(codec.XZ, bareBlock), BlockSize: bareBlock}
	if p.live.Base.Image != nil {
		wo = squash.WriteOptionsLike(p.live.Base.Image)
	}
	if p.forISO == nil && (p.live.Base.Inner == nil || p.keepsImage()) {
		var err error
		if wo.Numbers, err = p.live.numbers(); err != nil {
			return wo, err
		}
	}
	wo.Library, wo.Workers = p.env.Library, p.env.Jobs
	// What was taken out of a system that is given away must not lie about in it.
	wo.NoDead = p.forISO != nil && p.forISO.o.Accounts.Mode != accounts.Preserve
	blockSize := wo.BlockSize
	if p.o.BlockSize != 0 {
		wo.BlockSize = p.o.BlockSize
	}
	if wo.BlockSize < squash.MinBlockSize || wo.BlockSize > squash.MaxBlockSize || wo.BlockSize&(wo.BlockSize-1) != 0 {
		return wo, withHint(&optionError{fmt.Errorf("block size %d", wo.BlockSize)}, "SquashFS knows 4K, 8K, 16K and so on to 1M")
	}
	switch {
	case p.o.Codec != nil && *p.o.Codec != wo.Codec.ID:
		wo.Codec = codec.DefaultOptions(*p.o.Codec, wo.BlockSize)
	case wo.BlockSize != blockSize && wo.Codec.ID == codec.XZ:
		filters := wo.Codec.Filters
		wo.Codec = codec.DefaultOptions(codec.XZ, wo.BlockSize)
		wo.Codec.Filters = filters
	}
	if p.o.Level != 0 {
		wo.Codec.Level = p.o.Level
	}
	if err := wo.Codec.Validate(wo.BlockSize); err != nil {
		return wo, withHint(&optionError{err}, "relive compact --help tells of --comp, --level and --block-size")
	}
	return wo, nil
}
