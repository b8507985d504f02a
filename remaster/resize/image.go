package resize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"relive/extfs"
	"relive/extfs/mkfs"
	"relive/overlay"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/written"
	"relive/tree"
)

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

// imageRebuild is an ext image that is made anew with another size.
type imageRebuild struct {
	*resizing
	p       *Plan
	old     *live.Image
	root    *tree.Node
	like    mkfs.Options // as the old one is, of no size
	options mkfs.Options // of the new one
	data    int64        // bytes that the tree takes in the new one
}

// addImage takes an ext image with that tree among what is resized.
func (p *Plan) addImage(ctx context.Context, target string, img *live.Image, root *tree.Node, want NewSize) error {
	info := img.FS.Info()
	if info.HasErrors || !info.Clean && !info.NeedsRecovery {
		return refusal.New(refusal.Damaged, "e2fsck -f "+img.Path+" repairs it; make a copy first",
			"%s: the file system in it was not cleanly unmounted "+
				"and has no journal, or the kernel met errors in it, so that what it holds may not be whole", img.Path)
	}
	b := &imageRebuild{p: p, old: img, root: root}
	b.resizing = &resizing{target: target, path: img.Path, allocated: img.Allocated, fit: b.fit, Image: &Image{
		Name: target, Form: info.Kind, How: ResizeRebuild, OldSize: img.Size, FreeOld: info.FreeBlocks * info.BlockSize,
		Whole: preallocated(filepath.Dir(img.Path), img.Size, img.Allocated)}}
	if err := b.takeAfter(); err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	p.env.Phase("measuring what "+target+" holds", 0)
	o := b.like
	o.Size, o.Inodes, o.JournalBlocks = 0, 0, 0
	needs, err := mkfs.Measure(ctx, root, o)
	if err != nil {
		return err
	}
	b.Holds = needs.MinSize
	if b.Least, err = b.least(ctx, o); err != nil {
		return err
	}
	p.images = append(p.images, b.resizing)
	return nil
}

// least is the size, in whole MiB, at which there is the room that is to be left.
// A larger file system has a larger journal and larger tables.
func (b *imageRebuild) least(ctx context.Context, o mkfs.Options) (int64, error) {
	room := roomLeft(b.Holds)
	size := b.Holds + room
	for {
		size = (size + mib - 1) / mib * mib
		o.Size = size
		needs, err := mkfs.Measure(ctx, b.root, o)
		if err != nil {
			return 0, err
		}
		free := int64(needs.FreeBlocks) - int64(needs.Blocks)
		if missing := room - free*int64(needs.BlockSize); missing > 0 {
			size += missing
			continue
		}
		return size, nil
	}
}

// takeAfter notes what the new image has of the old one: all but its size and
// what follows from that.
func (b *imageRebuild) takeAfter() error {
	o := mkfs.Like(b.old.FS.Info())
	o.Name = b.target
	o.BlockSize = min(o.BlockSize, replace.MaxBuiltBlock)
	var dropped []string
	o.Features, dropped = o.Features.Buildable()
	if len(dropped) > 0 {
		b.p.warn("the new %s does without the features %v of the old one", b.target, dropped)
	}
	if o.Time = b.old.FS.Info().Created; b.p.env.SourceDate != nil {
		o.Time = tree.Time{Sec: *b.p.env.SourceDate}
	}
	lost, err := b.root.Child("lost+found")
	if err != nil {
		return err
	}
	o.NoLostAndFound = lost == nil
	b.like = o
	return nil
}

// sized are the options for an image of that size: as many inodes and as much
// reserve for its size as the old one has, and its journal if it had another
// than mke2fs makes.
func (b *imageRebuild) sized(size int64, blockSize int) mkfs.Options {
	o, info := b.like, b.old.FS.Info()
	scale := float64(size) / float64(b.old.Size)
	o.Size, o.BlockSize = size, blockSize
	o.Inodes = uint32(min(float64(info.Inodes)*scale, math.MaxUint32-1))
	o.ReservedBlocks, o.ReservedPercent = 0, -1
	if info.ReservedBlocks > 0 {
		o.ReservedPercent = min(100*float64(info.ReservedBlocks)/float64(info.Blocks), 50)
	}
	if o.JournalBlocks > 0 {
		// Where it would take much of the room, mke2fs's choice is better.
		bytes := int64(o.JournalBlocks) * info.BlockSize
		if o.JournalBlocks = uint32(bytes / int64(blockSize)); bytes > size/8 {
			o.JournalBlocks = 0
		}
	}
	return o
}

// blockSizes are the block sizes to try, the best first. mke2fs gives small file
// systems blocks of 1 KiB, with which large ones are slow.
func (b *imageRebuild) blockSizes(size int64) []int {
	const small = 512 * mib
	if b.like.BlockSize < replace.MaxBuiltBlock && b.old.Size < small && size >= small {
		return []int{replace.MaxBuiltBlock, b.like.BlockSize}
	}
	return []int{b.like.BlockSize}
}

