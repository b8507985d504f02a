package fat

import (
	"fmt"

	"relive/tree"
)

// Types of entries (exFAT specification, sections 6 and 7).
const (
	exEnd    = 0x00
	exFile   = 0x85
	exStream = 0xC0
	exPart   = 0xC1
	exVolume = 0x83

	exInUse     = 0x80
	exSecondary = 0x40
	exBenign    = 0x20
)

// Fields of the file entry.
const (
	xfSecondaries = 1
	xfChecksum    = 2
	xfAttributes  = 4
	xfModified    = 12
	xfModified10  = 21
	xfModifiedUTC = 23
)

// Fields of the stream extension entry.
const (
	xsFlags      = 1
	xsNameLength = 3
	xsValid      = 8
	xsFirst      = 20
	xsLength     = 24

	xsAllocation = 1 // a first cluster and length can be there
	xsNoChain    = 2 // the clusters follow one another
)

const (
	exPartUnits    = 15
	exSecondaryMax = 18
)

// entrySet is a file entry and the entries that follow it.
type entrySet struct {
	index    int
	want     int // secondary entries
	have     int
	sum      uint16
	checksum uint16
	file     [entrySize]byte
	stream   [entrySize]byte
	units    []uint16
	streams  int
}

// begin begins with a file entry.
func (s *entrySet) begin(index int, e []byte) {
	*s = entrySet{index: index, want: int(e[xfSecondaries]), checksum: le.Uint16(e[xfChecksum:]), units: s.units[:0]}
	copy(s.file[:], e)
	for i, b := range e {
		if i != xfChecksum && i != xfChecksum+1 {
			s.add(b)
		}
	}
}

// add takes a byte into the checksum (section 6.3.3).
func (s *entrySet) add(b byte) {
	s.sum = s.sum>>1 | s.sum<<15
	s.sum += uint16(b)
}

// listExFAT lists a directory of exFAT.
func (fs *FS) listExFAT(d *dir, add func(*tree.Node)) error {
	var set entrySet
	open := false
	bad := func(index int, fact string, args ...any) (bool, error) {
		return false, tree.Corrupt(fs.name, fmt.Sprintf("%s: entry %d", d.what, index), fact, args...)
	}
	err := d.entries(func(index int, e []byte) (bool, error) {
		kind := e[0]
		if open {
			if kind&(exInUse|exSecondary) != exInUse|exSecondary {
				return bad(index, "type %#02x where %d more entries belong to the file at %d", kind, set.want-set.have, set.index)
			}
			set.have++
			for _, b := range e {
				set.add(b)
			}
			switch kind {
			case exStream:
				set.streams++
				copy(set.stream[:], e)
			case exPart:
				for i := range exPartUnits {
					set.units = append(set.units, le.Uint16(e[2+2*i:]))
				}
			default:
				if kind&exBenign == 0 {
					return bad(index, "of the unknown type %#02x", kind)
				}
			}
			if set.have < set.want {
				return false, nil
			}
			open = false
			n, err := d.exNode(&set)
			if err == nil {
				add(n)
			}
			return false, err
		}
		switch kind {
		case exEnd:
			return true, nil
		case exFile:
			set.begin(index, e)
			if set.want < 2 || set.want > exSecondaryMax {
				return bad(index, "a file of %d more entries", set.want)
			}
			open = true
		}
		// Bitmap, up-case table, label, entries that are not in use, and benign
		// ones that need not be known are passed over.
		return false, nil
	})
	if err == nil && open {
		_, err = bad(set.index, "the directory ends where %d more entries belong to the file", set.want-set.have)
	}
	return err
}

// exNode makes the node of a whole entry set.
func (d *dir) exNode(s *entrySet) (*tree.Node, error) {
	fs := d.fs
	place := fmt.Sprintf("%s: entry %d", d.what, s.index)
	bad := func(fact string, args ...any) (*tree.Node, error) {
		return nil, tree.Corrupt(fs.name, place, fact, args...)
	}
	if s.sum != s.checksum {
		return bad("checksum is %#04x, that of the content %#04x", s.checksum, s.sum)
	}
	length := int(s.stream[xsNameLength])
	if s.streams != 1 || length == 0 || length > len(s.units) {
		return bad("%d streams, a name of %d characters in %d", s.streams, length, len(s.units))
	}
	name := utf16Name(s.units[:length])
	if err := d.checkName(name); err != nil {
		return nil, err
	}
	n := &tree.Node{Name: name, Nlink: 1}
	n.Mtime = exTime(le.Uint32(s.file[xfModified:]), s.file[xfModified10], s.file[xfModifiedUTC])
	size, valid := le.Uint64(s.stream[xsLength:]), le.Uint64(s.stream[xsValid:])
	first, flags := le.Uint32(s.stream[xsFirst:]), s.stream[xsFlags]
	if size > 1<<62 || valid > size {
		return bad("%d bytes, of which %d are valid", size, valid)
	}
	if flags&xsAllocation == 0 && (size != 0 || first != 0) {
		return bad("%d bytes from cluster %d, but nothing is allocated", size, first)
	}
	attr, straight := le.Uint16(s.file[xfAttributes:]), flags&xsNoChain != 0
	if attr&attrDirectory == 0 {
		return n, d.newFile(n, attr, fileData{first: first, size: int64(size), valid: int64(valid), straight: straight})
	}
	if int64(size) > max(fs.limit(), fs.ClusterSize()) {
		return bad("a directory of %d bytes", size)
	}
	if size == 0 { // as Linux makes them with the option zero_size_dir
		n.Type, n.Perm, n.Dir = tree.Directory, modeDir, tree.List(nil)
		return n, nil
	}
	return n, d.newDir(n, s.index, first, fs.vol.clustersOf(int64(size)), straight)
}

// exLabel returns the label, which stands in the root.
func (fs *FS) exLabel() (label string, err error) {
	err = fs.rootDir().entries(func(_ int, e []byte) (bool, error) {
		if e[0] == exVolume {
			var units [11]uint16
			for i := range units {
				units[i] = le.Uint16(e[2+2*i:])
			}
			label = utf16Name(units[:min(int(e[1]), len(units))])
		}
		return e[0] == exVolume || e[0] == exEnd, nil
	})
	return label, err
}
