package squash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// metaWriter writes the tables and the superblock. It walks the tree a second
// time, in the order of Plan.scan, and meets the files in the order in which
// the plan lists them.
//
// The inode table goes out as it grows; the directory table, which follows it
// but grows at the same time, is held in its compressed form until then.
type metaWriter struct {
	plan      *Plan
	ctx       context.Context
	out       io.WriterAt
	base      int64
	pos       int64
	fragments []ondisk.FragmentEntry
	packed    map[packedTail]fragmentRef

	c      codec.Compressor
	inodes *metadataWriter
	dirs   *metadataWriter
	ids    map[uint32]uint16
	idList []byte
	export []ondisk.Ref // of each inode, by its number less 1
	met    uint64       // inodes
	next   int          // in plan.files
	buf    []byte
}

func (w *metaWriter) append(p []byte) error {
	if _, err := w.out.WriteAt(p, w.base+w.pos); err != nil {
		return err
	}
	w.pos += int64(len(p))
	return nil
}

func (w *metaWriter) run() (*WriteReport, error) {
	p := w.plan
	dataEnd := w.pos
	var err error
	// What is packed by 8 KiB wants options of its own, whatever the block size
	// of the data.
	if w.c, err = p.o.Library.NewCompressor(p.o.Codec.Metadata(), ondisk.MetadataSize); err != nil {
		return nil, err
	}
	defer w.c.Close()
	for _, l := range p.links {
		l.number = 0
	}
	sb := ondisk.Superblock{
		MkfsTime: p.o.MkfsTime, BlockSize: uint32(p.o.BlockSize), FragmentCount: uint32(len(w.fragments)),
		Compression: uint16(p.o.Codec.ID), Flags: p.o.Flags, Major: ondisk.VersionMajor, Minor: ondisk.VersionMinor,
		XattrTableStart: ondisk.NoTable, ExportTableStart: ondisk.NoTable,
	}
	for sb.BlockSize>>sb.BlockLog > 1 {
		sb.BlockLog++
	}

	sb.InodeTableStart = uint64(w.pos)
	w.ids = map[uint32]uint16{}
	w.export = make([]ondisk.Ref, p.highest())
	for i := range w.export {
		w.export[i] = noInode
	}
	w.inodes = newMetadataWriter(w.c, p.o.Flags&FlagUncompressedInodes != 0, w.append)
	var dirTable bytes.Buffer
	w.dirs = newMetadataWriter(w.c, p.o.Flags&FlagUncompressedInodes != 0, func(b []byte) error {
		_, err := dirTable.Write(b)
		return err
	})
	// The root's parent is no inode: its number is one more than the last. What
	// the superblock counts is numbers, which an inode need not have.
	sb.InodeCount = uint32(len(w.export))
	number := w.number()
	if sb.Root, err = w.directory("", p.root, number, sb.InodeCount+1, 0); err != nil {
		return nil, err
	}
	if w.met != p.Stats.Inodes || w.next != p.files.n {
		return nil, fmt.Errorf("the tree changed while it was written: %d inodes at first, then %d", p.Stats.Inodes, w.met)
	}
	if err := w.inodes.flush(); err != nil {
		return nil, err
	}
	if err := w.dirs.flush(); err != nil {
		return nil, err
	}
	sb.DirTableStart = uint64(w.pos)
	if err := w.append(dirTable.Bytes()); err != nil {
		return nil, err
	}

	table := make([]byte, 0, len(w.fragments)*ondisk.FragmentEntrySize)
	for i := range w.fragments {
		table = w.fragments[i].Append(table)
	}
	if sb.FragmentTableStart, err = w.table(table, p.o.Flags&FlagUncompressedFragments != 0); err != nil {
		return nil, err
	}
	if p.o.Flags&FlagExportable != 0 {
		table = table[:0]
		for _, ref := range w.export {
			table = binary.LittleEndian.AppendUint64(table, uint64(ref))
		}
		if sb.ExportTableStart, err = w.table(table, p.o.Flags&FlagUncompressedInodes != 0); err != nil {
			return nil, err
		}
	}
	sb.IDCount = uint16(len(w.ids))
	if sb.IDTableStart, err = w.table(w.idList, p.o.Flags&(FlagUncompressedIDs|FlagUncompressedInodes) != 0); err != nil {
		return nil, err
	}
	if len(p.xattrs.sets) > 0 {
		if sb.XattrTableStart, err = w.xattrTable(); err != nil {
			return nil, err
		}
	}
	sb.BytesUsed = uint64(w.pos)
	if pad := -w.pos & (imageAlign - 1); pad > 0 {
		if err := w.append(make([]byte, pad)); err != nil {
			return nil, err
		}
	}
	if err := w.superblock(&sb); err != nil {
		return nil, err
	}
	return &WriteReport{
		Size: w.pos, BytesUsed: int64(sb.BytesUsed), DataBytes: dataEnd - p.dataStart(),
		TableBytes: int64(sb.BytesUsed) - dataEnd + p.dataStart(), Fragments: sb.FragmentCount, Inodes: uint32(w.met),
	}, nil
}

