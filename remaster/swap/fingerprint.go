package swap

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// The parts of a file that its fingerprint reads: all of a file below
// wholeLimit, the first and last sampleSize bytes of a longer one.
const (
	wholeLimit = 1 << 20
	sampleSize = 64 << 10
)

// The parts of a directory that its fingerprint reads: that many entries, in
// byte order and depth first, and that many bytes of their content.
const (
	dirEntries = 4096
	dirBytes   = 16 << 20
)

// Fingerprint tells the old and the new content of a name apart without
// reading images of gigabytes.
type Fingerprint struct {
	Kind Kind  `json:"kind"`
	Size int64 `json:"size"` // bytes of a regular file; entries read of a directory
	// Sum is the SHA-256 in hex over what the fingerprint reads.
	Sum string `json:"sum,omitempty"`
	// Full is the SHA-256 in hex over all of a long file, or over the names, types,
	// sizes, modes, owners and times of all that is below a directory. It is there
	// only where two files of one plan agree in all else.
	Full string `json:"full,omitempty"`
}

// sampled reports whether the fingerprint leaves part of the file unread.
func (f Fingerprint) sampled() bool {
	return f.Kind == Regular && f.Size >= wholeLimit && f.Full == ""
}

// FingerprintOf reads the fingerprint of a file.
func FingerprintOf(fsys FS, path string) (Fingerprint, error) { return fingerprint(fsys, path, false) }

// fingerprint reads the fingerprint of a file; full asks for the hash of all
// of a long file, or of all entries of a directory, as well.
func fingerprint(fsys FS, path string, full bool) (Fingerprint, error) {
	info, err := fsys.Lstat(path)
	if err != nil {
		return Fingerprint{}, err
	}
	p := Fingerprint{Kind: info.Kind}
	h := sha256.New()
	switch info.Kind {
	case Regular:
		p.Size = info.Size
		if err := hashFile(fsys, path, info.Size, h); err != nil {
			return Fingerprint{}, err
		}
		if full && info.Size >= wholeLimit {
			all := sha256.New()
			if err := hashRange(fsys, path, 0, info.Size, all); err != nil {
				return Fingerprint{}, err
			}
			p.Full = hex.EncodeToString(all.Sum(nil))
		}
	case Directory:
		d := dirHash{fsys: fsys, sum: h, bytes: dirBytes}
		if err := d.walk(path, 0); err != nil {
			return Fingerprint{}, err
		}
		p.Size = int64(d.entries)
		if full {
			all := dirHash{fsys: fsys, sum: sha256.New(), all: true}
			if err := all.walk(path, 0); err != nil {
				return Fingerprint{}, err
			}
			p.Full = hex.EncodeToString(all.sum.Sum(nil))
		}
	case Symlink:
		target, err := fsys.Readlink(path)
		if err != nil {
			return Fingerprint{}, err
		}
		h.Write([]byte(target))
	default:
		return p, nil
	}
	p.Sum = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

// hashFile hashes what a fingerprint reads of a regular file.
func hashFile(fsys FS, path string, size int64, h io.Writer) error {
	if size < wholeLimit {
		return hashRange(fsys, path, 0, size, h)
	}
	if err := hashRange(fsys, path, 0, sampleSize, h); err != nil {
		return err
	}
	return hashRange(fsys, path, size-sampleSize, sampleSize, h)
}

func hashRange(fsys FS, path string, off, n int64, h io.Writer) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// The concrete buffer keeps small files, which are most, from costing 32 KiB.
	buf := make([]byte, max(1, min(n, sampleSize)))
	got, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(f, off, n)}, buf)
	if err == nil && got != n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("%s: reading at byte %d: %w", path, off+got, err)
	}
	return nil
}

// dirHash hashes a directory tree within limits, so that a large one costs no
// more than a moderate one.
type dirHash struct {
	fsys    FS
	sum     hash.Hash
	entries int
	bytes   int64
	all     bool // no limits, and metadata in place of content
}

func (d *dirHash) walk(dir string, depth int) error {
	names, err := d.fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if d.entries == dirEntries && !d.all {
			return nil
		}
		d.entries++
		path := dir + "/" + name
		info, err := d.fsys.Lstat(path)
		if err != nil {
			return err
		}
		d.field(string(info.Kind))
		d.number(uint64(depth))
		d.field(name)
		if d.all {
			for _, n := range []uint64{uint64(info.Perm), uint64(info.UID), uint64(info.GID), uint64(info.Mtime.UnixNano())} {
				d.number(n)
			}
		}
		switch info.Kind {
		case Regular:
			if d.all {
				d.number(uint64(info.Size))
				continue
			}
			d.number(uint64(info.Size))
			read := min(info.Size, 2*sampleSize)
			if info.Size < wholeLimit {
				read = info.Size
			}
			if read > d.bytes {
				continue
			}
			d.bytes -= read
			if err := hashFile(d.fsys, path, info.Size, d.sum); err != nil {
				return err
			}
		case Directory:
			if err := d.walk(path, depth+1); err != nil {
				return err
			}
		case Symlink:
			target, err := d.fsys.Readlink(path)
			if err != nil {
				return err
			}
			d.field(target)
		}
	}
	return nil
}

// field hashes a string with its length, so that neighbours cannot run into
// one another.
func (d *dirHash) field(s string) {
	d.number(uint64(len(s)))
	d.sum.Write([]byte(s))
}

func (d *dirHash) number(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	d.sum.Write(b[:])
}
