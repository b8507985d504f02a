package remaster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"relive/iso"
	"relive/squash"
	"relive/tree"
)

// lateFiles are the files of an ISO whose content is known only when the base
// is written.
type lateFiles struct {
	p *ISOPlan
	// out is the image while it is written; base is where the system's image lies
	// in it.
	out        *os.File
	base, size int64
	facts      baseFacts
	sums       map[string]string // of the base
	scratch    func() (string, error)
	paths      []string
	texts      map[string][]byte // what was written of the others, by path
}

// checks gives what compares each of the files with what was written.
func (f *lateFiles) checks() map[string]func(context.Context, *tree.Node) error {
	out := map[string]func(context.Context, *tree.Node) error{}
	for _, at := range f.paths {
		out[at] = func(_ context.Context, n *tree.Node) error {
			text, err := tree.ReadAll(n, max(n.Size, 1))
			if err != nil {
				return err
			}
			if !bytes.Equal(text, f.texts[at]) {
				return fmt.Errorf("%w: %s", ErrReadBack, tree.Quote(at))
			}
			return nil
		}
	}
	out[f.p.form.base] = f.checkBase
	return out
}

// checkBase compares the system's image with the system, and its bytes by the sum
// that stands beside it.
func (f *lateFiles) checkBase(ctx context.Context, n *tree.Node) (err error) {
	at := f.p.form.base
	if n.Size != f.size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrReadBack, tree.Quote(at), n.Size, f.size)
	}
	c, err := n.Open()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadBack, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		kind := slices.Sorted(maps.Keys(f.sums))[0]
		sums, err := sumReader(ctx, io.NewSectionReader(c, 0, c.Size()), func(int64) {}, kind)
		if err == nil && sums[kind] != f.sums[kind] {
			err = fmt.Errorf("%w: %s has another %s sum than when it was written", ErrReadBack, tree.Quote(at), kind)
		}
		return err
	})
	g.Go(func() error { return f.p.base.make.(*squashMaker).checkContent(ctx, at, c) })
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
func (p *ISOPlan) planImage(ctx context.Context) error {
	late := &lateFiles{p: p}
	p.late = late
	var edits tree.Edits
	add := func(at string, most int64, write func(ctx context.Context, out io.WriterAt, base int64) (int64, error)) {
		n := tree.NewFile("", 0o444, nil)
		n.Mtime = p.base.now
		edits.Put(at, n)
		late.paths = append(late.paths, at)
		p.recipe.Late = append(p.recipe.Late, iso.Late{Path: at, Max: most, Write: write})
	}
	add(p.form.base, p.mostBase(), late.writeBase)
	for _, c := range p.form.beside {
		add(c.name, int64(len(path.Base(p.form.base)))+256, func(_ context.Context, out io.WriterAt, at int64) (int64, error) {
			return late.put(c.name, c.content(p.form.base, late.facts, late.sums), out, at)
		})
	}
	if len(p.form.hollow) > 0 {
		n, err := p.hollow(ctx)
		if err != nil {
			return err
		}
		for _, at := range p.form.hollow {
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
	for _, l := range lists {
		add(l.name, l.size, func(ctx context.Context, out io.WriterAt, at int64) (int64, error) {
			return late.writeList(ctx, l, out, at)
		})
	}
	if p.root, err = edits.Apply(p.root); err != nil {
		return err
	}
	p.plan, err = iso.NewPlan(ctx, p.root, p.recipe)
	return err
}

// hollow makes an image that shows nothing but what lies below it.
func (p *ISOPlan) hollow(ctx context.Context) (*tree.Node, error) {
	root := *p.base.system // for its mode and owner, which are those that show
	root.Dir, root.Inode = tree.List{}, tree.Inode{}
	wo, err := p.base.writeOptions()
	if err != nil {
		return nil, err
	}
	wo.MkfsTime = uint32(p.base.now.Sec)
	plan, err := squash.NewPlan(ctx, &root, wo)
	if err != nil {
		return nil, err
	}
	var image memory
	if _, err := plan.Write(ctx, &image, 0); err != nil {
		return nil, err
	}
	n := tree.NewFile("", 0o444, image)
	n.Mtime = p.base.now
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
func (p *ISOPlan) volumeTime() tree.Time {
	h := sha256.New()
	h.Write(p.base.state)
	s := &p.base.Summary
	fmt.Fprint(h, p.base.salt(), s.Copy, s.Compress, s.Inodes, s.Bytes, p.o.Kernel, p.o.Initrd, p.o.AddArgs, p.o.RemoveArgs)
	t := p.base.now
	t.Nsec = binary.LittleEndian.Uint32(h.Sum(nil)) % 100 * 1e7
	return t
}

// mostBase is more than the system's image can come to, in bytes.
func (p *ISOPlan) mostBase() int64 {
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
	m, ok := p.base.make.(*squashMaker)
	if !ok {
		return 0, fmt.Errorf("%s: is no SquashFS image", p.form.base)
	}
	var err error
	if f.size, f.facts, err = m.writeAt(ctx, out, base, f.scratch); err != nil {
		return 0, err
	}
	f.base = base
	var kinds []string
	for _, c := range p.form.beside {
		if c.sum != "" && !slices.Contains(kinds, c.sum) {
			kinds = append(kinds, c.sum)
		}
	}
	for _, l := range sumLists {
		if slices.Contains(f.paths, l.name) && !slices.Contains(kinds, l.kind) {
			kinds = append(kinds, l.kind)
		}
	}
	if len(kinds) == 0 {
		kinds = []string{"sha256"} // for the read-back
	}
	p.env.phase("sums", f.size)
	f.sums, err = sumReader(ctx, io.NewSectionReader(f.out, base, f.size), p.env.done, kinds...)
	return f.size, err
}

// mediumList is a list of the sums of all files of an ISO.
type mediumList struct {
	kind, name string
	files      []string
	size       int64 // of the list at most, in bytes
}

// sumLists plans the lists of sums that the medium has, for all files but the
// lists, and the boot images that change as the ISO is written.
func (p *ISOPlan) sumLists(ctx context.Context) (out []mediumList, err error) {
	for _, known := range sumLists {
		if n, err := p.root.Lookup(known.name); err != nil {
			return nil, err
		} else if n != nil && n.Type == tree.Regular {
			out = append(out, mediumList{kind: known.kind, name: known.name})
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	var edits tree.Edits
	for _, l := range out {
		sig, err := signatureOf(p.root, l.name)
		if err != nil {
			return nil, err
		}
		if sig != "" {
			edits.Remove(sig)
			p.warn("%s is left out: it signs the list that %s was", tree.Quote(sig), l.name)
		}
	}
	if p.root, err = edits.Apply(p.root); err != nil {
		return nil, err
	}
	skip := map[string]bool{p.recipe.Catalog: true}
	for _, l := range sumLists {
		skip[l.name] = true
	}
	for _, b := range p.recipe.Boot {
		skip[b.Path] = skip[b.Path] || b.BootInfo || b.Grub2Info
	}
	var files []string
	err = tree.Walk(ctx, p.root, func(at string, n *tree.Node) error {
		if n.Type == tree.Regular && !skip[at] && !strings.ContainsAny(at, "\n\\") {
			files = append(files, at)
		}
		return nil
	})
	slices.Sort(files)
	for i := range out {
		l := &out[i]
		l.files = files
		for _, at := range files {
			l.size += int64(2*newHash(l.kind).Size() + len(at) + 8)
		}
	}
	return out, err
}

// writeList writes a list of sums.
func (f *lateFiles) writeList(ctx context.Context, l mediumList, out io.WriterAt, at int64) (int64, error) {
	var text []byte
	buf := make([]byte, 1<<20)
	for _, name := range l.files {
		var sum string
		switch i := slices.IndexFunc(f.p.form.beside, func(c companion) bool { return c.name == name }); {
		case name == f.p.form.base:
			sum = f.sums[l.kind]
		case i >= 0:
			h := newHash(l.kind)
			c := f.p.form.beside[i]
			h.Write(c.content(f.p.form.base, f.facts, f.sums))
			sum = hex.EncodeToString(h.Sum(nil))
		default:
			n, err := f.p.root.Lookup(name)
			if err != nil {
				return 0, err
			}
			if sum, err = hashNode(ctx, n, l.kind, buf, nil); err != nil {
				return 0, fmt.Errorf("%s: %w", tree.Quote(name), err)
			}
		}
		text = fmt.Appendf(text, "%s  ./%s\n", sum, name)
	}
	return f.put(l.name, text, out, at)
}

// checkSpace refuses where the ISO does not fit.
func (p *ISOPlan) checkSpace() error {
	s := &p.Summary
	sizes := []int64{p.base.Summary.Estimate}
	for _, l := range p.recipe.Late[1:] {
		sizes = append(sizes, l.Max)
	}
	var err error
	if s.Size, err = p.plan.Size(sizes...); err != nil {
		return err
	}
	_, work, err := p.base.estimate()
	if err != nil {
		return err
	}
	s.Need = s.Size + work + 1<<20
	dir := filepath.Dir(p.o.Output)
	var most int64
	if s.Free, most, err = freeAt(dir); err != nil {
		return err
	}
	if s.Need > s.Free {
		return refuse("name a file on another disk with -o, or leave things out with -e", "%s: not enough space: about %s needed, %s free", dir, Bytes(s.Need), Bytes(s.Free))
	}
	if s.Size > most {
		return refuse("name a file on another disk with -o, or choose a stronger codec with --comp",
			"%s: the ISO would have about %s, and a file on this file system cannot have more than %s", dir, Bytes(s.Size), Bytes(most))
	}
	return nil
}
