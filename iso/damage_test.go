package iso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"relive/tree"
)

// edit is an image in memory and the means to break it.
type edit struct {
	t   *testing.T
	p   []byte
	img *Image
}

// sector is the place of a sector and all behind it.
func (e *edit) sector(n int) []byte { return e.p[n*sectorSize:] }

// dir is a directory of the tree.
func (e *edit) dir(path string) *dir {
	n, err := rootOf(e.t, e.img).Lookup(path)
	if err != nil || n == nil || n.Dir == nil {
		e.t.Fatal(path, n, err)
	}
	return n.Dir.(*dir)
}

// record is the place of a name's directory record.
func (e *edit) record(path string) []byte {
	i := strings.LastIndexByte(path, '/')
	d := e.dir(path[:max(i, 0)])
	var found []byte
	err := d.scan(func(r *record, offset int64) error {
		l := newLister(e.img, d)
		if err := l.readAttributes(r, offset); err != nil {
			return err
		}
		if name, err := l.nodeName(r, offset); err == nil && name == path[i+1:] && found == nil {
			p := e.p[e.img.vol.offset(d.block)+offset:]
			found = p[:p[0]]
		}
		return nil
	})
	if err != nil || found == nil {
		e.t.Fatal(path, err)
	}
	return found
}

// entry is the place of an entry of a name's system use area.
func (e *edit) entry(path, sig string) []byte {
	r := e.record(path)
	at := bytes.Index(r[recordHead:], []byte(sig))
	if at < 0 {
		e.t.Fatalf("%s: no %s in %q", path, sig, r)
	}
	return r[recordHead+at:]
}

func both(p []byte, v uint32) {
	binary.LittleEndian.PutUint32(p, v)
	binary.BigEndian.PutUint32(p[4:], v)
}

