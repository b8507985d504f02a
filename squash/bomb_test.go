package squash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// forge puts together images that no tool makes.
type forge struct {
	t      testing.TB
	super  ondisk.Superblock
	inodes []byte // stored blocks; so are the others
	dirs   []byte
	pairs  []byte
	sets   []ondisk.XattrID
}

// pack stores bytes as metadata blocks, gzipped.
func (f *forge) pack(b []byte) (out []byte) {
	f.t.Helper()
	c, err := library(f.t).NewCompressor(codec.DefaultOptions(codec.Gzip, ondisk.MetadataSize), ondisk.MetadataSize)
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	for len(b) > 0 {
		n := min(len(b), ondisk.MetadataSize)
		z, ok, err := c.Compress(nil, b[:n])
		if err != nil {
			f.t.Fatal(err)
		}
		header := uint16(len(z))
		if !ok {
			z, header = b[:n], uint16(n)|ondisk.MetadataUncompressed
		}
		out = append(append(out, byte(header), byte(header>>8)), z...)
		b = b[n:]
	}
	return out
}

// image lays out the tables.
func (f *forge) image() []byte {
	s := &f.super
	s.BlockSize, s.BlockLog, s.Compression, s.IDCount, s.Major = 4096, 12, uint16(codec.Gzip), 1, 4
	s.FragmentTableStart, s.ExportTableStart, s.XattrTableStart = ondisk.NoTable, ondisk.NoTable, ondisk.NoTable
	b := make([]byte, ondisk.SuperblockSize)
	put := func(p []byte) uint64 {
		at := uint64(len(b))
		b = append(b, p...)
		return at
	}
	index := func(at uint64) []byte {
		return []byte{byte(at), byte(at >> 8), byte(at >> 16), byte(at >> 24), 0, 0, 0, 0}
	}
	s.InodeTableStart = put(f.inodes)
	s.DirTableStart = put(f.dirs)
	s.IDTableStart = put(index(put([]byte{4, 0x80, 0, 0, 0, 0})))
	if f.sets != nil {
		h := ondisk.XattrTableHeader{PairsStart: put(f.pairs), IDCount: uint32(len(f.sets))}
		var ids []byte
		for _, x := range f.sets {
			ids = x.Append(ids)
		}
		at := put(f.pack(ids))
		s.XattrTableStart = put(h.Append(nil))
		put(index(at))
	}
	s.BytesUsed = uint64(len(b))
	copy(b, s.Append(nil))
	return append(b, make([]byte, -len(b)&4095)...)
}

// held is the memory that is in use.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A file of 71 GB that is all holes: its block list of 71 MB packs into some
// hundred kilobytes, and is never held as a whole.
func TestHugeBlockList(t *testing.T) {
	const blocks = 17 << 20
	f := forge{t: t}
	root := ondisk.InodeHead{Type: ondisk.InodeDir, Mode: 0o755, Number: 1, Nlink: 2, DirSize: 3 + ondisk.DirHeaderSize +
		ondisk.DirEntrySize + 1, Parent: 3}
	file := ondisk.InodeHead{Type: ondisk.InodeExtFile, Number: 2, Nlink: 1, FileSize: blocks * 4096, Sparse: blocks * 4096,
		Fragment: ondisk.NoFragment, Xattr: ondisk.NoXattr}
	first := file.Append(root.Append(nil))
	f.inodes = f.pack(append(first, make([]byte, ondisk.MetadataSize-len(first))...))
	zero := f.pack(make([]byte, ondisk.MetadataSize))
	rest := 4*blocks - (ondisk.MetadataSize - len(first))
	f.inodes = append(f.inodes, bytes.Repeat(zero, rest/ondisk.MetadataSize)...)
	f.inodes = append(f.inodes, f.pack(make([]byte, rest%ondisk.MetadataSize))...)
	header := ondisk.DirHeader{Count: 1, Number: 2}
	entry := ondisk.DirEntry{Offset: 32, Type: ondisk.InodeFile, Name: "f"}
	f.dirs = f.pack(entry.Append(header.Append(nil)))
	f.super.InodeCount = 2
	image := f.image()

	before := held()
	r := openBytes(t, image)
	verifyClean(t, r)
	n, err := rootOf(t, r).Child("f")
	if err != nil || n == nil {
		t.Fatal(n, err)
	}
	c, err := n.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.NextData(5); err != io.EOF {
		t.Errorf("NextData: %v", err)
	}
	p := bytes.Repeat([]byte{1}, 10000)
	if k, err := c.ReadAt(p, n.Size-9000); k != 9000 || err != io.EOF || !tree.IsZero(p[:k]) {
		t.Errorf("ReadAt: %d, %v", k, err)
	}
	if _, err := n.Data.(*fileData).storedForm(); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("Stored: %v", err)
	}
	if got := held() - before; got > 16<<20 {
		t.Errorf("%d bytes are held", got)
	}
	runtime.KeepAlive(c)
}

