package isoedit

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"relive/iso"
	"relive/remaster/bootedit"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/newfile"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// RebuildOptions say what the image that is written is to be like, but for what
// it is like already.
type RebuildOptions struct {
	Output string
	// Force replaces Output where it is there.
	Force bool
	// Replace puts files of the host in the place of files of the image, whose
	// modes and owners stay. Add puts files or directories of the host where nothing
	// is yet, owned by root.
	Replace, Add []Graft
	// Remove are paths, which go with all below them, or shell patterns.
	Remove []string
	// AddArgs and RemoveArgs are kernel arguments that every boot entry of Linux
	// gets or loses, in the menus of the image and in those of its EFI images.
	AddArgs, RemoveArgs []string
	// VolumeID is a new name of the volume, empty for the one that it has. Menus
	// that look for the old one look for it.
	VolumeID string
	// ImplantMD5 tells whether the sum that checkisomd5 verifies is put into the new
	// image; nil for what the old one has.
	ImplantMD5 *bool
}

// Graft puts a file or directory of the host at a path of an image.
type Graft struct{ Path, Source string }

// ParseGraft reads "path=file".
func ParseGraft(s string) (Graft, error) {
	p, source, ok := strings.Cut(s, "=")
	if p = strings.Trim(path.Clean("/"+p), "/"); !ok || p == "" || source == "" {
		return Graft{}, fmt.Errorf("%q: not PATH=FILE, a path of the image and a file", s)
	}
	return Graft{p, source}, nil
}

// RebuildChange is a path that differs in the new image.
type RebuildChange struct {
	Path string `json:"path"`
	// What is "replaced", "added", "removed", "menu" or "sums".
	What   string `json:"what"`
	Detail string `json:"detail,omitempty"`
}

// The kinds of changes.
const (
	changeReplaced = "replaced"
	changeAdded    = "added"
	changeRemoved  = "removed"
	changeMenu     = "menu"
	changeSums     = "sums"
)

// RebuildSummary tells what a plan will do. Sizes are in bytes.
type RebuildSummary struct {
	Input       string          `json:"input"`
	Output      string          `json:"output"`
	InputSize   int64           `json:"input_size"`
	Size        int64           `json:"size"`
	Free        int64           `json:"free"`
	VolumeID    string          `json:"volume_id"`
	OldVolumeID string          `json:"old_volume_id"`
	Boot        []string        `json:"boot"`
	ImplantMD5  bool            `json:"implant_md5"`
	Changes     []RebuildChange `json:"changes"`
	RemovedAll  int             `json:"removed_files"`
	// Menus are the lines of boot menus that differ, or cannot be changed.
	Menus    []RebuildMenuLine `json:"menus"`
	Left     []string          `json:"left_out"`
	Warnings []string          `json:"warnings"`
}

// Rebuild is all that is decided before an image is written.
type Rebuild struct {
	Summary RebuildSummary

	env       *job.Env
	o         RebuildOptions
	in        *ISO
	recipe    iso.Recipe
	plan      *iso.Plan
	root      *tree.Node // of the new image
	supported bool       // the flag of the implanted sum
	changed   map[string]bool
	replaced  map[string]bool // by the caller, with content that nothing else changes
	untied    string          // a base whose signature does not fit it any more
	stamps    map[string]hostdisk.Stamp
	opened    tree.Closers
}

// RebuildResult tells of an image that was written.
type RebuildResult struct {
	Plan    RebuildSummary `json:"plan"`
	Path    string         `json:"path"`
	Size    int64          `json:"size"`
	MD5     string         `json:"implanted_md5,omitempty"`
	Seconds float64        `json:"seconds"`
}

