package erofs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// xattrValueMax is the longest value whose length an entry can tell, one byte less
// than Linux allows.
const xattrValueMax = 1<<16 - 1

// sharedXattrs counts equal attributes, and stores once those that occur often. It
// knows them by a hash: a system whose files are signed has as many as files.
type sharedXattrs struct {
	counts map[xattrHash]int32
	first  []tree.Xattr // those that occur more than once, as they became so
	ids    map[xattrHash]uint32
	area   int64 // bytes that they take
}

type xattrHash [16]byte

func hashXattr(x *tree.Xattr) xattrHash {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(x.Name)))
	b = append(append(b, x.Name...), x.Value...)
	sum := sha256.Sum256(b)
	return xattrHash(sum[:])
}

// splitXattr splits a full name into the index of its prefix and the rest; ok is false
// where EROFS has no such prefix.
func splitXattr(name string) (index uint8, rest string, ok bool) {
	for i, p := range ondisk.XattrPrefixes {
		if p == "" {
			continue
		}
		rest, ok = strings.CutPrefix(name, p)
		whole := uint8(i) == ondisk.XattrACLAccess || uint8(i) == ondisk.XattrACLDefault
		if ok && (rest == "") == whole {
			return uint8(i), rest, true
		}
	}
	return 0, "", false
}

// HoldsXattr tells whether EROFS can hold an attribute of that full name: one of user,
// trusted and security, and the POSIX ACLs.
func HoldsXattr(name string) bool {
	_, _, ok := splitXattr(name)
	return ok
}

// count takes up a node's attributes; those that cannot be held are counted apart.
func (s *sharedXattrs) count(x tree.Xattrs, dropped map[string]uint64) error {
	names := 0
	for i := range x {
		a := &x[i]
		if !HoldsXattr(a.Name) {
			dropped[a.Name]++
			continue
		}
		if len(a.Name) > xattrNameMax || len(a.Value) > xattrValueMax {
			return fmt.Errorf("attribute %q with a value of %d bytes is larger than EROFS can hold", a.Name, len(a.Value))
		}
		if names += len(a.Name) + 1; names > xattrListMax {
			return fmt.Errorf("the names of its attributes take more than %d bytes", xattrListMax)
		}
		if s.counts == nil {
			s.counts = map[xattrHash]int32{}
		}
		h := hashXattr(a)
		if s.counts[h]++; s.counts[h] == 2 {
			s.first = append(s.first, *a)
		}
	}
	return nil
}

// share decides which attributes are shared: those that more than so many inodes
// have.
func (s *sharedXattrs) share(unshared int) {
	s.ids, s.area = map[xattrHash]uint32{}, 0
	out := s.first[:0]
	for i := range s.first {
		a := &s.first[i]
		h := hashXattr(a)
		// An id takes as much as the shortest of them.
		if int(s.counts[h]) <= max(unshared, 1) || s.area/4 > 1<<31 {
			continue
		}
		s.ids[h] = uint32(s.area / 4)
		s.area += int64(len(appendXattr(nil, a)))
		out = append(out, *a)
	}
	s.first, s.counts = out, nil
}

// appendXattr encodes an attribute.
func appendXattr(b []byte, a *tree.Xattr) []byte {
	index, rest, _ := splitXattr(a.Name)
	e := ondisk.XattrEntry{NameLen: uint8(len(rest)), Index: index, ValueLen: uint16(len(a.Value))}
	end := len(b) + e.Len()
	b = append(append(e.Append(b), rest...), a.Value...)
	return append(b, make([]byte, end-len(b))...)
}

// encode gives what is shared.
func (s *sharedXattrs) encode() (b []byte) {
	for i := range s.first {
		b = appendXattr(b, &s.first[i])
	}
	return b
}

// sharedMax is how many ids a body counts.
const sharedMax = 255

// body gives an inode's attributes; nil where there are none, for a body without any
// makes the kernel fail.
func (s *sharedXattrs) body(x tree.Xattrs) []byte {
	var h ondisk.XattrHeader
	var ids, entries []byte
	for i := range x {
		a := &x[i]
		if !HoldsXattr(a.Name) {
			continue
		}
		if len(s.ids) > 0 && h.Shared < sharedMax {
			if id, ok := s.ids[hashXattr(a)]; ok {
				h.Shared++
				ids = binary.LittleEndian.AppendUint32(ids, id)
				continue
			}
		}
		entries = appendXattr(entries, a)
	}
	if len(ids)+len(entries) == 0 {
		return nil
	}
	return append(append(h.Append(nil), ids...), entries...)
}

// bodySize is the length of body.
func (s *sharedXattrs) bodySize(x tree.Xattrs) int64 {
	if len(x) == 0 {
		return 0
	}
	return int64(len(s.body(x)))
}

// xattrCount is how an inode tells the length of a body.
func xattrCount(body []byte) uint16 {
	if len(body) == 0 {
		return 0
	}
	return uint16((len(body)-ondisk.XattrHeaderSize)/ondisk.XattrIDSize + 1)
}