// A listing of 100 MB that says the same again and again is refused at the
// first name that comes twice.
func TestListingBomb(t *testing.T) {
	f := forge{t: t}
	var listing []byte
	header := ondisk.DirHeader{Count: 256, Number: 1}
	listing = header.Append(listing)
	for range 256 {
		e := ondisk.DirEntry{Offset: 32, Delta: 1, Type: ondisk.InodeFIFO, Name: strings.Repeat("x", 24-1)}
		listing = e.Append(listing)
	}
	listing = append(listing, make([]byte, ondisk.MetadataSize-len(listing)%ondisk.MetadataSize)...)
	block := f.pack(listing[:ondisk.MetadataSize])
	f.dirs = bytes.Repeat(block, 12000)
	root := ondisk.InodeHead{Type: ondisk.InodeExtDir, Mode: 0o755, Number: 1, Nlink: 2, DirSize: 12000*ondisk.MetadataSize + 3, Parent: 3,
		Xattr: ondisk.NoXattr}
	fifo := ondisk.InodeHead{Type: ondisk.InodeFIFO, Number: 2, Nlink: 1}
	b := root.Append(nil)
	fifo2 := fifo.Append(nil)
	f.super.InodeCount = 2
	// The extended directory is 40 bytes long.
	f.inodes = f.pack(append(b, fifo2...))
	image := f.image()
	r := openBytes(t, image)
	before := held()
	_, err := rootOf(t, r).Children()
	if !errors.Is(err, tree.ErrCorrupt) {
		t.Fatal(err)
	}
	if got := held() - before; got > 8<<20 {
		t.Errorf("%d bytes are held", got)
	}
	report, err := Verify(context.Background(), r, VerifyOptions{})
	if err != nil || !report.Damaged() || len(report.Findings) > 1000 {
		t.Errorf("%d findings, %v", len(report.Findings), err)
	}
}

// One value of 64 KiB that stands 200 times in each of 20 sets is refused
// before a listing takes more than its bound.
func TestXattrBomb(t *testing.T) {
	f := forge{t: t}
	const names, sets = 200, 20                                 // 250 MiB, of which 64 are allowed
	pairs := append([]byte{0, 0, 1, 0}, make([]byte, 65536)...) // the value and its length
	start := len(pairs)
	for i := range names {
		pairs = ondisk.AppendXattrKey(pairs, ondisk.XattrUser|ondisk.XattrOutOfLine, fmt.Sprintf("%03d", i))
		pairs = append(pairs, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	f.pairs = f.pack(pairs)
	at := len(f.pack(pairs[:start&^(ondisk.MetadataSize-1)]))
	var inodes, listing []byte
	root := ondisk.InodeHead{Type: ondisk.InodeDir, Mode: 0o755, Number: 1, Nlink: 2,
		DirSize: uint32(3 + ondisk.DirHeaderSize + sets*(ondisk.DirEntrySize+3)), Parent: sets + 2}
	inodes = root.Append(inodes)
	header := ondisk.DirHeader{Count: sets, Number: 2}
	listing = header.Append(listing)
	for i := range sets {
		f.sets = append(f.sets, ondisk.XattrID{Ref: ondisk.MakeRef(int64(at), start%ondisk.MetadataSize), Count: names,
			Size: names * (9 + 65536)})
		e := ondisk.DirEntry{Offset: uint16(len(inodes)), Delta: int16(i), Type: ondisk.InodeFIFO, Name: fmt.Sprintf("%03d", i)}
		listing = e.Append(listing)
		n := ondisk.InodeHead{Type: ondisk.InodeExtFIFO, Number: uint32(i + 2), Nlink: 1, Xattr: uint32(i)}
		inodes = n.Append(inodes)
	}
	f.inodes, f.dirs, f.super.InodeCount = f.pack(inodes), f.pack(listing), sets+1
	r := openBytes(t, f.image())
	root1 := rootOf(t, r)
	one, err := root1.Child("007")
	if err != nil || len(one.Xattrs) != names || len(one.Xattrs[9].Value) != 65536 {
		t.Fatalf("one node alone: %v", err)
	}
	if _, err := root1.Children(); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("all together: %v", err)
	}
	report, err := Verify(context.Background(), r, VerifyOptions{})
	if err != nil || !report.Damaged() { // sets share their pairs
		t.Errorf("%v, %v", report, err)
	}
}
