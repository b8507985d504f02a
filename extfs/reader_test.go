package extfs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// TestDecodeTime has the limits that the kernel's documentation gives for the
// two epoch bits, and what inodes without the extra fields can say.
func TestDecodeTime(t *testing.T) {
	for _, c := range []struct {
		sec, extra uint32
		end        int
		want       tree.Time
	}{
		{0, 0, ondisk.InExtraEnd, tree.Time{}},
		{0x7FFFFFFF, 0, ondisk.InExtraEnd, tree.Time{Sec: 0x7FFFFFFF}},
		{0x80000000, 0, ondisk.InExtraEnd, tree.Time{Sec: -0x80000000}}, // 1901-12-13
		{0xFFFFFFFF, 0, ondisk.InExtraEnd, tree.Time{Sec: -1}},          // 1969-12-31
		{0x80000000, 1, ondisk.InExtraEnd, tree.Time{Sec: 0x80000000}},  // 2038-01-19
		{0x00000000, 1, ondisk.InExtraEnd, tree.Time{Sec: 0x100000000}}, // 2106-02-07
		{0x80000000, 2, ondisk.InExtraEnd, tree.Time{Sec: 0x180000000}}, // 2174-02-25
		{0x80000000, 3, ondisk.InExtraEnd, tree.Time{Sec: 0x280000000}}, // 2310-04-04
		{0x7FFFFFFF, 3, ondisk.InExtraEnd, tree.Time{Sec: 0x37FFFFFFF}}, // 2446-05-10
		{5, 999_999_999<<2 | 1, ondisk.InExtraEnd, tree.Time{Sec: 1<<32 + 5, Nsec: 999_999_999}},
		{5, 0xFFFFFFFC, ondisk.InExtraEnd, tree.Time{Sec: 5, Nsec: 999_999_999}},
		{0xFFFFFFFF, 7, ondisk.InodeSizeOld, tree.Time{Sec: -1}},
		{0xFFFFFFFF, 7, ondisk.InMtimeExtra, tree.Time{Sec: -1}},
		{0xFFFFFFFF, 5, ondisk.InMtimeExtra + 4, tree.Time{Sec: 0xFFFFFFFF, Nsec: 1}},
	} {
		raw := make([]byte, 256)
		le.PutUint32(raw[ondisk.InMtime:], c.sec)
		le.PutUint32(raw[ondisk.InMtimeExtra:], c.extra)
		if got := decodeTime(raw, c.end, ondisk.InMtime, ondisk.InMtimeExtra); got != c.want {
			t.Errorf("%#x, %#x, fields to %#x: got %+v, want %+v", c.sec, c.extra, c.end, got, c.want)
		}
	}
}

// TestKernelFields sets fields of inodes as no kernel would today and compares
// what the kernel makes of them: epoch bits, extra sizes, ids, devices.
func TestKernelFields(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount", "debugfs")
	for _, features := range []string{"^has_journal", "^has_journal,^metadata_csum,ea_inode"} {
		img := mkfs(t, 8, "-t", "ext4", "-b", "1024", "-I", "256", "-O", features)
		dir, umount := mount(t, img, "rw")
		f := filler{t: t, dir: dir, bs: 1024, rnd: rand.New(rand.NewPCG(1, 1))}
		var script []string
		set := func(name string, fields ...string) {
			for _, field := range fields {
				script = append(script, fmt.Sprintf("sif /%s %s", name, field))
			}
		}
		n := 0
		file := func() string {
			n++
			name := fmt.Sprint("f", n)
			p := f.write(name, f.bytes(100))
			f.ok(unix.Setxattr(p, "user.x", []byte("value"), 0))
			return name
		}
		for _, sec := range []string{"0x7fffffff", "0x80000000", "0xffffffff", "1"} {
			for _, extra := range []string{"0", "1", "2", "3", "0x77359401", "0xee6b27fc"} {
				set(file(), "mtime "+sec, "mtime_extra "+extra)
			}
		}
		for _, extra := range []string{"0", "4", "8", "12", "32"} {
			set(file(), "extra_isize "+extra)
		}
		set(file(), "uid 4294967294", "gid 65536")
		f.ok(unix.Mknod(f.path("dev"), unix.S_IFCHR, 0))
		set("dev", "block[0] 0x1234", "block[1] 0x5678")
		f.ok(os.Symlink("abc", f.path("sym")))
		umount()
		if out := systest.Feed(t, strings.Join(script, "\n"), "debugfs", "-w", "-f", "-", img); strings.Contains(out, "nvalid") {
			t.Fatal(out)
		}
		compareWithKernel(t, openImage(t, img), img)
	}
}

