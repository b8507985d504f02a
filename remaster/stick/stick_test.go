package stick

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/remaster/stick/partition"
	"relive/tree"
	"relive/tree/systest"
)

// write puts a file into a FAT that begins at an offset of an image.
func write(t testing.TB, img string, offset int64, path, content string) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "src")
	if err := os.WriteFile(src, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("%s@@%d", img, offset)
	for dir := filepath.Dir(path); dir != "."; dir = "." {
		systest.Run(t, "mmd", "-D", "s", "-i", at, "::/"+dir)
	}
	systest.Run(t, "mcopy", "-i", at, src, "::/"+path)
}

// TestDisk opens a stick of a FAT, an ext4 and a LUKS partition, with a GPT and
// with an MBR whose partitions are logical.
func TestDisk(t *testing.T) {
	systest.NeedTools(t, "sfdisk", "mkfs.fat", "mcopy", "mke2fs")
	for _, label := range []string{"gpt", "dos"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			disk := systest.Blank(t, 80<<20)
			script, first, second := "label: gpt\nstart=2048, size=20M, name=boot\nsize=30M, name=data\nsize=1M\n", 1, 2
			starts := []int64{1 << 20, 21 << 20, 51 << 20}
			if label == "dos" {
				script, first, second = "label: dos\nstart=2048, size=20M, type=c\ntype=5\nstart=45056, size=28M, type=83\nsize=1M\n", 1, 5
				starts = []int64{1 << 20, 22 << 20, 51 << 20}
			}
			systest.Feed(t, script, "sfdisk", "-q", disk)
			fat, ext := systest.Blank(t, 20<<20), systest.Blank(t, 28<<20)
			systest.Run(t, "mkfs.fat", "-n", "BOOT", fat)
			write(t, fat, 0, "LiveOS/squashfs.img", "a base")
			src := filepath.Join(t.TempDir(), "src")
			if err := os.MkdirAll(filepath.Join(src, "antiX"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(src, "antiX", "linuxfs"), []byte("another base"), 0o644); err != nil {
				t.Fatal(err)
			}
			systest.Run(t, "mke2fs", "-qt", "ext4", "-L", "data", "-d", src, ext)
			luks := systest.Blank(t, 4096)
			if err := os.WriteFile(luks, append([]byte("LUKS\xBA\xBE\x00\x01"), make([]byte, 4088)...), 0o644); err != nil {
				t.Fatal(err)
			}
			for i, part := range []string{fat, ext, luks} {
				systest.Run(t, "dd", "if="+part, "of="+disk, "bs=4096", fmt.Sprintf("seek=%d", starts[i]/4096), "conv=notrunc",
					"status=none")
			}
			s := open(t, disk)
			byNumber := map[int]*Partition{}
			for _, p := range s.Partitions {
				byNumber[p.Number] = p
			}
			boot, data := byNumber[first], byNumber[second]
			if boot == nil || boot.FileSystem != "vfat" || boot.Label != "BOOT" || boot.Start != starts[0] {
				t.Fatalf("%+v", boot)
			}
			root, err := boot.Root()
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, root, "LiveOS/squashfs.img"); got != "a base" {
				t.Errorf("%q", got)
			}
			if data == nil || data.FileSystem != "ext4" || data.Label != "data" || data.Start != starts[1] {
				t.Fatalf("%+v", data)
			}
			if root, err = data.Root(); err != nil {
				t.Fatal(err)
			}
			if got := read(t, root, "antiX/linuxfs"); got != "another base" {
				t.Errorf("%q", got)
			}
			last := byNumber[second+1]
			if last == nil || last.FileSystem != "crypto_LUKS" || !errors.Is(last.Err, tree.ErrUnsupported) ||
				!strings.Contains(hintOf(last.Err), "cryptsetup") {
				t.Errorf("%+v", last)
			}
			if label == "dos" {
				if ext := byNumber[2]; ext == nil || !ext.Extended || ext.FileSystem != "" {
					t.Errorf("%+v", ext)
				} else if _, err := ext.Root(); !errors.Is(err, tree.ErrUnsupported) {
					t.Error(err)
				}
			}
			if want := blkid(t, disk); want["PART_TABLE_TYPE"] != label || want["PART_TABLE_UUID"] != s.Table.ID {
				t.Errorf("%s %s, blkid has %v", s.Table.Kind, s.Table.ID, want)
			}
		})
	}
}

