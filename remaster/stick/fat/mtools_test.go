package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relive/tree/hostfs"
	"relive/tree/systest"
)

// TestMtools reads what mkfs.fat and mtools wrote: random trees on all three
// formats, with free space in pieces, so that files are too.
func TestMtools(t *testing.T) {
	systest.NeedTools(t, "mkfs.fat", "mcopy", "mdel", "fsck.fat")
	for i, c := range []struct {
		kind Kind
		size int64
		args []string
	}{
		{FAT12, 6 << 20, []string{"-F12", "-s8"}},
		{FAT12, 16 << 20, []string{"-F12", "-s16", "-r512"}},
		{FAT16, 24 << 20, []string{"-F16", "-s2"}},
		{FAT16, 40 << 20, []string{"-F16", "-s4", "-f1"}},
		{FAT32, 100 << 20, []string{"-F32", "-s2"}},
		{FAT32, 300 << 20, []string{"-F32", "-s8"}},
		{FAT32, 600 << 20, []string{"-F32", "-s2", "-S4096"}},
	} {
		t.Run(fmt.Sprint(c.kind, c.args), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 3))
			dir := t.TempDir()
			host, img := filepath.Join(dir, "host"), filepath.Join(dir, "img")
			if err := os.Mkdir(host, 0o755); err != nil {
				t.Fatal(err)
			}
			populate(t, r, host, true, 1, c.size > 20<<20)
			systest.BlankAt(t, img, c.size)
			systest.Run(t, "mkfs.fat", append(c.args, "-n", "My Stick", img)...)

			// Files with gaps between them, and all but every second gone again.
			frag := filepath.Join(dir, "frag")
			if err := os.Mkdir(frag, 0o755); err != nil {
				t.Fatal(err)
			}
			var drop []string
			for k := range 60 {
				name := fmt.Sprintf("gap%d", k)
				if err := os.WriteFile(filepath.Join(frag, name), make([]byte, 1+r.IntN(20000)), 0o644); err != nil {
					t.Fatal(err)
				}
				drop = append(drop, "::/frag/"+name)
			}
			systest.Run(t, "mcopy", "-i", img, "-s", "-m", frag, "::/")
			for k := 0; k < len(drop); k += 2 {
				systest.Run(t, "mdel", "-i", img, drop[k])
			}
			if c.kind == FAT32 {
				dropHint(t, img)
			}
			if err := os.WriteFile(filepath.Join(host, "#pieces"), bytes.Repeat([]byte("0123456789abcde\n"), 20000), 0o644); err != nil {
				t.Fatal(err)
			}
			entries, err := filepath.Glob(filepath.Join(host, "*"))
			if err != nil {
				t.Fatal(err)
			}
			systest.Run(t, "mcopy", append(append([]string{"-i", img, "-s", "-m"}, entries...), "::/")...)
			for k := 1; k < len(drop); k += 2 {
				systest.Run(t, "mdel", "-i", img, drop[k])
			}
			systest.Run(t, "mrd", "-i", img, "::/frag")
			systest.Run(t, "fsck.fat", "-n", img)

			fs := openFile(t, img)
			if fs.Kind() != c.kind {
				t.Fatal(fs.Kind())
			}
			want, err := hostfs.Open(host)
			if err != nil {
				t.Fatal(err)
			}
			root := rootOf(t, fs)
			if n := equalTrees(t, root, want, "", 2*time.Second); n < 100 {
				t.Errorf("only %d nodes were compared", n)
			}
			if n := fragments(t, root); n < 1 {
				t.Errorf("only %d files are in pieces", n)
			}
			if label, err := fs.Label(); label != "MY STICK" && label != "My Stick" || err != nil {
				t.Errorf("label %q, %v", label, err)
			}
			if got := blkid(t, img, "UUID"); got != fs.UUID() {
				t.Errorf("UUID %s, blkid has %s", fs.UUID(), got)
			}
			if got := blkid(t, img, "LABEL"); got != "MY STICK" && got != "My Stick" {
				t.Errorf("blkid has the label %q", got)
			}
			if fs.Dirty() {
				t.Error("dirty")
			}
			// A lookup ignores case, as that of a mounted file system.
			if n, err := root.Lookup("liveos"); n == nil || n.Name != "LiveOS" || err != nil {
				t.Error(n, err)
			}
			if n, err := root.Lookup("no such name"); n != nil || err != nil {
				t.Error(n, err)
			}
		})
	}
}

func blkid(t *testing.T, img, tag string) string {
	t.Helper()
	systest.NeedTools(t, "blkid")
	return strings.TrimSpace(systest.Output(t, "blkid", "-p", "-o", "value", "-s", tag, img))
}

// dropHint takes the hint away where free clusters begin, so that mtools looks for
// them from the first on.
func dropHint(t *testing.T, img string) {
	t.Helper()
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	boot := make([]byte, 512)
	if _, err := f.ReadAt(boot, 0); err != nil {
		t.Fatal(err)
	}
	sector := int64(binary.LittleEndian.Uint16(boot[bsBytesPerSector:]))
	if _, err := f.WriteAt([]byte{0xFF, 0xFF, 0xFF, 0xFF}, sector+492); err != nil {
		t.Fatal(err)
	}
}
