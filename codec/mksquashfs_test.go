package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// image is what the tests need of an image that mksquashfs made of a file "a"
// of known content and many small ones.
type image struct {
	raw       []byte
	id        ID
	blockSize int
	options   []byte // payload of the options block, nil where there is none
	dataStart int
}

// le is how SquashFS stores numbers.
var le = binary.LittleEndian

func mksquashfs(t *testing.T, content []byte, args ...string) image {
	t.Helper()
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"a": content}
	for i := range 300 {
		files[fmt.Sprintf("small-%d", i)] = fmt.Appendf(nil, "%d", i)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(src, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out.sqfs")
	args = append([]string{src, out, "-no-fragments", "-no-xattrs", "-no-progress", "-quiet", "-all-root", "-processors", "2"}, args...)
	if msg, err := systest.Try(t, "mksquashfs", args...); err != nil {
		if strings.Contains(msg, "is not supported") || strings.Contains(msg, "Compressor \"") {
			t.Skip(msg)
		}
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	im := image{raw: raw, id: ID(le.Uint16(raw[20:])), blockSize: int(le.Uint32(raw[12:])), dataStart: 96}
	if le.Uint16(raw[24:])&0x400 != 0 { // COMPRESSOR_OPTIONS
		n := int(le.Uint16(raw[96:]) &^ 0x8000)
		im.options = raw[98 : 98+n]
		im.dataStart += 2 + n
	}
	return im
}

// inodeBlocks gives the payloads of the metadata blocks of the inode table, and
// whether each is packed.
func (im image) inodeBlocks() (blocks [][]byte, packed []bool) {
	at, end := int(le.Uint64(im.raw[64:])), int(le.Uint64(im.raw[72:]))
	for at < end {
		h := le.Uint16(im.raw[at:])
		n := int(h &^ 0x8000)
		blocks = append(blocks, im.raw[at+2:at+2+n])
		packed = append(packed, h&0x8000 == 0)
		at += 2 + n
	}
	return blocks, packed
}

// TestSameAsMksquashfs: options read from an image marshal to the same bytes,
// its blocks decode with every library, and the native libraries pack the same
// content to the same bytes, data and metadata alike.
func TestSameAsMksquashfs(t *testing.T) {
	libs := libraries(t)
	var content []byte
	s := samples(64 << 10)
	for _, name := range []string{"text", "noise", "half", "code", "odd"} {
		content = append(content, s[name]...)
	}
	for _, args := range [][]string{
		{"-comp", "gzip"},
		{"-comp", "gzip", "-b", "4096"},
		{"-comp", "gzip", "-b", "1M", "-Xcompression-level", "3", "-Xwindow-size", "10"},
		{"-comp", "gzip", "-Xstrategy", "filtered,default,huffman_only,run_length_encoded,fixed"},
		{"-comp", "gzip", "-Xstrategy", "filtered"},
		{"-comp", "gzip", "-Xstrategy", "default"},
		{"-comp", "lzma"},
		{"-comp", "lzo"},
		{"-comp", "lzo", "-Xcompression-level", "5"},
		{"-comp", "lzo", "-Xalgorithm", "lzo1x_1"},
		{"-comp", "lzo", "-Xalgorithm", "lzo1x_1_11"},
		{"-comp", "lzo", "-Xalgorithm", "lzo1x_1_12"},
		{"-comp", "lzo", "-Xalgorithm", "lzo1x_1_15"},
		{"-comp", "lz4"},
		{"-comp", "lz4", "-Xhc", "-b", "256K"},
		{"-comp", "xz"},
		{"-comp", "xz", "-b", "4096"},
		{"-comp", "xz", "-b", "1M"},
		{"-comp", "xz", "-Xbcj", "x86,arm,armthumb,powerpc,sparc,ia64"},
		{"-comp", "xz", "-b", "256K", "-Xdict-size", "75%", "-Xbcj", "x86"},
		{"-comp", "xz", "-Xdict-size", "8K"},
		{"-comp", "zstd"},
		{"-comp", "zstd", "-b", "1M", "-Xcompression-level", "22"},
		{"-comp", "zstd", "-b", "16K", "-Xcompression-level", "1"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			im := mksquashfs(t, content, args...)
			o, err := ParseOptions(im.id, im.options, im.blockSize)
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Validate(im.blockSize); err != nil {
				t.Error(err)
			}
			if m := o.Marshal(im.blockSize); !bytes.Equal(m, im.options) {
				t.Errorf("options %+v marshal to %x, mksquashfs wrote %x", o, m, im.options)
			}
			for name, l := range libs {
				t.Run(name, func(t *testing.T) {
					im.check(t, l, o, content, name == "native")
				})
			}
		})
	}
}

// check compares the image's blocks with what the library makes of them.
func (im image) check(t *testing.T, l *Library, o Options, content []byte, sameBytes bool) {
	d, err := l.NewDecompressorFor(o, im.blockSize)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	writer := func(o Options, blockSize int) Compressor {
		c, err := l.NewCompressor(o, blockSize)
		if errors.Is(err, tree.ErrUnsupported) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	var packed []byte
	out := make([]byte, im.blockSize)
	// The sizes of a's blocks stand in its inode, the first of the table.
	inodes, isPacked := im.inodeBlocks()
	meta := make([][]byte, len(inodes))
	for i, b := range inodes {
		meta[i] = b
		if !isPacked[i] {
			continue
		}
		buf := make([]byte, MetadataSize)
		n, err := d.Decompress(buf, b)
		if err != nil {
			t.Fatalf("metadata block %d: %v", i, err)
		}
		meta[i] = buf[:n]
	}
	if c := writer(o.Metadata(), MetadataSize); sameBytes && c != nil {
		for i, b := range meta {
			p, ok, err := c.Compress(packed, b)
			if err != nil {
				t.Fatal(err)
			}
			if ok != isPacked[i] || ok && !bytes.Equal(p, inodes[i]) {
				t.Errorf("metadata block %d: mksquashfs packed %v to %d bytes, we %v to %d", i, isPacked[i], len(inodes[i]), ok, len(p))
			}
		}
	}
	c := writer(o, im.blockSize)
	// Basic file inode: 16 bytes of header, start, fragment, offset, size, words.
	words := bytes.Join(meta, nil)[32:]
	at := im.dataStart
	for i := 0; i*im.blockSize < len(content); i++ {
		want := content[i*im.blockSize : min((i+1)*im.blockSize, len(content))]
		word := le.Uint32(words[4*i:])
		stored := im.raw[at : at+int(word&0xffffff)]
		at += len(stored)
		raw := word&(1<<24) != 0
		if !raw {
			n, err := d.Decompress(out, stored)
			if err != nil || !bytes.Equal(out[:n], want) {
				t.Fatalf("block %d: %v, or content differs", i, err)
			}
		} else if !bytes.Equal(stored, want) {
			t.Fatalf("block %d: content differs", i)
		}
		if c == nil {
			continue
		}
		var ok bool
		if packed, ok, err = c.Compress(packed, want); err != nil {
			t.Fatal(err)
		}
		if sameBytes && (ok == raw || ok && !bytes.Equal(packed, stored)) {
			t.Errorf("block %d: mksquashfs packed %v to %d bytes, we %v to %d", i, !raw, len(stored), ok, len(packed))
		}
	}
}