// TestHybrid: an image that is an ISO 9660 and has a table shows the whole first.
func TestHybrid(t *testing.T) {
	systest.NeedTools(t, "xorriso", "mkfs.fat", "sfdisk")
	dir := t.TempDir()
	src, efi := filepath.Join(dir, "src"), filepath.Join(dir, "efi")
	if err := os.MkdirAll(filepath.Join(src, "LiveOS"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "LiveOS", "squashfs.img"), []byte("a base"), 0o644); err != nil {
		t.Fatal(err)
	}
	systest.BlankAt(t, efi, 2<<20)
	systest.Run(t, "mkfs.fat", "-n", "ESP", efi)
	esp := []string{"-append_partition", "2", "0xef", efi}
	for _, c := range []struct {
		name  string
		args  []string
		table partition.Kind
		same  int // partitions that show the whole once more
	}{
		{"plain", nil, partition.None, 0},
		{"MBR", esp, partition.MBR, 1},
		{"MBR from sector 1", append([]string{"--protective-msdos-label"}, esp...), partition.MBR, 0},
		{"MBR with an offset", append([]string{"-partition_offset", "16"}, esp...), partition.MBR, 1},
		{"GPT", append([]string{"-appended_part_as_gpt"}, esp...), partition.GPT, 0},
		{"GPT with an offset", append([]string{"-appended_part_as_gpt", "-partition_offset", "16"}, esp...), partition.GPT, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img := filepath.Join(t.TempDir(), "img")
			systest.Run(t, "xorriso", append(append([]string{"-as", "mkisofs", "-quiet", "-R", "-V", "HYBRID"}, c.args...), "-o", img,
				src)...)
			s := open(t, img)
			whole := s.Partitions[0]
			want := blkid(t, img)
			if whole.Number != 0 || whole.FileSystem != "iso9660" || whole.Label != "HYBRID" || whole.UUID != want["FS_UUID"] ||
				s.Table.Kind != c.table {
				t.Fatalf("%+v of a table of the kind %q", whole, s.Table.Kind)
			}
			for _, p := range s.Partitions {
				if p != whole && p.SameAs != whole {
					continue
				}
				root, err := p.Root()
				if err != nil {
					t.Fatal(err)
				}
				if got := read(t, root, "LiveOS/squashfs.img"); got != "a base" {
					t.Errorf("partition %d: %q", p.Number, got)
				}
			}
			same, esp := 0, 0
			for _, p := range s.Partitions[1:] {
				switch {
				case p.SameAs == whole:
					same++
				case p.FileSystem == "vfat" && p.Label == "ESP":
					esp++
				}
			}
			if want := min(1, len(c.args)); same != c.same || esp != want {
				for _, p := range s.Partitions {
					t.Errorf("%d %s %s %d+%d %s", p.Number, p.FileSystem, p.Label, p.Start, p.Size, p.Type)
				}
			}
			if len(s.Problems) != 0 {
				t.Error(s.Problems)
			}
		})
	}
}

// TestTableWins: what is left of a file system beside a table does not hide it.
func TestTableWins(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "sfdisk")
	disk := systest.Blank(t, 8<<20)
	systest.Run(t, "mke2fs", "-qt", "ext2", disk)
	if s := open(t, disk); len(s.Partitions) != 1 || s.Partitions[0].FileSystem != "ext2" {
		t.Fatalf("%+v", s.Partitions)
	}
	systest.Feed(t, "label: dos\nsize=1M\n", "sfdisk", "-q", "-w", "never", disk)
	if s := open(t, disk); len(s.Partitions) != 1 || s.Partitions[0].Number != 1 {
		t.Fatalf("%+v", s.Partitions)
	}
}