// fit finds the options with which an image of that size holds the tree.
func (b *imageRebuild) fit(ctx context.Context, size int64) error {
	var last mkfs.Needs
	for _, blockSize := range b.blockSizes(size) {
		like := b.sized(size, blockSize)
		plain := like
		plain.Inodes, plain.JournalBlocks = 0, 0 // where room is short, what mke2fs would choose
		for i, o := range []mkfs.Options{like, plain} {
			needs, err := mkfs.Measure(ctx, b.root, o)
			if err != nil {
				return err
			}
			if last = needs; !needs.Fits || i == 0 && needs.Inodes+needs.Inodes/16 > needs.FreeInodes {
				continue
			}
			b.options = o
			b.Size, b.data = size, int64(needs.Blocks)*int64(needs.BlockSize)
			b.Free = int64(needs.FreeBlocks-needs.Blocks) * int64(needs.BlockSize)
			b.Inodes, b.FreeInodes = int64(needs.FreeInodes), int64(needs.FreeInodes-needs.Inodes)
			// The tables of the inodes in use, bitmaps, descriptors, and the ends
			// of the journal.
			b.need = min(size, b.data+int64(needs.Inodes)*int64(max(o.InodeSize, 256))+size/1024+mib)
			if b.Whole {
				b.need = size
			}
			b.make = b.build
			if blockSize != int(b.old.FS.Info().BlockSize) {
				b.p.note("the new %s has blocks of %s, the old one has %s", b.target, bytesize.Format(int64(blockSize)),
					bytesize.Format(b.old.FS.Info().BlockSize))
			}
			if b.old.FS.Info().NeedsRecovery {
				b.p.note("%s was not unmounted cleanly: its journal is replayed on the way", b.target)
			}
			return nil
		}
	}
	return refusal.New(refusal.WrongSize, "give at least "+sizeArg(b.Least)+", or min",
		"%s: %s is too small for %s, which holds %d inodes and %s of data; there is room for %d and %s",
		b.p.live.Dir, bytesize.Format(size), b.target, last.Inodes, bytesize.Format(int64(last.Blocks)*int64(last.BlockSize)),
		last.FreeInodes, bytesize.Format(int64(last.FreeBlocks)*int64(last.BlockSize)))
}

// build writes the new image, makes it durable, reads it back and compares it
// with the old one.
func (b *imageRebuild) build(ctx context.Context, path string) (err error) {
	out, err := hostdisk.CreateLike(path, b.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	env := b.p.env
	env.Phase("writing "+b.target, b.data)
	file := written.New(out)
	rep, err := mkfs.Build(ctx, &countedImage{File: file, done: env.Done}, b.root, b.options)
	if err != nil {
		return err
	}
	b.Free = int64(rep.FreeBlocks) * int64(rep.BlockSize)
	if err := b.setAside(out); err != nil {
		return err
	}
	env.Phase("syncing", 0)
	if err := written.Settle(ctx, out); err != nil {
		return err
	}
	env.Phase("reading "+b.target+" back", 0)
	if err := readback.SameBytes(ctx, file, path); err != nil {
		return err
	}
	return b.check(ctx, path)
}

// check reads the new image back and compares it with the old one.
func (b *imageRebuild) check(ctx context.Context, path string) error {
	root, img, err := live.OpenRoot(path)
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	defer img.Close()
	return readback.Equal(ctx, path, b.root, root, tree.CompareOptions{Links: true, Flags: extfs.KeptFlags})
}

// countedImage is a file that tells how much was written to it.
type countedImage struct {
	*written.File
	done  func(int64)
	bytes atomic.Int64
}

// WriteAt implements io.WriterAt.
func (c *countedImage) WriteAt(p []byte, off int64) (int, error) {
	n, err := c.File.WriteAt(p, off)
	c.done(c.bytes.Add(int64(n)))
	return n, err
}

// upperMark names, by a file handle, the directory of the upper layer that an
// index entry is of, or on the index itself the upper layer (Linux,
// fs/overlayfs/super.c: ovl_get_indexdir; namei.c: ovl_verify_index).
const upperMark = overlay.MarkPrefix + "upper"

// withoutUpperHandles leaves out what names inodes of the layer itself, which
// have other numbers in a new image: overlayfs would refuse to mount the layer,
// or take another directory for the one that is meant. It makes the marks anew.
// Entries of the index for files are the files themselves and stay.
func withoutUpperHandles(root *tree.Node, works ...string) (*tree.Node, error) {
	var edits tree.Edits
	for _, work := range works {
		at := path.Join(work, "index")
		index, err := live.DirectoryAt(root, at)
		if err != nil {
			return nil, err
		}
		if index == nil {
			continue
		}
		kids, err := index.Children()
		if err != nil {
			return nil, err
		}
		fresh := *index
		fresh.Xattrs = index.Xattrs.Filter(func(x tree.Xattr) bool { return x.Name != upperMark && x.Name != overlay.MarkPrefix+"origin" })
		keep := make(tree.List, 0, len(kids))
		for _, k := range kids {
			if _, ok := k.Xattrs.Get(upperMark); !ok || k.Type != tree.Directory {
				keep = append(keep, k)
			}
		}
		if len(keep) == len(kids) && len(fresh.Xattrs) == len(index.Xattrs) {
			continue
		}
		fresh.Dir, fresh.Inode = keep, tree.Inode{}
		edits.Put(at, &fresh)
	}
	return edits.Apply(root)
}
