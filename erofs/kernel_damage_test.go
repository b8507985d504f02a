package erofs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/erofs/internal/ondisk"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// view is what a tree shows: a line for each path, or failedPath where that cannot be
// had. What is below a directory that cannot be listed is not there.
func view(t testing.TB, root *tree.Node) map[string]string {
	t.Helper()
	out := map[string]string{}
	buf := make([]byte, 64<<10)
	err := tree.WalkReadable(t.Context(), root, func(path string, n *tree.Node) error {
		e := tree.Entry{Type: n.Type.String(), Mode: fmt.Sprint(n.Perm), UID: n.UID, GID: n.GID, Target: n.Target,
			Mtime: fmt.Sprint(n.Mtime), Rdev: fmt.Sprint(n.Rdev), Xattr: map[string]string{}}
		if n.Type == tree.Regular {
			e.Size = &n.Size
		}
		for _, x := range n.Xattrs {
			e.Xattr[x.Name] = x.Value
		}
		if n.Type == tree.Regular {
			sum, err := sumOf(n, buf)
			if err != nil {
				out[path] = failedPath
				return nil
			}
			e.SHA256 = sum
		}
		j, err := json.Marshal(e)
		out[path] = string(j)
		return err
	}, func(path string, err error) error {
		out[path] = failedPath
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const failedPath = "failed"

// sumOf tells contents apart. A file of more than a few MiB is of its beginning.
func sumOf(n *tree.Node, buf []byte) (string, error) {
	c, err := n.Open()
	if err != nil {
		return "", err
	}
	defer c.Close()
	h := sha256.New()
	size := min(n.Size, 8<<20)
	for off := int64(0); off < size; {
		p := buf[:min(int64(len(buf)), size-off)]
		if err := tree.ReadFull(c, p, off); err != nil {
			return "", err
		}
		h.Write(p)
		off += int64(len(p))
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// failed tells whether a path, or a directory that it is in, failed.
func failed(v map[string]string, path string) bool {
	for {
		if v[path] == failedPath {
			return true
		}
		if path == "" {
			return false
		}
		path = strings.TrimPrefix(filepath.Dir("/"+path), "/")
	}
}

// compareDamaged mounts an image and compares what the kernel shows of it with what
// the reader does: each path is the same, or an error.
func compareDamaged(t testing.TB, b []byte) (lenient []string, told bool) {
	t.Helper()
	path := filepath.Join(systest.MemDir(t), "image")
	systest.Must(t, os.WriteFile(path, b, 0o600))
	ours := map[string]string{"": failedPath}
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t))
	if err == nil {
		defer r.Close()
		root, err := r.Root()
		if err == nil {
			ours = view(t, root)
		}
	}
	if err != nil && !tree.IsDamage(err) {
		t.Errorf("neither corrupt nor unsupported: %v", err)
	}
	theirs := map[string]string{"": failedPath}
	if at, unmount, err := tryMount(t, path); err == nil {
		root, err := hostfs.Open(at)
		if err == nil {
			theirs = view(t, root)
		}
		unmount()
	}
	wrong := 0
	for p, want := range theirs {
		got := ours[p]
		switch {
		case want == got || failed(ours, p):
		case want == failedPath:
			lenient = append(lenient, p)
		default:
			if wrong++; wrong < 4 {
				t.Errorf("/%s:\n got %s\nwant %s", p, got, want)
			}
		}
	}
	for p, got := range ours {
		if theirs[p] == "" && !failed(theirs, p) {
			t.Errorf("/%s: %s, which the kernel does not show", p, got)
		}
		told = told || got == failedPath
	}
	return lenient, told
}

// tryMount mounts an image, if the kernel takes it.
func tryMount(t testing.TB, path string) (at string, unmount func(), err error) {
	t.Helper()
	at = systest.TempDir(t)
	unmount, err = systest.TryMountAt(t, "erofs", "ro,loop", path, at)
	return at, unmount, err
}

// damagedImages is how many damaged images are made of each: what RELIVE_DAMAGED says,
// or n.
func damagedImages(t testing.TB, n int) int {
	t.Helper()
	if s := os.Getenv("RELIVE_DAMAGED"); s != "" {
		_, err := fmt.Sscan(s, &n)
		systest.Must(t, err)
	}
	return n
}

// TestKernelDamaged flips bits of images and compares with what the kernel shows of
// them.
func TestKernelDamaged(t *testing.T) {
	systest.NeedFilesystems(t, "erofs")
	rounds := damagedImages(t, 3)
	for name := range fixtures {
		t.Run(name, func(t *testing.T) {
			sound := fixture(t, name)
			rnd := rand.New(rand.NewPCG(1, uint64(len(name))+uint64(rounds)))
			lenient, told := 0, 0
			for range rounds {
				b := bytes.Clone(sound)
				at, bit := rnd.IntN(len(b)), rnd.IntN(8)
				if rnd.IntN(2) == 0 {
					at = rnd.IntN(min(len(b), 24<<10)) // where inodes and indexes are
				}
				b[at] ^= 1 << bit
				resum(b)
				l, bad := compareDamaged(t, b)
				if lenient += min(len(l), 1); bad {
					told++
				}
				if t.Failed() {
					t.Fatalf("byte %d, bit %d", at, bit)
				}
				if len(l) > 0 {
					t.Logf("byte %d, bit %d: only the kernel fails: /%s and %d others", at, bit, l[0], len(l)-1)
				}
			}
			t.Logf("%d of %d are told, in %d only the kernel fails", told, rounds, lenient)
		})
	}
}

// resum gives an image the checksum that belongs to it, so that what it covers can be
// damaged.
func resum(b []byte) {
	if len(b) < ondisk.SuperblockOffset+ondisk.SuperblockSize {
		return
	}
	s, _ := ondisk.DecodeSuperblock(b[ondisk.SuperblockOffset:])
	if s.BlockBits < minBlockBits || s.BlockBits > maxBlockBits {
		return
	}
	if off, n := ondisk.ChecksumRange(s.BlockBits); off+n <= int64(len(b)) {
		binary.LittleEndian.PutUint32(b[ondisk.SuperblockOffset+4:], ondisk.Sum(b[off:off+n]))
	}
}