// superblock writes the compressor's options and then, as the last bytes of
// all, the superblock: until then the file is no SquashFS image.
func (w *metaWriter) superblock(sb *ondisk.Superblock) error {
	if opts := w.plan.o.Codec.Marshal(w.plan.o.BlockSize); opts != nil {
		sb.Flags |= FlagCompressorOptions
		b := binary.LittleEndian.AppendUint16(nil, uint16(len(opts))|ondisk.MetadataUncompressed)
		if _, err := w.out.WriteAt(append(b, opts...), w.base+ondisk.SuperblockSize); err != nil {
			return err
		}
	}
	_, err := w.out.WriteAt(sb.Append(nil), w.base)
	return err
}

// table writes metadata blocks with entries and behind them the array of their
// offsets, and gives the offset of the array.
func (w *metaWriter) table(entries []byte, plain bool) (uint64, error) {
	start := w.pos
	m := newMetadataWriter(w.c, plain, w.append)
	if err := m.write(entries); err != nil {
		return 0, err
	}
	if err := m.flush(); err != nil {
		return 0, err
	}
	index := uint64(w.pos)
	return index, w.append(appendIndex(nil, start, m.starts))
}

func appendIndex(dst []byte, start int64, blocks []int64) []byte {
	for _, b := range blocks {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(start+b))
	}
	return dst
}

// xattrTable writes the pairs, the ids and the header that leads to both.
func (w *metaWriter) xattrTable() (uint64, error) {
	plain := w.plan.o.Flags&FlagUncompressedXattrs != 0
	header := ondisk.XattrTableHeader{PairsStart: uint64(w.pos), IDCount: uint32(len(w.plan.xattrs.sets))}
	m := newMetadataWriter(w.c, plain, w.append)
	entries, err := w.plan.xattrs.encode(m)
	if err != nil {
		return 0, err
	}
	if err := m.flush(); err != nil {
		return 0, err
	}
	ids, idStart := newMetadataWriter(w.c, plain, w.append), w.pos
	if err := ids.write(entries); err != nil {
		return 0, err
	}
	if err := ids.flush(); err != nil {
		return 0, err
	}
	at := uint64(w.pos)
	return at, w.append(appendIndex(header.Append(nil), idStart, ids.starts))
}

// id returns the index of a uid or gid.
func (w *metaWriter) id(v uint32) (uint16, error) {
	i, ok := w.ids[v]
	if !ok {
		if len(w.ids) == maxIDs {
			return 0, errTooManyIDs
		}
		i = uint16(len(w.ids))
		w.ids[v] = i
		w.idList = binary.LittleEndian.AppendUint32(w.idList, v)
	}
	return i, nil
}

