package stick

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// TestBlkid makes one file system of each kind, and compares kind, label and
// UUID with what blkid prints.
func TestBlkid(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int64
		args  []string // %s is the image
		opens bool
	}{
		{"fat12", 4 << 20, []string{"mkfs.fat", "-F12", "-n", "MY STICK", "%s"}, true},
		{"fat16", 30 << 20, []string{"mkfs.fat", "-F16", "%s"}, true},
		{"fat32", 80 << 20, []string{"mkfs.fat", "-F32", "-n", "STICK32", "%s"}, true},
		{"fat with a table", 80 << 20, []string{"mkfs.fat", "-F32", "--mbr=y", "-n", "STICK32", "%s"}, true},
		{"fat of 4096", 300 << 20, []string{"mkfs.fat", "-S4096", "-F32", "%s"}, true},
		{"exfat", 16 << 20, []string{"mkfs.exfat", "-L", "größer", "%s"}, true},
		{"exfat, no label", 16 << 20, []string{"mkfs.exfat", "%s"}, true},
		{"ext2", 8 << 20, []string{"mke2fs", "-qt", "ext2", "-L", "persistence", "%s"}, true},
		{"ext3", 8 << 20, []string{"mke2fs", "-qt", "ext3", "%s"}, true},
		{"ext4", 8 << 20, []string{"mke2fs", "-qt", "ext4", "-L", "ext label", "%s"}, true},
		{"ext4 without a journal", 8 << 20, []string{"mke2fs", "-qt", "ext4", "-O", "^has_journal", "%s"}, true},
		{"btrfs", 120 << 20, []string{"mkfs.btrfs", "-q", "-L", "btrfs label", "%s"}, false},
		{"xfs", 320 << 20, []string{"mkfs.xfs", "-q", "-L", "xfs label", "%s"}, false},
		{"f2fs", 64 << 20, []string{"mkfs.f2fs", "-q", "-l", "f2fs größer", "%s"}, false},
		{"ntfs", 16 << 20, []string{"mkntfs", "-qFf", "%s"}, false},
		{"erofs", 0, []string{"mkfs.erofs", "%s", "."}, false},
		{"squashfs", 0, []string{"mksquashfs", ".", "%s", "-quiet", "-no-progress"}, false},
		{"luks1", 16 << 20, []string{"cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "%s", "-"},
			false},
		{"luks2", 32 << 20, []string{"cryptsetup", "luksFormat", "-q", "--type", "luks2", "--label", "luks label", "--pbkdf", "pbkdf2",
			"--pbkdf-force-iterations", "1000", "%s", "-"}, false},
		{"swap", 8 << 20, []string{"mkswap", "-q", "-L", "swap label", "%s"}, false},
		{"iso", 0, []string{"xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "Fedora-WS-Live-40", "-o", "%s", "."}, true},
		{"iso with Joliet", 0, []string{"xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", "größer als ASCII", "-o", "%s", "."},
			true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			systest.NeedTools(t, c.args[0])
			dir := t.TempDir()
			src, path := filepath.Join(dir, "src"), filepath.Join(dir, "img")
			if err := os.Mkdir(src, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(src, "file"), []byte("content"), 0o644); err != nil {
				t.Fatal(err)
			}
			if c.size != 0 {
				systest.BlankAt(t, path, c.size)
			}
			args := append([]string{}, c.args[1:]...)
			for i, a := range args {
				switch a {
				case "%s":
					args[i] = path
				case ".":
					args[i] = src
				}
			}
			systest.Feed(t, "secret", c.args[0], args...)
			s := open(t, path)
			if len(s.Partitions) != 1 || s.Partitions[0].Number != 0 || s.Table.Kind != "" {
				t.Fatalf("%+v", s.Partitions)
			}
			p, want := s.Partitions[0], blkid(t, path)
			label := unescape(want["FS_LABEL_ENC"])
			if p.FileSystem != want["FS_TYPE"] || p.UUID != want["FS_UUID"] || p.Label != label {
				t.Errorf("%s %q %s, blkid has %s %q %s", p.FileSystem, p.Label, p.UUID, want["FS_TYPE"], label, want["FS_UUID"])
			}
			root, err := p.Root()
			if c.opens {
				if err != nil || root.Type != tree.Directory || p.Err != nil {
					t.Error(root, err, p.Err)
				}
				if again, err := p.Root(); again != root || err != nil {
					t.Error(again, err)
				}
				if _, err := root.Children(); err != nil {
					t.Error(err)
				}
			} else if !errors.Is(err, tree.ErrUnsupported) || p.Err == nil || hintOf(err) == "" {
				t.Errorf("%v: %q", err, hintOf(err))
			}
			// The same inside of a partition table.
			inside(t, path, p)
		})
	}
}

// inside puts an image into the second partition of a disk, and finds it there.
func inside(t *testing.T, path string, want *Partition) {
	systest.NeedTools(t, "sfdisk")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	size := int(st.Size())
	disk := systest.Blank(t, int64(size)+4<<20)
	systest.Feed(t, "label: gpt\nsize=1M\nsize="+itoa((size+511)/512)+", name=data\n", "sfdisk", "-q", disk)
	systest.Run(t, "dd", "if="+path, "of="+disk, "bs=1M", "seek=2", "conv=notrunc,sparse", "status=none")
	s := open(t, disk)
	if len(s.Partitions) != 2 || s.Table.Kind != "gpt" {
		t.Fatalf("%+v", s.Partitions)
	}
	if p := s.Partitions[0]; p.FileSystem != "" || !errors.Is(p.Err, tree.ErrUnsupported) || hintOf(p.Err) == "" {
		t.Errorf("%+v", p)
	}
	p := s.Partitions[1]
	if p.FileSystem != want.FileSystem || p.Label != want.Label || p.UUID != want.UUID || p.Number != 2 || p.Start != 2<<20 ||
		p.Name != "data" || (p.Err == nil) != (want.Err == nil) {
		t.Errorf("%+v", p)
	}
	got := blkid(t, disk, "-O", "2097152", "-S", itoa(int(p.Size)))
	if got["FS_TYPE"] != p.FileSystem {
		t.Errorf("blkid has %v", got)
	}
}

func itoa(n int) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}
