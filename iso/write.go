package iso

import (
	"context"
	"errors"
	"fmt"
	"io"

	"relive/tree"
)

// Recipe says what an image is to be besides its tree. Texts are cut nowhere:
// one that is too long for its field is an error.
type Recipe struct {
	VolumeID    string // up to 32 bytes
	SystemID    string // up to 32 bytes
	VolumeSetID string // up to 128 bytes, like the three that follow
	Publisher   string
	Preparer    string
	Application string
	// Files of the root that hold a text, up to 37 bytes each.
	Copyright, Abstract, Bibliographic string

	// Time is that of the volume's creation and modification, from which GRUB
	// and libblkid make the image's identity. The zero Time stands for the newest
	// time of modification in the tree.
	Time tree.Time
	// Zone is the offset from GMT in quarters of an hour that Time is written
	// with: the identity is made of its digits.
	Zone int8
	// Created is the time of creation where it is another than Time; Expires and
	// Effective are when the volume becomes obsolete and may be used, zero for not
	// given.
	Created, Expires, Effective tree.Time

	// NoJoliet leaves out Joliet's names, which systems without Rock Ridge show.
	NoJoliet bool
	// LongJoliet gives these names up to 103 characters instead of 64, which
	// Windows and Linux read although the specification does not have it.
	LongJoliet bool
	// Plain are identifiers of files and directories in the plain name space, as
	// they are stored, by path: firmware and loaders look for files by them. Those
	// that are not told, and those that another one is taken for, are made.
	Plain map[string]string
	// Untranslated makes identifiers that are the names as they are (mkisofs -U),
	// instead of capital letters, digits and underscores.
	Untranslated bool

	// Boot are the boot images; the first is the default entry, which BIOS
	// firmware takes.
	Boot []BootImage
	// Catalog is the path at which the boot catalogue shows as a file; empty for
	// nowhere.
	Catalog string
	// CatalogID is who made the catalogue, up to 24 bytes.
	CatalogID string
	// Appended are partitions behind the files.
	Appended []Partition
	// Disk makes the image boot as a disk as well; nil for none of that.
	Disk *Disk

	// Late are the files whose content is made when the image is written.
	Late []Late
}

// Late is a file of the tree that is written straight to its place in the
// image, and whose size is known only then. It lies behind all files that are
// not late. Late files are written one after the other, in the order of the
// recipe, and lie in that order, each from the next sector on: one may be made
// of those before it, as a list of sums is.
type Late struct {
	// Path of the file, which the tree has as a regular file; its Data and Size
	// are not looked at.
	Path string
	// Max is the largest that its size may come to, in bytes.
	Max int64
	// Write writes the content to out, its first byte at base, and gives its size
	// in bytes. Nothing may be written before base, nor beyond that size but
	// zeros.
	//
	// out is the very value that Plan.Write was given, so what that one can do
	// holds here: an *os.File takes writes from several goroutines at once and
	// copies by copy_file_range, and whoever passed it can read it. A Write that
	// keeps its base and size, by os.File or the like, thus gives a later one, or
	// itself, the content to read back: io.NewSectionReader(file, base, size).
	// What stands elsewhere in the image is not written yet: directories and
	// descriptors come last.
	Write func(ctx context.Context, out io.WriterAt, base int64) (size int64, err error)
}

// Partition is content that lies behind the files of an image, at a multiple of
// 1 MiB.
type Partition struct {
	Data tree.Data
	Size int64 // in bytes
	// Number, 1 to 4, gives it that entry of the MBR, of type Type. 0 stands for
	// none: a partition that is the EFI boot image has its entries by that. There
	// is no such entry with TableGPT.
	Number int
	Type   uint8
	// GPT is its entry in a GPT; nil stands for one of the usual kind where it has
	// a Number, and for none else.
	GPT *GPTEntry
}

// GPTEntry is what an entry of a GPT says of a partition besides its place.
type GPTEntry struct {
	// Number is the entry's place in the table, from 1 on; 0 stands for any.
	Number int
	Type   GUID
	// GUID is the partition's own; the zero GUID stands for one that is made.
	GUID  GUID
	Flags uint64
	Name  string
}

// Plan is an image of which all but the sizes of late files is known: names,
// records, places.
type Plan struct {
	recipe Recipe
	root   *outNode
	dirs   []*outNode // parents before children, in the order of the tree
	inodes []*outInode
	late   []*outInode // in the order of the recipe
	mtime  tree.Time   // the newest of the tree

	catalog  uint32 // sector of the boot catalogue, 0 without
	boot     []*outInode
	loaded   map[string]*outInode // files that the disk's code holds addresses of
	spaces   [hierarchies]space
	data     uint32 // first sector of files
	appended []uint32
	fixed    uint32 // the sector after what is known before late files are written
	written  []LatePlace
	total    uint32 // sectors of the image that was written
}

