package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"relive/iso"
	"relive/remaster/bytesize"
	"relive/remaster/checksum"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// lateFiles are the files of an ISO whose content is known only when the base
// is written.
type lateFiles struct {
	p *Plan
	// out is the image while it is written; base is where the system's image lies
	// in it.
	out        *os.File
	base, size int64
	facts      live.Facts
	sums       map[checksum.Kind]string // of the base
	scratch    func() (string, error)
	paths      []string
	lists      []mediumList
	texts      map[string][]byte // what was written of the others, by path
}

// checks returns what compares each of the files with what was written.
func (f *lateFiles) checks() map[string]func(context.Context, *tree.Node) error {
	out := map[string]func(context.Context, *tree.Node) error{}
	for _, at := range f.paths {
		out[at] = func(_ context.Context, n *tree.Node) error {
			text, err := tree.ReadAll(n, max(n.Size, 1))
			if err != nil {
				return err
			}
			if !bytes.Equal(text, f.texts[at]) {
				return fmt.Errorf("%w: %s", readback.Err, tree.Quote(at))
			}
			return nil
		}
	}
	out[f.p.form.Base] = f.checkBase
	return out
}

// checkBase compares the system's image with the system, and its bytes by the sum
// that stands beside it.
func (f *lateFiles) checkBase(ctx context.Context, n *tree.Node) (err error) {
	at := f.p.form.Base
	if n.Size != f.size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", readback.Err, tree.Quote(at), n.Size, f.size)
	}
	c, err := n.Open()
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		kind := slices.Sorted(maps.Keys(f.sums))[0]
		sums, err := checksum.Reader(ctx, io.NewSectionReader(c, 0, c.Size()), func(int64) {}, kind)
		if err == nil && sums[kind] != f.sums[kind] {
			err = fmt.Errorf("%w: %s has another %s sum than when it was written", readback.Err, tree.Quote(at), kind)
		}
		return err
	})
	g.Go(func() error { return f.p.base.CheckContent(ctx, at, c) })
	return g.Wait()
}

// put writes a small file, and keeps what it is to hold.
func (f *lateFiles) put(at string, text []byte, out io.WriterAt, base int64) (int64, error) {
	if f.texts == nil {
		f.texts = map[string][]byte{}
	}
	f.texts[at] = text
	_, err := out.WriteAt(text, base)
	return int64(len(text)), err
}

// planImage lays out the ISO.
func (p *Plan) planImage(ctx context.Context) error {
	late := &lateFiles{p: p}
	p.late = late
	var edits tree.Edits
	add := func(at string, most int64, write func(ctx context.Context, out io.WriterAt, base int64) (int64, error)) {
		n := tree.NewFile("", 0o444, nil)
		n.Mtime = p.base.Now
		edits.Put(at, n)
		late.paths = append(late.paths, at)
		p.recipe.Late = append(p.recipe.Late, iso.Late{Path: at, Max: most, Write: write})
	}
	add(p.form.Base, p.mostBase(), late.writeBase)
	late.facts.Packages = p.packages
	for _, c := range p.form.Sidecars {
		if c.Packages {
			// It is known already.
			text := live.PackageText(late.facts.Packages, c.Former)
			if text == nil {
				p.warn("%s is left out: it lists the packages of the former base, and none can be listed in its form", c.Name)
				edits.Remove(c.Name)
				continue
			}
			n := tree.NewFile("", 0o444, text)
			n.Mtime = p.base.Now
			edits.Put(c.Name, n)
			continue
		}
		add(c.Name, int64(len(path.Base(p.form.Base)))+256, func(_ context.Context, out io.WriterAt, at int64) (int64, error) {
			return late.put(c.Name, c.Content(p.form.Base, late.facts, late.sums), out, at)
		})
	}
	if len(p.form.EmptyImages) > 0 {
		n, err := p.emptyImage(ctx)
		if err != nil {
			return err
		}
		for _, at := range p.form.EmptyImages {
			edits.Put(at, n)
		}
	}
	var err error
	if p.root, err = edits.Apply(p.root); err != nil {
		return err
	}
	lists, err := p.sumLists(ctx)
	if err != nil {
		return err
	}
	late.lists = lists
	for _, l := range lists {
		add(l.Path, l.size, func(ctx context.Context, out io.WriterAt, at int64) (int64, error) {
			return late.writeList(ctx, l, out, at)
		})
	}
	if p.root, err = edits.Apply(p.root); err != nil {
		return err
	}
	p.plan, err = iso.NewPlan(ctx, p.root, p.recipe)
	return err
}

