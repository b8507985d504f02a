package squash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// patient is an image to damage: testdata/plain.sqfs, in which everything is
// stored uncompressed, so that any field can be set in place.
type patient struct {
	t testing.TB
	b []byte
	r *Reader // of the sound image
}

func newPatient(t testing.TB) *patient {
	t.Helper()
	b, err := os.ReadFile(imagePath("plain"))
	if err != nil {
		t.Fatal(err)
	}
	return &patient{t: t, b: b, r: openBytes(t, bytes.Clone(b))}
}

func (p *patient) put16(at int, v uint16) { binary.LittleEndian.PutUint16(p.b[at:], v) }
func (p *patient) put32(at int, v uint32) { binary.LittleEndian.PutUint32(p.b[at:], v) }
func (p *patient) put64(at int, v uint64) { binary.LittleEndian.PutUint64(p.b[at:], v) }
func (p *patient) get64(at int) uint64    { return binary.LittleEndian.Uint64(p.b[at:]) }

// in returns the offset in the image of a byte that many behind a reference.
func (p *patient) in(g *region, ref ondisk.Ref, plus int) int {
	p.t.Helper()
	c := p.r.cursor(g)
	if err := c.seek(ref); err != nil {
		p.t.Fatal(err)
	}
	if err := c.skip(uint64(plus)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := c.rest(); err != nil {
		p.t.Fatal(err)
	}
	return int(c.pos) + 2 + c.off
}

func (p *patient) inode(path string) inode {
	p.t.Helper()
	root := rootOf(p.t, p.r)
	node, err := root.Lookup(path)
	if err != nil || node == nil {
		p.t.Fatalf("%s: %v", path, err)
	}
	var ref ondisk.Ref
	p.r.scanInodes(func(i inodeInfo) error {
		if uint64(i.Number) == node.Inode.Number {
			ref = i.Ref
		}
		return nil
	})
	n, err := p.r.readInode(p.r.cursor(&p.r.inodes), ref)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// field returns the offset of a byte of an inode.
func (p *patient) field(path string, plus int) int {
	p.t.Helper()
	return p.in(&p.r.inodes, p.inode(path).ref, plus)
}

// word returns the offset of a block word of a file.
func (p *patient) word(path string, i int) int {
	p.t.Helper()
	return p.in(&p.r.inodes, p.inode(path).tail, 4*i)
}

// entry returns an entry and its offset; header is that of the first header.
func (p *patient) entry(dirPath, name string) (e entry, at, header int) {
	p.t.Helper()
	n := p.inode(dirPath)
	d := dir{r: p.r, number: n.Number, start: ondisk.MakeRef(int64(n.DirBlock), int(n.DirOffset)), size: n.Listing()}
	l, err := d.open()
	if err != nil {
		p.t.Fatal(err)
	}
	for {
		ok, err := l.next(&e)
		if err != nil || !ok {
			p.t.Fatalf("%s/%s: %v", dirPath, name, err)
		}
		if string(e.name) == name {
			return e, p.in(&p.r.dirs, d.start, int(e.at)), p.in(&p.r.dirs, d.start, 0)
		}
	}
}

func (p *patient) entryAt(dirPath, name string) int {
	_, at, _ := p.entry(dirPath, name)
	return at
}

func (p *patient) header(dirPath, name string) int {
	_, _, at := p.entry(dirPath, name)
	return at
}

// pair returns the offset of a byte of the first pair of an xattr id.
func (p *patient) pair(id uint32, plus int) int {
	p.t.Helper()
	x, err := p.r.xattrID(id)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.in(&p.r.pairs, x.Ref, plus)
}

// meta returns the offset of the first byte of a metadata block.
func meta(start int64) int { return int(start) + 2 }

// damages are what the tests plant. each says what must be told of it.
var damages = []struct {
	name  string
	plant func(p *patient)
	want  string
}{
	// Superblock.
	{"magic", func(p *patient) { p.b[0] = 'x' }, "no SquashFS magic"},
	{"big-endian", func(p *patient) { copy(p.b, "sqsh") }, "big-endian"},
	{"version 3.1", func(p *patient) { p.put16(28, 3); p.put16(30, 1) }, "version 3.1"},
	{"version 4.1", func(p *patient) { p.put16(30, 1) }, "version 4.1"},
	{"inode count 0", func(p *patient) { p.put32(4, 0) }, "no inodes"},
	{"inode count low", func(p *patient) { p.put32(4, 12) }, "more follows after the 12 inodes"},
	{"inode count high", func(p *patient) { p.put32(4, 17) }, "export table: index entry 0"},
	{"inode count huge", func(p *patient) { p.put32(4, 1<<32-1) }, "reaches past the end"},
	{"block size", func(p *patient) { p.put32(12, 12345) }, "block size 12345"},
	{"block size 2 MiB", func(p *patient) { p.put32(12, 2<<20); p.put16(22, 21) }, "block size 2097152"},
	{"block log", func(p *patient) { p.put16(22, 13) }, "logarithm 13"},
	{"fragment count huge", func(p *patient) { p.put32(16, 1<<32-1) }, "fragment table: an index"},
	{"fragment count 0", func(p *patient) { p.put32(16, 0) }, "fragment 0 is not in the table of 0"},
	{"compressor 9", func(p *patient) { p.put16(20, 9) }, "compressor 9"},
	{"options flag", func(p *patient) { p.put16(24, 0x7ff) }, "compressor options"},
	{"id count 0", func(p *patient) { p.put16(26, 0) }, "no ids"},
	{"id count huge", func(p *patient) { p.put16(26, 65535) }, "id table"},
	{"id count low", func(p *patient) { p.put16(26, 1) }, "is not in the id table of 1"},
	{"root outside", func(p *patient) { p.put64(32, 1<<40) }, "the root inode at"},
	{"root between inodes", func(p *patient) { p.put64(32, uint64(p.r.super.Root)+1) }, "root"},
	{"root is a file", func(p *patient) { p.put64(32, uint64(p.inode("dir/tail").ref)) }, "is no directory"},
	{"used past the end", func(p *patient) { p.put64(40, 1<<40) }, "uses 1099511627776 bytes, the file has 32768"},
	{"used short", func(p *patient) { p.put64(40, 50) }, "less than its superblock"},
	{"used less", func(p *patient) { p.put64(40, p.get64(40)-8) }, "past the end of the image"},
	{"used more", func(p *patient) { p.put64(40, p.get64(40)+64) }, "xattr table: its index ends at"},
	{"id table start", func(p *patient) { p.put64(48, 1<<62) }, "id table starts at"},
	{"xattr table start", func(p *patient) { p.put64(56, p.get64(56)-16) }, "xattr"},
	{"no xattr table", func(p *patient) { p.put64(56, ondisk.NoTable) }, "xattr index 0 is not in the table of 0"},
	{"inode table start", func(p *patient) { p.put64(64, 0) }, "inode table starts at 0"},
	{"directory table start", func(p *patient) { p.put64(72, 1<<63) }, "directory table starts at"},
	{"directory table first", func(p *patient) { p.put64(72, 2000) }, "not before the directory table"},
	{"fragment table start", func(p *patient) { p.put64(80, ondisk.NoTable) }, "fragment table starts at"},
	{"export table start", func(p *patient) { p.put64(88, 97) }, "export table"},
	{"no export table", func(p *patient) { p.put64(88, ondisk.NoTable) }, "exportable flag"},

	// Index arrays and their tables.
	{"id index", func(p *patient) { p.put64(int(p.r.super.IDTableStart), 1<<50) }, "id table: index entry 0 points to"},
	{"id index low", func(p *patient) { p.put64(int(p.r.super.IDTableStart), 96) }, "id table"},
	{"fragment index", func(p *patient) {
		p.put64(int(p.r.super.FragmentTableStart), p.get64(int(p.r.super.FragmentTableStart))+1)
	}, "fragment table"},
	{"fragment entry", func(p *patient) { p.put64(meta(p.r.fragments[0]), 1<<41) }, "reach past the end of the image"},
	{"fragment shifted", func(p *patient) { p.put64(meta(p.r.fragments[0]), 100) }, "in the middle of a block"},
	{"fragment word bits", func(p *patient) { p.put32(meta(p.r.fragments[0])+8, 1<<31|100) }, "unknown bits"},
	{"fragment word 0", func(p *patient) { p.put32(meta(p.r.fragments[0])+8, 0) }, "names no bytes"},
	{"fragment short", func(p *patient) { p.put32(meta(p.r.fragments[0])+8, ondisk.BlockUncompressed|100) },
		"decodes to 100 bytes, where the tail of inode"},
	{"fragment compressed", func(p *patient) { p.put32(meta(p.r.fragments[0])+8, 1000) }, "fragment 0: block at offset"},
	{"export entry", func(p *patient) { p.put64(meta(p.r.exports[0])+8, p.get64(meta(p.r.exports[0]))) },
		"export table: entry 1: is for inode 2 but names inode 1"},
	{"export wild", func(p *patient) { p.put64(meta(p.r.exports[0])+8, 77) }, "export table: entry 1: names no inode"},
	{"metadata header", func(p *patient) { p.put16(int(p.r.inodes.start), 0x8000|9000) }, "inode table"},
	{"metadata compressed", func(p *patient) {
		p.put16(int(p.r.dirs.start), binary.LittleEndian.Uint16(p.b[p.r.dirs.start:])&^ondisk.MetadataUncompressed)
	}, "directory table: metadata block"},
	{"metadata short", func(p *patient) {
		p.put16(int(p.r.exports[0]), 0x8000|(binary.LittleEndian.Uint16(p.b[p.r.exports[0]:])&0x7fff-8))
	}, "export table: index entry 0: metadata block"},

	// Extended attributes.
	{"xattr count 0", func(p *patient) { p.put32(int(p.r.super.XattrTableStart)+8, 0) }, "xattr"},
	{"xattr count", func(p *patient) { p.put32(int(p.r.super.XattrTableStart)+8, p.r.xattrCount-1) },
		fmt.Sprintf("xattr index %d is not in the table", 6)},
	{"xattr count huge", func(p *patient) { p.put32(int(p.r.super.XattrTableStart)+8, 1<<32-1) }, "xattr table: an index"},
	{"xattr pairs start", func(p *patient) { p.put64(int(p.r.super.XattrTableStart), 1<<44) }, "pairs start at"},
	{"xattr id ref", func(p *patient) { p.put64(meta(p.r.xattrIDs[0]), 1<<40) }, "xattr id 0"},
	{"xattr id offset", func(p *patient) { p.put64(meta(p.r.xattrIDs[0]), 8000) }, "xattr id 0"},
	{"xattr id count", func(p *patient) { p.put32(meta(p.r.xattrIDs[0])+8, 1<<30) }, "xattr id 0"},
	{"xattr id empty", func(p *patient) { p.put32(meta(p.r.xattrIDs[0])+8, 0) }, "has no attributes"},
	{"xattr id size", func(p *patient) { p.put32(meta(p.r.xattrIDs[0])+12, 5) }, "records a size of 5 bytes"},
	{"xattr prefix", func(p *patient) { p.put16(p.pair(1, 0), 7) }, "attribute prefix 7 is unknown"},
	{"xattr out of line", func(p *patient) { p.put16(p.pair(1, 0), ondisk.XattrOutOfLine) }, "reference to a value takes"},
	{"xattr name empty", func(p *patient) { p.put16(p.pair(1, 2), 0) }, "attribute name of 0 bytes"},
	{"xattr name long", func(p *patient) { p.put16(p.pair(1, 2), 60000) }, "attribute name of 60000 bytes"},
	{"xattr name NUL", func(p *patient) { p.b[p.pair(1, 5)] = 0 }, "holds a NUL"},
	{"xattr value", func(p *patient) { p.put64(p.pair(6, 4+4+4), 1<<45) }, "value at 0x200000000000"},
	{"xattr value length", func(p *patient) { p.put32(p.in(&p.r.pairs, 0, 0), 1<<31) }, "value of 2147483648 bytes"},
	{"xattr unused", func(p *patient) { p.put32(p.field("dir/pipe", 20), p.inode("dir/null").Xattr) }, "no inode has it"},

	// Inodes.
	{"type 0", func(p *patient) { p.put16(p.field("dir/none", 0), 0) }, "unknown type 0"},
	{"type 15", func(p *patient) { p.put16(p.field("dir/none", 0), 15) }, "unknown type 15"},
	{"type other", func(p *patient) { p.put16(p.field("dir/disk", 0), uint16(ondisk.InodeCharDev)) }, "names a block device, where inode"},
	{"mode", func(p *patient) { p.put16(p.field("dir/disk", 2), 0o100644) }, "mode 0100644"},
	{"uid", func(p *patient) { p.put16(p.field("dir/tail", 4), 900) }, "owner 900:"},
	{"gid", func(p *patient) { p.put16(p.field("dir/tail", 6), 901) }, ":901 is not in the id table"},
	{"number 0", func(p *patient) { p.put32(p.field("dir/disk", 12), 0) }, "inode 0: its number"},
	{"number huge", func(p *patient) { p.put32(p.field("dir/disk", 12), 99) }, "inode 99: its number is not from 1 to 16"},
	{"number twice", func(p *patient) { p.put32(p.field("dir/disk", 12), p.inode("dir/null").Number) }, "two inodes have this number"},
	{"device links", func(p *patient) { p.put32(p.field("dir/disk", 16), 2) }, "counts 2 links where 1 names"},
	{"file links", func(p *patient) { p.put32(p.field("index/linked", 40), 1) }, "counts 1 links where 201 names"},
	{"directory links", func(p *patient) { p.put32(p.field("dir", 20), 9) }, "counts 9 links where there are 3"},
	{"parent", func(p *patient) { p.put32(p.field("dir", 28), 1) }, "records inode 1 as its parent"},
	{"xattr index", func(p *patient) { p.put32(p.field("dir/pipe", 20), 70) }, "xattr index 70"},
	{"symlink empty", func(p *patient) { p.put32(p.field("dir/link", 20), 0) }, "symlink target of 0 bytes"},
	{"symlink huge", func(p *patient) { p.put32(p.field("dir/link", 20), 1<<31) }, "symlink target of 2147483648 bytes"},
	{"symlink long", func(p *patient) { p.put32(p.field("dir/link", 20), 60000) }, "symlink target"},
	{"file size", func(p *patient) { p.put64(p.field("dir/tail", 24), 1<<62) }, "more than the inode table can list"},
	{"file size negative", func(p *patient) { p.put64(p.field("dir/tail", 24), 1<<63+5) }, "file size"},
	{"file longer", func(p *patient) { p.put32(p.field("dir/sub/both", 28), 5000+4096) }, "inode table"},
	{"file start", func(p *patient) { p.put32(p.field("dir/sub/both", 16), 1<<30) }, "past the end of the image"},
	{"file start shifted", func(p *patient) { p.put32(p.field("dir/sub/both", 16), uint32(p.inode("dir/sub/both").Start)-10) },
		"in the middle of a block"},
	{"file start in tables", func(p *patient) { p.put32(p.field("dir/sub/both", 16), uint32(p.r.inodes.start)) }, "into the inode table"},
	{"file start negative", func(p *patient) { p.put64(p.field("dir/blocks", 16), 1<<63) }, "blocks start at"},
	{"sparse bytes", func(p *patient) { p.put64(p.field("dir/sparse", 32), 1<<40) },
		"counts 1099511627776 bytes in holes, where its block list has"},
	{"fragment index", func(p *patient) { p.put32(p.field("dir/tail", 44), 9) }, "fragment 9 is not in the table of"},
	{"fragment offset", func(p *patient) { p.put32(p.field("dir/tail", 48), 4000) }, "past the end of a fragment block"},
	{"fragment offset inside", func(p *patient) { p.put32(p.field("dir/tail", 48), 3500) }, "reaches to 3800"},
	{"fragment unused", func(p *patient) {
		for _, f := range []string{"dir/tail", "index/linked", "dir/blocks", "dir/sparse"} {
			if n := p.inode(f); n.Type == ondisk.InodeExtFile && n.Fragment != ondisk.NoFragment {
				p.put64(p.field(f, 24), n.FileSize&^4095)
			}
		}
		p.put32(p.field("dir/sub/both", 28), 4096)
	}, "holds the tail of no file"},
	{"word bits", func(p *patient) { p.put32(p.word("dir/blocks", 0), 1<<28|100) }, "unknown bits"},
	{"word large", func(p *patient) { p.put32(p.word("dir/blocks", 0), ondisk.BlockUncompressed|5000) }, "more than the block size"},
	{"word short", func(p *patient) { p.put32(p.word("dir/blocks", 1), ondisk.BlockUncompressed|4000) },
		"block 1: decodes to 4000 bytes where 4096"},
	{"word bare bit", func(p *patient) { p.put32(p.word("dir/blocks", 0), ondisk.BlockUncompressed) }, "names no bytes"},
	{"word compressed", func(p *patient) { p.put32(p.word("dir/blocks", 0), 4096) }, "block 0: block at offset"},
	{"word of a hole", func(p *patient) { p.put32(p.word("dir/sparse", 0), ondisk.BlockUncompressed|4096) }, "bytes in holes, where"},

	// Directories.
	{"listing start", func(p *patient) { p.put32(p.field("dir", 16), 60000) }, "lies outside the directory table"},
	{"listing block", func(p *patient) { p.put32(p.field("dir", 16), 2) }, "directory inode"},
	{"listing offset", func(p *patient) { p.put16(p.field("dir", 26), 9000) }, "byte 9000 of a metadata block"},
	{"listing shifted", func(p *patient) { p.put16(p.field("dir", 26), p.inode("dir").DirOffset+4) }, "directory inode"},
	{"listing short", func(p *patient) { p.put16(p.field("dir", 24), 60) }, "ends inside an entry"},
	{"listing long", func(p *patient) { p.put16(p.field("dir", 24), 60000) }, "the listings up to its own"},
	{"listing cleared", func(p *patient) { p.put16(p.field("dir", 24), 3) }, "no directory names it"},
	{"header count", func(p *patient) { p.put32(p.header("dir", "tail"), 1<<32-1) }, "leads 4294967296 entries"},
	{"header count 257", func(p *patient) { p.put32(p.header("dir", "tail"), 256) }, "leads 257 entries"},
	{"header block", func(p *patient) { p.put32(p.header("dir", "tail")+4, 3) }, "names no inode"},
	{"header number", func(p *patient) { p.put32(p.header("dir", "tail")+8, 12) }, "names inode"},
	{"entry offset", func(p *patient) { p.put16(p.entryAt("dir", "tail"), 3) }, "names no inode"},
	{"entry number", func(p *patient) { p.put16(p.entryAt("dir", "tail")+2, 1000) }, `entry "tail": names inode`},
	{"entry type", func(p *patient) { p.put16(p.entryAt("dir", "tail")+4, 1) }, `entry "tail": names a directory, where inode`},
	{"entry type 0", func(p *patient) { p.put16(p.entryAt("dir", "tail")+4, 0) }, `entry "tail": names a type 0`},
	{"entry name length", func(p *patient) { p.put16(p.entryAt("dir", "tail")+6, 60000) }, "name of 60001 bytes"},
	{"entry slash", func(p *patient) { p.b[p.entryAt("dir", "tail")+9] = '/' }, "holds a slash"},
	{"entry NUL", func(p *patient) { p.b[p.entryAt("dir", "tail")+9] = 0 }, "holds a slash or a NUL"},
	{"entry dots", func(p *patient) { copy(p.b[p.entryAt("", "dir")+8:], "../") }, "holds a slash"},
	{"entry parent", func(p *patient) { p.put16(p.entryAt("", "dir")+6, 1); copy(p.b[p.entryAt("", "dir")+8:], "..") }, `".."`},
	{"entry order", func(p *patient) { p.b[p.entryAt("dir", "tail")+8] = 'a' }, `"aail" comes after`},
	{"entry twice", func(p *patient) { copy(p.b[p.entryAt("dir", "pipe")+8:], "null") }, `names "null" twice`},
	{"entry of another", func(p *patient) {
		copy(p.b[p.entryAt("dir", "disk"):][:6], p.b[p.entryAt("dir", "null"):])
	}, "no directory names it"},
	{"loop to itself", func(p *patient) { p.linkDir("dir", "sub", "dir") }, "named in directory inode"},
	{"loop to the root", func(p *patient) { p.linkDir("dir", "sub", "") }, "is the root directory again"},
	{"hard-linked directory", func(p *patient) { p.linkDir("", "empty", "dir") }, "is named in directory inode"},
	{"unreachable", func(p *patient) { p.linkDir("", "dir", "dir/sub") }, "no path leads to it"},
	{"index name", func(p *patient) { p.b[p.in(&p.r.inodes, p.inode("index").tail, 12)] = 'x' }, ": index: names"},
	{"index byte", func(p *patient) { p.put32(p.in(&p.r.inodes, p.inode("index").tail, 0), 5) }, "which is no header"},
	{"index block", func(p *patient) { p.put32(p.in(&p.r.inodes, p.inode("index").tail, 4), 0) }, ": index: names"},
	{"index name length", func(p *patient) { p.put32(p.in(&p.r.inodes, p.inode("index").tail, 8), 1<<30) }, "index: name of"},
	{"index count", func(p *patient) { p.put16(p.field("index", 32), 9) }, "index"},

	// Behind the image.
	{"padding", func(p *patient) { p.b[len(p.b)-1] = 1 }, "are not zero"},
	{"no padding", func(p *patient) { p.b = p.b[:p.r.used] }, "is not padded"},
}

// linkDir makes an entry name a directory.
func (p *patient) linkDir(dirPath, name, to string) {
	p.t.Helper()
	n := p.inode(to)
	e, at, header := p.entry(dirPath, name)
	p.put16(at, uint16(n.ref.Offset()))
	p.put16(at+2, uint16(int16(n.Number-binary.LittleEndian.Uint32(p.b[header+8:]))))
	if e.ref.Block() != n.ref.Block() {
		p.t.Fatal("the inodes are in different blocks")
	}
}

// examine opens, walks, reads and verifies an image, and gives all that is
// told of it. It is no error if something is wrong, but nothing may panic, and
// nothing but the cases below may be an error at all.
func examine(t testing.TB, b []byte) []string {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t))
	if err != nil {
		if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("neither corrupt nor unsupported: %v", err)
		}
		return []string{err.Error()}
	}
	defer r.Close()
	var told []string
	report, err := Verify(context.Background(), r, VerifyOptions{Workers: 2, MaxFindings: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		told = append(told, f.String())
	}
	clean := !report.Damaged()
	if err := exercise(r, 2000); err != nil {
		if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("neither corrupt nor unsupported: %v", err)
		}
		if clean {
			t.Errorf("Verify found no damage, reading did: %v", err)
		}
	}
	return told
}