// TestDamage breaks the rules of the format, one at a time.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		seed, name string
		do         func(e *edit)
		kind       error
		text       string
	}{
		{"rock", "identifier", func(e *edit) { e.sector(16)[1]++ }, tree.ErrCorrupt,
			`image: volume descriptor in sector 16: no ISO 9660 image: the identifier is "DD001"`},
		{"rock", "UDF alone", func(e *edit) { copy(e.sector(16)[1:], "BEA01") }, tree.ErrUnsupported,
			"image: volume descriptor in sector 16: the image has UDF alone, without ISO 9660"},
		{"rock", "High Sierra", func(e *edit) { clear(e.sector(16)[:32]); copy(e.sector(16)[9:], "CDROM") }, tree.ErrUnsupported,
			"image: volume descriptor in sector 16: High Sierra, the form before ISO 9660"},
		{"rock", "no terminator", func(e *edit) { clear(e.sector(19)[:sectorSize]) }, tree.ErrCorrupt,
			"image: volume descriptor in sector 19: the set ends without a terminator"},
		{"rock", "no primary", func(e *edit) { e.sector(16)[0] = typePartition }, tree.ErrCorrupt,
			"image: volume descriptors: there is no primary one"},
		{"rock", "only descriptors", func(e *edit) {
			for s := 16; s < len(e.p)/sectorSize; s++ {
				copy(e.sector(s)[:sectorSize], e.sector(16)[:sectorSize])
			}
		}, tree.ErrCorrupt, "image: volume descriptor in sector 82: sector 82: 2048 bytes from there reach past the end of the image, " +
			"which has 167936 bytes"},
		{"rock", "block size", func(e *edit) { e.sector(16)[vdBlockSize+1] = 16 }, tree.ErrCorrupt,
			"image: volume descriptor in sector 16: logical blocks of 4096 bytes"},
		{"rock", "root's record", func(e *edit) { e.sector(16)[vdRoot+32] = 9 }, tree.ErrCorrupt,
			"image: volume descriptor in sector 16: the root's record of 34 bytes has an identifier of 9"},
		{"rock", "root is a file", func(e *edit) { e.sector(16)[vdRoot+25] = 0 }, tree.ErrCorrupt,
			"image: volume descriptor in sector 16: the root is not a directory"},
		{"rock", "root past the end", func(e *edit) { both(e.sector(16)[vdRoot+2:], 99999) }, tree.ErrCorrupt,
			"image: root directory: sector 99999: 0 bytes from there reach past the end of the image, which has 167936 bytes"},
		{"rock", "root elsewhere", func(e *edit) { both(e.sector(16)[vdRoot+2:], 17) }, tree.ErrCorrupt,
			"image: root directory: the first record, at byte 34816, has 0 bytes"},
		{"rock", "extension", func(e *edit) {
			i := bytes.Index(e.p, []byte("ER\xB6\x01"))
			if i < 0 {
				i = bytes.Index(e.p, []byte("ER\xED\x01"))
			}
			e.p[i+4] = 255
		}, tree.ErrCorrupt, "image: root directory: record at 0: extensions reference (ER) of 237 bytes"},

		{"rock", "record past the sector", func(e *edit) {
			p := e.p[e.img.vol.offset(e.dir("dir").block):]
			at := int(p[0])
			at += int(p[at])
			for i := byte(0); at < sectorSize; i++ {
				clear(p[at : at+254])
				p[at], p[at+32], p[at+33] = 254, 1, 'a'+i
				at += 254
			}
		}, tree.ErrCorrupt, " left in the sector"},
		{"rock", "short record", func(e *edit) { e.record("file")[0] = 20 }, tree.ErrCorrupt, "has 20 bytes"},
		{"rock", "identifier's length", func(e *edit) { e.record("file")[32] = 250 }, tree.ErrCorrupt, "has an identifier of 250"},
		{"rock", "no identifier", func(e *edit) { e.record("file")[32] = 0 }, tree.ErrCorrupt, "has an identifier of 0"},
		{"rock", "another self", func(e *edit) { r := e.record("file"); r[32] = 1; r[33] = 0 }, tree.ErrCorrupt,
			`identifier "\x00" as entry 8 of the directory`},
		{"rock", "no self", func(e *edit) { e.p[e.img.vol.offset(e.dir("dir").block)+33] = 'x' }, tree.ErrCorrupt,
			`image: directory /dir: record at 0: identifier "x" as entry 0 of the directory`},
		{"rock", "empty directory", func(e *edit) { both(e.record("dir")[10:], 0) }, tree.ErrCorrupt,
			"image: directory /dir: has no record of itself and its parent"},
		{"rock", "directory past the end", func(e *edit) { both(e.record("dir")[10:], 1<<31) }, tree.ErrCorrupt,
			"image: directory /dir: sector 22: 2147483648 bytes from there reach past the end of the image, which has 167936 bytes"},
		{"rock", "file past the end", func(e *edit) { both(e.record("file")[2:], 81) }, tree.ErrCorrupt,
			"image: file /file: sector 81: 3492 bytes from there reach past the end of the image, which has 167936 bytes"},
		{"rock", "linked file past the end", func(e *edit) { both(e.record("few/hard")[2:], 1<<32-1) }, tree.ErrCorrupt,
			"image: file /few/hard: sector 4294967295: 3492 bytes from there reach past the end of the image, which has 167936 bytes"},
		{"rock", "block and attributes", func(e *edit) { both(e.record("file")[2:], 1<<32-1); e.record("file")[1] = 1 }, tree.ErrCorrupt,
			"names block 4294967295"},
		{"rock", "interleaved", func(e *edit) { e.record("file")[26] = 1 }, tree.ErrUnsupported, `the file "file" is interleaved`},
		{"rock", "loop", func(e *edit) { copy(e.record("dir/sub")[2:18], e.record("dir")[2:18]) }, tree.ErrCorrupt,
			"stands in another place too"},
		{"rock", "loop to the root", func(e *edit) { copy(e.record("dir/sub")[2:10], e.sector(16)[vdRoot+2:vdRoot+10]) }, tree.ErrCorrupt,
			"stands in another place too"},
		{"rock", "directory twice", func(e *edit) { copy(e.record("few")[2:18], e.record("dir")[2:18]) }, tree.ErrCorrupt,
			"stands in another place too"},
		{"rock", "section without end", func(e *edit) { e.record("few/hard")[25] |= flagMore }, tree.ErrCorrupt, "is expected"},
		{"rock", "last section missing", func(e *edit) { e.record("file")[25] |= flagMore }, tree.ErrCorrupt,
			`the file "file" has no last section`},
		{"rock", "symlink in sections", func(e *edit) { e.record("few/link")[25] |= flagMore }, tree.ErrCorrupt,
			"a symlink in several sections"},

		{"rock", "entry length", func(e *edit) { e.entry("file", "PX")[2] = 200 }, tree.ErrCorrupt,
			`system use entry "PX" of 200 bytes, where`},
		{"rock", "entry of no length", func(e *edit) { e.entry("file", "PX")[2] = 0 }, tree.ErrCorrupt, `system use entry "PX" of 0 bytes`},
		{"rock", "file type", func(e *edit) { both(e.entry("file", "PX")[4:], 0o755) }, tree.ErrCorrupt,
			`"file": mode 0755 is of no file type`},
		{"rock", "directory by mode", func(e *edit) { both(e.entry("file", "PX")[4:], 0o40755) }, tree.ErrCorrupt,
			`"file": mode 040755, file flags 0x0`},
		{"rock", "file by mode", func(e *edit) { both(e.entry("dir", "PX")[4:], 0o100644) }, tree.ErrCorrupt,
			`"dir": mode 0100644, file flags 0x2`},
		{"rock", "same name", func(e *edit) { copy(e.entry("boot.img", "NM")[5:], "boot.cat") }, tree.ErrCorrupt,
			`image: directory /: the name "boot.cat" stands there twice`},
		{"rock", "slash", func(e *edit) { e.entry("file", "NM")[6] = '/' }, tree.ErrCorrupt, `file name "f/le" holds a slash or a NUL`},
		{"rock", "NUL", func(e *edit) { e.entry("file", "NM")[6] = 0 }, tree.ErrCorrupt, `holds a slash or a NUL`},
		{"rock", "dot dot", func(e *edit) { p := e.entry("few/link", "NM"); copy(p[5:], ".."); p[2] = 7; clear(p[7:9]) }, tree.ErrCorrupt,
			`file name ".."`},
		{"rock", "parent's name", func(e *edit) { e.entry("file", "NM")[4] = 4 }, tree.ErrCorrupt,
			"a name (NM) that stands for a directory itself or its parent"},
		{"rock", "name's flags", func(e *edit) { e.entry("file", "NM")[4] = 0x20 }, tree.ErrUnsupported, "a name (NM) with unknown flags"},
		{"rock", "name goes on", func(e *edit) { e.entry("file", "NM")[4] = 1 }, tree.ErrCorrupt, `the name "file" is continued nowhere`},
		{"rock", "link without target", func(e *edit) { copy(e.entry("few/root", "SL"), "XX") }, tree.ErrCorrupt,
			`"root": a symlink without a target`},
		{"rock", "component", func(e *edit) { e.entry("few/root", "SL")[6] = 9 }, tree.ErrCorrupt,
			"a component of a symbolic link (SL) reaches past the entry"},
		{"rock", "link to the host", func(e *edit) { e.entry("few/root", "SL")[5] = 0x20 }, tree.ErrUnsupported,
			"a symbolic link (SL) to the volume's root or host"},
		{"rock", "NUL in a target", func(e *edit) { p := e.entry("few/link", "SL"); p[9] = 0 }, tree.ErrCorrupt, "holds a NUL"},
		{"rock", "device without number", func(e *edit) { copy(e.entry("few/null", "PN"), "XX") }, tree.ErrCorrupt,
			`"null": a character device without a number (PN)`},
		{"rock", "sparse", func(e *edit) {
			p := e.entry("file", "TF")
			copy(p, "SF")
			clear(p[4:p[2]])
		}, tree.ErrUnsupported, "image: file /file: a sparse file (SF) of Rock Ridge"},
		{"rock", "continuation past the end", func(e *edit) { both(e.continuation()[4:], 1<<31) }, tree.ErrCorrupt,
			"continuation area: sector 2147483648"},
		{"rock", "large continuation", func(e *edit) { both(e.continuation()[20:], 1<<20) }, tree.ErrCorrupt,
			"continuation area of 1048576 bytes"},
		{"rock", "continuation loop", func(e *edit) {
			ce := e.continuation()
			copy(e.area(ce), ce[:28])
			both(e.area(ce)[20:], 28)
			both(ce[20:], 28)
		}, tree.ErrCorrupt, "more than 32 continuation areas"},
		{"rock", "shared continuation", func(e *edit) {
			p := e.p[e.img.vol.offset(e.dir("dir").block):]
			at := int(p[0])
			at += int(p[at])
			clear(p[at:sectorSize])
			for i := byte(0); i < 5; i++ {
				r := p[at : at+34+28]
				r[0], r[32], r[33] = byte(len(r)), 1, 'a'+i
				copy(r[34:], "CE\x1c\x01")
				both(r[38:], 0)
				both(r[46:], 1000)
				both(r[54:], 60000)
				at += len(r)
			}
		}, tree.ErrCorrupt, "the continuation areas of the directory are together larger than the image"},
		{"rock", "continuation in itself", func(e *edit) {
			ce := e.continuation()
			at := bytes.Index(e.p, ce[:28])
			both(ce[4:], uint32(at/sectorSize))
			both(ce[12:], uint32(at%sectorSize))
			both(ce[20:], 28)
		}, tree.ErrCorrupt, "more than 32 continuation areas"},

		{"relocated", "child past the end", func(e *edit) { both(e.relocated()[4:], 1<<31) }, tree.ErrCorrupt,
			"relocated directory: sector 2147483648"},
		{"relocated", "child is a file", func(e *edit) { both(e.relocated()[4:], 16) }, tree.ErrCorrupt,
			"relocated directory: the first record, at byte 32768, has"},
		{"relocated", "child is an ancestor", func(e *edit) { both(e.relocated()[4:], e.img.vol.root.block()) }, tree.ErrCorrupt,
			"stands in another place too"},
		{"relocated", "not marked", func(e *edit) {
			for i := bytes.Index(e.p, []byte("RE\x04\x01")); i >= 0; i = bytes.Index(e.p, []byte("RE\x04\x01")) {
				e.p[i] = 'X'
			}
		}, tree.ErrCorrupt, "stands in another place too"},
		{"rock", "catalogue past the end", func(e *edit) { binary.LittleEndian.PutUint32(e.sector(17)[0x47:], 82) }, tree.ErrCorrupt,
			"image: boot catalogue in sector 82: sector 82: 2048 bytes from there"},
		{"rock", "validation", func(e *edit) { e.catalog()[30] = 0 }, tree.ErrCorrupt, "the validation entry is wrong"},
		{"rock", "validation's sum", func(e *edit) { e.catalog()[4]++ }, tree.ErrCorrupt, "the validation entry is wrong"},
		{"rock", "section's entries", func(e *edit) { e.catalog()[67] = 255 }, tree.ErrCorrupt,
			"a section of 65281 entries reaches past the end"},
		{"rock", "boot image past the end", func(e *edit) { binary.LittleEndian.PutUint32(e.catalog()[40:], 99) }, tree.ErrCorrupt,
			"image: boot image in sector 99: sector 99: 2048 bytes from there"},
		{"rock", "sum's text", func(e *edit) { e.sector(16)[vdAppUse+20] = ';' }, tree.ErrCorrupt,
			"image: volume descriptor in sector 16: implanted MD5 sum: the sum is"},
		{"rock", "sum's sectors", func(e *edit) {
			copy(e.sector(16)[vdAppUse+bytes.Index(e.sector(16)[vdAppUse:], []byte("SKIPSECTORS = 15")):], "SKIPSECTORS = -5")
		}, tree.ErrCorrupt, "-5 sectors to skip"},

		{"zisofs-off", "algorithm", func(e *edit) { e.entry("packed", "ZF")[4] = 'x' }, tree.ErrUnsupported,
			`file compressed by algorithm "xz" (ZF)`},
		{"zisofs-off", "blocks", func(e *edit) { e.entry("packed", "ZF")[7] = 14 }, tree.ErrUnsupported,
			"compressed file (ZF) with blocks of 2^14 bytes"},
		{"zisofs-off", "header length", func(e *edit) { e.entry("packed", "ZF")[6] = 5 }, tree.ErrUnsupported,
			"compressed file (ZF) with a header of 20 bytes"},
		{"zisofs-off", "other size", func(e *edit) { both(e.entry("packed", "ZF")[8:], 5) }, tree.ErrCorrupt,
			"image: file /packed: the zisofs header differs from the directory's entry (ZF)"},
		{"zisofs-off", "no header", func(e *edit) { e.packed()[0]++ }, tree.ErrCorrupt,
			"image: file /packed: no zisofs header, though the directory says so (ZF)"},
		{"zisofs-off", "stored size", func(e *edit) { both(e.record("packed")[10:], 30) }, tree.ErrCorrupt,
			"image: file /packed: zisofs: 5 blocks in a file of 30 bytes"},
		{"zisofs-off", "no content", func(e *edit) { both(e.record("packed")[10:], 3) }, tree.ErrCorrupt,
			"image: file /packed: zisofs: the header is cut short"},
		{"zisofs-off", "pointer", func(e *edit) { e.packed()[16+8+3] = 0x7F }, tree.ErrCorrupt,
			"image: file /packed: zisofs: block 1 stands at"},
		{"zisofs-off", "stream", func(e *edit) { e.packed()[16+4*6] ^= 0xFF }, tree.ErrCorrupt,
			"image: file /packed: zisofs: block 0: zlib: invalid header"},
		{"zisofs-on", "second algorithm", func(e *edit) { e.packed()[10] = 2 }, tree.ErrUnsupported,
			"image: file /packed: zisofs algorithm 2; only zlib is read"},
		{"zisofs-on", "second pointer", func(e *edit) { e.packed()[24+7] = 0xFF }, tree.ErrCorrupt,
			"image: file /packed: zisofs: block 0 stands at"},

		{"plain", "same plain name", func(e *edit) { r := e.record("boot.img"); r[32] = 7; copy(r[33:], "FILE.;1") }, tree.ErrCorrupt,
			`image: directory /: the name "file" stands there twice`},
	} {
		t.Run(c.seed+"/"+c.name, func(t *testing.T) {
			p := fixture(t, c.seed)
			c.do(&edit{t, p, memory(t, p)})
			errs := readAll(t, p, Best)
			for _, err := range errs {
				if errors.Is(err, c.kind) && strings.Contains(err.Error(), c.text) {
					return
				}
			}
			t.Errorf("%v, not %q", errs, c.text)
		})
	}
}

