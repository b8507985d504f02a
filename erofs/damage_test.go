package erofs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relive/erofs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// patient is an image to damage.
type patient struct {
	t testing.TB
	b []byte
	r *Reader // of the sound image
}

func newPatient(t testing.TB, name string) *patient {
	t.Helper()
	b := fixture(t, name)
	return &patient{t: t, b: bytes.Clone(b), r: openBytes(t, b)}
}

func (p *patient) put16(at int, v uint16) { binary.LittleEndian.PutUint16(p.b[at:], v) }
func (p *patient) put32(at int, v uint32) { binary.LittleEndian.PutUint32(p.b[at:], v) }
func (p *patient) put64(at int, v uint64) { binary.LittleEndian.PutUint64(p.b[at:], v) }
func (p *patient) get32(at int) uint32    { return binary.LittleEndian.Uint32(p.b[at:]) }

// super sets a field of the superblock.
func super(at int) int { return ondisk.SuperblockOffset + at }

// inode gives an inode of the sound image.
func (p *patient) inode(path string) inode {
	p.t.Helper()
	node, err := rootOf(p.t, p.r).Lookup(path)
	if err != nil || node == nil {
		p.t.Fatalf("%s: %v", path, err)
	}
	n, err := p.r.readInode(node.Inode.Number)
	systest.Must(p.t, err)
	return n
}

// field gives the offset of a byte of an inode.
func (p *patient) field(path string, plus int) int {
	n := p.inode(path)
	return int(n.body) - n.Len() + plus
}

// header gives the offset of a byte behind the beginning of a compressed file's header.
func (p *patient) header(path string, plus int) int {
	n := p.inode(path)
	return int(up(n.tail, 8)) + plus
}

// index gives a compressed file's index.
func (p *patient) index(path string) *index {
	p.t.Helper()
	n := p.inode(path)
	c, err := p.r.fileData(&n).open(false)
	systest.Must(p.t, err)
	x, ok := c.(*content).pieces.(*compressed).m.(*index)
	if !ok {
		p.t.Fatalf("%s has no index", path)
	}
	return x
}

// full gives the offset of an entry of a full index.
func (p *patient) full(path string, lcn int) int { return int(p.index(path).base) + 8*lcn }

// data gives the offset of a byte of a directory.
func (p *patient) data(path string, at int64) int {
	p.t.Helper()
	n := p.inode(path)
	f, err := p.r.fileData(&n).flat()
	systest.Must(p.t, err)
	if at >= f.blocks {
		return int(n.tail + at - f.blocks)
	}
	return int(f.start + at)
}

// entry gives the offset of a directory entry, and of its name.
func (p *patient) entry(path, name string) (at, nameAt int) {
	p.t.Helper()
	n := p.inode(path)
	o, err := (&dir{data: *p.r.fileData(&n)}).open()
	systest.Must(p.t, err)
	for i := range o.blocks() {
		entries, err := o.block(i)
		systest.Must(p.t, err)
		for _, e := range entries {
			if e.name == name {
				at = p.data(path, e.at)
				return at, p.data(path, i<<p.r.blockBits) + int(binary.LittleEndian.Uint16(p.b[at+8:]))
			}
		}
	}
	p.t.Fatalf("%s has no %q", path, name)
	return 0, 0
}