// head fills what all inodes have.
func (w *metaWriter) head(n *tree.Node, number uint32) (h ondisk.InodeHead, err error) {
	h = ondisk.InodeHead{Type: ondisk.BasicType(n.Type), Mode: n.Perm, Mtime: uint32(n.Mtime.Whole().Sec), Number: number, Nlink: 1,
		Fragment: ondisk.NoFragment}
	if h.UID, err = w.id(n.UID); err != nil {
		return h, err
	}
	if h.GID, err = w.id(n.GID); err != nil {
		return h, err
	}
	if h.Xattr = w.plan.xattrs.id(n.Xattrs, w.plan.o.Flags&FlagNoXattrs != 0); h.Xattr != ondisk.NoXattr {
		h.Type = h.Type.WithExtended()
	}
	return h, nil
}

// put writes an inode and enters its Ref.
func (w *metaWriter) put(number uint32, b []byte) (ondisk.Ref, error) {
	ref := w.inodes.ref()
	if ref.Block() > 1<<32-1 {
		return 0, errors.New("inode table of more than 4 GiB")
	}
	w.export[number-1] = ref
	return ref, w.inodes.write(b)
}

// dirEntry is an entry of the directory that is being written.
type dirEntry struct {
	name   string
	ref    ondisk.Ref
	number uint32
	typ    ondisk.InodeType
}

// directory writes everything below a directory, then its listing, then its
// inode.
func (w *metaWriter) directory(path string, n *tree.Node, number, parent uint32, depth int) (ondisk.Ref, error) {
	if depth > tree.MaxDepth {
		return 0, tree.TooDeep(path)
	}
	if err := w.ctx.Err(); err != nil {
		return 0, context.Cause(w.ctx)
	}
	kids, err := n.ChildrenAt(path)
	if err != nil {
		return 0, err
	}
	entries := make([]dirEntry, 0, len(kids))
	nlink := uint32(2)
	for i, k := range kids {
		if i > 0 && k.Name <= kids[i-1].Name {
			return 0, fmt.Errorf("%s: %q stands behind %q, out of order", tree.Quote(path), k.Name, kids[i-1].Name)
		}
		e := dirEntry{name: k.Name, typ: ondisk.BasicType(k.Type)}
		if k.Type == tree.Directory {
			nlink++
			e.number = w.number()
			e.ref, err = w.directory(tree.Join(path, k.Name), k, e.number, number, depth+1)
		} else {
			e.ref, e.number, err = w.leaf(k)
			if err != nil {
				err = fmt.Errorf("%s: %w", tree.Quote(tree.Join(path, k.Name)), err)
			}
		}
		if err != nil {
			return 0, err
		}
		entries = append(entries, e)
	}
	h, err := w.head(n, number)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	h.Nlink, h.Parent = nlink, parent
	index, err := w.listing(entries, &h)
	if err != nil {
		return 0, err
	}
	if h.DirSize > 0xffff || len(index) > 0 {
		h.Type = h.Type.WithExtended()
	}
	if h.Type == ondisk.InodeExtDir {
		h.IndexCount = uint16(len(index))
	}
	w.buf = h.Append(w.buf[:0])
	for i := range index {
		w.buf = index[i].Append(w.buf)
	}
	return w.put(number, w.buf)
}

