package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// blkid returns what blkid tells of an image.
func blkid(t testing.TB, path string) map[string]string {
	t.Helper()
	systest.NeedTools(t, "blkid")
	out := map[string]string{}
	text, _ := systest.Try(t, "blkid", "-p", "-o", "udev", path) // 2 where it knows nothing
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			out[strings.TrimPrefix(key, "ID_")] = value
		}
	}
	return out
}

// unescape undoes the \x20 of blkid's udev output.
func unescape(s string) string {
	s, err := strconv.Unquote(`"` + s + `"`)
	if err != nil {
		return err.Error()
	}
	return s
}

// TestTools makes one image of each kind with the tool that people use, and
// compares kind, label, UUID and the table beside it with what blkid prints.
func TestTools(t *testing.T) {
	luks := []string{"cryptsetup", "luksFormat", "-q", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "%s", "-"}
	for _, c := range []struct {
		name string
		kind Kind
		size int64 // of the image before, in MiB; 0 where the tool makes it
		args string
	}{
		{"fat12", FAT, 4, "mkfs.fat -F12 -n MY_STICK %s"},
		{"fat16", FAT, 30, "mkfs.fat -F16 %s"},
		{"fat32", FAT, 80, "mkfs.fat -F32 -n STICK32 %s"},
		{"fat with a table", FAT, 80, "mkfs.fat -F32 --mbr=y -n STICK32 %s"},
		{"exfat", ExFAT, 16, "mkfs.exfat -L größer %s"},
		{"ext2", Ext2, 8, "mke2fs -qt ext2 -L persistence %s"},
		{"ext2 without features", Ext2, 8, "mke2fs -qt ext2 -O none -r 0 %s"},
		{"ext3", Ext3, 8, "mke2fs -qt ext3 %s"},
		{"ext4", Ext4, 8, "mke2fs -qt ext4 -L home-fs %s"},
		{"ext4 without a journal", Ext4, 8, "mke2fs -qt ext4 -O ^has_journal %s"},
		{"ext4 of 1K", Ext4, 8, "mke2fs -qt ext4 -b 1024 %s"},
		{"journal", JBD, 8, "mke2fs -qO journal_dev %s"},
		{"btrfs", Btrfs, 120, "mkfs.btrfs -q -L btrfslabel %s"},
		{"xfs", XFS, 320, "mkfs.xfs -q -L xfslabel %s"},
		{"f2fs", F2FS, 64, "mkfs.f2fs -q -l größer %s"},
		{"ntfs", NTFS, 16, "mkntfs -qFf -L größer %s"},
		{"ntfs without a label", NTFS, 16, "mkntfs -qFf -c 512 %s"},
		{"erofs", EROFS, 0, "mkfs.erofs %s src"},
		{"squashfs", SquashFS, 0, "mksquashfs src %s -quiet -no-progress"},
		{"luks1", LUKS, 16, strings.Join(append(luks, "--type", "luks1"), " ")},
		{"luks2", LUKS, 32, strings.Join(append(luks, "--type", "luks2", "--label", "lukslabel"), " ")},
		{"swap", Swap, 8, "mkswap -q -L swaplabel %s"},
		{"swap of 64K pages", Swap, 8, "mkswap -q -p 65536 %s"},
		{"iso", ISO9660, 0, "xorriso -as mkisofs -quiet -R -V Fedora-WS-Live-40 -o %s src"},
		{"iso with Joliet", ISO9660, 0, "xorriso -as mkisofs -quiet -J -R -V größer_als_ASCII -o %s src"},
		{"iso with a table", ISO9660, 0, "xorriso -as mkisofs -quiet -R -V HYBRID -partition_offset 16 -o %s src"},
		{"nilfs2", NILFS2, 130, "mkfs.nilfs2 -q -L nilfslabel %s"},
		{"jfs", JFS, 16, "mkfs.jfs -q -L jfslabel %s"},
		{"reiserfs", ReiserFS, 40, "mkfs.reiserfs -qff -l reiserlabel %s"},
		{"reiserfs 3.5", ReiserFS, 40, "mkfs.reiserfs -qff --format 3.5 %s"},
		{"udf", UDF, 8, "mkudffs -l größer %s"},
		{"udf of 512", UDF, 8, "mkudffs -b 512 -l udflabel --vsid 0123456789 %s"},
		{"udf 1.02", UDF, 8, "mkudffs -r 1.02 -b 2048 %s"},
		{"minix", Minix, 4, "mkfs.minix -1 %s"},
		{"minix of short names", Minix, 4, "mkfs.minix -1 -n 14 %s"},
		{"minix 2", Minix, 4, "mkfs.minix -2 %s"},
		{"minix 3", Minix, 4, "mkfs.minix -3 %s"},
		{"cramfs", CramFS, 0, "mkfs.cramfs -n cramlabel src %s"},
		{"romfs", RomFS, 0, "genromfs -f %s -d src -V romlabel"},
		{"hfs", HFS, 4, "hformat -l hfslabel %s"},
		{"apfs", APFS, 520, "mkapfs -L apfslabel %s"},
		{"bfs", BFS, 4, "mkfs.bfs %s"},
		{"verity", Verity, 0, "veritysetup format src/file %s"},
		{"gpt", GPT, 8, "sfdisk -q -X gpt %s"},
		{"mbr", MBR, 8, "sfdisk -q -X dos %s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(c.args)
			systest.NeedTools(t, args[0])
			dir := systest.TempDir(t)
			src, path := filepath.Join(dir, "src"), filepath.Join(dir, "img")
			systest.Must(t, os.Mkdir(src, 0o755))
			systest.Must(t, os.WriteFile(filepath.Join(src, "file"), bytes.Repeat([]byte("content"), 2000)[:8192], 0o644))
			if c.size != 0 {
				systest.BlankAt(t, path, c.size<<20)
			}
			for i, a := range args {
				args[i] = strings.ReplaceAll(strings.ReplaceAll(a, "%s", path), "src", src)
			}
			stdin := "secret"
			if args[0] == "sfdisk" {
				stdin = "size=1M\n"
			}
			systest.Feed(t, stdin, args[0], args[1:]...)
			got, err := File(path)
			if err != nil {
				t.Fatal(err)
			}
			want := blkid(t, path)
			label, kind := unescape(want["FS_LABEL_ENC"]), Kind(want["FS_TYPE"])
			if kind == "" {
				kind = Kind(want["PART_TABLE_TYPE"])
			}
			if kind != c.kind {
				t.Fatalf("blkid has %v", want)
			}
			if got.Kind != kind || got.UUID != want["FS_UUID"] || got.Label != label {
				t.Errorf("%s %q %s, blkid has %v", got.Kind, got.Label, got.UUID, want)
			}
			switch table := want["PART_TABLE_TYPE"]; {
			case got.Kind == FAT || got.Kind == ExFAT || got.Kind == NTFS: // a table in their own sector is a part of them
			case string(got.Table) != table:
				t.Errorf("table %s, blkid has %s", got.Table, table)
			}
			if got.Name() == "" || got.Kind.Hint() == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// crafted lays a signature into an image, with what its decoder asks for.
func crafted(s signature, size int64) []byte {
	img := make([]byte, size)
	at := s.at
	if s.end {
		at = s.fromEnd(size)
	}
	copy(img[at:], s.magic)
	b := img[s.base(at):]
	uuid := []byte("0123456789abcdef")
	switch s.kind {
	case LUKS:
		b[7] = 2
		copy(b[24:], "label")
		copy(b[168:], "01234567-89ab-cdef-0123-456789abcdef")
		le.PutUint64(b[8:], 16<<10)
		be.PutUint64(b[256:], uint64(at))
	case LVM:
		copy(b[24:], "LVM2 001")
		le.PutUint32(b[20:], 32)
		copy(b[32:], "abcdef0123456789abcdefghijklmnop")
	case MDRAID:
		if s.at == 64<<10 {
			for _, at := range []int{20, 52, 56, 60} {
				copy(b[at:], uuid)
			}
			le.PutUint32(b[8:], 90)
			if s.magic == raidMagicBig {
				be.PutUint32(b[8:], 90)
			}
			break
		}
		le.PutUint32(b[4:], 1)
		copy(b[16:], uuid)
		copy(b[32:], "host:0")
		le.PutUint64(b[128:], uint64(at/512))
	case Bcachefs:
		copy(b[40:], uuid)
		copy(b[56:], uuid)
		le.PutUint16(b[16:], 1024)
		le.PutUint16(b[18:], 1024)
	case SquashFS:
		b[28] = 4
	case BitLocker:
		copy(b, "\xEB\x52\x90")
		if s.at != 3 {
			copy(img, "\xEB\x58\x90MSWIN4.1")
		}
	case ExFAT:
		b[510], b[511] = 0x55, 0xAA
	case CramFS:
		copy(b[16:], "Compressed ROMFS")
	case BFS:
		le.PutUint32(b[4:], 512)
	case Swap, Suspended:
		b[1024] = 1
	case HFS:
		be.PutUint32(b[20:], 4096)
		copy(b[36:], "\x03Mac")
		copy(b[116:], "12345678")
	case HFSPlus:
		copy(b[104:], "12345678")
		be.PutUint16(b[2:], 4)
		be.PutUint32(b[40:], 4096)
	case NILFS2:
		le.PutUint32(b, 2)
		le.PutUint16(b[8:], 280)
	case ReiserFS:
		copy(b[52:], "ReIsEr2Fs")
	case UDF:
		copy(img[isoFirst+isoSector+1:], "NSR02")
	case Minix:
		if s.magic == "\x5A\x4D" {
			copy(b, "\x40\x00\x00\x00\x00\x00\x01\x00\x01\x00\x05")
			b[20], b[29] = 100, 4
			break
		}
		copy(b, "\x40\x00\x64\x00\x01\x00\x01\x00\x05\x00")
		b[20] = 100
	case ZFS:
		for i := range 4 {
			le.PutUint64(img[at+112<<10+int64(i)<<10:], 0x00BAB10C)
		}
	case Bzip2:
		copy(b, "BZh91AY&SY")
	case LZMA:
		copy(b, "\x5D\x00\x00\x80\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")
	}
	return img
}

// imageFor is how large an image a signature has its place in.
func imageFor(s signature) int64 {
	if s.at > 512<<10 {
		return 5 << 20
	}
	return 1 << 20
}

// TestSignatures recognises each signature by the bytes alone, and compares with
// blkid those that it takes for whole. Of many it demands sums, or that more of
// the superblock makes sense; then it knows nothing of them.
func TestSignatures(t *testing.T) {
	dir := systest.TempDir(t)
	same := 0
	for _, s := range signatures() {
		img := crafted(s, imageFor(s))
		got, err := Of(bytes.NewReader(img), int64(len(img)))
		if err != nil || got.Kind != s.kind {
			t.Errorf("%s at %d: %+v, %v", s.kind, s.at, got, err)
		}
		if got.Kind.Name() == string(got.Kind) && strings.ContainsAny(got.Name(), "_") {
			t.Errorf("%s has no name for people", got.Kind)
		}
		path := filepath.Join(dir, "img")
		systest.Must(t, os.WriteFile(path, img, 0o600))
		want := blkid(t, path)
		if want["FS_TYPE"] == "" {
			continue
		}
		same++
		if kind := Kind(want["FS_TYPE"]); kind != got.Kind || want["FS_UUID"] != got.UUID || unescape(want["FS_LABEL_ENC"]) != got.Label {
			t.Errorf("%s at %d: %+v, blkid has %v", s.kind, s.at, got, want)
		}
	}
	if same < 30 {
		t.Errorf("blkid knows %d of them alone", same)
	}
}

// TestShort probes content of every length that ends before or within what is
// looked at.
func TestShort(t *testing.T) {
	for _, s := range signatures() {
		img := crafted(s, imageFor(s))
		for _, n := range []int64{0, 1, 4, 511, 512, 1024, s.at, s.at + 1, s.at + int64(len(s.magic)), s.at + 64, 64 << 10, 65<<10 + 1} {
			if n < 0 || n > int64(len(img)) {
				continue
			}
			if _, err := Of(bytes.NewReader(img[:n]), n); err != nil {
				t.Errorf("%s cut at %d: %v", s.kind, n, err)
			}
		}
	}
}

// TestUnknown tells zeros, zeros that something follows, and text.
func TestUnknown(t *testing.T) {
	follow := append(make([]byte, 64<<10), "data"...)
	for _, c := range []struct {
		name string
		img  []byte
		want Kind
		data int64
	}{
		{"nothing", nil, Unknown, -1},
		{"zeros", make([]byte, 100<<10), Zeros, -1},
		{"few zeros", make([]byte, 100), Zeros, -1},
		{"zeros and data", follow, Zeros, 64 << 10},
		{"text", []byte("a line\n"), Unknown, 0},
		{"a byte in the header", append(make([]byte, 4095), 1), Unknown, 4095},
	} {
		got, err := Of(bytes.NewReader(c.img), int64(len(c.img)))
		if err != nil || got != (Result{Kind: c.want}) || got.Kind.Known() {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		content, err := tree.Bytes(c.img).Open()
		if err != nil {
			t.Fatal(err)
		}
		if at, err := FirstData(context.Background(), content); at != c.data || err != nil {
			t.Errorf("%s: data at %d, %v", c.name, at, err)
		}
	}
	path := filepath.Join(t.TempDir(), "sparse")
	systest.BlankAt(t, path, 64<<30)
	c, err := hostfs.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if at, err := FirstData(context.Background(), c); at != -1 || err != nil {
		t.Errorf("a hole of 64 GiB: data at %d, %v", at, err)
	}
}

// TestStrong puts what a SquashFS or EROFS image may hold by chance where the
// short magic numbers of others stand.
func TestStrong(t *testing.T) {
	for _, s := range signatures() {
		if s.kind != SquashFS && s.kind != EROFS && s.kind != COW && s.kind != LUKS || s.at > 1024 {
			continue
		}
		img := crafted(s, 1<<20)
		img[1080], img[1081] = 0x53, 0xEF
		copy(img[isoFirst+1:], "CD001")
		copy(img[64<<10+64:], "_BHRfS_M")
		if got, err := Of(bytes.NewReader(img), int64(len(img))); err != nil || got.Kind != s.kind {
			t.Errorf("%s: %+v, %v", s.kind, got, err)
		}
	}
}

// failing fails from an offset on, as a broken stick does.
type failing struct {
	io.ReaderAt
	from int64
}

var errBroken = errors.New("input/output error")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, errBroken
	}
	return f.ReaderAt.ReadAt(p, off)
}

// TestBroken hands errors of the device on.
func TestBroken(t *testing.T) {
	img := make([]byte, 1<<20)
	for _, from := range []int64{0, 100, 64 << 10, 1<<20 - 64<<10} {
		if got, err := Of(failing{bytes.NewReader(img), from}, int64(len(img))); !errors.Is(err, errBroken) || got != (Result{}) {
			t.Errorf("from %d: %+v, %v", from, got, err)
		}
	}
}

// TestJoliet reconstructs labels of more than sixteen characters, or of other
// than ASCII.
func TestJoliet(t *testing.T) {
	for _, c := range []struct{ plain, joliet, want string }{
		{"PLAIN", "PLAIN", "PLAIN"},
		{"GR__ER", "größer", "größer"},
		{"A LABEL OF MORE THAN SIXTEEN", "a label of more ", "a label of more THAN SIXTEEN"},
		{"Mixed", "MIXED", "Mixed"},
		{"A-B", "a_b", "a-b"},
		{"ONE", "another", "another"},
		{"UNDER_SCORE", "under_score", "under_score"},
	} {
		var b []byte
		for _, r := range c.joliet {
			b = append(b, byte(r>>8), byte(r))
		}
		for len(b) < isoLabelLen {
			b = append(b, 0, ' ')
		}
		if got := jolietLabel(c.plain, b); got != c.want {
			t.Errorf("%q and %q: %q, want %q", c.plain, c.joliet, got, c.want)
		}
	}
}

// FuzzOf probes anything, with a signature in its place: the same bytes give the
// same answer, and nothing is an error.
func FuzzOf(f *testing.F) {
	for i := range signatures() {
		f.Add(uint8(i), []byte{}, []byte{1, 2, 3, 4, 5, 6, 7, 8}, uint16(0))
	}
	f.Fuzz(func(t *testing.T, which uint8, boot, super []byte, back uint16) {
		s := signatures()[int(which)%len(signatures())]
		const size = 512 << 10
		if s.at > size/2 && !s.end {
			return
		}
		img := crafted(s, size)
		at := s.at
		if s.end {
			at = s.fromEnd(size)
		}
		copy(img, boot)
		if at = max(at-int64(back), 0); at < int64(len(img)) {
			copy(img[at:], super)
		}
		one, err := Of(bytes.NewReader(img), int64(len(img)))
		if err != nil {
			t.Fatal(err)
		}
		if two, err := Of(bytes.NewReader(img), int64(len(img))); err != nil || two != one {
			t.Fatalf("%+v, %+v, %v", one, two, err)
		}
	})
}
