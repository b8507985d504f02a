package extfs

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// readAll opens an image and reads all of it: tree, content and bitmaps.
func readAll(t testing.TB, img []byte) (manifest string, err error) {
	fs, err := Open(bytes.NewReader(img), int64(len(img)), "image")
	if err != nil {
		return "", err
	}
	root, err := fs.Root()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	err = tree.Manifest(t.Context(), root, tree.ManifestOptions{}, func(e tree.Entry) error { return enc.Encode(e) })
	return out.String(), err
}

// edit is an image without checksums and the means to break it.
type edit struct {
	t   *testing.T
	img []byte
	fs  *FS
}

func (e *edit) lookup(path string) *inode {
	n, err := rootOf(e.t, e.fs).Lookup(path)
	if err != nil || n == nil {
		e.t.Fatal(path, n, err)
	}
	in, err := e.fs.inode(uint32(n.Inode.Number))
	if err != nil {
		e.t.Fatal(err)
	}
	return in
}

// raw is the place of an inode in the image.
func (e *edit) raw(in *inode) []byte {
	geo := e.fs.geo
	g, err := e.fs.group((in.number - 1) / geo.inodesPerGroup)
	if err != nil {
		e.t.Fatal(err)
	}
	off := int64(g.inodeTable)*geo.blockSize + int64((in.number-1)%geo.inodesPerGroup)*int64(geo.inodeSize)
	return e.img[off:][:geo.inodeSize]
}

// block is the place of a file's block in the image.
func (e *edit) block(in *inode, logical uint64) []byte {
	r, err := e.fs.mapBlock(in, logical)
	if err != nil || r.hole() {
		e.t.Fatal(r, err)
	}
	return e.img[int64(r.physical)*e.fs.geo.blockSize:][:e.fs.geo.blockSize]
}

// entry is the place of a name in a directory.
func (e *edit) entry(dir *inode, name string) []byte {
	p := e.block(dir, 0)
	for at := 0; at < len(p); at += int(ondisk.LE16(p, at+ondisk.DERecLen)) {
		if n := int(p[at+ondisk.DENameLen]); ondisk.LE32(p, at) != 0 && string(p[at+ondisk.DEName:][:n]) == name {
			return p[at:]
		}
	}
	e.t.Fatalf("no %q in inode %d", name, dir.number)
	return nil
}

var le = binary.LittleEndian