// hierarchy is one of the hierarchies of directories that name the same files.
type hierarchy int

// With Rock Ridge, with Joliet's names, and both again for the partition of the
// image itself, as that counts its sectors.
const (
	primarySpace hierarchy = iota
	jolietSpace
	primaryShifted
	jolietShifted
	hierarchies
)

// names is the hierarchy that h has its names of.
func (h hierarchy) names() hierarchy { return h % primaryShifted }

// shift is where the sectors start that h counts.
func (h hierarchy) shift() uint32 {
	if h >= primaryShifted {
		return systemSectors
	}
	return 0
}

// active are the hierarchies of the image.
func (p *Plan) active() []hierarchy {
	var out []hierarchy
	for h := range hierarchies {
		joliet, shifted := h.names() == jolietSpace, h.shift() > 0
		if joliet && p.recipe.NoJoliet || shifted && !p.mountable() {
			continue
		}
		out = append(out, h)
	}
	return out
}

// mountable reports whether the partition of the image itself is to have volume
// descriptors.
func (p *Plan) mountable() bool { return p.recipe.Disk != nil && p.recipe.Disk.Mountable }

// space is one hierarchy of directories.
type space struct {
	order          []*outNode // of its path table
	tableBytes     int
	tableL, tableM uint32
}

// WriteReport tells of an image that was written.
type WriteReport struct {
	Size  int64       // of the image in bytes
	Late  []LatePlace // in the order of the recipe
	Files int         // inodes with content
	Dirs  int
}

// LatePlace is where a late file has come to lie, in bytes.
type LatePlace struct{ Offset, Size int64 }

// NewPlan lays out an image of a tree. Nothing is read but the tree's
// directories.
func NewPlan(ctx context.Context, root *tree.Node, r Recipe) (*Plan, error) {
	p := &Plan{recipe: r}
	if err := p.checkTexts(); err != nil {
		return nil, err
	}
	if err := p.collect(ctx, root); err != nil {
		return nil, err
	}
	p.assignNames()
	if err := p.layout(); err != nil {
		return nil, err
	}
	return p, nil
}

// layout returns everything its place: descriptors, catalogue, path tables,
// directories, files.
func (p *Plan) layout() error {
	at := uint32(systemSectors + 1) // the primary descriptor
	if len(p.recipe.Boot) > 0 {
		at++
	}
	if !p.recipe.NoJoliet {
		at++
	}
	at++ // the terminator
	if p.mountable() {
		at += systemSectors // the same again, without a boot record
	}
	if len(p.recipe.Boot) > 0 {
		p.catalog = at
		at++
	}
	for _, s := range p.active() {
		if err := p.layoutTables(s, &at); err != nil {
			return err
		}
	}
	for _, s := range p.active() {
		for _, d := range p.dirs {
			w := dirWriter{plan: p, space: s, sizing: true}
			if err := w.directory(d); err != nil {
				return err
			}
			e := &d.extents[s]
			e.block, e.reserved, e.continuation = at, sectors(int64(len(w.buf))), sectors(int64(len(w.continuation)))
			at += e.reserved + e.continuation
		}
	}
	p.data = at
	total := int64(at)
	for _, in := range p.inodes {
		if in.late || in.size == 0 {
			continue
		}
		if in.catalog {
			in.block = p.catalog
			continue
		}
		in.block = uint32(total)
		total += int64(sectors64(in.size))
		if total > maxSectors {
			return errTooLarge
		}
	}
	p.fixed = uint32(total)
	return p.checkBoot()
}

// maxSectors is what the 32 bits of an extent's place hold.
const maxSectors = 1<<32 - 1

func sectors(bytes int64) uint32 { return uint32(sectors64(bytes)) }

func sectors64(bytes int64) int64 { return (bytes + sectorSize - 1) / sectorSize }

// errTooLarge is the error of an image whose places 32 bits do not count.
var errTooLarge = errors.New("the image would be larger than 8 TiB")

// Size returns the size in bytes of the image in which the late files come to
// that many bytes each, in the order of the recipe. One that is not told counts
// with its Max, so Size() is what the image may come to at most.
func (p *Plan) Size(late ...int64) (int64, error) {
	end := int64(p.fixed)
	for i, l := range p.recipe.Late {
		size := l.Max
		if i < len(late) {
			size = late[i]
		}
		end += sectors64(size)
		if end > maxSectors {
			return 0, errTooLarge
		}
	}
	for _, a := range p.recipe.Appended {
		end = alignMiB(end) + sectors64(a.Size)
	}
	total, err := p.imageSectors(end)
	return int64(total) * sectorSize, err
}

