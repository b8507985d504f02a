package mkfs

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// storedXattr is an extended attribute in the form that it has on disk: name
// index, rest of the name, value.
type storedXattr struct {
	full  string // the whole name, for errors
	index uint8
	name  string
	value string
	inum  uint32 // the inode that holds the value, 0 where it is in place
	vhash uint32 // the hash of a value that has its own inode
}

// entrySize is what the entry takes; valueSize what the value takes beside it.
func (x *storedXattr) entrySize() int { return (ondisk.XAEntrySize + len(x.name) + 3) &^ 3 }

func (x *storedXattr) valueSize() int {
	if x.inum != 0 {
		return 0
	}
	return (len(x.value) + 3) &^ 3
}

func (x *storedXattr) size() int { return x.entrySize() + x.valueSize() }

// storeXattr returns the stored form of an attribute.
func storeXattr(a tree.Xattr) (storedXattr, error) {
	s := storedXattr{full: a.Name, value: a.Value}
	switch {
	case a.Name == "system.posix_acl_access":
		s.index = ondisk.XAIndexACLAccess
	case a.Name == "system.posix_acl_default":
		s.index = ondisk.XAIndexACLDefault
	case strings.HasPrefix(a.Name, "user."):
		s.index, s.name = ondisk.XAIndexUser, a.Name[len("user."):]
	case strings.HasPrefix(a.Name, "trusted."):
		s.index, s.name = ondisk.XAIndexTrusted, a.Name[len("trusted."):]
	case strings.HasPrefix(a.Name, "security."):
		s.index, s.name = ondisk.XAIndexSecurity, a.Name[len("security."):]
	default:
		return s, fmt.Errorf("extended attribute %q: %w in an ext4 image", a.Name, tree.ErrUnsupported)
	}
	if s.index == ondisk.XAIndexACLAccess || s.index == ondisk.XAIndexACLDefault {
		acl, err := ondisk.EncodeACL(a.Value)
		if err != nil {
			return s, fmt.Errorf("extended attribute %q: %w", a.Name, err)
		}
		s.value = acl
		return s, nil
	}
	if s.name == "" || len(s.name) > 255 || strings.IndexByte(s.name, 0) >= 0 {
		return s, fmt.Errorf("extended attribute %q: %w: the name has %d bytes after its prefix or holds a NUL", a.Name,
			tree.ErrUnsupported, len(s.name))
	}
	return s, nil
}

// xattrSplit is where the attributes of an inode go.
type xattrSplit struct {
	body  []storedXattr // behind the inode's fields
	block []storedXattr // in an attribute block
}

// values numbers the inodes that hold values of their own, from the one after
// owner on (after the reserved ones where that is the root), and gives those
// attributes in that order.
func (s *xattrSplit) values(owner uint32) []*storedXattr {
	if owner == ondisk.InoRoot {
		owner = firstInode - 1
	}
	var out []*storedXattr
	for _, part := range [][]storedXattr{s.body, s.block} {
		for i := range part {
			if part[i].inum != 0 {
				out = append(out, &part[i])
				part[i].inum = owner + uint32(len(out))
			}
		}
	}
	return out
}

// splitXattrs divides attributes among the bodySize bytes behind the inode's
// fields and a block: all into the body if they fit, else as many as fit
// there. Where even the block is too small, the largest values get inodes of
// their own if eaInode allows; inum is then a placeholder until values numbers
// them.
func splitXattrs(xs tree.Xattrs, bodySize, blockSize int, eaInode bool) (split xattrSplit, err error) {
	all := make([]storedXattr, len(xs))
	for i, a := range xs {
		if all[i], err = storeXattr(a); err != nil {
			return split, err
		}
		if len(a.Value) > ondisk.XAMaxValue {
			return split, fmt.Errorf("extended attribute %q: %w: %d bytes, more than %d",
				a.Name, tree.ErrUnsupported, len(a.Value), ondisk.XAMaxValue)
		}
	}
	sortStored(all)
	bodyRoom := bodySize - ondisk.XABodyHdrSize - 4
	blockRoom := blockSize - ondisk.XAHdrSize - 4
	if split.divide(all, bodyRoom, blockRoom) {
		return split, nil
	}
	bySize := make([]int, len(all))
	for i := range bySize {
		bySize[i] = i
	}
	sort.SliceStable(bySize, func(i, j int) bool { return len(all[bySize[i]].value) > len(all[bySize[j]].value) })
	if eaInode {
		for _, i := range bySize {
			if len(all[i].value) == 0 {
				break
			}
			all[i].inum = 1<<32 - 1
			if split.divide(all, bodyRoom, blockRoom) {
				return split, nil
			}
		}
	}
	largest := all[bySize[0]]
	total := 0
	for i := range all {
		total += all[i].size()
	}
	hint := ""
	if !eaInode {
		hint = "; values that large need the feature ea_inode"
	}
	return split, fmt.Errorf("extended attributes: %w: %d bytes do not fit into inode and block (%d and %d), the largest is %q with %d%s",
		tree.ErrUnsupported, total, max(bodyRoom, 0), blockRoom, largest.full, len(largest.value), hint)
}