// listing writes a directory's entries and sets its place and size. A listing
// that crosses into further metadata blocks gets an index of the first name in
// each, by which a look-up skips the blocks before.
func (w *metaWriter) listing(entries []dirEntry, h *ondisk.InodeHead) ([]ondisk.DirIndex, error) {
	at := w.dirs.ref()
	if at.Block() > 0xffffffff {
		return nil, fmt.Errorf("directory table of more than 4 GiB")
	}
	h.DirBlock, h.DirOffset = uint32(at.Block()), uint16(at.Offset())
	var index []ondisk.DirIndex
	size, block := uint32(0), at.Block()
	var b []byte
	for len(entries) > 0 {
		run := headerRun(entries)
		if now := w.dirs.ref().Block(); now != block && len(index) < 0xffff {
			block = now
			index = append(index, ondisk.DirIndex{Index: size, Block: uint32(now), Name: entries[0].name})
		}
		header := ondisk.DirHeader{Count: uint32(run), Block: uint32(entries[0].ref.Block()), Number: entries[0].number}
		b = header.Append(b[:0])
		for _, e := range entries[:run] {
			entry := ondisk.DirEntry{Offset: uint16(e.ref.Offset()), Delta: int16(int64(e.number) - int64(header.Number)), Type: e.typ,
				Name: e.name}
			b = entry.Append(b)
		}
		if err := w.dirs.write(b); err != nil {
			return nil, err
		}
		if uint64(size)+uint64(len(b))+ondisk.DirSizeExtra > 0xffffffff {
			return nil, fmt.Errorf("directory listing of more than 4 GiB")
		}
		size += uint32(len(b))
		entries = entries[run:]
	}
	h.DirSize = size + ondisk.DirSizeExtra
	return index, nil
}

// headerRun is how many of the entries one header can lead: their inodes are in
// one metadata block, and their numbers within 16 bits of the first.
func headerRun(entries []dirEntry) int {
	n := 1
	for n < len(entries) && n < ondisk.DirEntriesMax {
		delta := int64(entries[n].number) - int64(entries[0].number)
		if entries[n].ref.Block() != entries[0].ref.Block() || delta < -32768 || delta > 32767 {
			break
		}
		n++
	}
	return n
}

// leaf writes the inode of anything but a directory, unless another name of it
// came before.
func (w *metaWriter) leaf(n *tree.Node) (ondisk.Ref, uint32, error) {
	p := w.plan
	var l *link
	if n.Nlink > 1 {
		if l = p.links[n.Inode]; l != nil && l.number != 0 {
			return l.ref, l.number, nil
		}
	}
	number := w.number()
	h, err := w.head(n, number)
	if err != nil {
		return 0, 0, err
	}
	if l != nil {
		h.Nlink = l.names
	}
	b := w.buf[:0]
	switch n.Type {
	case tree.Regular:
		if w.next >= p.files.n || p.files.at(w.next).size != n.Size {
			return 0, 0, fmt.Errorf("the tree changed while it was written")
		}
		b = w.fileInode(b, &h, p.files.at(w.next))
		w.next++
	case tree.Symlink:
		b = h.AppendSymlink(b, n.Target)
	case tree.BlockDevice, tree.CharDevice:
		h.Rdev, _ = n.Rdev.Linux()
		b = h.Append(b)
	case tree.FIFO, tree.Socket:
		b = h.Append(b)
	default:
		return 0, 0, fmt.Errorf("unknown %s", n.Type)
	}
	w.buf = b
	ref, err := w.put(number, b)
	if l != nil {
		l.ref, l.number = ref, number
	}
	return ref, number, err
}

// fileInode encodes a file's inode: the basic form where it will do.
func (w *metaWriter) fileInode(b []byte, h *ondisk.InodeHead, f *file) []byte {
	p := w.plan
	if f.kind == sameFile {
		f = p.files.at(f.more.same)
	}
	h.Start, h.FileSize, h.Sparse = uint64(f.start), uint64(f.size), uint64(sparseBytes(f.words, f.size, int64(p.o.BlockSize)))
	h.Fragment, h.FragmentOffset = f.fragment, f.fragOff
	if f.repacked() {
		at := w.packed[f.packedTail(p.o.BlockSize)]
		h.Fragment, h.FragmentOffset = at.fragment, at.offset
	}
	if h.Nlink > 1 || h.Start > 0xffffffff || h.FileSize > 0xffffffff || h.Sparse > 0 {
		h.Type = h.Type.WithExtended()
	}
	b = slices.Grow(h.Append(b), 4*len(f.words)) // there may be millions
	for _, word := range f.words {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return b
}