// TestUnmountedState tells an image that was copied while it was mounted
// without a journal.
func TestUnmountedState(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	img := mkfs(t, 8, "-t", "ext2")
	if info := openImage(t, img).Info(); !info.Clean || info.Kind != "ext2" {
		t.Errorf("fresh: %+v", info)
	}
	dir, _ := mount(t, img, "rw")
	if err := os.WriteFile(dir+"/file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	syncDir(t, dir)
	fs := openImage(t, copyImage(t, img))
	if info := fs.Info(); info.Clean || info.NeedsRecovery || info.MountCount != 1 || info.LastMount == (tree.Time{}) {
		t.Errorf("mounted: %+v", info)
	}
	if n, err := rootOf(t, fs).Child("file"); err != nil || n == nil || n.Size != 1 {
		t.Error(n, err)
	}
}

// TestRevision0 reads a file system of the first revision, with inodes of 128
// bytes and no features.
func TestRevision0(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	img := mkfs(t, 16, "-t", "ext2", "-r", "0", "-b", "1024", "-O", "none")
	dir, umount := mount(t, img, "rw")
	f := filler{t: t, dir: dir, bs: 1024, files: 50, small: true, rnd: rand.New(rand.NewPCG(1, 1))}
	f.names()
	f.contents()
	f.links()
	f.devices()
	f.directories()
	umount()
	fs := openImage(t, img)
	if got := fs.Info().Features; len(got) != 0 {
		t.Errorf("features %v", got)
	}
	compareWithKernel(t, fs, img)
}

// TestConcurrent walks one FS from several goroutines, with a cache that holds
// next to nothing, and wants the same tree from each.
func TestConcurrent(t *testing.T) {
	img := fixture(t, "ext4-4k-plain-dirty")
	fs := openBytes(t, img, WithCache(3<<12))
	root := rootOf(t, fs)
	manifests := make([]string, 4)
	var wg sync.WaitGroup
	for i := range manifests {
		wg.Go(func() {
			var out strings.Builder
			enc := json.NewEncoder(&out)
			if err := tree.Manifest(t.Context(), root, tree.ManifestOptions{},
				func(e tree.Entry) error { return enc.Encode(e) }); err != nil {
				t.Error(err)
			}
			manifests[i] = out.String()
		})
	}
	wg.Wait()
	want, err := readAll(t, img)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifests {
		if m != want {
			t.Error("not the same tree")
		}
	}
}

// TestCacheLimit keeps the cache within its bytes.
func TestCacheLimit(t *testing.T) {
	c := newBlockCache(10_000)
	for i := range uint64(100) {
		for _, k := range []uint64{i, 3, i / 2} {
			p, err := c.get(cacheKey{block: k}, func() ([]byte, error) { return bytes.Repeat([]byte{byte(k)}, 1024), nil })
			if err != nil || len(p) != 1024 || p[5] != byte(k) {
				t.Fatal(p, err)
			}
		}
		if c.used > c.limit || c.used != 1024*len(c.entries) {
			t.Fatalf("%d bytes in %d entries", c.used, len(c.entries))
		}
	}
	if c.peek(cacheKey{block: 3}) == nil || c.peek(cacheKey{block: 4}) != nil {
		t.Error("it does not keep what is used most lately")
	}
}

// TestReadAt reads ranges of every kind from files with holes and compares
// them with one read of the whole.
func TestReadAt(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, name := range seedNames() {
		fs := openBytes(t, fixture(t, name))
		err := tree.Walk(t.Context(), rootOf(t, fs), func(path string, n *tree.Node) error {
			if n.Type != tree.Regular || n.Size > 1<<20 {
				return nil
			}
			whole, err := tree.ReadAll(n, 1<<20)
			if err != nil {
				return err
			}
			c, err := n.Open()
			if err != nil {
				return err
			}
			defer c.Close()
			for range 40 {
				off := rnd.Int64N(n.Size + 10)
				p := make([]byte, rnd.IntN(9000))
				got, err := c.ReadAt(p, off)
				want := whole[min(off, n.Size):min(off+int64(len(p)), n.Size)]
				if !bytes.Equal(p[:got], want) || (err == io.EOF) != (got < len(p) || off >= n.Size) || err != nil && err != io.EOF {
					t.Errorf("%s: %d bytes at %d of %d: got %d, %v", path, len(p), off, n.Size, got, err)
				}
			}
			if _, err := c.ReadAt(make([]byte, 1), -1); err == nil {
				t.Error("reads before the start")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFastRanges lays ranges over each other and over a mapping, and compares
// with a plain array.
func TestFastRanges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 5))
	const blocks = 200
	for range 300 {
		var f fastInode
		var want [blocks]uint64
		for i := range want {
			want[i] = 10_000 + uint64(i)
		}
		for range rnd.IntN(12) {
			r := run{logical: rnd.Uint64N(blocks - 50), length: 1 + rnd.Uint64N(50)}
			if rnd.IntN(3) > 0 {
				r.physical = 1 + rnd.Uint64N(5000)
				r.unwritten = rnd.IntN(3) == 0
			}
			f.set(r)
			for i := range r.length {
				want[r.logical+i] = 0
				if !r.hole() {
					want[r.logical+i] = r.physical + i
				}
			}
		}
		for at := uint64(0); at < blocks; {
			r, err := f.overlay(at, func() (run, error) {
				return run{logical: at, physical: 10_000 + at, length: blocks - at}, nil
			})
			if err != nil || r.logical != at || r.length == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			for i := uint64(0); i < r.length && at+i < blocks; i++ {
				got := uint64(0)
				if !r.hole() {
					got = r.physical + i
				}
				if got != want[at+i] {
					t.Fatalf("block %d: got %d, want %d, ranges %+v", at+i, got, want[at+i], f.ranges)
				}
			}
			at = r.end()
		}
	}
}

// checkMapping looks blocks up in any order and compares with the runs from the
// start of the file.
func checkMapping(t testing.TB, fs *FS) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 9))
	err := tree.Walk(t.Context(), rootOf(t, fs), func(path string, n *tree.Node) error {
		if n.Type != tree.Regular || n.Size < 2*fs.geo.blockSize {
			return nil
		}
		in, err := fs.inode(uint32(n.Inode.Number))
		if err != nil || in.has(ondisk.FlInlineData) {
			return err
		}
		var runs []run
		end := uint64(n.Size+fs.geo.blockSize-1) >> fs.geo.blockBits
		for at := uint64(0); at < end; {
			r, err := fs.mapBlock(in, at)
			if err != nil {
				return err
			}
			runs = append(runs, r)
			at = r.end()
		}
		for range 20 {
			r := runs[rnd.IntN(len(runs))]
			want := r.from(r.logical + rnd.Uint64N(min(r.length, 1<<40)))
			if got, err := fs.mapBlock(in, want.logical); err != nil || got != want {
				t.Errorf("%s: got %+v, %v, want %+v", path, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestExtentLeaf has the lengths at the border between written and unwritten.
func TestExtentLeaf(t *testing.T) {
	for _, c := range []struct {
		stored    uint16
		length    uint64
		unwritten bool
	}{{1, 1, false}, {32767, 32767, false}, {32768, 32768, false}, {32769, 1, true}, {65535, 32767, true}} {
		node := make(extentNode, ondisk.ExtHeaderSize+ondisk.ExtEntrySize)
		le.PutUint16(node[ondisk.ExtHeaderSize+ondisk.ExtLen:], c.stored)
		le.PutUint16(node[ondisk.ExtHeaderSize+ondisk.ExtStartHi:], 0x1234)
		le.PutUint32(node[ondisk.ExtHeaderSize+ondisk.ExtStartLo:], 0x56789ABC)
		physical, length, unwritten := node.leaf(0)
		if physical != 0x123456789ABC || length != c.length || unwritten != c.unwritten {
			t.Errorf("%d: %#x, %d, %v", c.stored, physical, length, unwritten)
		}
	}
}

// TestXattrHash has an entry's hash with bytes above 127, which kernels before
// 6.3 took as negative.
func TestXattrHash(t *testing.T) {
	if got := xattrEntryHash("\x80", 0, false); got != 0x00800000 {
		t.Errorf("unsigned: %#x", got)
	}
	if got := xattrEntryHash("\x80", 0, true); got != 0xFF80FFFF {
		t.Errorf("signed: %#x", got)
	}
}

// TestXattrBodyFirst has one attribute in the inode and in its block.
func TestXattrBodyFirst(t *testing.T) {
	fs := openBytes(t, fixture(t, "seed-extents"))
	n, err := rootOf(t, fs).Lookup("file")
	if err != nil {
		t.Fatal(err)
	}
	in, err := fs.inode(uint32(n.Inode.Number))
	if err != nil {
		t.Fatal(err)
	}
	if in.fileACL == 0 {
		t.Fatal("no attribute block")
	}
	body := make([]byte, ondisk.XABodyHdrSize+ondisk.XAEntrySize+8+8)
	le.PutUint32(body, ondisk.XAMagic)
	e := body[ondisk.XABodyHdrSize:]
	e[ondisk.XANameLen], e[ondisk.XANameIndex], e[ondisk.XAValueSize], e[ondisk.XAValueOffs] = 5, ondisk.XAIndexUser, 3, byte(len(e)-4)
	copy(e[ondisk.XAName:], "large")
	copy(e[len(e)-4:], "new")
	in.body = body
	got, err := fs.xattrs(in)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := got.Get("user.large"); v != "new" || len(got) != 1 {
		t.Errorf("%q", got)
	}
}
