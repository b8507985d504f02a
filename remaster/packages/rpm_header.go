package packages

import (
	"bytes"
	"context"
	"crypto"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"relive/tree"
)

// rpmHeader is a header of a package: the number of entries, the size of the
// data, entries of tag, type, offset and count, the data. All numbers are
// big-endian.
type rpmHeader struct{ entries, data []byte }

func parseHeader(b []byte) (h rpmHeader, err error) {
	if len(b) < 8 {
		return h, errors.New("a header of a package is cut short")
	}
	entries, size := int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))
	if 8+entries*16+size > int64(len(b)) {
		return h, fmt.Errorf("a header of %d entries and %d bytes in %d bytes", entries, size, len(b))
	}
	return rpmHeader{b[8 : 8+entries*16], b[8+entries*16:][:size]}, nil
}

// find returns what the header has for a tag: the data from there on, and the
// number of values; nil where it has none.
func (h rpmHeader) find(tag, kind uint32) (data []byte, count int64, err error) {
	for e := h.entries; len(e) > 0; e = e[16:] {
		if binary.BigEndian.Uint32(e) != tag {
			continue
		}
		k, at, n := binary.BigEndian.Uint32(e[4:]), int64(binary.BigEndian.Uint32(e[8:])), int64(binary.BigEndian.Uint32(e[12:]))
		// Each value has a byte at least.
		if k != kind || at > int64(len(h.data)) || n > int64(len(h.data))-at {
			return nil, 0, fmt.Errorf("tag %d of a header, of type %d, %d at %d of %d bytes", tag, k, n, at, len(h.data))
		}
		return h.data[at:], n, nil
	}
	return nil, 0, nil
}

// numbers are values of one size.
type numbers struct {
	b     []byte
	width int
}

// at returns the i-th; 0 where there are none.
func (n numbers) at(i int64) uint64 {
	if n.b == nil {
		return 0
	}
	switch b := n.b[i*int64(n.width):]; n.width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	default:
		return binary.BigEndian.Uint64(b)
	}
}

// numbers returns the values of a tag, of which there must be as many as there are
// files, or none.
func (h rpmHeader) numbers(tag, kind uint32, width int, files int64) (numbers, error) {
	data, n, err := h.find(tag, kind)
	if err != nil || data == nil {
		return numbers{}, err
	}
	if n != files || n*int64(width) > int64(len(data)) {
		return numbers{}, fmt.Errorf("tag %d of a header: %d values for %d files", tag, n, files)
	}
	return numbers{data, width}, nil
}

// texts are strings that end with a NUL each.
type texts struct{ b []byte }

// next returns the next one; "" where there are none.
func (t *texts) next() (string, error) {
	if t.b == nil {
		return "", nil
	}
	s, rest, ended := bytes.Cut(t.b, []byte{0})
	if !ended {
		return "", errors.New("a string of a header does not end")
	}
	if t.b = rest; rest == nil {
		t.b = []byte{}
	}
	return string(s), nil
}

// texts returns the strings of a tag, of which there must be as many as there are
// files, or none.
func (h rpmHeader) texts(tag uint32, files int64) (texts, error) {
	data, n, err := h.find(tag, typeStrings)
	if err == nil && data != nil && n != files {
		err = fmt.Errorf("tag %d of a header: %d strings for %d files", tag, n, files)
	}
	return texts{data}, err
}

// maxDirs bounds the directories of a package.
const maxDirs = 1 << 20

// rpmHashes are the sums by their numbers (rpmpgp.h).
var rpmHashes = map[uint32]crypto.Hash{1: crypto.MD5, 2: crypto.SHA1, 8: crypto.SHA256, 9: crypto.SHA384, 10: crypto.SHA512,
	11: crypto.SHA224}

// Flags of a file (rpmfiles.h), and the state of one that is installed.
const (
	rpmConfig = 1 << 0
	rpmGhost  = 1 << 6
)

