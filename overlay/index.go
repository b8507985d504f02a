package overlay

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"relive/tree"
)

// index is the inode index: for lower files with several names, the upper file
// that all of them became when one was copied up.
type index struct {
	prefix  string
	entries map[uint64]*tree.Node // by number of the lower inode
}

// loadIndex reads work/index as the kernel does when it mounts (readdir.c,
// ovl_indexdir_cleanup; namei.c, ovl_verify_index). It gives nil where the
// index holds nothing that changes the view.
func (m *Merged) loadIndex(dir *tree.Node) (*index, error) {
	if m.layers[0].form != OverlayFS {
		return nil, tree.Unsupported("overlay", "index", "an index goes with overlayfs, not with %s", m.layers[0].form)
	}
	kids, err := dir.Children()
	if err != nil {
		return nil, err
	}
	x := &index{prefix: m.layers[0].prefix, entries: make(map[uint64]*tree.Node)}
	for _, n := range kids {
		if n.Name[0] == '#' || n.Type == tree.Directory {
			// Left by an interrupted copy-up, or a directory's entry, which
			// only NFS export asks for.
			continue
		}
		raw, err := hex.DecodeString(n.Name)
		if err != nil {
			return nil, tree.Corrupt("overlay index", strconv.Quote(n.Name), "the name is not a file handle: %v", err)
		}
		h, err := parseHandle(raw)
		if err != nil {
			return nil, &tree.FormatError{File: "overlay index", Place: strconv.Quote(n.Name), Kind: kindOf(err), Err: err}
		}
		if !m.layers[0].isWhiteout(n) {
			origin, _ := n.Xattrs.Get(x.prefix + "origin")
			if origin != string(raw) || n.Nlink == 1 && x.nlink(n, nil) == 0 {
				m.staleIndex++
				continue
			}
		}
		if _, twice := x.entries[h.inode]; twice {
			return nil, tree.Unsupported("overlay index", strconv.Quote(n.Name),
				"a second entry for inode %d of a lower layer; which layer each means cannot be told", h.inode)
		}
		x.entries[h.inode] = n
	}
	if len(x.entries) == 0 {
		return nil, nil
	}
	for _, l := range m.layers[2:] {
		if l.root.Inode.Source != m.layers[1].root.Inode.Source {
			return nil, tree.Unsupported("overlay index", "", "%d entries over lower layers of several file systems", len(x.entries))
		}
	}
	return x, nil
}

// alias returns the upper file that a name of a lower layer shows because
// another name of the same inode was copied up; nil where there is none.
// n is the lower file as the union would show it.
func (x *index) alias(m *Merged, s *search, n, lower, data *tree.Node) (*tree.Node, error) {
	up := x.entries[lower.Inode.Number]
	if up == nil {
		return nil, nil
	}
	l := &m.layers[0]
	if l.isWhiteout(up) || up.Type != lower.Type {
		return nil, tree.Corrupt("overlay index", strconv.Quote(up.Name),
			"stands for %s, a %s, but is a %s", tree.Quote(s.path()), lower.Type, up.Type)
	}
	a := *up
	a.Name = n.Name
	a.Xattrs, a.Flags = m.view(found{0, up}), m.flags(found{0, up})
	if nlink := x.nlink(up, lower); nlink > 1 {
		a.Nlink = uint32(nlink)
	}
	a.Was, a.Origin = n.Data, lower.Origin
	meta, digest, err := l.metacopy(up)
	if err != nil {
		return nil, broken(s.path(), err)
	}
	if meta {
		if err := takeData(&a, data, s); err != nil {
			return nil, err
		}
		s.note.metacopy(s, []found{{0, up}, {1, lower}}, digest)
	}
	return &a, nil
}

// nlink returns the number of names that the union has for an indexed file
// (inode.c, ovl_get_nlink): the attribute nlink tells it as a difference from
// the upper ("U+1") or lower ("L-1") count. It gives up's own count where the
// attribute is missing or makes no sense.
func (x *index) nlink(up, lower *tree.Node) int64 {
	v, ok := up.Xattrs.Get(x.prefix + "nlink")
	if !ok || len(v) < 3 || len(v) > 12 || v[1] != '+' && v[1] != '-' {
		return int64(up.Nlink)
	}
	diff, err := strconv.ParseInt(v[1:], 10, 32)
	if err != nil {
		return int64(up.Nlink)
	}
	switch {
	case v[0] == 'U':
		return int64(up.Nlink) + diff
	case v[0] == 'L' && lower != nil:
		return int64(lower.Nlink) + diff
	}
	return int64(up.Nlink)
}

// handle is a file handle as overlayfs stores it.
type handle struct {
	flags byte
	uuid  [16]byte
	inode uint64
}

// Layout of struct ovl_fb (overlayfs.h): version, magic, len, flags, type, a
// byte each, then the file system's UUID and the file identifier.
const (
	handleMagic  = 0xfb
	handleHeader = 5 + 16
	handleFlags  = 1<<0 | 1<<1 | 1<<2 // big endian, any endian, upper path
)

// Types of file identifiers (Linux, enum fid_type).
const (
	fidInode32       = 0x01 // inode number, generation
	fidInode32Parent = 0x02 // the same, then those of the parent
	fidInode64       = 0x81 // inode number of 64 bits, generation
	fidInode64Parent = 0x82
)

// parseHandle decodes a file handle (namei.c, ovl_check_fb_len). Only
// identifiers that tell the inode's number in a known way are understood:
// those of SquashFS, ext2/3/4, EROFS and most others. EROFS holds the upper half of
// the number first (fs/erofs/super.c, erofs_encode_fh). Of tmpfs, which shares their
// type and holds the generation first, the length tells it.
func parseHandle(b []byte) (handle, error) {
	if len(b) < handleHeader || int(b[2]) > len(b) || int(b[2]) < handleHeader {
		return handle{}, fmt.Errorf("file handle of %d bytes: %w", len(b), tree.ErrCorrupt)
	}
	if b[1] != handleMagic {
		return handle{}, fmt.Errorf("file handle with magic 0x%02x: %w", b[1], tree.ErrCorrupt)
	}
	if b[0] != 0 || b[3]&^byte(handleFlags) != 0 {
		return handle{}, fmt.Errorf("file handle of version %d with flags 0x%x: %w", b[0], b[3], tree.ErrUnsupported)
	}
	h := handle{flags: b[3], uuid: [16]byte(b[5:])}
	fid := b[handleHeader:b[2]]
	word := func(i int) uint64 {
		w := fid[4*i : 4*i+4]
		if h.flags&1 != 0 {
			return uint64(w[0])<<24 | uint64(w[1])<<16 | uint64(w[2])<<8 | uint64(w[3])
		}
		return uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24
	}
	switch {
	case b[4] == fidInode32 && len(fid) == 8, b[4] == fidInode32Parent && len(fid) == 16:
		h.inode = word(0)
	case b[4] == fidInode32 && len(fid) == 12:
		h.inode = word(1) | word(2)<<32
	case b[4] == fidInode64 && len(fid) == 12, b[4] == fidInode64Parent && len(fid) == 24:
		h.inode = word(1) | word(0)<<32
	default:
		return handle{}, fmt.Errorf("file handle of type 0x%02x with %d bytes: %w", b[4], len(fid), tree.ErrUnsupported)
	}
	return h, nil
}