// damages are what the tests plant in an image. want must be told of it.
var damages = []struct {
	name, image string
	plant       func(p *patient)
	want        string
}{
	// Superblock.
	{"magic", "plain-193", func(p *patient) { p.b[super(0)] = 'x' }, "superblock: no EROFS magic"},
	{"cut to nothing", "plain-193", func(p *patient) { p.b = p.b[:1100] }, "file of 1100 bytes is too short"},
	{"block bits 8", "plain-193", func(p *patient) { p.b[super(12)] = 8 }, "block size of 2^8"},
	{"block bits 17", "plain-193", func(p *patient) { p.b[super(12)] = 17 }, "block size of 2^17"},
	{"unknown feature", "plain-193", func(p *patient) { p.put32(super(80), 1<<20) }, "features 0x100000, which are unknown"},
	{"metabox", "plain-193", func(p *patient) { p.put32(super(80), 0x100) }, "feature METABOX, 0x100"},
	{"devices", "plain-193", func(p *patient) { p.put32(super(80), 8); p.put16(super(86), 2) }, "data on 2 extra devices"},
	{"dirblkbits", "plain-193", func(p *patient) { p.b[super(90)] = 1 }, "dirblkbits 1"},
	{"nanoseconds", "plain-193", func(p *patient) { p.put32(super(32), 1<<31) }, "a time has 2147483648 nanoseconds"},
	{"root", "plain-193", func(p *patient) { p.put16(super(14), 65535) }, "root: inode 65535"},
	{"root is a file", "plain-193", func(p *patient) { p.put16(super(14), uint16(p.inode("one-small").nid)) }, "is a file, no directory"},
	{"meta block", "plain-193", func(p *patient) { p.put32(super(40), 1<<31) }, "reach past the end of the image"},
	{"xattr block", "plain-193", func(p *patient) { p.put32(super(44), 1<<31) }, "shared attribute"},
	{"blocks", "plain-193", func(p *patient) { p.put32(super(36), 1<<20) }, "it may be cut short"},
	{"unknown compression", "lzma-fedora-193", func(p *patient) { p.put16(super(84), 0x12) }, "compressions that are unknown: bitmap 0x12"},
	{"another compression", "lzma-fedora-193", func(p *patient) { p.put16(super(84), 1) },
		"is compressed with lzma, which the image does not use"},
	{"dictionary", "lzma-fedora-193", func(p *patient) { p.put32(super(130), 1<<30) },
		"configuration of lzma: dictionary of 1073741824 bytes"},
	{"lzma format", "lzma-fedora-193", func(p *patient) { p.put16(super(134), 3) }, "configuration of lzma: format 3 is unknown"},
	{"zstd window", "zstd-lorax-193", func(p *patient) { p.b[super(131)] = 11 }, "configuration of zstd: window of 2^21"},
	{"zstd small window", "zstd-lorax-193", func(p *patient) { p.b[super(131)] = 0 }, "more than the image's 1024"},
	{"deflate window", "deflate-64k-frag-193", func(p *patient) { p.b[super(130)] = 16 }, "configuration of deflate: window of 2^16"},
	{"configuration short", "lzma-fedora-193", func(p *patient) { p.put16(super(128), 3) }, "configuration of lzma: has 3 bytes"},
	{"packed inode", "lzma-fedora-193", func(p *patient) { p.put64(super(96), 1<<40) },
		"packed inode: inode 1099511627776: lies past the end"},
	{"no packed inode", "lzma-fedora-193", func(p *patient) { p.put64(super(96), 0) }, "where the image has no packed inode"},
	{"packed inode is a directory", "lzma-fedora-193", func(p *patient) { p.put64(super(96), p.r.root) }, "is a directory, no file"},
	{"packed inode in itself", "lzma-fedora-193", func(p *patient) {
		p.put64(super(96), p.inode("many/file-000-").nid)
	}, "the packed inode has a fragment itself"},
	{"prefixes", "plain-193", func(p *patient) { p.b[super(91)] = 1; p.put32(super(92), 1<<30) }, "attribute prefix 0"},

	// Inodes.
	{"format bits", "plain-193", func(p *patient) { p.put16(p.field("one-small", 0), 0x8001) }, "format 0x8001 is unknown"},
	{"layout", "plain-193", func(p *patient) { p.put16(p.field("one-small", 0), 5<<1|1) }, "format 0xb is unknown"},
	{"short format", "plain-193", func(p *patient) { p.put16(p.field("one-small", 0), 0x14) }, "belongs to images with the feature 48BIT"},
	{"mode", "plain-193", func(p *patient) { p.put16(p.field("one-small", 4), 0o644) }, "mode 0644 names no type"},
	{"another type", "plain-193", func(p *patient) { p.put16(p.field("one-small", 4), 0o020644) }, "names a file, where inode"},
	{"size negative", "plain-193", func(p *patient) { p.put64(p.field("one-small", 8), 1<<63) }, "file size 9223372036854775808"},
	{"nsec", "plain-193", func(p *patient) { p.put32(p.field("one-small", 40), 1<<31) }, "its time has 2147483648 nanoseconds"},
	{"tail crosses", "plain-193", func(p *patient) { p.put64(p.field("one-small", 8), 4090) }, "its tail of 4090 bytes"},
	{"data behind the end", "plain-193", func(p *patient) { p.put32(p.field("sizes/08192", 16), 1<<30) },
		"reach past the end of the image"},
	{"data longer", "plain-193", func(p *patient) { p.put64(p.field("sizes/08192", 8), 1<<40) }, "reach past the end of the image"},
	{"symlink empty", "plain-193", func(p *patient) { p.put64(p.field("link-60", 8), 0) }, "symlink target of 0 bytes"},
	{"symlink long", "plain-193", func(p *patient) { p.put64(p.field("link-60", 8), 5000) }, "symlink target of 5000 bytes"},
	{"symlink NUL", "plain-193", func(p *patient) { n := p.inode("link-60"); p.b[n.tail+7] = 0 }, "holds a NUL"},
	{"links", "plain-193", func(p *patient) { p.put32(p.field("hl-tool", 44), 9) }, "counts 9 links and has 3 names"},
	{"chunk format", "chunk-64k-193", func(p *patient) { p.put32(p.field("usr/lib/libbig.so", 16), 0x80) }, "chunk format 0x80 is unknown"},
	{"chunk table", "chunk-64k-193", func(p *patient) { p.put64(p.field("usr/lib/libbig.so", 8), 1<<50) }, "chunks reaches past the end"},
	{"chunk", "chunk-64k-193", func(p *patient) { n := p.inode("usr/lib/libbig.so"); p.put32(int(up(n.tail, 4)), 1<<30) },
		"chunk 0: offset"},

	// Attributes.
	{"ids", "plain-193", func(p *patient) { p.b[p.inode("usr/bin/tool").body+4] = 200 }, "attributes: 200 ids in a body of"},
	{"id", "plain-193", func(p *patient) { p.put32(int(p.inode("usr/bin").body)+12, 1<<31) }, "shared attribute 2147483648"},
	{"prefix", "plain-inlinexattr-193", func(p *patient) { p.b[p.inode("usr/bin/tool").body+13] = 5 }, "attribute prefix 5 is unknown"},
	{"long prefix", "plain-inlinexattr-193", func(p *patient) { p.b[p.inode("usr/bin/tool").body+13] = 0x83 },
		"there is no prefix 3, only 0"},
	{"value", "plain-inlinexattr-193", func(p *patient) { p.put16(int(p.inode("usr/bin/tool").body)+14, 60000) }, "it takes"},
	{"name", "plain-inlinexattr-193", func(p *patient) { p.b[p.inode("usr/bin/tool").body+17] = 0 }, "holds a NUL"},

	// Directories.
	{"entry's inode", "plain-193", func(p *patient) { at, _ := p.entry("", "one-small"); p.put64(at, 1<<40) },
		`entry "one-small": inode 1099511627776`},
	{"entry in the metabox", "plain-193", func(p *patient) { at, _ := p.entry("", "one-small"); p.put64(at, 1<<63|40) },
		"is in the metabox"},
	{"entry's type", "plain-193", func(p *patient) { at, _ := p.entry("", "one-small"); p.b[at+10] = 2 },
		`entry "one-small": names a directory`},
	{"first name 0", "plain-193", func(p *patient) { p.put16(p.data("", 8), 0) }, "its first name is at byte 0"},
	{"first name odd", "plain-193", func(p *patient) { p.put16(p.data("", 8), 13) }, "its first name is at byte 13"},
	{"first name far", "plain-193", func(p *patient) { p.put16(p.data("", 8), 12000) }, "its first name is at byte 12000"},
	{"name before", "plain-193", func(p *patient) { at, _ := p.entry("", "one-small"); p.put16(at+8, 3) }, "its name is from byte"},
	{"name far", "plain-193", func(p *patient) { at, _ := p.entry("", "one-small"); p.put16(at+8, 60000) }, "its name is from byte"},
	{"order", "plain-193", func(p *patient) { _, at := p.entry("", "one-small"); p.b[at] = 'a' }, `"ane-small" comes after`},
	{"slash", "plain-193", func(p *patient) { _, at := p.entry("", "one-small"); p.b[at+4] = '/' }, "holds a slash"},
	{"NUL", "plain-193", func(p *patient) { _, at := p.entry("", "one-small"); p.b[at+4] = 0 }, "holds a slash or a NUL"},
	{"dot", "plain-193", func(p *patient) { at, _ := p.entry("usr", "."); p.put64(at, p.r.root) }, `"." is inode`},
	{"dots", "plain-193", func(p *patient) { at, _ := p.entry("usr/bin", ".."); p.put64(at, p.r.root) }, `".." is inode`},
	{"loop", "plain-193", func(p *patient) { at, _ := p.entry("usr", "bin"); p.put64(at, p.inode("usr").nid) }, "a loop or a hard link"},
	{"loop to the root", "plain-193", func(p *patient) { at, _ := p.entry("usr", "bin"); p.put64(at, p.r.root) },
		"is the root directory again"},
	{"directory twice", "plain-193", func(p *patient) {
		at, _ := p.entry("", "empty-dir")
		p.put64(at, p.inode("usr/bin").nid)
	}, "a loop or a hard link"},
	{"directory size", "plain-193", func(p *patient) { p.put64(p.field("many", 8), 4096+5) }, "directory inode"},

	// Compressed files.
	{"advise", "lz4hc-15", func(p *patient) { p.put16(p.header("usr/lib/libbig.so", 4), 6) },
		"it has big pclusters, and the image has not"},
	{"advise of one", "wide-zstd-64k-193", func(p *patient) { p.put16(p.header("wide", 4), 3) }, "a compact index with advise 0x3"},
	{"blocks not counted", "wide-zstd-64k-193", func(p *patient) { p.b[p.header("wide", 10)] = 2 << 4; p.b[p.header("wide", 11)] = 2 << 4 },
		"lcluster"},
	{"algorithm", "lz4hc-15", func(p *patient) { p.b[p.header("usr/lib/libbig.so", 6)] = 3 },
		"is compressed with zstd, which the image does not use"},
	{"lclusters", "lz4hc-15", func(p *patient) { p.b[p.header("usr/lib/libbig.so", 7)] = 9 }, "lclusters of 2^21 bytes"},
	{"index far", "lz4hc-15", func(p *patient) { p.put64(p.field("usr/lib/libbig.so", 8), 1<<45) }, "entries reaches past the end"},
	{"fragment far", "lzma-fedora-193", func(p *patient) {
		p.put64(p.header("many/file-000-", 0), 1<<63|1<<40)
	}, "a fragment of 2 bytes at 1099511627776 reaches past the end of the packed inode"},
	{"head block", "lz4hc-dedupe-193", func(p *patient) { p.put32(p.full("usr/lib/libbig.so", 0)+4, 1<<31) },
		"reach past the end of the image"},
	{"head offset", "lz4hc-dedupe-193", func(p *patient) { p.put16(p.full("usr/lib/libbig.so", 0)+2, 4096) },
		"its extent begins at byte 4096 of 4096"},
	{"first lcluster", "lz4hc-dedupe-193", func(p *patient) { p.put16(p.full("usr/lib/libbig.so", 0)+2, 5) },
		"its extent begins before the file"},
	{"distance 0", "lz4hc-dedupe-193", func(p *patient) { at := p.nonhead("usr/lib/libbig.so"); p.put16(at+4, 0) },
		"it is 0 behind its head"},
	{"distance far", "lz4hc-dedupe-193", func(p *patient) { at := p.nonhead("usr/lib/libbig.so"); p.put16(at+4, 700) }, "lcluster"},
	{"distance is a count", "lz4hc-dedupe-193", func(p *patient) {
		at := p.nonhead("usr/lib/libbig.so")
		p.put16(at+4, 0x801)
	}, "it counts blocks, where pclusters have one"},
	{"stream", "lz4hc-dedupe-193", func(p *patient) {
		at := int(p.get32(p.full("usr/lib/libbig.so", 0)+4)) << 12
		clear(p.b[at : at+4096])
	}, "does not decode: lz4 stream: has no bytes"},
	{"plain data short", "lz4hc-dedupe-193", func(p *patient) { p.b[p.full("usr/lib/libbig.so", 0)] &^= 3 },
		"bytes, of which 4096 are stored"},
	{"tail", "lz4hc-ztail-193", func(p *patient) { p.put16(p.header("usr/lib/libbig.so", 2), 4095) }, "crosses a block"},
	{"encoded extents", "lz4hc-dedupe-193", func(p *patient) { p.put16(p.header("usr/lib/libbig.so", 4), 1) },
		"encoded extents belong to images"},
}

