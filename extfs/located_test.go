package extfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// checkRanges holds the ranges of all files of an image that needs no recovery
// against their content, and gives how many are unwritten.
func checkRanges(t testing.TB, fs *FS) (unwritten int) {
	t.Helper()
	err := tree.Walk(t.Context(), rootOf(t, fs), func(path string, n *tree.Node) error {
		if n.Type != tree.Regular {
			return nil
		}
		c, err := n.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		at := int64(0)
		last := Range{}
		data := func(from, to int64, raw func(p []byte, off int64) error) error {
			for ; from < to; from += 1 << 20 {
				got, want := make([]byte, min(1<<20, to-from)), make([]byte, min(1<<20, to-from))
				if err := tree.ReadFull(c, want, from); err != nil {
					return err
				}
				if err := raw(got, from); err != nil {
					return err
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s: bytes %d to %d do not lie there", path, from, to)
				}
			}
			return nil
		}
		zeros := func([]byte, int64) error { return nil }
		for r, err := range n.Data.(Located).Ranges() {
			if errors.Is(err, ErrInline) {
				return nil
			}
			if err != nil {
				return err
			}
			if r.Logical < at || r.Length <= 0 || r.Logical+r.Length > n.Size || r.Physical <= 0 {
				t.Errorf("%s: %+v after %+v", path, r, last)
			}
			if r.Logical == at && at > 0 && r.Physical == last.Physical+last.Length && r.Unwritten == last.Unwritten {
				t.Errorf("%s: %+v could have been one with %+v", path, r, last)
			}
			// Holes of half a gigabyte are the reader's to test.
			if err := data(max(at, r.Logical-1<<20), r.Logical, zeros); err != nil {
				return err
			}
			raw := func(p []byte, off int64) error { return tree.ReadFull(fs.dev.r, p, r.Physical+off-r.Logical) }
			if r.Unwritten {
				unwritten++
				raw = zeros
			}
			if err := data(r.Logical, r.Logical+r.Length, raw); err != nil {
				return err
			}
			at, last = r.Logical+r.Length, r
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return unwritten
}

// TestRanges reads files by their ranges.
func TestRanges(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	for _, args := range []string{
		"-t ext2 -b 1024",
		"-t ext3 -b 4096",
		"-t ext4 -b 1024",
		"-t ext4 -b 4096 -O inline_data",
		"-t ext4 -b 4096 -C 65536 -O bigalloc",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, 60, strings.Fields(args)...)
			dir, umount := mount(t, img, "rw")
			f := filler{t: t, dir: dir, bs: openImage(t, img).geo.blockSize, files: 100, small: true, rnd: rand.New(rand.NewPCG(1, 1))}
			f.contents()
			f.mappings()
			umount()
			if n := checkRanges(t, openImage(t, img)); (n > 0) != strings.Contains(args, "ext4") {
				t.Errorf("%d unwritten ranges", n)
			}
		})
	}
}

// differ returns what tells of two images whether ranges differ, by chunks of
// that many bytes.
func differ(t testing.TB, a, b string, chunk int) func(off, n int64) bool {
	t.Helper()
	pa, pb := systest.ReadFile(t, a), systest.ReadFile(t, b)
	var changed []bool
	for at := 0; at < len(pa); at += chunk {
		end := min(at+chunk, len(pa))
		changed = append(changed, !bytes.Equal(pa[at:end], pb[at:end]))
	}
	return func(off, n int64) bool {
		for i := off / int64(chunk); i <= (off+n-1)/int64(chunk); i++ {
			if changed[i] {
				return true
			}
		}
		return false
	}
}

