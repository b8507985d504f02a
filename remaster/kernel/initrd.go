package kernel

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"relive/tree"
)

// Ramdisk is what an initrd holds for kernels.
type Ramdisk struct {
	// Versions are the kernels whose modules it holds, sorted.
	Versions []string
	// Nested tells that it holds an image of its own, such as that of dracut's
	// squash module, in which modules may lie that are not seen.
	Nested bool
	// Files are the contents of the files that were asked for, by their paths. Of
	// several archives that have one it is the last one's, as the kernel unpacks
	// them over each other.
	Files map[string][]byte
	// Below are the paths in the directories that were asked for, sorted.
	Below []string
}

// Bounds of what an initrd may hold that is looked at.
const (
	maxVersions = 1000     // kernels of one initrd or system
	maxWanted   = 64 << 10 // bytes of a file that is read
	maxBelow    = 1000     // paths in directories
)

// Initrd reads an initrd: the names in all its archives. name is the file's, for
// errors. Microcode that lies uncompressed before the rest is one archive among
// others. What is no cpio archive in the newc form, compressed or not, is
// tree.ErrUnsupported.
//
// wanted are the paths of files whose content is to be read, without a leading
// slash, and of directories, with a slash behind, in which paths are to be listed.
func Initrd(ctx context.Context, c tree.Content, name string, wanted ...string) (Ramdisk, error) {
	u, err := newUnpacker(ctx, c, name)
	if err != nil {
		return Ramdisk{}, err
	}
	defer u.close()
	a := &archive{u: u, found: map[string]bool{}, wanted: wanted, files: map[string][]byte{}}
	for at := int64(0); ; at = u.pos() {
		var err error
		if at, err = u.skipZeros(at); err == io.EOF {
			break
		} else if err != nil {
			return Ramdisk{}, fmt.Errorf("%s: %w", name, err)
		}
		r, f, err := u.open(at)
		if err != nil {
			return Ramdisk{}, err
		}
		if f == formNone {
			err = a.plain(at)
		} else {
			err = a.packed(r)
		}
		if err != nil {
			return Ramdisk{}, err
		}
		if f == formBzip2 {
			break // its decoder has looked for another stream behind it
		}
	}
	if a.entries == 0 {
		return Ramdisk{}, tree.Unsupported(name, "", "holds no cpio archive")
	}
	slices.Sort(a.below)
	d := Ramdisk{Nested: a.nested, Files: a.files, Below: slices.Compact(a.below)}
	for v := range a.found {
		d.Versions = append(d.Versions, v)
	}
	slices.Sort(d.Versions)
	return d, nil
}

// skipZeros returns the offset of the next byte that is not zero, or io.EOF.
func (u *unpacker) skipZeros(at int64) (int64, error) {
	start, _, err := u.c.NextData(at)
	if err != nil {
		return 0, err
	}
	u.seek(start)
	for {
		b, err := u.in.Peek(4096)
		if len(b) == 0 {
			return 0, err
		}
		if !tree.IsZero(b) {
			return u.pos() + int64(len(b)-len(bytes.TrimLeft(b, "\x00"))), nil
		}
		if _, err := u.in.Discard(len(b)); err != nil {
			return 0, err
		}
	}
}

// archive gathers what cpio archives hold, one after another.
type archive struct {
	u       *unpacker
	in      *bufio.Reader // of what is unpacked
	entries int64
	found   map[string]bool
	nested  bool
	wanted  []string
	files   map[string][]byte
	below   []string
}

// plain reads the archives that lie uncompressed at an offset, to the first
// byte behind a trailer that begins none.
func (a *archive) plain(at int64) error {
	if at&3 != 0 {
		return tree.Corrupt(a.u.name, fmt.Sprintf("byte %d", at),
			"what begins here is no archive: it is not aligned to four bytes, and of no known compression")
	}
	for began := false; ; began = true {
		b, err := a.u.in.Peek(1)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s: %w", a.u.name, err)
		}
		if began && (err == io.EOF || b[0] != '0') {
			return nil
		}
		if _, err := a.entry(a.u.in); err != nil {
			return err
		}
	}
}

// packed reads the archives in a compressed stream, which ends with the last.
func (a *archive) packed(r io.Reader) error {
	if a.in == nil {
		a.in = bufio.NewReaderSize(nil, 64<<10)
	}
	a.in.Reset(r)
	for within := false; ; {
		b, err := a.in.Peek(1)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if b[0] == 0 && !within { // between archives
			if _, err := a.in.Discard(1); err != nil {
				return err
			}
			continue
		}
		trailer, err := a.entry(a.in)
		if err != nil {
			return err
		}
		within = !trailer
	}
}