// TestDamagedStructure breaks the rules of the format, one at a time, in an
// image without checksums.
func TestDamagedStructure(t *testing.T) {
	whole := fixture(t, "ext2-metacopy")
	sb := func(e *edit) []byte { return e.img[ondisk.SuperblockOffset:] }
	for _, c := range []struct {
		name string
		do   func(e *edit)
		kind error
		text string
	}{
		{"magic", func(e *edit) { sb(e)[ondisk.SBMagic]++ }, tree.ErrCorrupt, "no ext2, ext3 or ext4"},
		{"revision", func(e *edit) { sb(e)[ondisk.SBRevLevel] = 2 }, tree.ErrUnsupported, "revision 2"},
		{"compression", func(e *edit) { sb(e)[ondisk.SBFeatureIncompat] |= ondisk.IncompatCompression }, tree.ErrUnsupported,
			"feature compression "},
		{"journal device", func(e *edit) { sb(e)[ondisk.SBFeatureIncompat] |= ondisk.IncompatJournalDev }, tree.ErrUnsupported,
			"feature journal_dev "},
		{"dirdata", func(e *edit) { sb(e)[ondisk.SBFeatureIncompat+1] |= ondisk.IncompatDirData >> 8 }, tree.ErrUnsupported,
			"feature dirdata "},
		{"unknown", func(e *edit) { sb(e)[ondisk.SBFeatureIncompat+3] |= 0x80 }, tree.ErrUnsupported, "feature incompat 0x80000000 "},
		{"recovery without a journal", func(e *edit) { sb(e)[ondisk.SBFeatureIncompat] |= ondisk.IncompatRecover }, tree.ErrCorrupt,
			"no journal"},
		{"external journal", func(e *edit) {
			sb(e)[ondisk.SBFeatureIncompat] |= ondisk.IncompatRecover
			sb(e)[ondisk.SBFeatureCompat] |= ondisk.CompatHasJournal
			sb(e)[ondisk.SBJournalDevice] = 9
		}, tree.ErrUnsupported, "another device"},
		{"block size", func(e *edit) { sb(e)[ondisk.SBLogBlockSize] = 7 }, tree.ErrCorrupt, "block size"},
		{"blocks", func(e *edit) { sb(e)[ondisk.SBBlocksCountLo+3] = 1 }, tree.ErrCorrupt, "the image has only"},
		{"inodes", func(e *edit) { sb(e)[ondisk.SBInodesCount]++ }, tree.ErrCorrupt, "inodes, but"},
		{"inodes per group", func(e *edit) { clear(sb(e)[ondisk.SBInodesPerGroup:][:4]) }, tree.ErrCorrupt, "inodes per group"},
		{"blocks per group", func(e *edit) { clear(sb(e)[ondisk.SBBlocksPerGroup:][:4]) }, tree.ErrCorrupt, "blocks per group"},
		{"inode size", func(e *edit) { sb(e)[ondisk.SBInodeSize+1] = 3 }, tree.ErrCorrupt, "inode size"},
		{"inode table", func(e *edit) {
			block := e.fs.geo.descBlock(0)
			le.PutUint32(e.img[int64(block)*e.fs.geo.blockSize+ondisk.GDInodeTableLo:], uint32(e.fs.geo.blocks))
		}, tree.ErrCorrupt, "group 0: bitmaps in"},
		{"truncated", func(e *edit) { e.img = e.img[:len(e.img)/2] }, tree.ErrCorrupt, "the image has only"},

		{"record length", func(e *edit) { le.PutUint16(e.entry(e.lookup("upper"), "bin")[ondisk.DERecLen:], 0) }, tree.ErrCorrupt,
			"length of 0 bytes"},
		{"record past the block", func(e *edit) { le.PutUint16(e.entry(e.lookup("upper"), "bin")[ondisk.DERecLen:], 8192) },
			tree.ErrCorrupt, "are left"},
		{"name length", func(e *edit) { e.entry(e.lookup("upper"), "bin")[ondisk.DENameLen] = 200 }, tree.ErrCorrupt, "name of 200 bytes"},
		{"slash", func(e *edit) { e.entry(e.lookup("upper"), "bin")[ondisk.DEName] = '/' }, tree.ErrCorrupt, "slash"},
		{"entry's inode", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper"), "bin"), 1<<30) }, tree.ErrCorrupt, "inode 1073741824"},
		{"unused inode", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper"), "bin"), e.fs.geo.inodes) }, tree.ErrCorrupt, "deleted"},
		{"reserved inode", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper"), "bin"), ondisk.InoResize) }, tree.ErrCorrupt,
			"inode 7: the file system's own"},
		{"same name", func(e *edit) { copy(e.entry(e.lookup("upper"), "bin")[ondisk.DEName:], "etc") }, tree.ErrCorrupt,
			`"etc" stands there twice`},
		{"same directory twice", func(e *edit) {
			le.PutUint32(e.entry(e.lookup("upper"), "bin"), e.lookup("upper/etc").number)
		}, tree.ErrCorrupt, "stands there twice"},
		{"loop", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper"), "bin"), e.lookup("upper").number) }, tree.ErrCorrupt,
			"its parent is inode"},
		{"root in a directory", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper"), "bin"), ondisk.InoRoot) }, tree.ErrCorrupt,
			"the file system's own"},
		{"parent", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper/bin"), ".."), 11) }, tree.ErrCorrupt, "its parent is inode 11"},
		{"self", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper/bin"), "."), 11) }, tree.ErrCorrupt, `"." at 0 is inode 11`},
		{"no parent", func(e *edit) { le.PutUint32(e.entry(e.lookup("upper/bin"), ".."), 0) }, tree.ErrCorrupt, "is missing"},
		{"directory size", func(e *edit) { e.raw(e.lookup("upper/bin"))[ondisk.InSizeLo]++ }, tree.ErrCorrupt, "directory of 1025 bytes"},
		{"directory hole", func(e *edit) { clear(e.raw(e.lookup("upper/bin"))[ondisk.InBlock:][:4]) }, tree.ErrCorrupt,
			"directory block 0"},
		{"huge directory", func(e *edit) { e.raw(e.lookup("upper/bin"))[ondisk.InSizeLo+3] = 0x70 }, tree.ErrCorrupt, "directory of"},

		{"mode", func(e *edit) { e.raw(e.lookup("upper/bin/t00"))[ondisk.InMode+1] = 0 }, tree.ErrCorrupt, "of no file type"},
		{"size", func(e *edit) { e.raw(e.lookup("upper/bin/t00"))[ondisk.InSizeHi+3] = 0xFF }, tree.ErrCorrupt, "bytes"},
		{"pointer", func(e *edit) { le.PutUint32(e.raw(e.lookup("upper/bin/t00"))[ondisk.InBlock:], 1<<30) }, tree.ErrCorrupt,
			"outside of the file system"},
		{"block of attributes", func(e *edit) { le.PutUint32(e.raw(e.lookup("upper/bin/t00"))[ondisk.InFileACLLo:], 3) }, tree.ErrCorrupt,
			"attribute block 3: magic"},
		{"extra size", func(e *edit) { le.PutUint16(e.raw(e.lookup("upper/bin/t00"))[ondisk.InExtraIsize:], 200) }, tree.ErrCorrupt,
			"extra size of 200"},
		{"no extents", func(e *edit) { e.raw(e.lookup("upper/bin/t00"))[ondisk.InFlags+2] |= ondisk.FlExtents >> 16 }, tree.ErrCorrupt,
			"root of the extent tree: magic"},
		{"no inline data", func(e *edit) { e.raw(e.lookup("upper/bin/t00"))[ondisk.InFlags+3] |= ondisk.FlInlineData >> 24 },
			tree.ErrCorrupt, "system.data"},
		{"attribute inode", func(e *edit) { e.raw(e.lookup("upper/bin/t00"))[ondisk.InFlags+2] |= ondisk.FlEAInode >> 16 }, tree.ErrCorrupt,
			"holds an attribute"},

		{"encrypted directory", func(e *edit) { e.raw(e.lookup("upper/bin"))[ondisk.InFlags+1] |= ondisk.FlEncrypt >> 8 },
			tree.ErrUnsupported, "the directory is encrypted"},
		{"encrypted file", func(e *edit) { e.raw(e.lookup("upper/bin/t00"))[ondisk.InFlags+1] |= ondisk.FlEncrypt >> 8 },
			tree.ErrUnsupported, "the file is encrypted"},
		{"casefold", func(e *edit) { e.raw(e.lookup("upper/bin"))[ondisk.InFlags+3] |= ondisk.FlCasefold >> 24 }, tree.ErrUnsupported,
			"casefold"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img := bytes.Clone(whole)
			e := &edit{t: t, img: img, fs: openBytes(t, img)}
			c.do(e)
			_, err := readAll(t, e.img)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.text)
			}
			if err != nil && !strings.Contains(err.Error(), "image: ") {
				t.Errorf("%v does not name the image", err)
			}
		})
	}
}

// TestDamagedChecksums flips bits in the metadata of images with checksums:
// either that is an error, or the tree is the same.
func TestDamagedChecksums(t *testing.T) {
	flips := 80
	if testing.Short() {
		flips = 20
	}
	for _, name := range []string{"ext4-4k-plain", "ext4-1k-metacopy", "ext4-inline-metacopy", "ext4-4k-plain-dirty"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := fixture(t, name)
			want, err := readAll(t, img)
			if err != nil {
				t.Fatal(err)
			}
			blocks := metadataBlocks(t, openBytes(t, img))
			rnd := rand.New(rand.NewPCG(11, 12))
			caught := 0
			for range flips {
				block := blocks[rnd.IntN(len(blocks))]
				bit := rnd.Int64N(block[1] * 8)
				p := &img[block[0]+bit/8]
				*p ^= 1 << (bit % 8)
				got, err := readAll(t, img)
				switch {
				case errors.Is(err, tree.ErrCorrupt), errors.Is(err, tree.ErrUnsupported):
					caught++
				case err != nil:
					t.Errorf("byte %d: %v", block[0]+bit/8, err)
				case got != want:
					t.Errorf("byte %d: bit %d changes the tree", block[0]+bit/8, bit%8)
				}
				*p ^= 1 << (bit % 8)
			}
			if caught < flips/2 {
				t.Errorf("only %d of %d flipped bits were found", caught, flips)
			}
		})
	}
}