// nonhead gives the offset of the first entry of a full index that is no head's.
func (p *patient) nonhead(path string) int {
	p.t.Helper()
	for lcn := 1; ; lcn++ {
		at := p.full(path, lcn)
		if lcn >= int(p.index(path).total) {
			p.t.Fatal("all entries are heads")
		}
		if p.b[at]&3 == byte(ondisk.NonHead) {
			return at
		}
	}
}

// examine opens, walks, reads and verifies an image, and gives all that is told of it.
// Nothing may panic, errors have a kind, and Verify finds what reading trips over.
func examine(t testing.TB, b []byte) []string {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t))
	if err != nil {
		if !tree.IsDamage(err) {
			t.Errorf("neither corrupt nor unsupported: %v", err)
		}
		return []string{err.Error()}
	}
	defer r.Close()
	var told []string
	report, err := Verify(t.Context(), r, VerifyOptions{Workers: 2, MaxFindings: 100})
	systest.Must(t, err)
	for _, f := range report.Findings {
		told = append(told, f.String())
	}
	if err := exercise(t.Context(), r, 2000); err != nil {
		if !tree.IsDamage(err) {
			t.Errorf("neither corrupt nor unsupported: %v", err)
		}
		if !report.Damaged() {
			t.Errorf("Verify found no damage, reading did: %v", err)
		}
		told = append(told, err.Error())
	}
	return told
}

