package mkfs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// scaled returns the full size of a test where RELIVE_SCALE=full, as scripts/bench
// ext sets it, and a small one that shows the same shapes otherwise.
func scaled(full, small int) int {
	if os.Getenv("RELIVE_SCALE") == "full" {
		return full
	}
	return small
}

// grown is a directory whose children are made when they are asked for, so that
// what is measured is the builder's memory and not the tree's.
type grown func() []*tree.Node

func (g grown) Children() ([]*tree.Node, error) { return g(), nil }

func grownDir(name string, children func() []*tree.Node) *tree.Node {
	n := dirOf(name)
	n.Dir = grown(children)
	return n
}

// pattern is content of that size that costs nothing to make, different for each
// number.
func pattern(number, size int) *holey {
	p := make([]byte, size)
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], uint64(number)<<32|uint64(i)+1)
	}
	if size%8 != 0 {
		p[size-1] = 'x'
	}
	return &holey{size: int64(size), pieces: []holeyPiece{{0, p}}}
}

// lazyPattern makes a pattern when it is opened.
type lazyPattern struct{ number, size int }

func (l lazyPattern) Open() (tree.Content, error) { return pattern(l.number, l.size), nil }

// manyGrown is a directory of n small files in directories of a hundred, of
// which each tenth has an attribute and each fiftieth another name.
func manyGrown(name string, n int) *tree.Node {
	return grownDir(name, func() []*tree.Node {
		var dirs []*tree.Node
		for i := 0; i < n; i += 100 {
			dirs = append(dirs, grownDir(fmt.Sprintf("dir-%07d", i), func() []*tree.Node {
				var kids []*tree.Node
				for k := range min(100, n-i) {
					f := fileOf(fmt.Sprintf("file-%03d", k), nil)
					number := i + k
					size := number * 37 % 9000
					f.Size, f.Data = int64(size), lazyPattern{number, size}
					f.Mtime = tree.Time{Sec: int64(number) * 4001, Nsec: uint32(number % 1000)}
					if k%10 == 3 {
						f.Xattrs = tree.Xattrs{{Name: "security.selinux", Value: "system_u:object_r:etc_t:s0"},
							{Name: "trusted.overlay.origin", Value: fmt.Sprint(number)}}
					}
					if k%50 == 7 {
						f.Inode, f.Nlink = tree.Inode{Source: scaleSource{}, Number: uint64(number) + 1}, 2
						other := *f
						other.Name = f.Name + "-again"
						kids = append(kids, f, &other)
						continue
					}
					kids = append(kids, f)
				}
				return kids
			}))
		}
		return dirs
	})
}

type scaleSource struct{}

// wideGrown is a directory of n names of 255 bytes: files, symlinks and
// whiteouts.
func wideGrown(name string, n int) *tree.Node {
	return grownDir(name, func() []*tree.Node {
		kids := make([]*tree.Node, n)
		for i := range kids {
			long := fmt.Sprintf("%0255d", i)
			switch i % 3 {
			case 0:
				kids[i] = fileOf(long, nil)
			case 1:
				kids[i] = tree.NewSymlink(long, fmt.Sprintf("%0*d", 1+i%90, i))
				kids[i].Mtime = stamp
			case 2:
				kids[i] = &tree.Node{Name: long, Nlink: 1, Meta: tree.Meta{Type: tree.CharDevice, Mtime: stamp}}
			}
		}
		return kids
	})
}

