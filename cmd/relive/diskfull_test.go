package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/tree/systest"
)

// TestDiskFull: where the disk is full before the end, at whatever write,
// nothing is lost, nothing is left and the error says what to do.
//
// The new base is larger than can be foretold: the base compresses well, what
// is added does not.
func TestDiskFull(t *testing.T) {
	systest.NeedRoot(t, "mount", "mke2fs")
	t.Parallel()
	image := systest.Blank(t, 64<<20)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-m", "0", "-O", "^has_journal", image)
	disk, _ := systest.Mount(t, "", "loop", image)
	live := filepath.Join(disk, "live")
	base := dir("", dir("etc"), dir("usr", file("zeros", make([]byte, 20<<20)), file("text", words(1, 10_000))))
	upper := dir("", dir("etc"), dir("usr", file("more", noise(2, 5<<20))))
	original := t.TempDir()
	systest.Must(t, (&liveSpec{codec: codec.Gzip, blockSize: 128 << 10, vid: defaultVID}).make(original, base, upper))
	fresh := func() {
		systest.Must(t, errors.Join(os.RemoveAll(disk+"/filler"), os.RemoveAll(live), os.Mkdir(live, 0o755)))
		for _, name := range []string{"linuxfs", "rootfs"} {
			systest.CopyFile(t, filepath.Join(original, name), filepath.Join(live, name))
		}
	}
	fresh()
	old := stateOf(t, live)
	found := map[string]int{}
	// try compacts with that many KiB free and gives the phase that failed, ""
	// where none did.
	try := func(free int64) string {
		fill(t, disk, free<<10)
		code, _, stderr := relive(t, "compact", live)
		now := stateOf(t, live)
		if code == 0 {
			if now["linuxfs.old"] != old["linuxfs"] || now["rootfs.old"] != old["rootfs"] || len(now) != 6 {
				t.Errorf("%d KiB free: done, but the directory holds\n%s", free, now)
			}
			found["done"]++
			fresh()
			return ""
		}
		if code != exitFailed || !strings.Contains(stderr, "error: ") || !strings.Contains(stderr, "no space left on device") ||
			!strings.Contains(stderr, "hint: the disk is full; nothing was changed") {
			t.Errorf("%d KiB free: exit code %d, the error is\n%s", free, code, stderr)
		}
		if now.String() != old.String() {
			t.Fatalf("%d KiB free: the directory holds\n%s\nit held\n%s\n%s", free, now, old, stderr)
		}
		last := "start"
		for line := range strings.SplitSeq(stderr, "\n") {
			if p, ok := strings.CutSuffix(line, " ..."); ok {
				last = p
			}
		}
		found[last]++
		return last
	}
	// From just what is asked for to where the base fits, then closely about that
	// point, where the small files come, then on to where all fits.
	const writing = "writing linuxfs"
	fits := int64(3200)
	for try(fits) == writing {
		fits += 300
	}
	for low := fits - 300; fits-low > 1; {
		if mid := (low + fits) / 2; try(mid) == writing {
			low = mid
		} else {
			fits = mid
		}
	}
	for free := fits - 2; free < fits+40; free += 3 {
		try(free)
	}
	t.Log(found)
	if found[writing] < 5 || len(found) < 3 || found["done"] == 0 {
		t.Errorf("the disk was not full at all the writes: %v", found)
	}
}

// fill leaves that many bytes free on a disk.
func fill(t testing.TB, disk string, free int64) {
	t.Helper()
	path := disk + "/filler"
	systest.Must(t, os.RemoveAll(path))
	unix.Sync()
	var st unix.Statfs_t
	systest.Must(t, unix.Statfs(disk, &st))
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	if n := int64(st.Bavail)*int64(st.Bsize) - free; n > 0 {
		systest.Must(t, unix.Fallocate(int(f.Fd()), 0, 0, n))
	}
}

// TestManifestScript: what relive ls --manifest tells of the images is what
// scripts/manifest.py finds where the kernel mounts them.
func TestManifestScript(t *testing.T) {
	const script = "../../scripts/manifest.py"
	if _, err := os.Stat(script); err != nil {
		t.Skip("there is no scripts/manifest.py")
	}
	systest.NeedRoot(t, "mount", "python3")
	t.Parallel()
	live := t.TempDir()
	base := dir("", dir("etc"), dir("usr", file("text", words(1, 200_000)), file("odd\n\xff name", []byte("x")),
		dir("deep", file("f", nil))))
	upper := dir("", dir("etc"), dir("usr", file("more", noise(2, 300_000))))
	systest.Must(t, (&liveSpec{codec: codec.Gzip, blockSize: 128 << 10, vid: defaultVID}).make(live, base, upper))
	if code, _, stderr := relive(t, "compact", "-q", live); code != 0 {
		t.Fatal(stderr)
	}
	for name, options := range map[string]string{"linuxfs": "loop,ro", "rootfs.old": "loop,ro,noload"} {
		mnt, _ := systest.Mount(t, "", options, filepath.Join(live, name))
		a, b := filepath.Join(t.TempDir(), "kernel"), filepath.Join(t.TempDir(), "relive")
		systest.Run(t, "python3", script, "make", "--all-xattrs", mnt, "-o", a)
		_, out, _ := relive(t, "ls", "-q", "--manifest", filepath.Join(live, name))
		systest.Must(t, os.WriteFile(b, []byte(out), 0o644))
		systest.Run(t, "python3", script, "diff", a, b)
	}
}
