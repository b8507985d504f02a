package systest

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
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

// CopyFile copies a file, which may be mounted, with its holes.
func CopyFile(t testing.TB, from, to string) {
	t.Helper()
	Run(t, "cp", "--sparse=always", from, to)
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
	b := Unpack(t, from)
	f, err := os.Create(to)
	Must(t, err)
	defer f.Close()
	Must(t, f.Truncate(int64(len(b))))
	var zeros [4096]byte
	for off := 0; off < len(b); off += len(zeros) {
		p := b[off:min(off+len(zeros), len(b))]
		if !bytes.Equal(p, zeros[:len(p)]) {
			_, err := f.WriteAt(p, int64(off))
			Must(t, err)
		}
	}
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