// exercise walks and reads an image and gives the first error. It stops after that
// many nodes, or at the end of ctx, and reads little of each file.
func exercise(ctx context.Context, r *Reader, nodes int) (first error) {
	note := func(err error) {
		if err != nil && err != io.EOF && first == nil {
			first = err
		}
	}
	buf := make([]byte, 1<<14)
	var walk func(n *tree.Node)
	walk = func(n *tree.Node) {
		if nodes--; nodes < 0 || ctx.Err() != nil {
			return
		}
		if n.Data != nil {
			c, err := n.Open()
			note(err)
			if err == nil {
				for _, off := range []int64{0, 5000, n.Size / 2, n.Size - 5} {
					if off >= 0 && off < n.Size {
						note(tree.ReadFull(c, buf[:min(int64(len(buf)), n.Size-off)], off))
					}
				}
				_, _, err = c.NextData(0)
				note(err)
			}
		}
		kids, bad, err := n.Readable()
		note(err)
		for _, b := range bad {
			note(b.Err)
		}
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
	return first
}

func TestDamage(t *testing.T) {
	for name := range fixtures {
		if told := examine(t, fixture(t, name)); len(told) > 0 {
			t.Fatalf("%s is sound: %v", name, told)
		}
	}
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			p := newPatient(t, d.image)
			d.plant(p)
			resum(p.b)
			told := examine(t, p.b)
			if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, d.want) }) {
				t.Errorf("%q is not among:\n%s", d.want, strings.Join(told, "\n"))
			}
		})
	}
}