// allKinds is a directory with every type of file and every place that an
// attribute can be in.
func allKinds(name string) *tree.Node {
	kids := []*tree.Node{
		{Name: "block", Meta: tree.Meta{Type: tree.BlockDevice, Perm: 0o660, Rdev: tree.Rdev{Major: 259, Minor: 1<<20 - 1}, Mtime: stamp}},
		{Name: "char", Meta: tree.Meta{Type: tree.CharDevice, Perm: 0o666, Rdev: tree.Rdev{Major: 4095, Minor: 3}, Mtime: stamp}},
		{Name: "fifo", Meta: tree.Meta{Type: tree.FIFO, Perm: 0o600, Mtime: stamp}},
		{Name: "sock", Meta: tree.Meta{Type: tree.Socket, Perm: 0o755, Mtime: stamp}},
		tree.NewSymlink("sym-59", strings.Repeat("s", 59)), tree.NewSymlink("sym-60", strings.Repeat("s", 60)),
		tree.NewSymlink("sym-4095", strings.Repeat("/s", 2047)+"s"),
		fileOf("empty", nil), fileOf("suid", []byte("x")),
	}
	kids[len(kids)-1].Perm = 0o6755
	for _, k := range kids {
		k.Mtime, k.Nlink = stamp, 1
		k.UID, k.GID = 70000, 1<<31
	}
	acl := newGenerator(1, Options{}).acl()
	for i, xs := range []tree.Xattrs{
		{{Name: "user.empty", Value: ""}},
		{{Name: "trusted.overlay.opaque", Value: "y"}, {Name: "trusted.overlay.origin", Value: strings.Repeat("\x00o", 20)}},
		{{Name: "trusted.overlay.metacopy", Value: ""}, {Name: "trusted.overlay.redirect", Value: "/" + strings.Repeat("r", 255)}},
		{{Name: "security.capability", Value: "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
			{Name: "system.posix_acl_access", Value: acl}},
		{{Name: "user.block", Value: strings.Repeat("b", 3900)}},
		{{Name: "user.own", Value: strings.Repeat("o", 60000)}, {Name: "user.own2", Value: strings.Repeat("p", 65536)}},
	} {
		f := fileOf(fmt.Sprintf("xattr-%d", i), []byte("content"))
		if i == 1 {
			f = dirOf(f.Name, fileOf("inside", nil))
		}
		f.Xattrs = xs
		kids = append(kids, f)
	}
	var many tree.Xattrs
	for i := range 100 {
		many = append(many, tree.Xattr{Name: fmt.Sprintf("user.%03d", i), Value: fmt.Sprint(i)})
	}
	f := fileOf("xattr-many", nil)
	f.Xattrs = many
	kids = append(kids, f)
	deep := dirOf("deep")
	for range 150 {
		deep = dirOf("deep", deep, fileOf("file", []byte("down here")))
	}
	kids = append(kids, deep)
	tree.Sort(kids)
	n := dirOf(name)
	n.Dir = tree.List(kids)
	return n
}

// sparseGrown is a directory of files of 8 GiB with little in them.
func sparseGrown(name string, teeth int64) *tree.Node {
	ends := &holey{size: 8 << 30, pieces: []holeyPiece{{0, []byte("begin")}, {8<<30 - 3, []byte("end")}}}
	comb := &holey{size: 8<<30 + 1}
	for i := range teeth {
		comb.pieces = append(comb.pieces, holeyPiece{i << 23, []byte("tooth")})
	}
	return dirOf(name, sparseFile("comb", comb), sparseFile("ends", ends), sparseFile("hole", &holey{size: 8 << 30}))
}

// footprint runs fn and gives the most memory that was in use on the heap, in
// bytes, besides what was in use before.
func footprint(fn func()) int64 {
	runtime.GC()
	var m runtime.MemStats
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // whatever the run has been told
	runtime.ReadMemStats(&m)
	before := int64(m.HeapAlloc)
	var most atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), int64(m.HeapInuse)))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	<-stopped
	return most.Load() - before
}

// summed is an Image that sums what is written where.
type summed struct {
	sums [sha256.Size]byte
}

func (s *summed) Truncate(size int64) error { return nil }

// WriteAt adds the sum of a write to the others', which gives the same in any
// order.
func (s *summed) WriteAt(p []byte, off int64) (int, error) {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, off)
	h.Write(p)
	for i, b := range h.Sum(nil) {
		s.sums[i] ^= b
	}
	return len(p), nil
}

// TestScale: a system's worth of files, in images of 8 MiB to 40 GiB. e2fsck is
// content with the image and with what is left after the kernel has written to
// it and deleted most of it, and the kernel shows the tree.
func TestScale(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	for _, c := range []struct {
		name string
		size int64
		o    Options
		tree func() []*tree.Node
	}{
		{"8 MiB", 8 << 20, Options{BlockSize: 4096, Features: parseFeatures(t, "ea_inode")}, func() []*tree.Node {
			return []*tree.Node{allKinds("kinds"), manyGrown("many", 200), sparseGrown("sparse", 100)}
		}},
		{"6 GiB", 6 << 30, Options{Features: parseFeatures(t, "ea_inode")}, func() []*tree.Node {
			return []*tree.Node{allKinds("kinds"), manyGrown("many", scaled(200000, 4000)), sparseGrown("sparse", 1000),
				wideGrown("wide", scaled(65536, 2000))}
		}},
		{"40 GiB", 40 << 30, Options{BlockSize: 4096, Features: parseFeatures(t, "ea_inode large_dir orphan_file metadata_csum_seed")},
			func() []*tree.Node {
				return []*tree.Node{allKinds("kinds"), manyGrown("many", scaled(200000, 2000)), sparseGrown("sparse", 1000),
					wideGrown("wide", scaled(131072, 3000))}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if os.Getenv("RELIVE_SCALE") != "full" {
				t.Parallel()
			}
			root := grownDir("", c.tree)
			o := c.o
			o.Size, o.Time = c.size, stamp
			var img string
			var rep Report
			start := time.Now()
			memory := footprint(func() { img, rep = buildFile(t, root, o) })
			t.Logf("%d files and directories, %d MiB of data: %.1f s, %d MiB of memory at most, %d MiB on disk", rep.Files+rep.Directories,
				rep.DataBytes>>20, time.Since(start).Seconds(), memory>>20, allocated(t, img)>>20)
			if onDisk := allocated(t, img); onDisk > rep.DataBytes+int64(rep.Inodes-rep.FreeInodes)*1200+64<<20 {
				t.Errorf("it takes %d bytes of the disk", onDisk)
			}
			systest.Fsck(t, img)
			same(t, without(t, readBack(t, img), lostFoundName), root, tree.CompareOptions{Links: true})
			at, umount := mount(t, img, "rw")
			exerciseScaled(t, at)
			umount()
			fsckWritten(t, img)
			at, umount = mount(t, img, "rw")
			for _, name := range []string{"kinds", "many", "sparse", "wide"} {
				systest.Must(t, os.RemoveAll(filepath.Join(at, name)))
			}
			systest.Must(t, os.WriteFile(filepath.Join(at, "after"), make([]byte, 100_000), 0o644))
			umount()
			fsckWritten(t, img)
		})
	}
}