// exercise walks and reads an image and gives the first error. It stops after
// that many nodes.
func exercise(r *Reader, nodes int) (first error) {
	note := func(err error) {
		if err != nil && first == nil {
			first = err
		}
	}
	buf := make([]byte, 1<<16)
	var walk func(n *tree.Node)
	walk = func(n *tree.Node) {
		if nodes--; nodes < 0 {
			return
		}
		if n.Data != nil {
			s, err := n.Data.(storer).storedForm()
			note(err)
			if err == nil && s.Fragment != ondisk.NoFragment && s.Size%int64(r.blockSize) != 0 {
				_, err := r.fragmentBlock(s.Fragment)
				note(err)
			}
			c, err := n.Open()
			note(err)
			for _, off := range []int64{0, 4000, n.Size - 5} {
				if off >= 0 && off < n.Size {
					note(tree.ReadFull(c, buf[:min(int64(len(buf)), n.Size-off)], off))
				}
			}
			_, _, err = c.NextData(0)
			if err != nil && err.Error() != "EOF" {
				note(err)
			}
		}
		kids, err := n.Children()
		note(err)
		for i, k := range kids {
			if i%50 == 0 {
				_, err := n.Child(k.Name)
				note(err)
			}
			walk(k)
		}
	}
	root, err := r.Root()
	note(err)
	if err == nil {
		walk(root)
	}
	note(r.scanInodes(func(inodeInfo) error { return nil }))
	return first
}

