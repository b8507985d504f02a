package stick

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/stick/partition"
	"relive/tree"
)

// Stick is an opened disk or image of one. Nothing but [Stick.InPlace] writes.
type Stick struct {
	Path string
	Size int64 // bytes
	// Table is the partition table; its Kind is partition.None where there is none.
	Table *partition.Table
	// Partitions are in the order of the table, behind the whole disk where that
	// holds a file system itself.
	Partitions []*Partition
	// Problems are what is wrong with the table without making it unreadable.
	Problems []error

	close    func() error
	writable *os.File // nil where it was opened for reading
}

// Open opens a block device or an image file. What it holds must not change as
// long as the Stick is open.
//
// A disk on which neither a table nor a file system is known is
// tree.ErrUnsupported, one whose GPT is damaged in both copies tree.ErrCorrupt.
// Errors may carry a hint that tells a person what to do: see refusal.Hint.
func Open(path string) (*Stick, error) { return openPath(path, os.O_RDONLY) }

// OpenWritable is Open for [Stick.InPlace]. Opening alone writes nothing. A block
// device is opened exclusively: while it, or a partition of it, is mounted, that
// is an error (EBUSY). Whether an image is in use, by a loop device or a virtual
// machine, is for the caller to know.
func OpenWritable(path string) (*Stick, error) {
	// On Linux, O_EXCL without O_CREAT concerns block devices alone.
	s, err := openPath(path, os.O_RDWR|unix.O_EXCL)
	if errors.Is(err, unix.EBUSY) {
		err = refusal.WithHint(err, "unmount all of its partitions first")
	}
	return s, err
}

func openPath(path string, flags int) (*Stick, error) {
	f, err := os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			err = refusal.WithHint(err, "opening a device takes root or the group disk")
		}
		return nil, err
	}
	s, err := openFile(f, path)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.close = f.Close
	if flags&os.O_RDWR != 0 {
		s.writable = f
	}
	return s, nil
}

func openFile(f *os.File, path string) (*Stick, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sector := 0
	switch mode := st.Mode(); {
	case mode.IsRegular():
	case mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0:
		if sector, err = unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err != nil {
			return nil, &os.PathError{Op: "BLKSSZGET", Path: path, Err: err}
		}
	default:
		return nil, fmt.Errorf("%s: neither a file nor a block device", path)
	}
	// A device's size is where it ends; stat tells nothing of it.
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	s, err := OpenReader(f, size, sector, filepath.Base(path))
	if err != nil {
		return nil, err
	}
	s.Path = path
	return s, nil
}

// OpenReader opens a disk of size bytes that r reads. sector is the size of its
// logical sectors in bytes, 0 where it is not known. name is what errors call it.
func OpenReader(r io.ReaderAt, size int64, sector int, name string) (*Stick, error) {
	s := &Stick{Path: name, Size: size, close: func() error { return nil }}
	whole := &Partition{Size: size, disk: r, name: name}
	if err := whole.probe(size); err != nil {
		return nil, err
	}
	switch whole.content {
	case probe.FAT, probe.ExFAT, probe.NTFS, probe.BitLocker: // in the sector in which a table would be
		s.Table = &partition.Table{SectorSize: 512}
		s.Partitions = []*Partition{whole}
		return s, nil
	}
	table, err := partition.Read(r, size, sector, name)
	if err != nil && !(errors.Is(err, tree.ErrCorrupt) && whole.content == probe.ISO9660) {
		return nil, refusal.WithHint(err, "sgdisk -v tells more of a GPT; gdisk may repair it, make a copy first")
	}
	if err != nil {
		table = &partition.Table{SectorSize: 512, Problems: []error{err}}
	}
	s.Table, s.Problems = table, table.Problems
	if len(table.Partitions) == 0 || whole.content == probe.ISO9660 {
		if whole.FileSystem == "" {
			return nil, refusal.WithHint(tree.Unsupported(name, "", "neither a partition table nor a file system that is known"),
				"give a stick's device, a partition of it, an image of one of these, or a directory")
		}
		s.Partitions = append(s.Partitions, whole)
	}
	for _, p := range table.Partitions {
		q := newPartition(r, name, p)
		if q.Err == nil && !q.Extended {
			if err := q.probe(size); err != nil {
				return nil, err
			}
		}
		if whole.content == probe.ISO9660 && q.shows(whole) {
			q.SameAs = whole
		}
		s.Partitions = append(s.Partitions, q)
	}
	return s, nil
}

// Close closes the device or file. Trees of it must not be used any more.
func (s *Stick) Close() error { return s.close() }