// divide puts what fits into the body, by order or, if the rest is then too
// much for a block, by falling size, and the rest into the block.
func (s *xattrSplit) divide(all []storedXattr, bodyRoom, blockRoom int) bool {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	for try := range 2 {
		if try == 1 {
			sort.SliceStable(order, func(i, j int) bool { return all[order[i]].size() > all[order[j]].size() })
		}
		s.body, s.block = s.body[:0], s.block[:0]
		room, left := bodyRoom, blockRoom
		for _, i := range order {
			if n := all[i].size(); n <= room {
				room -= n
				s.body = append(s.body, all[i])
			} else {
				left -= n
				s.block = append(s.block, all[i])
			}
		}
		if left >= 0 {
			sortStored(s.body)
			sortStored(s.block)
			return true
		}
	}
	return false
}

// sortStored sorts as the kernel wants it in blocks: by index, length of the
// name, name.
func sortStored(x []storedXattr) {
	sort.Slice(x, func(i, j int) bool {
		a, b := &x[i], &x[j]
		if a.index != b.index {
			return a.index < b.index
		}
		if len(a.name) != len(b.name) {
			return len(a.name) < len(b.name)
		}
		return a.name < b.name
	})
}

// hash is e_hash: of the name and the value, as ext4_xattr_hash_entry has it.
func (x *storedXattr) hash() uint32 {
	h := uint32(0)
	for i := 0; i < len(x.name); i++ {
		h = h<<ondisk.XAHashNameShift ^ h>>(32-ondisk.XAHashNameShift) ^ uint32(x.name[i])
	}
	mix := func(v uint32) { h = h<<ondisk.XAHashValueShift ^ h>>(32-ondisk.XAHashValueShift) ^ v }
	if x.inum != 0 {
		mix(x.vhash)
		return h
	}
	v := x.value
	for ; len(v) >= 4; v = v[4:] {
		mix(uint32(v[0]) | uint32(v[1])<<8 | uint32(v[2])<<16 | uint32(v[3])<<24)
	}
	if len(v) > 0 {
		w := uint32(0)
		for i := 0; i < len(v); i++ {
			w |= uint32(v[i]) << (8 * i)
		}
		mix(w)
	}
	return h
}

// putXattrEntries writes entries from p[at] on and values from the end of p
// backwards; offsets of values count from p[base].
func putXattrEntries(p []byte, base, at int, xs []storedXattr, inBlock bool) {
	le := binary.LittleEndian
	end := len(p)
	for i := range xs {
		x := &xs[i]
		e := p[at:]
		e[ondisk.XANameLen] = uint8(len(x.name))
		e[ondisk.XANameIndex] = x.index
		le.PutUint32(e[ondisk.XAValueSize:], uint32(len(x.value)))
		if x.inum != 0 {
			le.PutUint32(e[ondisk.XAValueInum:], x.inum)
		} else if len(x.value) > 0 {
			end -= x.valueSize()
			copy(p[end:], x.value)
			le.PutUint16(e[ondisk.XAValueOffs:], uint16(end-base))
		}
		// The kernel leaves the hash of an entry in the inode zero where the
		// value is in place.
		if inBlock || x.inum != 0 {
			le.PutUint32(e[ondisk.XAHash:], x.hash())
		}
		copy(e[ondisk.XAName:], x.name)
		at += x.entrySize()
	}
}

// putXattrBody writes attributes behind the inode's fields; p is that space.
func putXattrBody(p []byte, xs []storedXattr) {
	if len(xs) == 0 {
		return
	}
	binary.LittleEndian.PutUint32(p, ondisk.XAMagic)
	putXattrEntries(p, ondisk.XABodyHdrSize, ondisk.XABodyHdrSize, xs, false)
}

// putXattrBlock writes a whole attribute block, without its checksum.
func putXattrBlock(p []byte, xs []storedXattr, refcount uint32) {
	clear(p)
	le := binary.LittleEndian
	le.PutUint32(p[ondisk.XAHdrMagic:], ondisk.XAMagic)
	le.PutUint32(p[ondisk.XAHdrRefcount:], refcount)
	le.PutUint32(p[ondisk.XAHdrBlocks:], 1)
	putXattrEntries(p, 0, ondisk.XAHdrSize, xs, true)
	h := uint32(0)
	for i := range xs {
		e := xs[i].hash()
		if e == 0 {
			// An entry without a hash makes the block one that is not shared.
			h = 0
			break
		}
		h = h<<16 ^ h>>16 ^ e
	}
	le.PutUint32(p[ondisk.XAHdrHash:], h)
}
