package hostdisk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree/systest"
)

// escape writes a name as the kernel does (mangle in fs/proc_namespace.c): white
// space, backslashes and what else is given in octal.
func escape(s, more string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(" \t\n\\"+more, s[i]) >= 0 {
			fmt.Fprintf(&b, `\%03o`, s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// TestMountsRoundTrip: whatever the names, both lists of mounts are read as the
// kernel writes them, with as many optional fields as there are and with and
// without the fields at the end of a line of /proc/mounts.
func TestMountsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		b := []byte("/")
		for range 1 + r.IntN(6) {
			b = append(b, "ab7\\ \t\n:,=+#\xff\u00e9-"[r.IntN(15)])
		}
		return string(b)
	}
	for round := range 2000 {
		want := mount{
			dev: fmt.Sprintf("%d:%d", r.IntN(300), r.IntN(300)), root: name(), point: name(), source: name(),
			fstype: []string{"ext4", "overlay", "fuse.sshfs"}[r.IntN(3)],
		}
		options := "rw,xino=off"
		if want.fstype == "overlay" {
			// As given to mount: separators in names have a backslash before them.
			given := strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`)
			for _, key := range []string{"lowerdir", "upperdir", "workdir"} {
				dirs := []string{name()}
				for key == "lowerdir" && r.IntN(2) == 0 {
					dirs = append(dirs, name())
				}
				want.layers = append(want.layers, dirs...)
				for i := range dirs {
					dirs[i] = given.Replace(dirs[i])
				}
				options += "," + key + "=" + escape(strings.Join(dirs, ":"), ",=")
				for i := range dirs {
					dirs[i] = want.layers[len(want.layers)-len(dirs)+i]
				}
			}
			for range r.IntN(3) {
				for _, key := range []string{"lowerdir+", "datadir+"} {
					want.layers = append(want.layers, name())
					options += "," + key + "=" + escape(want.layers[len(want.layers)-1], ",=")
				}
			}
		}
		optional := []string{"", " shared:1", " shared:1 master:2", " shared:1 master:2 propagate_from:3"}[r.IntN(4)]
		line := fmt.Sprintf("36 35 %s %s %s rw,noatime%s - %s %s %s\n", want.dev, escape(want.root, ""), escape(want.point, ""), optional,
			want.fstype, escape(want.source, ""), options)
		if got, err := parseMountinfo("\n" + line); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Fatalf("round %d: %s got  %q, %v\nwant %q", round, line, got, err, want)
		}
		want.dev, want.root = "", "/"
		line = fmt.Sprintf("%s %s %s %s%s\n", escape(want.source, ""), escape(want.point, ""), want.fstype, options,
			[]string{"", " 0", " 0 0"}[r.IntN(3)])
		if got, err := parseMounts("\n" + line); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Fatalf("round %d: %s got  %q, %v\nwant %q", round, line, got, err, want)
		}
	}
	// Cut off at any field, a line is refused or gives what it still says.
	fields := strings.Fields("36 35 98:0 / /mnt rw - ext3 /dev/a")
	for n := 1; n < len(fields); n++ {
		if got, err := parseMountinfo(strings.Join(fields[:n], " ")); err == nil {
			t.Errorf("%d fields give %v", n, got)
		}
	}
	fields = strings.Fields("overlay /mnt overlay lowerdir=/a")
	for n := 1; n <= len(fields); n++ {
		if got, err := parseMounts(strings.Join(fields[:n], " ")); (err == nil) != (n >= 3) || n == 4 && len(got[0].layers) != 1 {
			t.Errorf("%d fields give %v, %v", n, got, err)
		}
	}
	for text, want := range map[string]string{`\040`: " ", `a\04`: `a\04`, `\0`: `\0`, `\`: `\`, `\08x`: `\08x`, `\800`: `\800`,
		`\0401`: " 1", `\377`: "\xff"} {
		if got := unescape(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestInUseLayers: the kernel's own line of an overlay leads to each of its
// layers, whatever their names and however they were given.
func TestInUseLayers(t *testing.T) {
	systest.NeedRoot(t, "mount")
	systest.NeedFilesystems(t, "overlay")
	dir, _ := systest.Mount(t, "tmpfs", "", "none")
	at := func(name string) string { return filepath.Join(dir, name) }
	lowers := []string{"plain", "co:lon", "com,ma", "back\\slash", "white space\tand\nline", "eq=ual", "plus+"}
	for _, n := range append([]string{"up:per, \\o", "wo\\rk", "other", "co"}, lowers...) {
		systest.Must(t, os.Mkdir(at(n), 0o755))
	}
	check := func(how, point string, layers ...string) {
		t.Helper()
		for _, n := range layers {
			if got, err := InUse("/", at(n)); err != nil || got != "part of the overlay at "+point {
				t.Errorf("%s: %q: %q, %v", how, n, got, err)
			}
		}
		for _, n := range []string{"other", "co"} {
			if got, err := InUse("/", at(n)); err != nil || got != "" {
				t.Errorf("%s: %q: %q, %v", how, n, got, err)
			}
		}
	}
	// As one string: an escape for mount(2), which splits at commas, and one for
	// overlayfs, which splits at colons, are the same.
	given := strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`)
	var all []string
	for _, n := range lowers {
		all = append(all, given.Replace(at(n)))
	}
	point := systest.TempDir(t)
	options := "lowerdir=" + strings.Join(all, ":") + ",upperdir=" + given.Replace(at("up:per, \\o")) + ",workdir=" +
		given.Replace(at("wo\\rk"))
	systest.Must(t, unix.Mount("overlay", point, "overlay", 0, options))
	unmount := systest.Mounted(t, point)
	check("mount(2)", point, append([]string{"up:per, \\o", "wo\\rk"}, lowers...)...)
	unmount()

	// One by one, since Linux 6.8.
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	systest.Must(t, err)
	defer unix.Close(fd)
	for _, n := range lowers {
		if err := unix.FsconfigSetString(fd, "lowerdir+", at(n)); err != nil {
			systest.Lacks(t, fmt.Sprintf("a kernel that takes layers one by one (%v)", err))
		}
	}
	systest.Must(t, unix.FsconfigCreate(fd))
	m, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	systest.Must(t, err)
	defer unix.Close(m)
	systest.Must(t, unix.MoveMount(m, "", unix.AT_FDCWD, point, unix.MOVE_MOUNT_F_EMPTY_PATH))
	systest.Mounted(t, point)
	check("fsconfig(2)", point, lowers...)
}

// TestKernelTypes: what the kernel has mounted has the name under which it was
// mounted.
func TestKernelTypes(t *testing.T) {
	systest.NeedRoot(t, "mount", "mke2fs", "mkfs.xfs", "mkfs.btrfs", "mksquashfs")
	for _, c := range []struct {
		kind string
		size int64
		make []string
	}{
		{"ext2", 1 << 20, []string{"mke2fs", "-q", "-F", "-t", "ext2"}},
		{"ext3", 8 << 20, []string{"mke2fs", "-q", "-F", "-t", "ext3"}},
		{"ext4", 1 << 20, []string{"mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal"}},
		{"xfs", 320 << 20, []string{"mkfs.xfs", "-q", "-f"}},
		{"btrfs", 128 << 20, []string{"mkfs.btrfs", "-q", "-f"}},
		{"squashfs", 0, nil},
	} {
		t.Run(c.kind, func(t *testing.T) {
			systest.NeedFilesystems(t, c.kind)
			image := systest.Blank(t, c.size)
			if c.kind == "squashfs" {
				systest.Run(t, "mksquashfs", t.TempDir(), image, "-noappend", "-quiet", "-no-progress")
			} else {
				systest.Run(t, c.make[0], append(c.make[1:], image)...)
			}
			point, _ := systest.Mount(t, c.kind, "loop", image)
			if got, err := FilesystemType(point + "/not/yet"); err != nil || got != c.kind {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for point, want := range map[string]string{"/proc": "proc", "/sys": "sysfs"} {
		if got, err := FilesystemType(point); err != nil || got != want {
			t.Errorf("%s: %q, %v", point, got, err)
		}
	}
}

// TestInUseTells: what cannot be read of the host is an error, and not a file that
// nobody uses.
func TestInUseTells(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "rootfs")
	systest.Must(t, os.WriteFile(file, make([]byte, 5120), 0o644)) // 10 sectors
	gone := filepath.Join(dir, "linuxfs") + " (deleted)"
	const line = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
	const backing, size = "sys/block/loop3/loop/backing_file", "sys/block/loop3/size"
	for name, c := range map[string]struct {
		spoil func(root string) error
		want  string // how it is in use, "" for an error
	}{
		"nothing":             {func(string) error { return nil }, "attached to /dev/loop3"},
		"a directory there":   {func(root string) error { return replaceByDir(root, backing) }, ""},
		"no size":             {func(root string) error { return os.Remove(root + "/" + size) }, ""},
		"a size that is none": {func(root string) error { return os.WriteFile(root+"/"+size, []byte("ten\n"), 0o644) }, ""},
		"mounts of few fields": {func(root string) error {
			return os.WriteFile(root+"/proc/self/mountinfo", []byte("1 0 8:1 /\n"), 0o644)
		}, ""},
		"only the old list": {func(root string) error {
			if err := os.Remove(root + "/proc/self/mountinfo"); err != nil {
				return err
			}
			return os.WriteFile(root+"/proc/mounts", []byte("/dev/loop3 /live ext4 rw 0 0\n"), 0o644)
		}, "mounted at /live through /dev/loop3"},
		"the old list of few fields": {func(root string) error {
			if err := os.Remove(root + "/proc/self/mountinfo"); err != nil {
				return err
			}
			return os.WriteFile(root+"/proc/mounts", []byte("/dev/loop3 /live\n"), 0o644)
		}, ""},
	} {
		root := fakeHost(t, line, map[string]string{"loop3": gone}, "10")
		systest.Must(t, c.spoil(root))
		got, err := InUse(root, file)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
	}
	for _, other := range []string{"9", "11", "20"} {
		if got, err := InUse(fakeHost(t, line, map[string]string{"loop3": gone}, other), file); got != "" || err != nil {
			t.Errorf("of %s sectors: %q, %v", other, got, err)
		}
	}
}

func replaceByDir(root, name string) error {
	if err := os.Remove(root + "/" + name); err != nil {
		return err
	}
	return os.Mkdir(root+"/"+name, 0o755)
}

// TestNoPlace: every question about a path that cannot be one, or that is
// relative to a directory that is gone, is answered with an error.
func TestNoPlace(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	systest.Must(t, os.Mkdir(gone, 0o755))
	t.Chdir(gone)
	systest.Must(t, os.Remove(gone))
	for _, path := range []string{"a\x00b", "x"} {
		for name, ask := range map[string]func() error{
			"FreeSpace":      func() error { _, err := FreeSpace(path); return err },
			"FilesystemType": func() error { _, err := FilesystemType(path); return err },
			"MaxFileSize":    func() error { _, err := MaxFileSize(path); return err },
			"HoldsHoles":     func() error { _, err := HoldsHoles(path); return err },
			"InUse":          func() error { _, err := InUse("/", path); return err },
		} {
			if err := ask(); err == nil {
				t.Errorf("%s of %q: no error", name, path)
			}
		}
	}
}
