package hostfs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree/systest"
)

const uuid = "0b7e5f1c-1111-4222-8333-444455556666"

// mounted is where a new ext4, made with options of mke2fs, is mounted.
func mounted(t *testing.T, options ...string) string {
	t.Helper()
	systest.NeedFilesystems(t, "ext4")
	image := systest.Blank(t, 4<<20)
	systest.Run(t, "mke2fs", append([]string{"-q", "-F", "-t", "ext4", image}, options...)...)
	at, _ := systest.Mount(t, "ext4", "loop", image)
	return at
}

// TestFilesystemOf: the UUID and label are those with which the file system was
// made, asked of the kernel or found among udev's links.
func TestFilesystemOf(t *testing.T) {
	at := mounted(t, "-U", uuid, "-L", "a b")
	var st unix.Stat_t
	systest.Must(t, unix.Stat(at, &st))
	links := systest.TempDir(t)
	for dir, name := range map[string]string{"by-uuid": uuid, "by-label": `a\x20b`} {
		systest.Must(t, os.Mkdir(filepath.Join(links, dir), 0o755))
		systest.Must(t, unix.Mknod(filepath.Join(links, dir, "0other"), unix.S_IFBLK|0o600, int(unix.Mkdev(240, 1))))
		systest.Must(t, os.WriteFile(filepath.Join(links, dir, "1file"), nil, 0o600))
		systest.Must(t, unix.Mknod(filepath.Join(links, dir, name), unix.S_IFBLK|0o600, int(st.Dev)))
	}
	f, err := filesystemOf(at, links)
	if want := (Filesystem{uuid, "a b"}); err != nil || f != want {
		t.Errorf("got %+v, %v, want %+v", f, err, want)
	}
	if got := linked(filepath.Join(links, "by-uuid"), uint64(st.Dev)); got != uuid {
		t.Errorf("by udev's links it is %q", got)
	}
	if _, err := FilesystemOf("/no/such/place"); !os.IsNotExist(err) {
		t.Errorf("of what is not there: %v", err)
	}
}

// TestFilesystemAsked: without udev the kernel tells the label, and the UUID where
// it is one that knows to. A UUID of zeros is none.
func TestFilesystemAsked(t *testing.T) {
	at := mounted(t, "-U", uuid, "-L", "a b")
	f, err := filesystemOf(at, "/nowhere")
	if err != nil || f.UUID != uuid && f.UUID != "" || f.Label != "a b" {
		t.Errorf("the kernel says %+v, %v", f, err)
	}
	if f, err := filesystemOf(mounted(t, "-U", "clear"), "/nowhere"); err != nil || f != (Filesystem{}) {
		t.Errorf("with a UUID of zeros: %+v, %v", f, err)
	}
}

func TestFilesystemString(t *testing.T) {
	for want, f := range map[string]Filesystem{
		"a file system without a known UUID":        {},
		"the file system with UUID 1":               {UUID: "1"},
		`the file system with UUID 1, label "x\ty"`: {UUID: "1", Label: "x\ty"},
	} {
		if got := f.String(); got != want {
			t.Errorf("%+v: %s", f, got)
		}
	}
}

func TestFATUUID(t *testing.T) {
	if got := fatUUID(0x12ab0c4d); got != "12AB-0C4D" {
		t.Error(got)
	}
}

func TestRealPath(t *testing.T) {
	top, err := filepath.EvalSymlinks(systest.TempDir(t))
	systest.Must(t, err)
	systest.Must(t, os.MkdirAll(top+"/a/b/c", 0o755))
	systest.Must(t, os.Symlink("a/b", top+"/link"))
	systest.Must(t, os.Mkdir(top+"/beside", 0o755))
	t.Chdir(top + "/link")
	for file, want := range map[string]string{
		".": "/a/b", "..": "/a", "c": "/a/b/c", "../../beside": "/beside", top + "/link": "/a/b", top + "/link/c/..": "/a/b",
		"../../link/c": "/a/b/c",
	} {
		if got, err := RealPath(file); err != nil || got != top+want {
			t.Errorf("%s: %s, %v, want %s", file, got, err, top+want)
		}
	}
	for file, want := range map[string]string{"nothing": "/a/b/nothing", "../../link/c": "/link/c", top + "/link/../x": "/x"} {
		if got, err := FromRoot(file); err != nil || got != top+want {
			t.Errorf("%s: %s, %v, want %s", file, got, err, top+want)
		}
	}
	if _, err := RealPath("nothing"); !os.IsNotExist(err) {
		t.Errorf("of what is not there: %v", err)
	}
}

func TestUdevDecoded(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", `a\x20b\x5c`: `a b\`, `\x`: `\x`, `\xzz1`: `\xzz1`, `\x4`: `\x4`,
		`\x41`: "A"} {
		if got := udevDecoded(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