// TestSameBlocks changes a copy of a file system, takes it while it is mounted,
// and compares all files in both: what is said to be the same is.
func TestSameBlocks(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	for _, c := range []struct {
		args, mount string
		sync        bool // write back what the journal holds
	}{
		{"-t ext2 -b 1024", "", true},
		{"-t ext3 -b 1024 -J size=4", "data=journal", false},
		{"-t ext4 -b 4096 -J size=8", "data=journal", false},
		{"-t ext4 -b 4096 -J size=8", "data=ordered", false},
		{"-t ext4 -b 1024 -J size=8 -O inline_data", "data=journal", false},
		{"-t ext4 -b 4096 -J size=8 -O fast_commit", "data=ordered", false},
		{"-t ext4 -b 4096 -C 16384 -J size=8 -O bigalloc", "data=ordered", true},
	} {
		t.Run(c.args+","+c.mount, func(t *testing.T) {
			t.Parallel()
			base := mkfs(t, 48, strings.Fields(c.args)...)
			dir, umount := mount(t, base, "rw")
			f := filler{t: t, dir: dir, bs: openImage(t, base).geo.blockSize, files: 100, small: true, rnd: rand.New(rand.NewPCG(2, 2))}
			f.contents()
			f.mappings()
			f.ok(os.Mkdir(f.path("w"), 0o755))
			for i := range 40 {
				f.write(fmt.Sprintf("w/%d", i), f.bytes(10_000+i*500))
			}
			umount()
			merged := copyImage(t, base)
			options := c.mount + ",rw"
			if !c.sync {
				options += ",commit=300"
			}
			dir, umount = mount(t, merged, strings.TrimPrefix(options, ","))
			f.dir = dir
			sameBlocksChanges(f, c.mount == "data=journal")
			if c.sync {
				umount()
			}
			merged = copyImage(t, merged)
			a, b := openImage(t, base), openImage(t, merged)
			if n := b.Info().Journal.FastCommits; (n > 0) != strings.Contains(c.args, "fast_commit") {
				t.Errorf("%d fast commits", n)
			}
			for _, chunk := range []int{512, 65536} {
				compareSameBlocks(t, a, b, differ(t, base, merged, chunk), c.mount == "data=journal", int64(chunk) <= a.geo.blockSize)
			}
		})
	}
}