// TestDamaged: clear errors, with hints, and what is whole stays readable.
func TestDamaged(t *testing.T) {
	systest.NeedTools(t, "sfdisk", "mkfs.fat")
	for name, img := range map[string][]byte{"nothing": make([]byte, 1<<20), "empty": {}, "text": bytes.Repeat([]byte("text "), 1000)} {
		_, err := OpenReader(bytes.NewReader(img), int64(len(img)), 0, "img")
		if !errors.Is(err, tree.ErrUnsupported) || hintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	disk := systest.Blank(t, 8<<20)
	systest.Feed(t, "label: gpt\nsize=2M\nsize=2M\n", "sfdisk", "-q", disk)
	p, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	fat := systest.Blank(t, 2<<20)
	systest.Run(t, "mkfs.fat", fat)
	f, err := os.ReadFile(fat)
	if err != nil {
		t.Fatal(err)
	}
	copy(p[1<<20:], f)
	copy(p[3<<20:], f)
	p[3<<20+17] = 7 // entries of the root, which then end inside of a sector
	p[600]++
	s, err := OpenReader(bytes.NewReader(p), int64(len(p)), 0, "img")
	if err != nil || !s.Table.Backup || len(s.Problems) != 1 {
		t.Fatal(s, err)
	}
	if root, err := s.Partitions[0].Root(); err != nil || root == nil {
		t.Error(err)
	}
	clear(p[len(p)-512:])
	if _, err := OpenReader(bytes.NewReader(p), int64(len(p)), 0, "img"); !errors.Is(err, tree.ErrCorrupt) || hintOf(err) == "" {
		t.Error(err)
	}

	// A file system that is longer than its partition.
	long := append([]byte{}, f...)
	_, err = OpenReader(bytes.NewReader(long[:1<<20]), 1<<20, 0, "img")
	if err != nil {
		t.Fatal(err)
	}
	s, err = OpenReader(bytes.NewReader(long[:1<<20]), 1<<20, 0, "img")
	if err != nil || !errors.Is(s.Partitions[0].Err, tree.ErrCorrupt) || !strings.Contains(hintOf(s.Partitions[0].Err), "fsck.vfat") {
		t.Error(s, err)
	}
	if _, err := s.Partitions[0].Root(); !errors.Is(err, tree.ErrCorrupt) {
		t.Error(err)
	}
}

// TestErrors: what the host says is handed on.
func TestErrors(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	for _, path := range []string{t.TempDir(), "/dev/null"} {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "neither a file nor a block device") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestBlockDevice opens a loop device, whose sectors have 4096 bytes.
func TestBlockDevice(t *testing.T) {
	systest.NeedRoot(t, "losetup", "sfdisk", "mkfs.fat", "mcopy")
	disk := systest.Blank(t, 330<<20)
	loop, _ := systest.Loop(t, disk, 4096)
	systest.Feed(t, "label: gpt\nstart=256, size=76800, name=boot\n", "sfdisk", "-q", "--no-tell-kernel", loop)
	fat := systest.Blank(t, 300<<20)
	systest.Run(t, "mkfs.fat", "-F32", "-S4096", "-s1", "-n", "BOOT", fat)
	write(t, fat, 0, "linuxfs", "a base")
	systest.Run(t, "dd", "if="+fat, "of="+loop, "bs=4096", "seek=256", "conv=notrunc,sparse,fsync", "status=none")
	for _, path := range []string{loop, disk} {
		s := open(t, path)
		if s.Size != 330<<20 || s.Table.SectorSize != 4096 || len(s.Partitions) != 1 {
			t.Fatalf("%s: %+v %+v", path, s, s.Table)
		}
		p := s.Partitions[0]
		if p.Start != 1<<20 || p.Size != 300<<20 || p.Name != "boot" || p.Label != "BOOT" {
			t.Errorf("%+v", p)
		}
		root, err := p.Root()
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, root, "linuxfs"); got != "a base" {
			t.Errorf("%q", got)
		}
	}
}
