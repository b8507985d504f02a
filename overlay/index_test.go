package overlay

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// fileHandle is what the kernel writes for an inode of SquashFS or ext4.
func fileHandle(inode, generation uint32) string {
	b := append([]byte{0, 0xfb, 29, 0, 1}, make([]byte, 16)...)
	for _, v := range []uint32{inode, generation} {
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	return string(b)
}

func escapeBytes(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteString(`\x` + hex.EncodeToString([]byte{c}))
	}
	return b.String()
}

func indexName(h string) string { return hex.EncodeToString([]byte(h)) }

// TestIndex: other names of a lower file show the upper file that one name of
// it became.
func TestIndex(t *testing.T) {
	h := fileHandle(7, 99)
	origin := " @origin=" + escapeBytes(h)
	for _, tt := range []struct {
		name         string
		upper, index lines
		want         lines
		err          string
		report       func(*Report) bool
	}{
		{name: "alias",
			upper: lines{"a =new #50 %2" + origin},
			index: lines{indexName(h) + " =new #50 %5 @nlink=L+0" + origin, "#left =1", "00ff/ "},
			want:  lines{"a =new", "d/", "d/b =new", "e/", "e/o =o", "z =z"},
			report: func(r *Report) bool {
				return r.IndexEntries == 1 && r.StaleIndex == 0
			}},
		{name: "an upper file with the number of the lower one",
			upper: lines{"z =up #7 %2"}, index: lines{indexName(h) + " =new #50 %2" + origin},
			want: lines{"a =new", "d/", "d/b =new", "e/", "e/o =o", "z =up"}},
		{name: "all names but one deleted",
			upper: lines{"a c0:0"}, index: lines{indexName(h) + " =new #50 %1 @nlink=L-1" + origin},
			want: lines{"d/", "d/b =new", "e/", "e/o =o", "z =z"}},
		{name: "metacopy",
			upper: lines{"a s3 #50 %2 @metacopy +user.k=v" + origin},
			index: lines{indexName(h) + " s3 #50 %2 @metacopy +user.k=v" + origin},
			want:  lines{"a =old +user.k=v", "d/", "d/b =old +user.k=v", "e/", "e/o =o", "z =z"}},
		{name: "orphan", index: lines{indexName(h) + " =new %1 @nlink=U-1" + origin},
			want: lines{"a =old", "d/", "d/b =old", "e/", "e/o =o", "z =z"},
			report: func(r *Report) bool {
				return r.IndexEntries == 0 && r.StaleIndex == 1 && len(r.Warnings()) == 1
			}},
		{name: "origin of another file", index: lines{indexName(h) + " =new %2 @origin=" + escapeBytes(fileHandle(8, 1))},
			want: lines{"a =old", "d/", "d/b =old", "e/", "e/o =o", "z =z"}},
		{name: "whiteout of nothing that shows", upper: lines{"a c0:0", "d/b c0:0"}, index: lines{indexName(h) + " c0:0"},
			want: lines{"d/", "e/", "e/o =o", "z =z"}},
		{name: "whiteout of a file that shows", index: lines{indexName(h) + " c0:0"},
			err: "stands for /a, a file, but is a character device"},
		{name: "another type", index: lines{indexName(h) + " ->x %2" + origin}, err: "stands for /a, a file, but is a symlink"},
		{name: "no handle", index: lines{"nonsense =1"}, err: "not a file handle"},
		{name: "cut short", index: lines{"00fb15 =1"}, err: "file handle of 3 bytes"},
		{name: "wrong magic", index: lines{"00fa" + indexName(h)[4:] + " =1"}, err: "magic 0xfa"},
		{name: "of btrfs", index: lines{indexName(h)[:8] + "4d" + indexName(h)[10:] + " =1"}, err: "type 0x4d"},
		{name: "twice", index: lines{indexName(h) + " =1 %2" + origin, indexName(fileHandle(7, 1)) + " =1 %2 @origin=" +
			escapeBytes(fileHandle(7, 1))}, err: "second entry for inode 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := build(t, "a =old #7 %2", "d/b =old #7 %2", "e/o =o", "z =z")
			upper, index := build(t, tt.upper...), build(t, tt.index...)
			m, err := Merge([]Layer{{Root: upper, Index: sameSource(index, upper.Inode.Source)}, {Root: base}})
			got := ""
			if err == nil {
				got, err = text(t, m.Root())
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !errors.Is(err, tree.ErrCorrupt) &&
					!errors.Is(err, tree.ErrUnsupported) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if w := strings.Join(tt.want, "\n") + "\n"; got != w {
				t.Errorf("got\n%swant\n%s", got, w)
			}
			r, err := m.Report()
			if err != nil {
				t.Fatal(err)
			}
			if tt.report != nil && !tt.report(r) {
				t.Errorf("report %+v", *r)
			}
			if tt.name != "alias" {
				return
			}
			a, b := at(t, m.Root(), "a"), at(t, m.Root(), "d/b")
			if b.Nlink != 2 {
				t.Errorf("%d names, and the attribute says 2", b.Nlink)
			}
			if a.Inode != b.Inode || b.Nlink != 2 || b.Was == nil {
				t.Errorf("%s and %s are not linked", show(a), show(b))
			}
			if at(t, m.Root(), "e").Inode == at(t, base, "e").Inode {
				t.Error("a base's directory that may hold aliases passes for the base's own")
			}
		})
	}
}

