package squash

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"testing"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// FuzzImage opens, verifies, walks and reads anything: it may fail, as corrupt
// or as not supported, but neither panic nor take more memory than an image of
// its size can need.
func FuzzImage(f *testing.F) {
	for _, name := range smallImages {
		b, err := os.ReadFile(imagePath(name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	p := newPatient(f)
	sound := bytes.Clone(p.b)
	for _, d := range damages {
		p.b = bytes.Clone(sound)
		d.plant(p)
		f.Add(p.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { bounded(t, b) })
}

// FuzzTables does the same with an image of which the fuzzer sets bytes of the
// superblock and the tables: each three bytes of its input are a place and a
// value.
func FuzzTables(f *testing.F) {
	p := newPatient(f)
	sound := bytes.Clone(p.b)
	tables := int(p.r.inodes.start) - ondisk.SuperblockSize
	for _, d := range damages {
		p.b = bytes.Clone(sound)
		d.plant(p)
		var patch []byte
		for at := range min(len(p.b), len(sound)) {
			if p.b[at] == sound[at] {
				continue
			}
			place := at
			if at >= ondisk.SuperblockSize {
				place = at - tables
			}
			patch = append(patch, byte(place), byte(place>>8), p.b[at])
		}
		f.Add(patch)
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		b := bytes.Clone(sound)
		for ; len(patch) >= 3; patch = patch[3:] {
			at := int(patch[0]) | int(patch[1])<<8
			if at >= ondisk.SuperblockSize {
				at += tables
			}
			b[at%len(b)] = patch[2]
		}
		bounded(t, b)
	})
}

// bounded opens, verifies, walks and reads an image.
func bounded(t *testing.T, b []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t))
	if err != nil {
		if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Fatalf("neither corrupt nor unsupported: %v", err)
		}
		return
	}
	defer r.Close()
	report, err := Verify(context.Background(), r, VerifyOptions{Workers: 1, MaxFindings: 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := exercise(r, 500); err != nil && !report.Damaged() {
		t.Fatalf("Verify found no damage, reading did: %v", err)
	}
	// All that was ever allocated, which is far more than was held at once.
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<30+uint64(len(b))*1000 {
		t.Fatalf("%d bytes allocated for an image of %d", got, len(b))
	}
}

// FuzzFormat decodes each on-disk structure and encodes it again.
func FuzzFormat(f *testing.F) {
	b, err := os.ReadFile(imagePath("plain"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:ondisk.SuperblockSize])
	for at := 0; at < len(b)-ondisk.MaxHeadSize; at += 997 {
		f.Add(b[at:][:ondisk.MaxHeadSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		same := func(what string, got []byte, used int) {
			if !bytes.Equal(got, b[:used]) {
				t.Errorf("%s: %x became %x", what, b[:used], got)
			}
		}
		if s, err := ondisk.ParseSuperblock(b, "image"); err == nil {
			same("superblock", s.Append(nil), ondisk.SuperblockSize)
		}
		if len(b) < ondisk.MaxHeadSize {
			return
		}
		var n ondisk.InodeHead
		if ondisk.DecodeInodeCommon(&n, b); n.Type.Valid() {
			ondisk.DecodeInodeRest(&n, b)
			same(n.Type.String(), n.Append(nil), n.Type.HeadSize())
		}
		h := ondisk.DecodeDirHeader(b)
		same("directory header", h.Append(nil), ondisk.DirHeaderSize)
		e, nameLen := ondisk.DecodeDirEntry(b)
		if ondisk.DirEntrySize+nameLen <= len(b) {
			e.Name = string(b[ondisk.DirEntrySize:][:nameLen])
			same("directory entry", e.Append(nil), ondisk.DirEntrySize+nameLen)
		}
		clear(b[12:16]) // unused in what follows
		fragment := ondisk.DecodeFragmentEntry(b)
		same("fragment", fragment.Append(nil), ondisk.FragmentEntrySize)
		header := ondisk.DecodeXattrTableHeader(b)
		same("xattr table", header.Append(nil), ondisk.XattrTableHeaderSize)
		id := ondisk.DecodeXattrID(b)
		same("xattr id", id.Append(nil), ondisk.XattrIDSize)
	})
}