// emptyImage makes an image that shows nothing but what lies below it.
func (p *Plan) emptyImage(ctx context.Context) (*tree.Node, error) {
	root := *p.base.System // for its mode and owner, which are those that show
	root.Dir, root.Inode = tree.List{}, tree.Inode{}
	wo, err := p.base.WriteOptions()
	if err != nil {
		return nil, err
	}
	wo.SetBuilt(p.base.Now)
	plan, err := packed.NewPlan(ctx, &root, wo)
	if err != nil {
		return nil, err
	}
	var image memory
	if _, _, err := plan.Write(ctx, &image, 0); err != nil {
		return nil, err
	}
	n := tree.NewFile("", 0o444, image)
	n.Mtime = p.base.Now
	return n, nil
}

// memory is a small file that is being written.
type memory []byte

// WriteAt implements io.WriterAt.
func (m *memory) WriteAt(b []byte, off int64) (int, error) {
	if end := int(off) + len(b); end > len(*m) {
		*m = append(*m, make([]byte, end-len(*m))...)
	}
	return copy((*m)[off:], b), nil
}

// volumeTime is the time that the volume says it was made, from which GRUB and
// libblkid make its identity. It is the time of what is newest in it; hundredths
// of a second tell snapshots apart that were made differently of the same.
func (p *Plan) volumeTime() tree.Time {
	h := sha256.New()
	h.Write(p.base.State)
	s := &p.base.Summary
	fmt.Fprint(h, p.base.Salt(), s.Copy, s.Compress, s.Inodes, s.Bytes, p.o.Kernel, p.o.Initrd, p.o.AddArgs, p.o.RemoveArgs)
	t := p.base.Now
	t.Nsec = binary.LittleEndian.Uint32(h.Sum(nil)) % 100 * 1e7
	return t
}

// mostBase is more than the system's image can come to, in bytes.
func (p *Plan) mostBase() int64 {
	s := &p.base.Summary
	blocks := (s.Copy + s.Compress) / int64(max(s.BlockSize, 4096))
	// Of each inode its tables, names and attributes; what does not compress is
	// stored as it is.
	most := s.Copy + s.Compress + int64(s.Repacked)*int64(s.BlockSize) + blocks*16 + int64(s.Inodes)*4096 + 64<<20
	return max(most, 2*s.Estimate)
}

// writeBase writes the system's image, and finds its sums.
func (f *lateFiles) writeBase(ctx context.Context, out io.WriterAt, base int64) (int64, error) {
	p := f.p
	var err error
	var facts live.Facts
	if f.size, facts, err = p.base.WriteAt(ctx, out, base, f.scratch); err != nil {
		return 0, err
	}
	f.base, f.facts.Content = base, facts.Content
	var kinds []checksum.Kind
	for _, c := range p.form.Sidecars {
		if c.Sum != "" {
			kinds = append(kinds, c.Sum)
		}
	}
	for _, l := range f.lists {
		kinds = append(kinds, l.kind)
	}
	if len(kinds) == 0 {
		kinds = []checksum.Kind{checksum.SHA256} // for the read-back
	}
	p.env.Phase("sums", f.size)
	f.sums, err = checksum.Reader(ctx, io.NewSectionReader(f.out, base, f.size), p.env.Done, kinds...)
	return f.size, err
}

// checkSpace refuses where the ISO does not fit.
func (p *Plan) checkSpace() error {
	s := &p.Summary
	sizes := []int64{p.base.Summary.Estimate}
	for _, l := range p.recipe.Late[1:] {
		sizes = append(sizes, l.Max)
	}
	var err error
	if s.Size, err = p.plan.Size(sizes...); err != nil {
		return err
	}
	s.Need = s.Size + p.base.Work + 1<<20
	dir := filepath.Dir(p.o.Output)
	var most int64
	if s.Free, most, err = hostdisk.FreeAt(dir); err != nil {
		return err
	}
	if s.Need > s.Free {
		return refusal.New(refusal.NotEnoughSpace, "name a file on another disk with "+say.Output+", or leave things out with "+say.Exclude,
			"%s: not enough space: about %s needed, %s free", dir, bytesize.Format(s.Need), bytesize.Format(s.Free))
	}
	if s.Size > most {
		return refusal.New(refusal.FileTooLarge, "name a file on another disk with "+say.Output+", or choose a stronger codec with "+
			say.Codec,
			"%s: the ISO would have about %s, and a file on this file system cannot have more than %s", dir, bytesize.Format(s.Size),
			bytesize.Format(most))
	}
	return nil
}
