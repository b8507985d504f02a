package hostdisk

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/tree/systest"
)

func TestFreeSpace(t *testing.T) {
	dir := t.TempDir()
	free, err := FreeSpace(filepath.Join(dir, "not", "yet"))
	if err != nil || free <= 0 {
		t.Fatal(free, err)
	}
	out := strings.Fields(systest.Output(t, "df", "-B1", "--output=avail", dir))
	t.Log(free, out)
	if len(out) != 2 || len(out[1]) < 4 {
		t.Fatal(out)
	}
	if _, err := FreeSpace("a\x00b"); err == nil {
		t.Error("a path with NUL is taken")
	}
}

// TestAvailable: file systems that have no unit of their own, and such that are
// larger than any file can be.
func TestAvailable(t *testing.T) {
	for _, c := range []struct {
		frsize, bsize int64
		blocks        uint64
		want          int64
	}{
		{4096, 512, 3, 12288}, {0, 512, 3, 1536}, {0, 0, 3, 0}, {1, 1, math.MaxInt64, math.MaxInt64},
		{1, 1, math.MaxInt64 + 1, math.MaxInt64},
		{4096, 4096, math.MaxInt64 / 4096, math.MaxInt64 - 4095}, {4096, 4096, math.MaxInt64/4096 + 1, math.MaxInt64},
		{4096, 4096, math.MaxUint64, math.MaxInt64},
	} {
		var st unix.Statfs_t
		set(&st.Frsize, c.frsize)
		set(&st.Bsize, c.bsize)
		st.Bavail = c.blocks
		if got := available(&st); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// set sets a field whose width is the machine's.
func set[T int32 | int64](to *T, v int64) { *to = T(v) }

func TestSpaceOnTmpfs(t *testing.T) {
	dir, _ := systest.Mount(t, "tmpfs", "size=1m", "none")
	if free, err := FreeSpace(dir); err != nil || free != 1<<20 {
		t.Errorf("free: %d, %v", free, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, 100<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	if free, err := FreeSpace(filepath.Join(dir, "x", "y")); err != nil || free != 1<<20-100<<10 {
		t.Errorf("free: %d, %v", free, err)
	}
	if name, err := FilesystemType(dir); err != nil || name != "tmpfs" {
		t.Errorf("%s, %v", name, err)
	}
	if n, err := MaxFileSize(dir); err != nil || n != math.MaxInt64 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestTypes(t *testing.T) {
	// As include/uapi/linux/magic.h has them, or where it has not the sources.
	for magic, want := range map[int64]string{
		0xef53: "ext4", 0x4d44: "vfat", 0x2011bab0: "exfat", 0x9123683e: "btrfs", 0x58465342: "xfs", 0x01021994: "tmpfs",
		0x858458f6: "ramfs", 0x794c7630: "overlay", 0x65735546: "fuse", 0x5346544e: "ntfs", 0x7366746e: "ntfs3", 0x73717368: "squashfs",
		0x9660: "iso9660", 0x15013346: "udf", 0xf2f52010: "f2fs", 0x52654973: "reiserfs", 0x3153464a: "jfs", 0x6969: "nfs",
		0xff534d42: "cifs", 0xfe534d42: "cifs", 0x01021997: "9p", 0x61756673: "aufs", 0xca451a4e: "bcachefs", 0x2fc12fc1: "zfs",
		0x12345: "0x12345",
	} {
		if got := typeName(magic); got != want {
			t.Errorf("%#x: %s, want %s", magic, got, want)
		}
	}
	if maxFileSize("vfat") != 4294967295 || maxFileSize("exfat") != math.MaxInt64 {
		t.Error("the limit of FAT")
	}
	if name, err := FilesystemType("/proc/self"); err != nil || name != "proc" {
		t.Errorf("%s, %v", name, err)
	}
}

func TestParseMounts(t *testing.T) {
	got, err := parseMountinfo("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/a\\134b rw,errors=continue\n37 35 " +
		"7:0 / / ro - squashfs /dev/loop0 ro\n")
	if err != nil || len(got) != 2 || !reflect.DeepEqual(got[0], mount{"98:0", "/mnt1", "/mnt 2", "ext3", `/dev/a\b`, nil}) ||
		!reflect.DeepEqual(got[1], mount{"7:0", "/", "/", "squashfs", "/dev/loop0", nil}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseMountinfo("36 35 98:0 / /mnt rw\n"); err == nil {
		t.Error("a short line is taken")
	}
	got, err = parseMounts("/dev/sda1 /a ext4 rw 0 0\n")
	if err != nil || len(got) != 1 || got[0].point != "/a" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseMounts("x\n"); err == nil {
		t.Error("a short line is taken")
	}
}

// fakeHost makes a directory with proc and sys as the tests want them.
func fakeHost(t *testing.T, mountinfo string, loops map[string]string, size string) string {
	t.Helper()
	root := t.TempDir()
	write := func(path, text string) {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("proc/self/mountinfo", mountinfo)
	for name, backing := range loops {
		write("sys/block/"+name+"/loop/backing_file", backing+"\n")
		write("sys/block/"+name+"/size", size+"\n")
	}
	return root
}

func TestInUseByName(t *testing.T) {
	dir := t.TempDir()
	file, link, other := filepath.Join(dir, "rootfs"), filepath.Join(dir, "link"), filepath.Join(dir, "other")
	for _, f := range []string{file, other} {
		if err := os.WriteFile(f, make([]byte, 4096), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(file, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("rootfs", filepath.Join(dir, "sym")); err != nil {
		t.Fatal(err)
	}
	const rootLine = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
	for _, c := range []struct {
		name, mounts string
		loops        map[string]string
		path, want   string
	}{
		{"free", rootLine, map[string]string{"loop0": other}, file, ""},
		{"attached", rootLine, map[string]string{"loop0": other, "loop3": file}, file, "attached to /dev/loop3"},
		{"through a hard link", rootLine, map[string]string{"loop3": link}, file, "attached to /dev/loop3"},
		{"through a symlink", rootLine, map[string]string{"loop3": file}, filepath.Join(dir, "sym"), "attached to /dev/loop3"},
		{"mounted", rootLine + "2 1 7:3 / /live/x rw - ext4 /dev/loop3 rw\n", map[string]string{"loop3": file}, file,
			"mounted at /live/x through /dev/loop3"},
		{"mounted by itself", rootLine + "2 1 0:9 / /m rw - erofs " + file + " rw\n", nil, file, "mounted at /m"},
		{"lost its name", rootLine, map[string]string{"loop3": filepath.Join(dir, "linuxfs") + " (deleted)"}, file,
			"attached to /dev/loop3"},
		{"another took its place", rootLine, map[string]string{"loop3": file + " (deleted)"}, file, ""},
		{"lost its name elsewhere", rootLine, map[string]string{"loop3": "/else/linuxfs (deleted)"}, file, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := InUse(fakeHost(t, c.mounts, c.loops, "8"), c.path)
			if err != nil || got != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
	if got, err := InUse(fakeHost(t, rootLine, map[string]string{"loop3": filepath.Join(dir, "linuxfs") + " (deleted)"}, "16"),
		file); got != "" || err != nil {
		t.Errorf("another size: %q, %v", got, err)
	}
	if _, err := InUse("/", filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing file is no error")
	}
	if _, err := InUse(t.TempDir(), file); err == nil {
		t.Error("no /proc is no error")
	}
}

// TestInUseLoop mounts an image for real, and replaces it as an update would.
func TestInUseLoop(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	img := systest.Blank(t, 1<<20)
	dir := filepath.Dir(img)
	kept := filepath.Join(dir, "image.old")
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", img)
	check := func(path, prefix string) {
		t.Helper()
		got, err := InUse("/", path)
		if err != nil || prefix == "" && got != "" || !strings.HasPrefix(got, prefix) {
			t.Errorf("%s: %q, %v, want %q", path, got, err, prefix)
		}
	}
	check(img, "")
	point, unmount := systest.Mount(t, "", "loop,ro", img)
	check(img, "mounted at "+point+" through /dev/loop")
	if name, err := FilesystemType(point); err != nil || name != "ext4" {
		t.Errorf("%s, %v", name, err)
	}
	// The new file takes the name, the mounted one lives on as image.old.
	if err := os.Link(img, kept); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(img+".tmp", make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(img+".tmp", img); err != nil {
		t.Fatal(err)
	}
	check(img, "")
	check(kept, "mounted at "+point)
	unmount()
	// The loop device lets go of its file a moment after the mount does.
	for range 100 {
		if got, err := InUse("/", kept); got == "" || err != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	check(kept, "")
	// A bind mount of a file.
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	systest.MountAt(t, "", "bind", kept, target)
	check(kept, "bind-mounted at "+target)
	check(img, "")
}

// TestDeviceInUse: a disk is in use while a partition of it is mounted, or
// something else stands on it.
func TestDeviceInUse(t *testing.T) {
	root := t.TempDir()
	disk := root + "/disk"
	if err := unix.Mknod(disk, unix.S_IFBLK|0o600, int(unix.Mkdev(240, 8))); err != nil {
		systest.Lacks(t, "device nodes, but: "+err.Error())
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(root+"/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+"/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("sys/dev/block/240:8/queue/dev", "240:10\n") // not a partition
	put("sys/dev/block/240:8/part1/dev", "240:9\n")
	put("sys/dev/block/240:8/part1/partition", "1\n")
	for _, c := range []struct{ mounts, want string }{
		{"36 35 240:7 / /mnt rw - ext4 /dev/other rw\n", ""},
		{"36 35 240:10 / /mnt rw - ext4 /dev/other rw\n", ""},
		{"36 35 240:8 / /mnt rw - ext4 /dev/disk rw\n", "/dev/disk is mounted at /mnt"},
		{"36 35 240:9 / /mnt rw - ext4 /dev/disk1 rw\n", "/dev/disk1 is mounted at /mnt"},
	} {
		put("proc/self/mountinfo", c.mounts)
		if got, err := InUse(root, disk); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.mounts, got, err, c.want)
		}
	}
	put("proc/self/mountinfo", "")
	put("sys/dev/block/240:8/part1/holders/dm-3/x", "")
	if got, err := InUse(root, disk); err != nil || got != "part of /dev/dm-3" {
		t.Errorf("%q, %v", got, err)
	}
}