// Every byte that the superblock's checksum covers, and the checksum itself.
func TestChecksum(t *testing.T) {
	for _, name := range []string{"plain-193", "zstd-bs1024-193"} {
		b := bytes.Clone(fixture(t, name))
		off, n := ondisk.ChecksumRange(b[super(12)])
		for at := super(4); at < int(off+n); at += 1 + at%7 {
			if at >= super(8) && at < super(13) {
				continue // what says whether there is a checksum, and over what
			}
			b[at] ^= 0x10
			_, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t))
			if !errors.Is(err, tree.ErrCorrupt) || !strings.Contains(err.Error(), "superblock: checksum") {
				t.Fatalf("%s: byte %d: %v", name, at, err)
			}
			b[at] ^= 0x10
		}
		openBytes(t, b)
		// What is behind the block is not covered.
		b[off+n] ^= 1
		openBytes(t, b)
	}
}

// Of an image that is cut anywhere each path is what it was, or an error.
func TestCut(t *testing.T) {
	for name := range fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fixture(t, name)
			want := view(t, rootOf(t, openBytes(t, b)))
			rnd := rand.New(rand.NewPCG(3, uint64(len(b))))
			cuts := []int{0, 1, 1023, 1024, 1151, 1152, 4096, len(b) - 4096, len(b) - 1}
			for range 6 {
				cuts = append(cuts, rnd.IntN(len(b)))
			}
			if testing.Short() {
				cuts = cuts[6:12]
			}
			for _, cut := range cuts {
				r, err := Open(bytes.NewReader(b[:cut:cut]), int64(cut), "image", library(t))
				if err != nil {
					if !tree.IsDamage(err) {
						t.Errorf("cut at %d: %v", cut, err)
					}
					continue
				}
				defer r.Close()
				root, err := r.Root()
				if err != nil {
					continue
				}
				got := view(t, root)
				for p, w := range want {
					if got[p] != w && !failed(got, p) {
						t.Errorf("cut at %d: /%s:\n got %s\nwant %s", cut, p, got[p], w)
					}
				}
				report, err := Verify(t.Context(), r, VerifyOptions{Workers: 1})
				systest.Must(t, err)
				if len(report.Findings) == 0 {
					t.Errorf("cut at %d: Verify has nothing to say", cut)
				}
			}
		})
	}
}