// NewRebuild decides how the image in is written anew with changes: the same
// tree but for these, the same boot images, system area and appended
// partitions, wherever they come to lie. Nothing is written. What cannot be kept
// and what a person should know stands in the Summary; what would be unsafe is a
// Refusal.
func NewRebuild(ctx context.Context, e *job.Env, in string, o RebuildOptions) (*Rebuild, error) {
	image, err := Open(in, iso.Best)
	if err != nil {
		return nil, err
	}
	p := &Rebuild{env: e, o: o, in: image, root: image.Root, changed: map[string]bool{}, replaced: map[string]bool{},
		stamps: map[string]hostdisk.Stamp{}}
	if err := p.prepare(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close closes the image that is read.
func (p *Rebuild) Close() error { return errors.Join(p.opened.Close(), p.in.Close()) }

func (p *Rebuild) prepare(ctx context.Context) error {
	s := &p.Summary
	*s = RebuildSummary{Input: p.in.Path, Output: p.o.Output, InputSize: p.in.content.Size(), Boot: []string{}, Changes: []RebuildChange{},
		Menus: []RebuildMenuLine{}, Left: []string{}, Warnings: []string{}}
	if err := p.checkOutput(); err != nil {
		return err
	}
	if err := p.replay(ctx); err != nil {
		return err
	}
	p.env.Phase("reading the directories", 0)
	if err := p.noteLosses(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{p.graft, p.followCompanions, p.followIdentity, p.editMenus, p.followLists} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	var err error
	if p.plan, err = iso.NewPlan(ctx, p.root, p.recipe); err != nil {
		return fmt.Errorf("%s: %w", p.in.Path, err)
	}
	if s.Size, err = p.plan.Size(); err != nil {
		return err
	}
	for _, b := range p.recipe.Boot {
		where := "/" + b.Path
		switch {
		case b.Hidden != nil:
			where = fmt.Sprintf("hidden image of %s", bytesize.Format(b.Size))
		case b.Path == "":
			where = fmt.Sprintf("appended partition of %s", bytesize.Format(p.recipe.Appended[b.Appended-1].Size))
		}
		s.Boot = append(s.Boot, platformName(b.Platform)+": "+where)
	}
	return p.checkRoom()
}

// checkOutput refuses an output that must not be written.
func (p *Rebuild) checkOutput() error {
	out := p.o.Output
	if out == "" {
		return refusal.Option(errors.New("no output is given"))
	}
	return newfile.Check(out, p.newFile())
}

// replay makes the recipe.
func (p *Rebuild) replay(ctx context.Context) error {
	s := &p.Summary
	if err := p.in.rebuildable(); err != nil {
		return err
	}
	recipe, left, err := p.in.Image.Replay(ctx)
	if err != nil {
		return refusal.WithHint(fmt.Errorf("%w, so that it cannot be kept", err), say.Info+" "+p.in.Path+" shows what makes it boot")
	}
	p.recipe = recipe
	s.Left = append(s.Left, left...)
	s.OldVolumeID, s.VolumeID = recipe.VolumeID, recipe.VolumeID
	if id := p.o.VolumeID; id != "" {
		if err := bootedit.CheckVolumeID(id); err != nil {
			return err
		}
		s.VolumeID, p.recipe.VolumeID = id, id
	}
	m, err := p.in.Image.ImplantedMD5()
	if err != nil {
		return err
	}
	if s.ImplantMD5 = m != nil; m != nil {
		p.supported = m.Supported
	}
	if p.o.ImplantMD5 != nil {
		s.ImplantMD5 = *p.o.ImplantMD5
	}
	return nil
}

// noteLosses tells of what the tree does not show.
func (p *Rebuild) noteLosses(ctx context.Context) error {
	info := p.in.Image.Info()
	left := &p.Summary.Left
	if !info.RockRidge {
		*left = append(*left, "the lack of Rock Ridge: files get mode 0555 and belong to root")
	}
	if info.Enhanced {
		*left = append(*left, "the volume descriptor of ISO 9660:1999, whose names the others tell too")
	}
	for _, id := range info.Extensions {
		if strings.HasPrefix(id, "AAIP") {
			*left = append(*left, "extended attributes and ACLs (AAIP)")
		}
	}
	packed := 0
	err := tree.Walk(ctx, p.in.Root, func(_ string, n *tree.Node) error {
		if n.Type != tree.Regular {
			return nil
		}
		var stored int64
		extents, _ := iso.Extents(n)
		for _, e := range extents {
			stored += e.Length
		}
		if stored != n.Size {
			packed++
		}
		return nil
	})
	if packed > 0 {
		*left = append(*left, fmt.Sprintf("the compression of %d files (zisofs), which become plain ones", packed))
	}
	return err
}

// checkRoom refuses where the image cannot fit.
func (p *Rebuild) checkRoom() error {
	s, dir := &p.Summary, filepath.Dir(p.o.Output)
	var err error
	if s.Free, err = hostdisk.FreeSpace(dir); err != nil {
		return err
	}
	// What an interrupted run has left makes room.
	s.Free += newfile.Left(p.o.Output)
	if s.Size > s.Free {
		return refusal.New(refusal.NotEnoughSpace, "free some space, or write to another disk", "%s: not enough space: %s needed, %s free",
			dir, bytesize.Format(s.Size), bytesize.Format(s.Free))
	}
	limit, err := hostdisk.MaxFileSize(dir)
	if err != nil {
		return err
	}
	if s.Size > limit {
		return refusal.New(refusal.FileTooLarge, "write to a disk with another file system",
			"%s: the image would have %s, and a file on this file system cannot have more than %s", dir, bytesize.Format(s.Size),
			bytesize.Format(limit))
	}
	return nil
}

func (p *Rebuild) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

func (p *Rebuild) note(path, what, detail string) {
	p.Summary.Changes = append(p.Summary.Changes, RebuildChange{"/" + path, what, detail})
}
