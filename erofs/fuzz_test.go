package erofs

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// FuzzOpen opens, verifies, walks and reads anything: it may fail, as corrupt or as
// not supported, and not otherwise.
func FuzzOpen(f *testing.F) {
	for name := range fixtures {
		f.Add(fixture(f, name))
	}
	for i, d := range damages {
		if testing.Short() && i%8 != 0 {
			continue // TestDamage has them all
		}
		p := newPatient(f, d.image)
		d.plant(p)
		resum(p.b)
		f.Add(p.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { bounded(t, b) })
}

// FuzzFields does the same with a fixture of which the fuzzer sets bytes, most of all
// where inodes and indexes are: each three bytes of its input are a place and a value.
func FuzzFields(f *testing.F) {
	names := make([]string, 0, len(fixtures))
	for name := range fixtures {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		f.Add(uint8(i), []byte{})
		sound := fixture(f, name)
		for _, d := range damages {
			if d.image != name || testing.Short() {
				continue
			}
			p := newPatient(f, name)
			d.plant(p)
			var patch []byte
			for at := range min(len(p.b), len(sound), 1<<16) {
				if p.b[at] != sound[at] {
					patch = append(patch, byte(at), byte(at>>8), p.b[at])
				}
			}
			f.Add(uint8(i), patch[:min(len(patch), 300)])
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, patch []byte) {
		b := bytes.Clone(fixture(t, names[int(which)%len(names)]))
		for ; len(patch) >= 3; patch = patch[3:] {
			b[(int(patch[0])|int(patch[1])<<8)%len(b)] = patch[2]
		}
		resum(b)
		bounded(t, b)
	})
}

// bounded opens, verifies, walks and reads an image for a while.
func bounded(t *testing.T, b []byte) {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", library(t))
	if err != nil {
		if !tree.IsDamage(err) {
			t.Fatalf("neither corrupt nor unsupported: %v", err)
		}
		return
	}
	defer r.Close()
	// Inodes may lie over each other, and have files of any size: that takes time.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	report, err := Verify(ctx, r, VerifyOptions{Workers: 1, MaxFindings: 20})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if fault := exercise(ctx, r, 300); fault != nil {
		if !tree.IsDamage(fault) {
			t.Fatalf("neither corrupt nor unsupported: %v", fault)
		}
		if err == nil && !report.Damaged() {
			t.Fatalf("Verify found no damage, reading did: %v", fault)
		}
	}
}

// FuzzFormat decodes each on-disk structure and encodes it again.
func FuzzFormat(f *testing.F) {
	b := fixture(f, "plain-193")
	f.Add(b[ondisk.SuperblockOffset:][:ondisk.SuperblockSize])
	for at := 2048; at < len(b)-ondisk.SuperblockSize; at += 997 {
		f.Add(b[at:][:ondisk.SuperblockSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < ondisk.SuperblockSize {
			return
		}
		b = bytes.Clone(b[:ondisk.SuperblockSize])
		same := func(what string, got []byte, unused ...int) {
			t.Helper()
			want := bytes.Clone(b[:len(got)])
			for _, at := range unused {
				want[at] = 0
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %x became %x", what, want, got)
			}
		}
		s, ok := ondisk.DecodeSuperblock(b)
		if ok {
			same("superblock", s.Append(nil), 106, 107, 120, 121, 122, 123, 124, 125, 126, 127)
		}
		n := ondisk.DecodeInode(b)
		if n.Extended() {
			same("inode", n.Append(nil), 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63)
		} else {
			same("inode", n.Append(nil), 28, 29, 30, 31)
		}
		d := ondisk.DecodeDirent(b)
		same("directory entry", d.Append(nil), 11)
		h := ondisk.DecodeXattrHeader(b)
		same("attributes", h.Append(nil), 5, 6, 7, 8, 9, 10, 11)
		e := ondisk.DecodeXattrEntry(b)
		same("attribute", e.Append(nil))
	})
}
