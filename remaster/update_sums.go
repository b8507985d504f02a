package remaster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"relive/iso"
	"relive/remaster/checksum"
	"relive/remaster/refusal"
	"relive/tree/hostfs"
)

// planSums gathers the sums that the source tells of the files that are taken
// over. One that has no sum where it should is refused: what is taken over
// cannot be told from what is damaged.
func (p *UpdatePlan) planSums() (err error) {
	from := p.from
	var names []string
	if p.base {
		names = append(names, from.files.base)
	}
	for _, f := range p.files {
		names = append(names, f.source)
	}
	var unread []string
	p.sums = from.planSourceCheck(names, p.o.Force, func(format string, args ...any) { unread = append(unread, fmt.Sprintf(format, args...)) })
	for _, fact := range unread {
		if !p.o.Force {
			return refusal.New("--force goes on without it", "the source's %s", fact)
		}
		p.warn("the source's %s", fact)
	}
	p.Summary.Sums = append(p.Summary.Sums, p.sums.sources()...)
	img, close, err := p.implanted()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	if img != nil {
		p.Summary.Sums = append(p.Summary.Sums, SumSource{File: from.stick.Disk.Path, Kind: checksum.MD5, In: "the image itself"})
	}
	return nil
}

// kinds are the hashes that a file is to be copied with: those that the source
// tells and those that are to stand beside it. By the first it is compared after
// it was written, so that there is one in any case.
func (p *UpdatePlan) kinds(target, source string) []checksum.Kind {
	kinds := p.swap.sumKinds(target)
	if f := p.sums.of(source); f != nil {
		for _, k := range f.known {
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
func (p *UpdatePlan) checkKnown(source string, sums map[checksum.Kind]string) error {
	f := p.sums.of(source)
	if f == nil {
		return nil
	}
	for _, fact := range f.differences(sums) {
		if err := p.doubt("%s", fact); err != nil {
			return err
		}
	}
	return nil
}

// doubt refuses a source that is damaged, or with --force warns.
func (p *UpdatePlan) doubt(format string, args ...any) error {
	if p.o.Force {
		p.warn(format, args...)
		return nil
	}
	return refusal.New("get the source anew; where it is known to be whole, --force goes on", format, args...)
}

// implanted opens the source as an ISO image with a sum in it, as implantisomd5
// leaves it; nil where it is none. A device is none: what writes an image to a
// stick may move its partition table.
func (p *UpdatePlan) implanted() (img *iso.Image, close func() error, err error) {
	none := func() error { return nil }
	if p.from.stick == nil || p.from.stick.InUse != "" {
		return nil, none, nil
	}
	path := p.from.stick.Disk.Path
	if !isFile(host{}, path) {
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
func (p *UpdatePlan) checkImplanted(ctx context.Context) (err error) {
	img, close, err := p.implanted()
	if err != nil || img == nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	name, total := p.from.stick.Disk.Path, img.Info().VolumeSize
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

// hasSum tells whether the source holds any sum of a file.
func (p *UpdatePlan) hasSum(source string) bool {
	if p.sums.of(source) != nil {
		return true
	}
	return slices.ContainsFunc(p.Summary.Sums, func(s SumSource) bool { return p.from.stick != nil && s.File == p.from.stick.Disk.Path })
}

// companionText is the text of a companion of the new base that holds no sum.
func (p *UpdatePlan) companionText(c companion) ([]byte, error) {
	if c.packages {
		return packageText(p.swap.packages, c.former), nil
	}
	for _, their := range p.from.files.companions {
		// How large the files are the source may know better.
		path := filepath.Join(p.from.Dir, their.name)
		if ext := filepath.Ext(c.name); (ext == ".info" || ext == ".size") && filepath.Ext(their.name) == ext && isFile(p.from.at, path) {
			return readSmall(p.from.at, path, 4096)
		}
	}
	content, _, err := p.from.Base.content()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.from.Base.Path, err)
	}
	return []byte(c.text(baseFacts{content: content})), nil
}
