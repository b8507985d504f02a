package isoedit

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"relive/iso"
	"relive/remaster/bootedit"
	"relive/remaster/job"
	"relive/remaster/stick/fat"
	"relive/remaster/verify"
	"relive/tree"
)

// checkFindings bounds how many findings of one kind are listed.
const checkFindings = 50

// isoCheck is a check of an image on its way.
type isoCheck struct {
	o       *ISO
	env     *job.Env
	results []verify.Result
}

// Check checks an image: its directories and where files lie, what makes it
// boot, the sum that implantisomd5 left, and, unless quick, the lists of sums in
// it and the sums beside it. What is damaged is a result and no error.
func Check(ctx context.Context, e *job.Env, file string, quick bool) ([]verify.Result, error) {
	o, err := Open(file, iso.Best)
	if err != nil {
		if tree.IsDamage(err) {
			return []verify.Result{{Path: file, What: "structure", Findings: []string{err.Error()}}}, nil
		}
		return nil, err
	}
	defer o.Close()
	c := &isoCheck{o: o, env: e}
	steps := []func(context.Context) error{c.structure, c.boot, c.disk}
	if !quick {
		steps = append(steps, c.implanted, c.inside, c.beside)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c.results, nil
}

// report begins a result.
func (c *isoCheck) report(what string) *verify.Result {
	c.results = append(c.results, verify.Result{Path: c.o.Path, What: what, OK: true})
	return &c.results[len(c.results)-1]
}

// found notes damage.
func found(res *verify.Result, format string, args ...any) {
	res.OK = false
	switch n := len(res.Findings); {
	case n < checkFindings:
		res.Findings = append(res.Findings, fmt.Sprintf(format, args...))
	case n == checkFindings:
		res.Findings = append(res.Findings, "and more")
	}
}

// structure walks every directory of every name space, and looks whether all
// that it names lies in the image.
func (c *isoCheck) structure(ctx context.Context) error {
	r := c.report("structure")
	info := c.o.Image.Info()
	if info.VolumeSize > info.ImageSize {
		found(r, "the image has %d bytes, and its volume %d: it is cut short", info.ImageSize, info.VolumeSize)
	}
	c.env.Phase("reading the directories", 0)
	files, dirs, err := c.walk(ctx, r, c.o.Root)
	if err != nil {
		return err
	}
	r.Detail = fmt.Sprintf("%s, %s by the names of %s", plural(files, "file"), counted(dirs, "directory", "directories"), c.o.Image.Names())
	if info.JolietLevel > 0 && c.o.Image.Names() != iso.Joliet {
		img, err := iso.Open(c.o.content, c.o.content.Size(), filepath.Base(c.o.Path), iso.WithNames(iso.Joliet))
		var root *tree.Node
		if err == nil {
			root, err = img.Root()
		}
		if err == nil {
			_, _, err = c.walk(ctx, r, root)
		}
		if err != nil && !tree.IsDamage(err) {
			return err
		}
		if err != nil {
			found(r, "Joliet: %v", err)
		}
	}
	return nil
}

// walk lists every directory it can, also those behind a damaged one.
func (c *isoCheck) walk(ctx context.Context, r *verify.Result, root *tree.Node) (files, dirs int, err error) {
	var look func(p string, n *tree.Node, depth int) error
	look = func(p string, n *tree.Node, depth int) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if depth > tree.MaxDepth {
			found(r, "%s: more than %d levels deep", tree.Quote(p), tree.MaxDepth)
			return nil
		}
		kids, err := n.Children()
		if err != nil {
			if !tree.IsDamage(err) {
				return err
			}
			found(r, "%v", err)
			return nil
		}
		dirs++
		for _, k := range kids {
			kp := tree.Join(p, k.Name)
			if k.Type == tree.Directory {
				if err := look(kp, k, depth+1); err != nil {
					return err
				}
				continue
			}
			files++
			if k.Type != tree.Regular {
				continue
			}
			content, err := k.Open()
			if err != nil {
				if !tree.IsDamage(err) {
					return err
				}
				found(r, "%v", err)
				continue
			}
			content.Close()
		}
		return nil
	}
	err = look("", root, 0)
	return files, dirs, err
}

// boot checks the boot catalogue and its images.
func (c *isoCheck) boot(ctx context.Context) error {
	cat, err := c.o.Image.ElTorito()
	if err != nil && !tree.IsDamage(err) {
		return err
	}
	if err == nil && cat == nil {
		return nil
	}
	r := c.report("boot catalogue")
	if err != nil {
		found(r, "%v", err)
		return nil
	}
	if cat.Record != 17 {
		found(r, "the boot record is in sector %d; firmware looks for it in sector 17 alone", cat.Record)
	}
	var sectors []uint32
	for _, e := range cat.Entries {
		sectors = append(sectors, e.Block)
	}
	paths, err := c.o.Image.PathsAt(ctx, sectors...)
	if err != nil && !tree.IsDamage(err) {
		return err
	}
	var words []string
	for i := range cat.Entries {
		e := &cat.Entries[i]
		name := fmt.Sprintf("boot image %d (%s)", i+1, platformName(e.Platform))
		if p := paths[e.Block]; p != "" {
			name += " " + tree.Quote(p)
		}
		words = append(words, platformName(e.Platform))
		if err := c.bootImage(ctx, r, e, name, paths[e.Block]); err != nil {
			return err
		}
	}
	r.Detail = strings.Join(words, " and ")
	return nil
}