// fsckWritten is systest.Fsck for what the kernel has written to, whose extent
// trees e2fsck finds wider than they could be.
func fsckWritten(t testing.TB, image string) {
	t.Helper()
	out := systest.Run(t, "e2fsck", "-fn", image)
	if strings.Contains(strings.ReplaceAll(out, "could be narrower.  Optimize? no", ""), "? no") {
		t.Fatalf("e2fsck -fn %s:\n%s", image, out)
	}
}

// without is a tree without one of the names in its root.
func without(t testing.TB, root *tree.Node, name string) *tree.Node {
	t.Helper()
	var e tree.Edits
	e.Remove(name)
	out, err := e.Apply(root)
	systest.Must(t, err)
	return out
}

// exerciseScaled writes to a mounted image as a system would: appends, fills
// holes, adds and removes names, replaces files, sets attributes.
func exerciseScaled(t *testing.T, at string) {
	t.Helper()
	for _, name := range []string{"comb", "ends", "hole"} {
		f, err := os.OpenFile(filepath.Join(at, "sparse", name), os.O_RDWR, 0)
		systest.Must(t, err)
		for _, off := range []int64{12345, 4 << 30, 8 << 30} {
			_, err := f.WriteAt([]byte(strings.Repeat("filled", 1000)), off)
			systest.Must(t, err)
		}
		systest.Must(t, f.Close())
	}
	dirs, err := filepath.Glob(filepath.Join(at, "many", "*"))
	systest.Must(t, err)
	for i, dir := range dirs {
		switch i % 4 {
		case 0:
			systest.Must(t, os.RemoveAll(dir))
		case 1:
			systest.Must(t, os.WriteFile(filepath.Join(dir, "file-003"), []byte("replaced"), 0o600))
			systest.Must(t, os.Rename(filepath.Join(dir, "file-004"), filepath.Join(at, fmt.Sprintf("moved-%d", i))))
			systest.Must(t, unix.Lsetxattr(filepath.Join(dir, "file-005"), "user.new", []byte("set"), 0))
		}
	}
	wide, err := os.ReadDir(filepath.Join(at, "wide"))
	if os.IsNotExist(err) {
		return
	}
	systest.Must(t, err)
	for i, e := range wide {
		switch i % 5 {
		case 0, 1:
			systest.Must(t, os.Remove(filepath.Join(at, "wide", e.Name())))
		case 2:
			systest.Must(t, os.WriteFile(filepath.Join(at, "wide", "n"+e.Name()[1:]), nil, 0o600))
		}
	}
}

// TestScaleMemory: what the builder keeps grows with the number of inodes only,
// and by little: 16 bytes each, and what it takes to hold hard links together.
// The same tree gives the same writes.
func TestScaleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	for _, n := range []int{scaled(200_000, 20_000), scaled(1_000_000, 60_000)} {
		root := manyGrown("", n)
		o := Options{Size: 16 << 30, BytesPerInode: 8192, Time: stamp}
		var first, second summed
		start := time.Now()
		var rep Report
		memory := footprint(func() {
			var err error
			rep, err = Build(t.Context(), &first, root, o)
			systest.Must(t, err)
		})
		took := time.Since(start)
		t.Logf("%d files, %d MiB: %.1f s, %d MiB of memory at most", rep.Files, rep.DataBytes>>20, took.Seconds(), memory>>20)
		if most := int64(48<<20 + n*64); memory > most {
			t.Errorf("%d files: %d bytes of memory, more than %d", n, memory, most)
		}
		if n > 500_000 {
			continue
		}
		if _, err := Build(t.Context(), &second, root, o); err != nil || first != second {
			t.Errorf("%d files: another image the second time: %v", n, err)
		}
	}
}