// Write writes the image from offset 0 of out on, which must read as zeros where
// nothing has been written: holes of files, and what fills sectors, are left
// out. It may be called once. The same tree and recipe give the same bytes.
//
// progress, which may be nil, is told how many bytes of files' content are
// written so far; late files tell of themselves.
func (p *Plan) Write(ctx context.Context, out io.WriterAt, progress func(bytes int64)) (*WriteReport, error) {
	rep := &WriteReport{Dirs: len(p.dirs)}
	w := &contentWriter{ctx: ctx, out: out, progress: progress}
	if err := p.writeFiles(w); err != nil {
		return nil, err
	}
	for _, in := range p.inodes {
		if !in.late && !in.catalog && in.size > 0 {
			rep.Files++
		}
	}
	end, err := p.writeLate(ctx, out, rep)
	if err != nil {
		return nil, err
	}
	p.written = rep.Late
	if err := p.writeRest(w, end); err != nil {
		return nil, err
	}
	rep.Size = int64(p.total) * sectorSize
	return rep, nil
}

// writeFiles writes the files that are not late, each at once as it is to be:
// boot images with their address.
func (p *Plan) writeFiles(w *contentWriter) error {
	for _, in := range p.inodes {
		if in.late || in.catalog || in.size == 0 {
			continue
		}
		data, err := p.patched(in)
		if err != nil {
			return err
		}
		if err := w.file(in.path, data, in.size, int64(in.block)*sectorSize); err != nil {
			return err
		}
	}
	return nil
}

// writeRest writes all but the files of an image whose files end before the
// sector end.
func (p *Plan) writeRest(w *contentWriter, end uint32) error {
	end, err := p.writeAppended(w, end)
	if err != nil {
		return err
	}
	if p.total, err = p.imageSectors(int64(end)); err != nil {
		return err
	}
	if err := p.writeDirectories(w.ctx, w.out); err != nil {
		return err
	}
	if err := p.writeDescriptors(w.out, p.total); err != nil {
		return err
	}
	// The last byte first, so that a file has its size; a backup of a partition
	// table may follow.
	if _, err := w.out.WriteAt([]byte{0}, int64(p.total)*sectorSize-1); err != nil {
		return err
	}
	return p.writeBoot(w.out, p.total)
}

// writeLate has the late files written, and gives the sector after the last.
func (p *Plan) writeLate(ctx context.Context, out io.WriterAt, rep *WriteReport) (uint32, error) {
	end := p.fixed
	for i, in := range p.late {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		l := &p.recipe.Late[i]
		base := int64(end) * sectorSize
		size, err := l.Write(ctx, out, base)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", tree.Quote(in.path), err)
		}
		if size < 0 || size > l.Max {
			return 0, fmt.Errorf("%s: came to %d bytes, and no more than %d were allowed for", tree.Quote(in.path), size, l.Max)
		}
		total := int64(end) + sectors64(size)
		if total > maxSectors {
			return 0, errTooLarge
		}
		if in.size = size; size > 0 {
			in.block = end
		}
		rep.Late = append(rep.Late, LatePlace{base, size})
		rep.Files++
		end = uint32(total)
	}
	return end, nil
}

// contentWriter copies files' content.
type contentWriter struct {
	ctx      context.Context
	out      io.WriterAt
	progress func(int64)
	done     int64
	buf      []byte
}

// file copies size bytes of content to an offset; holes are left out.
func (w *contentWriter) file(path string, data tree.Data, size, at int64) error {
	c, err := data.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	defer c.Close()
	if c.Size() != size {
		return fmt.Errorf("%s: holds %d bytes, and its directory says %d", tree.Quote(path), c.Size(), size)
	}
	if w.buf == nil {
		w.buf = make([]byte, 1<<20)
	}
	for off := int64(0); off < size; {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(path), err)
		}
		off, end = max(off, start), min(end, size)
		for off < end {
			if w.ctx.Err() != nil {
				return context.Cause(w.ctx)
			}
			b := w.buf[:min(int64(len(w.buf)), end-off)]
			if err := tree.ReadFull(c, b, off); err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(path), err)
			}
			if _, err := w.out.WriteAt(b, at+off); err != nil {
				return err
			}
			off += int64(len(b))
			w.done += int64(len(b))
			if w.progress != nil {
				w.progress(w.done)
			}
		}
	}
	return nil
}