// continuation is the first CE entry of a record in the directory "few".
func (e *edit) continuation() []byte {
	d := e.dir("few")
	p := e.p[e.img.vol.offset(d.block):][:d.length]
	at := bytes.Index(p, []byte("CE\x1c\x01"))
	if at < 0 {
		e.t.Fatal("no continuation")
	}
	return p[at:]
}

// area is what a CE entry names.
func (e *edit) area(ce []byte) []byte {
	le := binary.LittleEndian
	return e.p[int64(le.Uint32(ce[4:]))*sectorSize+int64(le.Uint32(ce[12:])):]
}

// relocated is the first CL entry.
func (e *edit) relocated() []byte {
	at := bytes.Index(e.p, []byte("CL\x0c\x01"))
	if at < 0 {
		e.t.Fatal("nothing is relocated")
	}
	return e.p[at:]
}

func (e *edit) catalog() []byte {
	return e.sector(int(binary.LittleEndian.Uint32(e.sector(17)[0x47:])))
}

// packed is the stored content of the file that is compressed.
func (e *edit) packed() []byte {
	n, err := rootOf(e.t, e.img).Lookup("packed")
	if err != nil {
		e.t.Fatal(err)
	}
	x, ok := Extents(n)
	if !ok || len(x) != 1 {
		e.t.Fatal(x)
	}
	return e.p[x[0].Offset:]
}
