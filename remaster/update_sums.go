package remaster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relive/iso"
	"relive/tree/hostfs"
)

// knownSum is a sum that a source tells of one of its files.
type knownSum struct {
	kind, sum string
	in        string // the file that tells it
}

// planSums gathers the sums that the source tells of the files that are taken
// over.
func (p *UpdatePlan) planSums() (err error) {
	from := p.from
	var files []string
	if p.base {
		files = append(files, from.files.base)
	}
	for _, f := range p.files {
		if f.source != "" {
			files = append(files, f.source)
		}
	}
	p.known = map[string][]knownSum{}
	add := func(file string, k knownSum) {
		p.known[file] = append(p.known[file], k)
		p.Summary.Sums = append(p.Summary.Sums, UpdateSource{File: file, Kind: k.kind, In: k.in})
	}
	beside := func(file, sum, kind string) error {
		path := filepath.Join(from.Dir, sum)
		if !isFile(from.at, path) {
			return nil
		}
		text, err := readSmall(from.at, path, sumListMax)
		if err != nil {
			return err
		}
		s, err := sumIn(strings.NewReader(string(text)), sum, kind)
		if err != nil && p.o.Force {
			p.warn("the source's %v", err)
			return nil
		}
		if err != nil {
			return refuse("--force goes on without it", "the source's %v", err)
		}
		add(file, knownSum{kind, s, sum})
		return nil
	}
	for _, file := range files {
		own, ok := from.files.sum()
		if ok && file == from.files.base {
			if err := beside(file, own.name, own.sum); err != nil {
				return err
			}
		}
		if !ok || file+".md5" != own.name {
			if err := beside(file, file+".md5", "md5"); err != nil {
				return err
			}
		}
	}
	for _, list := range sumLists {
		path := filepath.Join(from.Dir, list.name)
		if !isFile(from.at, path) {
			continue
		}
		text, err := readSmall(from.at, path, sumListMax)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if sum, name := listedFile(line); slices.Contains(files, name) {
				add(name, knownSum{list.kind, strings.ToLower(sum), list.name})
			}
		}
	}
	img, close, err := p.implanted()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	if img != nil {
		p.Summary.Sums = append(p.Summary.Sums, UpdateSource{File: from.stick.Disk.Path, Kind: "md5", In: "the image itself"})
	}
	return nil
}

// kinds are the hashes that a file is to be copied with: those that the source
// tells and those that are to stand beside it. By the first it is compared after
// it was written, so that there is one in any case.
func (p *UpdatePlan) kinds(target, source string) (kinds []string) {
	files := &p.c.live.files
	for _, k := range p.known[source] {
		kinds = append(kinds, k.kind)
	}
	for _, c := range files.companions {
		if c.sum != "" && (target == files.base || c.list != "") {
			kinds = append(kinds, c.sum)
		}
	}
	if slices.ContainsFunc(p.files, func(f bootFile) bool { return f.sumOf == target }) {
		kinds = append(kinds, "md5")
	}
	if len(kinds) == 0 {
		return []string{"sha256"}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// checkKnown refuses a file of the source that is not what the source tells of
// it.
func (p *UpdatePlan) checkKnown(source string, sums map[string]string) error {
	for _, k := range p.known[source] {
		if k.sum == sums[k.kind] {
			continue
		}
		err := p.doubt("%s of %s has the sum %s, not %s as %s has it", source, p.from.Dir, sums[k.kind], k.sum, k.in)
		if err != nil {
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
	return refuse("get the source anew; where it is known to be whole, --force goes on", format, args...)
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
	p.c.env.phase("summing "+filepath.Base(name), total)
	res, err := img.CheckMD5(ctx, func(done, _ int64) { p.c.env.done(done) })
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
	if len(p.known[source]) > 0 {
		return true
	}
	return slices.ContainsFunc(p.Summary.Sums, func(s UpdateSource) bool { return p.from.stick != nil && s.File == p.from.stick.Disk.Path })
}

// companionText is the text of a companion of the new base that holds no sum.
func (p *UpdatePlan) companionText(c companion) ([]byte, error) {
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