const (
	cpioHeader = 110  // bytes
	maxPath    = 4096 // PATH_MAX: the longest name with its NUL
)

// entry reads one entry of an archive in the newc form (buffer-format.rst): the
// magic, thirteen numbers of eight hexadecimal digits, the name, the content;
// name and content are padded to four bytes. It tells whether it was the
// trailer.
func (a *archive) entry(in *bufio.Reader) (trailer bool, err error) {
	cut := func(err error) error {
		var fe *tree.FormatError
		if errors.As(err, &fe) || a.u.ctx.Err() != nil {
			return err
		}
		return &tree.FormatError{File: a.u.name, Place: a.place(), Fact: "is cut short", Kind: tree.ErrCorrupt, Err: err}
	}
	h, err := in.Peek(cpioHeader)
	if len(h) >= 6 && string(h[:6]) != "070701" && string(h[:6]) != "070702" || len(h) > 0 && h[0] != '0' {
		if string(h[:min(6, len(h))]) == "070707" {
			return false, tree.Unsupported(a.u.name, a.place(), "a cpio archive in the old form, which the kernel does not read either")
		}
		if a.entries == 0 {
			return false, tree.Unsupported(a.u.name, a.place(), "neither a cpio archive nor of a known compression")
		}
		return false, tree.Corrupt(a.u.name, a.place(), "what follows the archive is none, nor of a known compression")
	}
	if err != nil {
		return false, cut(unexpected(err))
	}
	number := func(field int) int64 {
		v, e := strconv.ParseUint(string(h[6+8*field:14+8*field]), 16, 32)
		if e != nil && err == nil {
			err = tree.Corrupt(a.u.name, a.place(), "a number of the header is none")
		}
		return int64(v)
	}
	mode, size, nameSize := number(1), number(6), number(11)
	if err != nil {
		return false, err
	}
	if nameSize < 1 || nameSize > maxPath {
		return false, tree.Corrupt(a.u.name, a.place(), "a name of %d bytes", nameSize)
	}
	_, err = in.Discard(cpioHeader)
	var name []byte
	if err == nil {
		name, err = in.Peek(int(nameSize))
	}
	if err != nil {
		return false, cut(unexpected(err))
	}
	a.entries++
	path, _, _ := strings.Cut(string(name), "\x00")
	trailer = path == "TRAILER!!!"
	path = strings.TrimLeft(strings.TrimPrefix(path, "./"), "/")
	if !trailer {
		if err := a.note(path, mode); err != nil {
			return false, err
		}
	}
	if _, err := io.CopyN(io.Discard, in, nameSize+-(cpioHeader+nameSize)&3); err != nil {
		return false, cut(unexpected(err))
	}
	rest := size
	if mode&typeMask == regular && size <= maxWanted && slices.Contains(a.wanted, path) {
		text := make([]byte, size)
		if _, err := io.ReadFull(in, text); err != nil {
			return false, cut(unexpected(err))
		}
		a.files[path], rest = text, 0
	}
	// An archive may end without the padding of its last entry.
	n, err := io.CopyN(io.Discard, in, rest+-size&3)
	if err != nil && !(err == io.EOF && n >= rest) {
		return false, cut(unexpected(err))
	}
	return trailer, nil
}

// The kinds of files, as st_mode has them.
const (
	typeMask  = 0o170000
	directory = 0o040000
	regular   = 0o100000
)

func (a *archive) place() string { return fmt.Sprintf("cpio entry %d", a.entries+1) }

// note looks at a name for what tells of kernels, or was asked for.
func (a *archive) note(path string, mode int64) error {
	for _, dir := range a.wanted {
		if strings.HasSuffix(dir, "/") && strings.HasPrefix(path, dir) && len(path) > len(dir) && len(a.below) < maxBelow {
			a.below = append(a.below, path)
		}
	}
	switch path {
	case "squashfs-root.img", "squash-root.img", "erofs-root.img":
		a.nested = true
		return nil
	}
	rest, ok := strings.CutPrefix(strings.TrimPrefix(path, "usr/"), "lib/modules/")
	if !ok {
		return nil
	}
	version, _, below := strings.Cut(rest, "/")
	if !isRelease(version) || !below && mode&typeMask != directory || a.found[version] {
		return nil
	}
	if len(a.found) == maxVersions {
		return tree.Unsupported(a.u.name, a.place(), "modules of more than %d kernels", maxVersions)
	}
	a.found[version] = true
	return nil
}