// TestIndexOverSeveral: which of several file systems an entry means is not
// guessed.
func TestIndexOverSeveral(t *testing.T) {
	h := fileHandle(7, 99)
	index := build(t, indexName(h)+" =new %2 @origin="+escapeBytes(h))
	_, err := Merge([]Layer{{Root: build(t), Index: index}, {Root: build(t)}, {Root: build(t)}})
	if !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("error %v", err)
	}
}

// TestKernelSquashfs: a squashed base, with the index and metacopy in use.
func TestKernelSquashfs(t *testing.T) {
	requireOverlay(t)
	systest.NeedTools(t, "mksquashfs")
	for _, options := range []string{"", "index=on", "index=on,metacopy=on,redirect_dir=on", "xino=on,metacopy=on,redirect_dir=on"} {
		t.Run(options, func(t *testing.T) {
			k := newKernel(t)
			src := filepath.Join(k.dir, "src")
			for _, d := range []string{"", "d", "d/sub", "e"} {
				systest.Must(t, os.Mkdir(filepath.Join(src, d), 0o755))
			}
			for _, f := range []string{"a", "d/f", "d/sub/g", "keep", "meta"} {
				if err := os.WriteFile(filepath.Join(src, f), []byte(strings.Repeat(f, 5000)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for _, l := range []string{"link1", "d/link2", "e/link3"} {
				if err := os.Link(filepath.Join(src, "a"), filepath.Join(src, l)); err != nil {
					t.Fatal(err)
				}
			}
			image := filepath.Join(k.dir, "base.squashfs")
			systest.Run(t, "mksquashfs", src, image, "-quiet", "-no-progress")
			base := k.addLower(t)
			systest.MountAt(t, "", "loop,ro", image, base)
			k.umountInTheEnd(t)

			k.mount(t, options, false)
			in := func(p string) string { return filepath.Join(k.mnt, p) }
			for _, err := range []error{
				os.WriteFile(in("d/link2"), []byte("changed"), 0o644),
				os.Remove(in("link1")),
				os.Link(in("d/link2"), in("new link")),
				os.Chmod(in("meta"), 0o400),
				os.Chown(in("d/f"), 5, 6),
				os.Rename(in("meta"), in("moved")),
				os.Mkdir(in("fresh"), 0o755),
				os.RemoveAll(in("e/none")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if strings.Contains(options, "redirect") {
				if err := os.Rename(in("d"), in("e/d")); err != nil {
					t.Fatal(err)
				}
			}
			k.umount(t)
			m := k.sameAsKernel(t, options)
			if m == nil {
				return
			}
			r, err := m.Report()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(options, "index") != (r.IndexEntries > 0) || strings.Contains(options, "metacopy") != (r.Metacopies > 0) ||
				strings.Contains(options, "redirect") != (r.Redirects > 0) || r.OriginMismatches != 0 || r.MaybeLostOpaque != 0 {
				t.Errorf("report %+v", *r)
			}
		})
	}
}

func TestHandle(t *testing.T) {
	head := func(n int, flags, kind byte) []byte {
		return append([]byte{0, 0xfb, byte(21 + n), flags, kind}, make([]byte, 16)...)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want uint64
		ok   bool
	}{
		{"squashfs, ext4", append(head(8, 0, 1), 4, 3, 2, 1, 9, 9, 9, 9), 0x01020304, true},
		{"with the parent", append(head(16, 4, 2), 4, 3, 2, 1, 9, 9, 9, 9, 8, 8, 8, 8, 7, 7, 7, 7), 0x01020304, true},
		{"tmpfs", append(head(12, 0, 1), 9, 9, 9, 9, 4, 3, 2, 1, 8, 7, 6, 5), 0x0506070801020304, true},
		{"big endian", append(head(8, 1, 1), 1, 2, 3, 4, 9, 9, 9, 9), 0x01020304, true},
		{"bytes after its end", append(head(8, 0, 1), 4, 3, 2, 1, 9, 9, 9, 9, 1), 0x01020304, true},
		{"no identifier", head(0, 0, 1), 0, false},
		{"length beyond the end", head(8, 0, 1), 0, false},
		{"another length", append(head(4, 0, 1), 4, 3, 2, 1), 0, false},
		{"later version", append([]byte{1}, append(head(8, 0, 1), 4, 3, 2, 1, 9, 9, 9, 9)[1:]...), 0, false},
		{"unknown flag", append(head(8, 8, 1), 4, 3, 2, 1, 9, 9, 9, 9), 0, false},
	} {
		h, err := parseHandle(tt.in)
		if h.inode != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: inode %#x, %v", tt.name, h.inode, err)
		}
	}
}

func FuzzHandle(f *testing.F) {
	f.Add([]byte(fileHandle(7, 99)))
	f.Add([]byte(fileHandle(1<<31, 0))[:28])
	big := []byte(fileHandle(0x01020304, 0))
	big[3] = 1
	f.Add(big)
	f.Add(append([]byte{0, 0xfb, 33, 0, 1}, make([]byte, 28)...))
	f.Add([]byte{0, 0xfb, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHandle(b)
		if err != nil {
			if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
				t.Errorf("error %v is of no kind", err)
			}
			return
		}
		if h.inode == 0 && !strings.Contains(string(b), "\x00\x00\x00\x00") {
			t.Errorf("no inode in % x", b)
		}
	})
}