// Bits all over images are flipped: whatever that does, nothing panics, and reading
// fails only where Verify has a finding.
func TestBitFlips(t *testing.T) {
	for name := range fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sound := fixture(t, name)
			rnd := rand.New(rand.NewPCG(5, uint64(len(sound))))
			rounds := damagedImages(t, 16)
			if testing.Short() {
				rounds = 8
			}
			b := bytes.Clone(sound)
			for range rounds {
				at := rnd.IntN(len(b))
				if rnd.IntN(3) > 0 {
					at = rnd.IntN(min(len(b), 24<<10))
				}
				n := 1 + rnd.IntN(3)*rnd.IntN(40)
				for i := at; i < min(at+n, len(b)); i++ {
					b[i] ^= byte(1 + rnd.IntN(255))
				}
				resum(b)
				if examine(t, b); t.Failed() {
					t.Fatalf("%d bytes at %d", n, at)
				}
				copy(b, sound)
			}
		})
	}
}

// The report of Verify does not depend on the number of workers, and its list ends
// where it is to.
func TestVerifyWorkers(t *testing.T) {
	p := newPatient(t, "lzma-archiso-193")
	for _, n := range regularFiles(t, rootOf(t, p.r)) {
		c, err := n.Open()
		systest.Must(t, err)
		if f, ok := c.(*content).pieces.(*compressed); ok {
			e, err := f.at(n.Size / 2)
			systest.Must(t, err)
			if e.form == formStream {
				p.b[e.pos+int64(e.stored)-1] ^= 0x55 // where all of them have bytes
			}
		}
	}
	r := openBytes(t, p.b)
	one, err := Verify(t.Context(), r, VerifyOptions{Workers: 1})
	systest.Must(t, err)
	if !one.Damaged() || one.Extents == 0 || one.Entries < 160 || one.Files < 100 || one.Dirs < 5 || one.Inodes < one.Files {
		t.Errorf("%+v", one)
	}
	for _, workers := range []int{2, 7} {
		other, err := Verify(t.Context(), r, VerifyOptions{Workers: workers})
		systest.Must(t, err)
		if !slices.Equal(one.Findings, other.Findings) || one.Decoded != other.Decoded || one.Stored != other.Stored {
			t.Errorf("%d workers: %+v, not %+v", workers, other, one)
		}
	}
	few, err := Verify(t.Context(), r, VerifyOptions{MaxFindings: 2})
	systest.Must(t, err)
	if len(few.Findings) != 2 || !slices.Equal(few.Findings, one.Findings[:2]) || few.More != len(one.Findings)-2 {
		t.Errorf("%d of %d findings and %d more", len(few.Findings), len(one.Findings), few.More)
	}
	last := int64(0)
	_, err = Verify(t.Context(), r, VerifyOptions{Progress: func(done, total int64) {
		if done < last || done > total || total != int64(len(p.b)) {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}})
	systest.Must(t, err)
	if last == 0 {
		t.Error("no progress")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, r, VerifyOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// An entry that cannot be read is told apart from the rest of its directory.
func TestBadEntry(t *testing.T) {
	p := newPatient(t, "plain-193")
	p.put16(p.field("one-small", 4), 0)
	root := rootOf(t, openBytes(t, p.resummed()))
	good, bad, err := root.Readable()
	if err != nil || len(bad) != 2 || bad[0].Name != "one-small" || bad[1].Name != "one-small-2" || tree.Find(good, "usr") == nil {
		t.Errorf("%d good, %v, %v", len(good), bad, err)
	}
	if kids, err := root.Children(); kids != nil || !errors.Is(err, tree.ErrCorrupt) {
		t.Errorf("%v, %v", kids, err)
	}
}

func (p *patient) resummed() []byte {
	resum(p.b)
	return p.b
}