// files calls fn for each file that is installed.
func (h rpmHeader) files(fn func(*File) error) error {
	names, n, err := h.find(tagBasenames, typeStrings)
	if err != nil || n == 0 {
		return err
	}
	dirData, dirCount, err := h.find(tagDirnames, typeStrings)
	if err != nil {
		return err
	}
	if dirCount > maxDirs {
		return fmt.Errorf("a package with %d directories", dirCount)
	}
	dirs := make([]string, 0, dirCount)
	for t := (texts{dirData}); int64(len(dirs)) < dirCount; {
		dir, err := t.next()
		if err != nil {
			return err
		}
		dirs = append(dirs, dir)
	}
	hash := crypto.MD5
	if data, count, err := h.find(tagDigestAlgo, typeInt32); err != nil {
		return err
	} else if count > 0 && len(data) >= 4 {
		hash = rpmHashes[binary.BigEndian.Uint32(data)]
	}
	var index, modes, sizes, longSizes, flags, states numbers
	for _, v := range []struct {
		to        *numbers
		tag, kind uint32
		width     int
	}{{&index, tagDirindexes, typeInt32, 4}, {&modes, tagModes, typeInt16, 2}, {&sizes, tagSizes, typeInt32, 4},
		{&longSizes, tagLongSizes, typeInt64, 8}, {&flags, tagFlags, typeInt32, 4}, {&states, tagStates, typeChar, 1}} {
		if *v.to, err = h.numbers(v.tag, v.kind, v.width, n); err != nil {
			return err
		}
	}
	if index.b == nil || modes.b == nil {
		return errors.New("a header without modes or directories of its files")
	}
	var digests, caps, users texts
	for _, v := range []struct {
		to  *texts
		tag uint32
	}{{&digests, tagDigests}, {&caps, tagCaps}, {&users, tagUsers}} {
		if *v.to, err = h.texts(v.tag, n); err != nil {
			return err
		}
	}
	var f File
	base := texts{names}
	for i := range n {
		var text [4]string
		for j, t := range []*texts{&base, &digests, &caps, &users} {
			if text[j], err = t.next(); err != nil {
				return err
			}
		}
		if states.at(i) != 0 {
			continue // it was not installed, or another package's replaced it
		}
		dir := index.at(i)
		if dir >= uint64(len(dirs)) {
			return fmt.Errorf("a file in directory %d of %d", dir, len(dirs))
		}
		f = File{Path: strings.Trim(dirs[dir]+text[0], "/"), Size: int64(sizes.at(i)), Caps: text[2], Root: text[3] == "root"}
		mode := uint32(modes.at(i))
		f.Type, f.Perm = tree.TypeFromMode(mode), uint16(mode&0o7777)
		if longSizes.b != nil {
			f.Size = int64(longSizes.at(i))
		}
		if f.Caps == "=" {
			f.Caps = ""
		}
		if sum, err := hex.DecodeString(text[1]); err == nil && len(sum) > 0 && hash != 0 && len(sum) == hash.Size() {
			f.Hash, f.Digest = hash, sum
		}
		f.Config, f.Ghost = flags.at(i)&rpmConfig != 0, flags.at(i)&rpmGhost != 0
		if err := fn(&f); err != nil {
			return err
		}
	}
	return nil
}

// walkRPM calls fn for each package of rpm's.
func walkRPM(ctx context.Context, root *tree.Node, fn func(p *Installed) error) (*List, error) {
	var outer error // fn's, which is no damage
	l, err := rpmHeaders(ctx, root, func(l *List, b []byte) error {
		h, err := parseHeader(b)
		if err != nil {
			return err
		}
		p, err := h.pkg()
		if err != nil {
			return err
		}
		outer = fn(&Installed{p, func(f func(*File) error) error {
			var inner error
			err := h.files(func(file *File) error {
				inner = f(file)
				return inner
			})
			if err != nil && inner == nil {
				return &tree.FormatError{File: tree.Quote(l.Source), Place: "package " + p.Name, Kind: tree.ErrCorrupt, Err: err}
			}
			return err
		}})
		return outer
	})
	if outer != nil {
		return l, outer
	}
	return l, err
}