func TestDamage(t *testing.T) {
	if told := examine(t, newPatient(t).b); len(told) > 0 {
		t.Fatalf("the sound image: %v", told)
	}
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			p := newPatient(t)
			d.plant(p)
			told := examine(t, p.b)
			if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, d.want) }) {
				t.Errorf("%q is not among:\n%s", d.want, strings.Join(told, "\n"))
			}
		})
	}
}

// An entry's inode number may be below that of its header.
func TestNegativeDelta(t *testing.T) {
	p := newPatient(t)
	e, at, header := p.entry("dir/sub", "both")
	p.put32(header+8, e.number+5)
	p.put16(at+2, 1<<16-5)
	if told := examine(t, p.b); len(told) > 0 {
		t.Errorf("%v", told)
	}
}

// Where an image is cut, at every table and in the data, Open says so with both
// lengths.
func TestTruncated(t *testing.T) {
	for _, image := range []string{imagePath("plain"), imagePath("lower.xz")} {
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		r := openBytes(t, b)
		cuts := []int64{0, 1, 95, 96, 98, 2000, r.inodes.start, r.inodes.end, r.dirs.start, r.dirs.end,
			int64(r.super.FragmentTableStart), int64(r.super.IDTableStart), int64(r.super.ExportTableStart), r.used - 1}
		for _, cut := range cuts {
			if cut > int64(len(b)) {
				continue
			}
			want := fmt.Sprintf("uses %d bytes, the file has %d", r.used, cut)
			if cut < ondisk.SuperblockSize {
				want = fmt.Sprintf("file of %d bytes is too short", cut)
			}
			if told := examine(t, b[:cut:cut]); len(told) != 1 || !strings.Contains(told[0], want) {
				t.Errorf("%s cut at %d: %q", image, cut, told)
			}
			// And where the superblock hides it.
			if cut > ondisk.SuperblockSize {
				c := bytes.Clone(b[:cut])
				binary.LittleEndian.PutUint64(c[40:], uint64(cut))
				if told := examine(t, c); len(told) == 0 {
					t.Errorf("%s cut at %d with a forged length: nothing is told", image, cut)
				}
			}
		}
	}
}

// Every bit of the superblock and many of the tables are flipped: whatever
// that does, it does not panic, and reading fails only where Verify has a
// finding.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	for _, image := range []string{imagePath("plain"), imagePath("lower.xz")} {
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		r := openBytes(t, bytes.Clone(b))
		try := func(bit int) {
			b[bit/8] ^= 1 << (bit % 8)
			examine(t, b)
			b[bit/8] ^= 1 << (bit % 8)
		}
		for bit := range ondisk.SuperblockSize * 8 {
			try(bit)
		}
		for bit := int(r.inodes.start) * 8; bit < int(r.used)*8; bit += 1 + bit%307 {
			try(bit)
		}
	}
}