// sameBlocksChanges changes the files w/0 to w/19, in ways that leave blocks in
// place where they can. With data in the journal, syncing a file would have the
// kernel write its blocks in their place as well.
func sameBlocksChanges(f filler, journaled bool) {
	sync := func(o *os.File) error {
		if journaled {
			return nil
		}
		return o.Sync()
	}
	write := func(p []byte, off int64) func(*os.File) error {
		return func(o *os.File) error {
			if _, err := o.WriteAt(p, off); err != nil {
				return err
			}
			return sync(o)
		}
	}
	for i := range 20 {
		name := fmt.Sprintf("w/%d", i)
		switch i % 7 {
		case 0: // in place
			f.change(name, write(f.bytes(100), 5000))
		case 1: // longer, with the old blocks
			f.change(name, write(f.bytes(9000), int64(10_000+i*500)))
		case 2: // shorter
			f.ok(os.Truncate(f.path(name), 6000))
		case 3:
			f.change(name, func(o *os.File) error {
				f.maybe(unix.Fallocate(int(o.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 4096))
				return sync(o)
			})
		case 4: // another file of that name and size
			f.ok(os.Remove(f.path(name)))
			f.write(name, f.bytes(10_000+i*500))
		case 5: // blocks that are there, but count as zeros
			f.change(name, func(o *os.File) error {
				f.maybe(unix.Fallocate(int(o.Fd()), unix.FALLOC_FL_ZERO_RANGE, 4096, 4096))
				return sync(o)
			})
		case 6: // other metadata, the same content
			f.ok(os.Chmod(f.path(name), 0o700))
			f.ok(unix.Lsetxattr(f.path(name), "user.x", []byte("value"), 0))
		}
	}
	// The same blocks, but all of them unwritten.
	f.change("w/21", func(o *os.File) error {
		f.maybe(unix.Fallocate(int(o.Fd()), unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, 0, 24<<10))
		return sync(o)
	})
	f.write("sizes/60", f.bytes(60))
	fsync(f.t, f.path("w"))
	if !journaled { // one that fits into a fast commit
		f.change("w/20", write(f.bytes(9000), 20_000))
	}
}

func compareSameBlocks(t testing.TB, a, b *FS, changed func(off, n int64) bool, journaled, fine bool) {
	t.Helper()
	read := func(n *tree.Node) []byte {
		c, err := n.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var out []byte
		for off := int64(0); ; {
			start, end, err := c.NextData(off)
			if err != nil {
				return fmt.Append(out, "|", n.Size)
			}
			p := make([]byte, end-start)
			if err := tree.ReadFull(c, p, start); err != nil {
				t.Fatal(err)
			}
			// Holes and zeros are the same.
			for i := 0; i < len(p); i += 512 {
				if q := p[i:min(i+512, len(p))]; !tree.IsZero(q) {
					out = append(fmt.Append(out, start+int64(i), ":"), q...)
				}
			}
			off = end
		}
	}
	var same, missed, hidden int
	err := tree.Walk(t.Context(), rootOf(t, a), func(path string, na *tree.Node) error {
		nb := lookup(t, rootOf(t, b), path)
		if na.Type != tree.Regular || nb == nil || nb.Type != tree.Regular {
			return nil
		}
		got, err := SameBlocks(na.Data, nb.Data, changed)
		if err != nil {
			return err
		}
		equal := na.Size == nb.Size && bytes.Equal(read(na), read(nb))
		switch {
		case got && !equal:
			t.Errorf("%s: said to be the same, and is not", path)
		case got:
			same++
		case equal:
			missed++
			if fine && !strings.HasPrefix(path, "w/") {
				t.Errorf("%s: nothing changed there", path)
			}
		case na.Size == nb.Size:
			// Is it the journal alone that holds the change?
			if sameRaw(t, na, nb, changed) {
				hidden++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d the same, %d not recognised, %d changed in the journal only", same, missed, hidden)
	if same < 20 || journaled && hidden == 0 {
		t.Error("the cases do not cover what they should")
	}
}

// sameRaw is SameBlocks without regard to the journals.
func sameRaw(t testing.TB, a, b *tree.Node, changed func(off, n int64) bool) bool {
	strip := func(n *tree.Node) tree.Data {
		d := n.Data.(fileData)
		return fileData{&FS{name: d.fs.name, geo: d.fs.geo, dev: &device{}, cache: d.fs.cache, groupCache: d.fs.groupCache}, d.in}
	}
	same, err := SameBlocks(strip(a), strip(b), changed)
	return err == nil && same
}

func lookup(t testing.TB, n *tree.Node, path string) *tree.Node {
	t.Helper()
	if path == "" {
		return n
	}
	for name := range strings.SplitSeq(path, "/") {
		next, err := n.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if n = next; n == nil {
			return nil
		}
	}
	return n
}

// TestSameBlocksOther: what has no blocks that could be compared is not the
// same.
func TestSameBlocksOther(t *testing.T) {
	fs := openBytes(t, fixture(t, "seed-extents"))
	n := lookup(t, rootOf(t, fs), "file")
	none := func(int64, int64) bool { return false }
	for _, c := range []struct {
		a, b tree.Data
		want bool
	}{
		{n.Data, n.Data, true},
		{n.Data, tree.Bytes("x"), false},
		{tree.Bytes("x"), tree.Bytes("x"), false},
		{nil, n.Data, false},
	} {
		if got, err := SameBlocks(c.a, c.b, none); got != c.want || err != nil {
			t.Errorf("%T, %T: %v, %v", c.a, c.b, got, err)
		}
	}
	if got, err := SameBlocks(n.Data, n.Data, func(int64, int64) bool { return true }); got || err != nil {
		t.Errorf("changed everywhere: %v, %v", got, err)
	}
}