// metadataBlocks lists the bytes, offset and length, of all structures that a
// walk reads.
func metadataBlocks(t *testing.T, fs *FS) (out [][2]int64) {
	bs := fs.geo.blockSize
	add := func(block uint64) { out = append(out, [2]int64{int64(block) * bs, bs}) }
	// Bytes that no walk reads are not listed, so that most flips matter.
	out = append(out, [2]int64{ondisk.SuperblockOffset, ondisk.SuperblockSize}, [2]int64{int64(fs.geo.descBlock(0)) * bs,
		int64(fs.geo.descSize)})
	g, err := fs.group(0)
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Walk(t.Context(), rootOf(t, fs), func(_ string, n *tree.Node) error {
		in, err := fs.inode(uint32(n.Inode.Number))
		if err != nil {
			return err
		}
		if in.number <= fs.geo.inodesPerGroup {
			out = append(out, [2]int64{int64(g.inodeTable)*bs + int64(in.number-1)*int64(fs.geo.inodeSize), int64(fs.geo.inodeSize)})
		}
		if in.fileACL != 0 {
			add(in.fileACL)
		}
		if n.Type != tree.Directory || in.has(ondisk.FlInlineData) {
			return nil
		}
		for at := uint64(0); at < uint64(in.size)/uint64(bs); at++ {
			r, err := fs.mapBlock(in, at)
			if err != nil {
				return err
			}
			add(r.physical)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDamagedTrees flips every bit of an extent block and of an attribute that
// stands in an inode of its own.
func TestDamagedTrees(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	img := mkfs(t, 4, "-t", "ext4", "-b", "1024", "-O", "ea_inode,^has_journal")
	dir, umount := mount(t, img, "rw")
	f := filler{t: t, dir: dir, bs: 1024, rnd: rand.New(rand.NewPCG(3, 3))}
	f.write("f", nil)
	f.change("f", func(o *os.File) error {
		for i := range int64(20) {
			if _, err := o.WriteAt([]byte("x"), i*4096); err != nil {
				return err
			}
		}
		return unix.Fsetxattr(int(o.Fd()), "user.large", f.bytes(3000), 0)
	})
	umount()
	whole := systest.ReadFile(t, img)
	want, err := readAll(t, whole)
	f.ok(err)
	e := &edit{t: t, img: whole, fs: openBytes(t, whole)}
	in := e.lookup("f")
	root := extentNode(in.block[:])
	if root.depth() != 1 {
		t.Fatalf("extent tree of depth %d", root.depth())
	}
	var value uint32
	entries, err := e.fs.bodyEntries(in)
	f.ok(err)
	for _, a := range entries {
		value = max(value, a.valueInum)
	}
	ea, err := e.fs.inode(value)
	f.ok(err)
	used := ondisk.ExtHeaderSize + 20*ondisk.ExtEntrySize
	flipped, caught := 0, 0
	for _, p := range [][]byte{whole[root.child(0)*1024:][:used], e.block(ea, 0), e.block(ea, 2)[:900], e.raw(ea)} {
		for i := range len(p) * 8 {
			if i%5 != 0 {
				continue
			}
			p[i/8] ^= 1 << (i % 8)
			got, err := readAll(t, whole)
			flipped++
			switch {
			case errors.Is(err, tree.ErrCorrupt):
				caught++
			case err != nil || got != want:
				t.Errorf("bit %d: %v", i, err)
			}
			p[i/8] ^= 1 << (i % 8)
		}
	}
	if caught != flipped {
		t.Errorf("%d of %d flipped bits were found", caught, flipped)
	}
}

// shortReader fails like a device with a bad spot.
type shortReader struct {
	io.ReaderAt
	from, to int64
}

var errBadSpot = errors.New("bad spot")

func (r shortReader) ReadAt(p []byte, off int64) (int, error) {
	if off < r.to && off+int64(len(p)) > r.from {
		return 0, errBadSpot
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestReadError wants errors of the device handed on and not called damage.
func TestReadError(t *testing.T) {
	img := fixture(t, "ext4-4k-plain")
	fs, err := Open(shortReader{bytes.NewReader(img), 1 << 12, int64(len(img))}, int64(len(img)), "image")
	if err == nil {
		_, err = fs.Root()
	}
	if !errors.Is(err, errBadSpot) || errors.Is(err, tree.ErrCorrupt) {
		t.Error(err)
	}
}
