package update

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"relive/iso"
	"relive/remaster/checksum"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sourcecheck"
	"relive/tree/hostfs"
)

// planSums gathers the sums that the source tells of the files that are taken
// over. One that has no sum where it should is refused: what is taken over
// cannot be told from what is damaged.
func (p *Plan) planSums() (err error) {
	from := p.from
	var names []string
	if p.base {
		names = append(names, from.Files.Base)
	}
	for _, f := range p.files {
		if f.text == nil {
			names = append(names, f.source)
		}
	}
	var unread []string
	p.sums = sourcecheck.New(from, names, p.o.Force,
		func(format string, args ...any) { unread = append(unread, fmt.Sprintf(format, args...)) })
	for _, fact := range unread {
		if !p.o.Force {
			return refusal.New(refusal.SumsDiffer, say.Force+" goes on without it", "the source's %s", fact)
		}
		p.warn("the source's %s", fact)
	}
	p.Summary.Sums = append(p.Summary.Sums, p.sums.Sources()...)
	img, close, err := p.implanted()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	if img != nil {
		p.Summary.Sums = append(p.Summary.Sums, sourcecheck.Source{File: from.Stick.Disk.Path, Kind: checksum.MD5, In: "the image itself"})
	}
	return nil
}

// kinds are the hashes that a file is to be copied with: those that the source
// tells and those that are to stand beside it. By the first it is compared after
// it was written, so that there is one in any case.
func (p *Plan) kinds(target, source string) []checksum.Kind {
	kinds := p.swap.SumKinds(target)
	if f := p.sums.Of(source); f != nil {
		for _, k := range f.Known {
			kinds = append(kinds, k.Kind)
		}
	}
	if len(kinds) == 0 {
		return []checksum.Kind{checksum.SHA256}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// checkKnown refuses a file of the source that is not what the source tells of
// it.
func (p *Plan) checkKnown(source string, sums map[checksum.Kind]string) error {
	f := p.sums.Of(source)
	if f == nil {
		return nil
	}
	for _, fact := range f.Differences(sums) {
		if err := p.doubt("%s", fact); err != nil {
			return err
		}
	}
	return nil
}

// doubt refuses a source that is damaged, or with --force warns.
func (p *Plan) doubt(format string, args ...any) error {
	if p.o.Force {
		p.warn(format, args...)
		return nil
	}
	return refusal.New(refusal.SumsDiffer, "get the source anew; where it is known to be whole, "+say.Force+" goes on", format, args...)
}

// implanted opens the source as an ISO image with a sum in it, as implantisomd5
// leaves it; nil where it is none. A device is none: what writes an image to a
// stick may move its partition table.
func (p *Plan) implanted() (img *iso.Image, close func() error, err error) {
	none := func() error { return nil }
	if p.from.Stick == nil || p.from.Stick.InUse != "" {
		return nil, none, nil
	}
	path := p.from.Stick.Disk.Path
	if !live.IsFile(live.Host{}, path) {
		return nil, none, nil
	}
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return nil, none, err
	}
	if !iso.Is(c, c.Size()) {
		return nil, none, c.Close()
	}
	img, err = iso.Open(c, c.Size(), filepath.Base(path))
	var sum *iso.ImplantedMD5
	if err == nil {
		sum, err = img.ImplantedMD5()
	}
	if err != nil || sum == nil {
		return nil, none, errors.Join(err, c.Close())
	}
	return img, c.Close, nil
}

// checkImplanted checks the sum that is implanted in the source.
func (p *Plan) checkImplanted(ctx context.Context) (err error) {
	img, close, err := p.implanted()
	if err != nil || img == nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	name, total := p.from.Stick.Disk.Path, img.Info().VolumeSize
	p.env.Phase("summing "+filepath.Base(name), total)
	res, err := img.CheckMD5(ctx, func(done, _ int64) { p.env.Done(done) })
	if err != nil {
		return err
	}
	switch {
	case res.Pass:
		return nil
	case res.Fragment > 0:
		return p.doubt("%s is damaged between the bytes %d and %d, by the sum that is implanted in it", name, res.DamageFrom, res.Checked)
	}
	return p.doubt("%s is damaged, by the sum that is implanted in it", name)
}

// hasSum reports whether the source holds any sum of a file.
func (p *Plan) hasSum(source string) bool {
	if p.sums.Of(source) != nil {
		return true
	}
	return slices.ContainsFunc(p.Summary.Sums, func(s sourcecheck.Source) bool {
		return p.from.Stick != nil &&
			s.File == p.from.Stick.Disk.Path
	})
}

// companionText is the text of a companion of the new base that holds no sum.
func (p *Plan) companionText(c live.Companion) ([]byte, error) {
	if c.Packages {
		return live.PackageText(p.swap.Packages, c.Former), nil
	}
	for _, their := range p.from.Files.Companions {
		// How large the files are the source may know better.
		path := filepath.Join(p.from.Dir, their.Name)
		if ext := filepath.Ext(c.Name); (ext == ".info" || ext == ".size") && filepath.Ext(their.Name) == ext &&
			live.IsFile(p.from.Place, path) {
			return live.ReadSmall(p.from.Place, path, 4096)
		}
	}
	content, _, err := p.from.Base.Content()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.from.Base.Path, err)
	}
	return []byte(c.Text(live.Facts{Content: content})), nil
}
