package iso

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// openFile opens an image of the host.
func openFile(t testing.TB, path string, opts ...Option) *Image {
	t.Helper()
	f, size := systest.OpenFile(t, path)
	if !Is(f, size) {
		t.Fatalf("%s: Is tells that it is no image", path)
	}
	img, err := Open(f, size, filepath.Base(path), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func rootOf(t testing.TB, img *Image) *tree.Node {
	t.Helper()
	root, err := img.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// sameTree compares with a tree of the host: all that an ISO image holds, which
// is whole seconds and no extended attributes.
func sameTree(t testing.TB, want, got *tree.Node, ignore tree.Difference) {
	t.Helper()
	bad := 0
	o := tree.CompareOptions{WholeSeconds: true, Links: ignore&tree.LinkSet == 0, IgnoreXattr: func(string) bool { return true }}
	err := tree.Compare(t.Context(), want, got, o, func(c tree.Change) error {
		if c.Diff &^= ignore; c.Diff != 0 {
			if bad++; bad < 10 {
				t.Errorf("%s: %s\nwant %+v\ngot  %+v", tree.Quote(c.Path), c.Diff, c.A, c.B)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func hostTree(t testing.TB, dir string) *tree.Node {
	t.Helper()
	n, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kinds says what a random tree may hold.
type kinds struct {
	entries   int
	depth     int // of directories
	linkBytes int // of symlinks' targets, about
	nameBytes int
	ascii     bool // names without case, signs, and bytes beyond ASCII
}

// randomTree makes a directory of the host with all kinds of files.
func randomTree(t testing.TB, rng *rand.Rand, k kinds) string {
	t.Helper()
	root := systest.MemDir(t)
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	dirs := []string{root}
	depth := map[string]int{root: 0}
	var files, all []string
	for p := root; depth[p] < k.depth; {
		p = filepath.Join(p, randomName(rng, k, len(all)))
		check(os.Mkdir(p, 0o755))
		dirs, all = append(dirs, p), append(all, p)
		depth[p] = len(all)
	}
	for range k.entries {
		dir := dirs[rng.IntN(len(dirs))]
		p := filepath.Join(dir, randomName(rng, k, len(all)))
		switch kind := rng.IntN(20); {
		case kind < 4 && depth[dir] < k.depth:
			check(os.Mkdir(p, 0o755))
			dirs, depth[p] = append(dirs, p), depth[dir]+1
		case kind < 12:
			size := []int{0, 1, 2047, 2048, 2049, 5000, rng.IntN(40000)}[rng.IntN(7)]
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			check(os.WriteFile(p, b, 0o644))
			files = append(files, p)
		case kind < 15:
			check(os.Symlink(randomTarget(rng, k.linkBytes), p))
		case kind < 17 && len(files) > 0:
			check(os.Link(files[rng.IntN(len(files))], p))
		case kind == 17:
			check(unix.Mknod(p, unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(rng.IntN(200)+1), uint32(rng.IntN(1000))))))
		case kind == 18:
			check(unix.Mknod(p, unix.S_IFBLK|0o600, int(unix.Mkdev(8, uint32(rng.IntN(300))))))
		default:
			check(unix.Mknod(p, []uint32{unix.S_IFIFO, unix.S_IFSOCK}[rng.IntN(2)]|0o644, 0))
		}
		all = append(all, p)
	}
	for _, p := range all {
		st, err := os.Lstat(p)
		check(err)
		check(os.Lchown(p, rng.IntN(3)*1000, rng.IntN(3)*70000))
		if st.Mode()&os.ModeSymlink == 0 {
			check(unix.Chmod(p, uint32(rng.IntN(0o10000))))
		}
	}
	// Last, and from the leaves up: making files sets their directory's time.
	for i := len(all) - 1; i >= 0; i-- {
		ts := unix.NsecToTimespec((int64(rng.Int32()) + 1<<20) * 1e9)
		check(unix.UtimesNanoAt(unix.AT_FDCWD, all[i], []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
	return root
}

func randomName(rng *rand.Rand, k kinds, i int) string {
	if k.ascii {
		return fmt.Sprintf("f%05d.%c", i, 'a'+rng.IntN(26))
	}
	name := fmt.Sprintf("%d", i)
	alphabet := []string{"a", "B", "~", " ", "ü", "日", "\\", ";1", ".", "\xff", "\n", "=", "*"}
	for n := rng.IntN(k.nameBytes); len(name) < n; {
		name += alphabet[rng.IntN(len(alphabet))]
	}
	return name[:min(len(name), k.nameBytes)]
}

func randomTarget(rng *rand.Rand, bytes int) string {
	var parts []string
	if rng.IntN(2) == 0 {
		parts = append(parts, "")
	}
	for n := rng.IntN(bytes) + 1; n > 0; {
		p := []string{"..", ".", "a", "usr", strings.Repeat("long", rng.IntN(max(2, min(60, n/4)))+1), "ü"}[rng.IntN(6)]
		parts, n = append(parts, p), n-len(p)-1
	}
	return strings.Join(parts, "/")
}

// memory is an image in memory.
func memory(t testing.TB, p []byte, opts ...Option) *Image {
	t.Helper()
	img, err := Open(bytes.NewReader(p), int64(len(p)), "image", opts...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// sparseStore keeps an image of which most is zeros.
type sparseStore struct {
	blocks map[int64][]byte
	size   int64
	part   []byte
}

const sparseBlock = 64 << 10

func newSparseStore() *sparseStore { return &sparseStore{blocks: map[int64][]byte{}} }

// Write appends.
func (s *sparseStore) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), sparseBlock-len(s.part))
		s.part, p = append(s.part, p[:k]...), p[k:]
		if len(s.part) == sparseBlock {
			s.flush()
		}
	}
	return n, nil
}

func (s *sparseStore) flush() {
	if !tree.IsZero(s.part) {
		s.blocks[s.size/sparseBlock] = append([]byte(nil), s.part...)
	}
	s.size += int64(len(s.part))
	s.part = s.part[:0]
}

// ReadAt implements io.ReaderAt.
func (s *sparseStore) ReadAt(p []byte, off int64) (int, error) {
	for i := 0; i < len(p); {
		at := off + int64(i)
		if at >= s.size {
			return i, io.EOF
		}
		in := int(at % sparseBlock)
		n := min(len(p)-i, sparseBlock-in, int(s.size-at))
		if b, ok := s.blocks[at/sparseBlock]; ok {
			copy(p[i:i+n], b[in:])
		} else {
			clear(p[i : i+n])
		}
		i += n
	}
	return len(p), nil
}

// pipe runs a program whose output the store takes.
func pipe(t testing.TB, s *sparseStore, name string, args ...string) {
	t.Helper()
	var diag bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = s, &diag
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, diag.String())
	}
	s.flush()
}