func (c *isoCheck) bootImage(ctx context.Context, r *verify.Result, e *iso.BootEntry, name, p string) error {
	size := c.o.content.Size() - int64(e.Block)*2048
	if int64(e.Sectors)*512 > size {
		found(r, "%s: firmware loads %d bytes, of which the image has %d", name, int(e.Sectors)*512, max(size, 0))
	}
	if b := e.BootInfo; b != nil && !b.Valid {
		found(r, "%s: the checksum of its boot information table is wrong", name)
	}
	if p != "" {
		n, err := c.o.Root.Lookup(p)
		if err != nil {
			return err
		}
		size = n.Size
		if b := e.BootInfo; b != nil && int64(b.Length) != n.Size {
			found(r, "%s: its boot information table tells of %d bytes, and it has %d", name, b.Length, n.Size)
		}
	}
	if e.Platform != iso.PlatformEFI {
		return nil
	}
	hfs, err := bootedit.IsHFS(bootedit.NewSection(c.o.content, int64(e.Block)*2048, size))
	if err != nil || hfs {
		return err // for Macs; what it holds is not read
	}
	loaders, err := c.loaders(ctx, e, size)
	switch {
	case err != nil && !tree.IsDamage(err):
		return err
	case err != nil:
		found(r, "%s: %v", name, err)
	case len(loaders) == 0:
		found(r, "%s: it has no EFI/BOOT/BOOT*.EFI, which firmware looks for", name)
	}
	return nil
}

// loaders names the programs that UEFI firmware starts of an EFI image.
func (c *isoCheck) loaders(_ context.Context, e *iso.BootEntry, size int64) (names []string, err error) {
	v, err := fat.Open(bootedit.NewSection(c.o.content, int64(e.Block)*2048, size), size, "EFI image")
	if err != nil {
		return nil, err
	}
	n, err := v.Root()
	for _, name := range []string{"EFI", "BOOT"} {
		if err == nil && n != nil {
			n, err = n.Child(name)
		}
	}
	if err != nil || n == nil {
		return nil, err
	}
	kids, err := n.Children()
	for _, k := range kids {
		if name := strings.ToUpper(k.Name); strings.HasPrefix(name, "BOOT") && strings.HasSuffix(name, ".EFI") {
			names = append(names, k.Name)
		}
	}
	return names, err
}

// disk checks the partition tables.
func (c *isoCheck) disk(context.Context) error {
	a, err := c.o.Image.SystemArea()
	if err != nil && !tree.IsDamage(err) {
		return err
	}
	if err == nil && a.MBR == nil && a.GPT == nil && a.APM == nil {
		return nil
	}
	r := c.report("partition tables")
	if err != nil {
		found(r, "%v", err)
		return nil
	}
	var words []string
	blocks := c.o.content.Size() / 512
	if m := a.MBR; m != nil {
		words = append(words, fmt.Sprintf("MBR, code: %s", m.Code))
		cat, err := c.o.Image.ElTorito()
		if err != nil && !tree.IsDamage(err) {
			return err
		}
		if (m.Code == iso.Isohybrid || m.Code == iso.GRUB2) && err == nil {
			switch {
			case cat == nil:
				found(r, "MBR: its %s code loads sector %d, and there is no boot image", m.Code, m.BootImage)
			case m.BootImage != cat.Entries[0].Block:
				found(r, "MBR: its %s code loads sector %d, and the boot image is in sector %d", m.Code, m.BootImage, cat.Entries[0].Block)
			}
		}
		for _, p := range m.Partitions {
			// A protective partition covers the disk, which may be larger than the image.
			if p.Type != 0xEE && int64(p.Start)+int64(p.Sectors) > blocks {
				found(r, "MBR: partition %d ends at block %d, and the image at %d", p.Number, int64(p.Start)+int64(p.Sectors), blocks)
			}
		}
	}
	if g := a.GPT; g != nil {
		words = append(words, fmt.Sprintf("GPT with %d partitions", len(g.Partitions)))
		c.gpt(r, "GPT", g, blocks)
		if a.BackupGPT == nil {
			found(r, "GPT: there is no backup at block %d", g.BackupLBA)
		} else {
			c.gpt(r, "backup of the GPT", a.BackupGPT, blocks)
			if a.BackupGPT.DiskGUID != g.DiskGUID || len(a.BackupGPT.Partitions) != len(g.Partitions) {
				found(r, "GPT: its backup differs")
			}
		}
	}
	if a.APM != nil {
		words = append(words, fmt.Sprintf("Apple map with %d partitions", len(a.APM.Partitions)))
	}
	r.Detail = strings.Join(words, "; ")
	return nil
}

func (c *isoCheck) gpt(r *verify.Result, name string, g *iso.GPT, blocks int64) {
	if !g.HeaderValid {
		found(r, "%s: the checksum of its header is wrong", name)
	}
	if !g.EntriesValid {
		found(r, "%s: the checksum of its entries is wrong", name)
	}
	for _, p := range g.Partitions {
		if p.First > p.Last || p.Last >= blocks {
			found(r, "%s: partition %d lies at blocks %d to %d, and the image has %d", name, p.Number, p.First, p.Last, blocks)
		}
	}
}
