package stick

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/dmmerge"
	"relive/tree"
	"relive/tree/systest"
)

var _ dmmerge.Store = (*InPlace)(nil)

// bytesOf reads a file of the host.
func bytesOf(t testing.TB, path string) []byte {
	t.Helper()
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestInPlaceFAT overwrites parts of a file in pieces, and holds the result
// against mtools and fsck.fat: not a byte differs but those.
func TestInPlaceFAT(t *testing.T) {
	systest.NeedTools(t, "mkfs.fat", "mcopy", "mdel", "mtype", "fsck.fat")
	for _, kind := range []string{"-F12", "-F16", "-F32"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			img := systest.Blank(t, map[string]int64{"-F12": 6 << 20, "-F16": 20 << 20, "-F32": 40 << 20}[kind])
			systest.Run(t, "mkfs.fat", kind, map[bool]string{true: "-s1", false: "-s4"}[kind == "-F32"], img)
			r := rand.New(rand.NewPCG(1, 2))
			want := make([]byte, 700_001)
			for i := range want {
				want[i] = byte(r.Uint32())
			}
			for _, name := range []string{"gap1", "gap2", "gap3"} {
				write(t, img, 0, name, strings.Repeat("x", 20000))
			}
			systest.Run(t, "mdel", "-i", img, "::/gap1", "::/gap3")
			write(t, img, 0, "other", "another file")
			write(t, img, 0, "overlay", string(want))
			before := bytesOf(t, img)

			s, err := OpenWritable(img)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f, err := s.InPlace(s.Partitions[0], "overlay")
			if err != nil {
				t.Fatal(err)
			}
			if kind != "-F32" && len(f.pieces) < 2 {
				t.Error("the file is in one piece")
			}
			changed := 0
			mark := make([]bool, len(want))
			for range 30 {
				p := make([]byte, 1+r.IntN(30000))
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				off := r.IntN(len(want) - len(p) + 1)
				if n, err := f.WriteAt(p, int64(off)); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
				copy(want[off:], p)
				for i := range p {
					mark[off+i] = true
				}
			}
			for _, m := range mark {
				if m {
					changed++
				}
			}
			for _, off := range []int64{-1, int64(len(want)) - 1, int64(len(want))} {
				if n, err := f.WriteAt([]byte("xx"), off); n != 0 || err == nil {
					t.Errorf("at %d: %d bytes, %v", off, n, err)
				}
			}
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
			got := make([]byte, len(want))
			if err := tree.ReadFull(f, got, 0); err != nil || !bytes.Equal(got, want) {
				t.Error("read back: other content", err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if systest.Output(t, "mtype", "-i", img, "::/overlay") != string(want) {
				t.Error("mtools reads other content")
			}
			systest.Run(t, "fsck.fat", "-n", img)
			differ := 0
			for i, b := range bytesOf(t, img) {
				if b != before[i] {
					differ++
				}
			}
			if differ > changed || differ < changed*9/10 {
				t.Errorf("%d bytes of the image differ, %d were written", differ, changed)
			}
			// What dm reset does to an overlay.
			f, err = s.InPlace(s.Partitions[0], "OVERLAY")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dmmerge.Reset(f, f.Size(), "overlay", dmmerge.ResetOptions{Force: true}); err != nil {
				t.Fatal(err)
			}
			clear(want[:64<<10])
			if got := systest.Output(t, "mtype", "-i", img, "::/overlay"); got != string(want) {
				t.Error("other content after a reset")
			}
			systest.Run(t, "fsck.fat", "-n", img)
		})
	}
}

// TestInPlaceExt: a file with a hole, in a partition.
func TestInPlaceExt(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "e2fsck", "debugfs", "sfdisk")
	dir := t.TempDir()
	src, ext := filepath.Join(dir, "src"), systest.Blank(t, 20<<20)
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("sixteen bytes.. "), 30000)
	sparse := filepath.Join(src, "sparse")
	if err := os.WriteFile(sparse, want, 0o644); err != nil {
		t.Fatal(err)
	}
	host, err := os.OpenFile(sparse, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := host.WriteAt([]byte("the end"), 1<<20-7); err != nil {
		t.Fatal(err)
	}
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "tiny"), []byte("tiny"), 0o644); err != nil {
		t.Fatal(err)
	}
	systest.Run(t, "mke2fs", "-qt", "ext4", "-O", "inline_data,^metadata_csum", "-d", src, ext)
	disk := systest.Blank(t, 30<<20)
	systest.Feed(t, "label: dos\nstart=2048, size=20M\n", "sfdisk", "-q", disk)
	systest.Run(t, "dd", "if="+ext, "of="+disk, "bs=1M", "seek=1", "conv=notrunc", "status=none")
	s, err := OpenWritable(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f, err := s.InPlace(s.Partitions[0], "sparse")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), 70000); err != nil {
		t.Fatal(err)
	}
	copy(want[70000:], "changed")
	before := bytesOf(t, disk)
	for _, off := range []int64{480000, 491516, 1<<20 - 20005} {
		if n, err := f.WriteAt(make([]byte, 20005), off); n != 0 || err == nil {
			t.Errorf("at %d: %d, %v", off, n, err)
		}
	}
	if _, err := f.WriteAt([]byte("x"), 600000); !errors.Is(err, tree.ErrUnsupported) || hintOf(err) == "" {
		t.Error(err)
	}
	if !bytes.Equal(bytesOf(t, disk), before) {
		t.Error("a refused write has written")
	}
	for path, want := range map[string]error{"tiny": tree.ErrUnsupported, "missing": os.ErrNotExist, "lost+found": tree.ErrNoData} {
		if _, err := s.InPlace(s.Partitions[0], path); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	systest.Run(t, "dd", "if="+disk, "of="+ext, "bs=1M", "skip=1", "count=20", "status=none")
	systest.Run(t, "e2fsck", "-fn", ext)
	out := filepath.Join(dir, "out")
	systest.Run(t, "debugfs", "-R", "dump sparse "+out, ext)
	if got := bytesOf(t, out); !bytes.Equal(got[:len(want)], want) || !tree.IsZero(got[len(want):1<<20-7]) ||
		string(got[1<<20-7:]) != "the end" {
		t.Error("debugfs reads other content")
	}

	// A journal that is not clean.
	p := bytesOf(t, disk)
	p[1<<20+1024+96] |= 4
	if err := os.WriteFile(disk, p, 0o644); err != nil {
		t.Fatal(err)
	}
	dirty, err := OpenWritable(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer dirty.Close()
	if _, err := dirty.InPlace(dirty.Partitions[0], "sparse"); !errors.Is(err, tree.ErrUnsupported) ||
		!strings.Contains(hintOf(err), "e2fsck") {
		t.Error(err)
	}
	if ro := open(t, disk); ro != nil {
		if _, err := ro.InPlace(ro.Partitions[0], "sparse"); !errors.Is(err, os.ErrPermission) {
			t.Error(err)
		}
	}
}

// TestBusyDevice: a device that is mounted is not opened for writing.
func TestBusyDevice(t *testing.T) {
	systest.NeedRoot(t, "losetup", "mke2fs", "mount")
	img := systest.Blank(t, 8<<20)
	systest.Run(t, "mke2fs", "-qt", "ext4", img)
	loop, _ := systest.Loop(t, img, 0)
	if s, err := OpenWritable(loop); err != nil {
		t.Fatal(err)
	} else if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	systest.Mount(t, "", "", loop)
	if _, err := OpenWritable(loop); !errors.Is(err, unix.EBUSY) || hintOf(err) == "" {
		t.Error(err)
	}
	if s, err := Open(loop); err != nil {
		t.Error(err)
	} else if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestInPlaceExFAT: the same in a file of exFAT that lies in pieces.
func TestInPlaceExFAT(t *testing.T) {
	systest.NeedTools(t, "fsck.exfat")
	img := filepath.Join(t.TempDir(), "img")
	systest.UnpackTo(t, filepath.Join("fat", "testdata", "exfat.img.zst"), img)
	s, err := OpenWritable(img)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f, err := s.InPlace(s.Partitions[0], "pieces")
	if err != nil {
		t.Fatal(err)
	}
	if len(f.pieces) < 2 {
		t.Error("the file is in one piece")
	}
	want := make([]byte, f.Size())
	if err := tree.ReadFull(f, want, 0); err != nil {
		t.Fatal(err)
	}
	patch := bytes.Repeat([]byte("changed "), 10000)
	if _, err := f.WriteAt(patch, 1001); err != nil {
		t.Fatal(err)
	}
	copy(want[1001:], patch)
	root, err := open(t, img).Partitions[0].Root()
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, root, "pieces"); got != string(want) {
		t.Error("other content")
	}
	systest.Run(t, "fsck.exfat", "-n", img)
}
