package systest

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Blank makes a file of that many bytes, all of it a hole, in a directory of its
// own and gives its path.
func Blank(t testing.TB, size int64) (path string) {
	t.Helper()
	path = filepath.Join(TempDir(t), "image")
	BlankAt(t, path, size)
	return path
}

// BlankAt is [Blank] with a path, where nothing is or a file that is emptied.
func BlankAt(t testing.TB, path string, size int64) {
	t.Helper()
	Must(t, os.WriteFile(path, nil, 0o600))
	Must(t, os.Truncate(path, size))
}

// OpenFile opens a file for reading until the end of the test, and gives its size.
func OpenFile(t testing.TB, path string) (f *os.File, size int64) {
	t.Helper()
	f, err := os.Open(path)
	Must(t, err)
	t.Cleanup(func() { f.Close() })
	size, err = f.Seek(0, io.SeekEnd)
	Must(t, err)
	_, err = f.Seek(0, io.SeekStart)
	Must(t, err)
	return f, size
}

// CopyFile copies a file, which may be mounted, with its holes, and blocks of zeros
// as holes.
func CopyFile(t testing.TB, from, to string) {
	t.Helper()
	Must(t, Copy(from, to))
}

// Copy is [CopyFile] for those who have no test at hand.
func Copy(from, to string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, st.Mode().Perm())
	if err != nil {
		return err
	}
	size, err := filled(from, func(p []byte, off int64) error {
		_, err := f.WriteAt(p, off)
		return err
	})
	if err == nil {
		err = f.Truncate(size)
	}
	return errors.Join(err, f.Close())
}

// Sum returns what tells a file's content from others while the process runs.
// Holes are zeros.
func Sum(path string) (uint64, error) {
	var h maphash.Hash
	h.SetSeed(seed)
	size, err := filled(path, func(p []byte, off int64) error {
		for ; len(p) > 0; p, off = p[min(block, len(p)):], off+block {
			maphash.WriteComparable(&h, off)
			h.Write(p[:min(block, len(p))])
		}
		return nil
	})
	maphash.WriteComparable(&h, size)
	return h.Sum64(), err
}

var seed = maphash.MakeSeed()

// block is the length that holes have a multiple of.
const block = 4096

// filled calls fn with what of a file is not blocks of zeros, in pieces that begin
// where a block does, and returns the file's size. Holes are not read.
func filled(path string, fn func(p []byte, off int64) error) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 256<<10)
	if err := dataOf(f, func(off, end int64) error {
		for off < end {
			n, err := f.ReadAt(buf[:min(int64(len(buf)), end-off)], off)
			if err := pieces(buf[:n], off, fn); err != nil {
				return err
			}
			if off += int64(n); err != nil {
				return err // also where it has become shorter
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	return f.Seek(0, io.SeekEnd)
}

// dataOf calls fn with each range of a file that is no hole; it begins where a block
// does.
func dataOf(f *os.File, fn func(off, end int64) error) error {
	for end := int64(0); ; {
		off, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "seek", Path: f.Name(), Err: err}
		}
		if end, err = unix.Seek(int(f.Fd()), off, unix.SEEK_HOLE); err != nil {
			return &os.PathError{Op: "seek", Path: f.Name(), Err: err}
		}
		if err := fn(off-off%block, end); err != nil {
			return err
		}
	}
}

// ReadFile reads a file, but not its holes. os.ReadFile fetches each page of them.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	Must(t, err)
	defer f.Close()
	st, err := f.Stat()
	Must(t, err)
	b := make([]byte, st.Size())
	Must(t, dataOf(f, func(off, end int64) error {
		_, err := f.ReadAt(b[off:end], off)
		return err
	}))
	return b
}

// pieces calls fn with each run of blocks of p that are not all zeros; p is at off.
func pieces(p []byte, off int64, fn func(p []byte, off int64) error) error {
	var zeros [block]byte
	for at := 0; at < len(p); {
		end := at
		for end < len(p) {
			b := p[end:min(end+block, len(p))]
			if bytes.Equal(b, zeros[:len(b)]) {
				break
			}
			end += len(b)
		}
		if end > at {
			if err := fn(p[at:end], off+int64(at)); err != nil {
				return err
			}
		}
		at = end + block // of zeros, or the end
	}
	return nil
}

// Unpack reads a file that zstd has compressed, which fixtures are.
func Unpack(t testing.TB, path string) []byte {
	t.Helper()
	packed, err := os.ReadFile(path)
	Must(t, err)
	d, err := zstd.NewReader(nil)
	Must(t, err)
	defer d.Close()
	b, err := d.DecodeAll(packed, nil)
	Must(t, err)
	return b
}

// UnpackTo unpacks into a new file, whose blocks of zeros are holes.
func UnpackTo(t testing.TB, from, to string) {
	t.Helper()
	Must(t, UnpackFile(from, to))
}

// UnpackFile is [UnpackTo] for those who have no test at hand. It keeps little of
// the file in memory.
func UnpackFile(from, to string) error {
	packed, err := os.Open(from)
	if err != nil {
		return err
	}
	defer packed.Close()
	d, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer d.Close()
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	size := int64(0)
	for buf := make([]byte, 256<<10); err == nil; {
		n := 0
		for n < len(buf) && err == nil {
			var more int
			more, err = d.Read(buf[n:])
			n += more
		}
		if werr := pieces(buf[:n], size, func(p []byte, off int64) error {
			_, err := f.WriteAt(p, off)
			return err
		}); werr != nil {
			err = werr
		}
		size += int64(n)
	}
	if err == io.EOF {
		err = f.Truncate(size)
	}
	return errors.Join(err, f.Close())
}

// WriteSparse writes a new file, whose blocks of zeros are holes.
func WriteSparse(t testing.TB, path string, b []byte) {
	t.Helper()
	f, err := os.Create(path)
	Must(t, err)
	defer f.Close()
	Must(t, pieces(b, 0, func(p []byte, off int64) error {
		_, err := f.WriteAt(p, off)
		return err
	}))
	Must(t, f.Truncate(int64(len(b))))
	Must(t, f.Close())
}

// Fsck demands that e2fsck has nothing to say of an image. Wrong free counts do
// not make it fail; what it would ask is looked at for that. What it asks of times
// in the future is not: images may hold any time.
func Fsck(t testing.TB, image string) {
	t.Helper()
	out := Run(t, "e2fsck", "-fn", image)
	if strings.Contains(strings.ReplaceAll(out, "in the future.\nFix? no\n", ""), "? no") {
		t.Fatalf("e2fsck -fn %s:\n%s", image, out)
	}
}
