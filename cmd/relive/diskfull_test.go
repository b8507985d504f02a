package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/squash/codec"
	"relive/tree/systest"
)

// lacks skips a test that needs something of the system, but fails it in CI.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func requireMounts(t testing.TB, tools ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacks(t, "not root")
	}
	for _, name := range append(tools, "mount", "umount") {
		if _, err := exec.LookPath(name); err != nil {
			lacks(t, name+" is missing")
		}
	}
}

func tool(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// mountLoop mounts an image until the end of the test.
func mountLoop(t testing.TB, image, options string) string {
	t.Helper()
	at := t.TempDir()
	tool(t, "mount", "-o", options, image, at)
	t.Cleanup(func() { systest.Unmount(t, at) })
	return at
}

// TestDiskFull: where the disk is full before the end, at whatever write,
// nothing is lost, nothing is left and the error says what to do.
//
// The new base is larger than can be foretold: the base compresses well, what
// is added does not.
func TestDiskFull(t *testing.T) {
	requireMounts(t, "mke2fs")
	t.Parallel()
	image := t.TempDir() + "/disk"
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 64<<20))
	tool(t, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-m", "0", "-O", "^has_journal", image)
	disk := mountLoop(t, image, "loop")
	live := filepath.Join(disk, "live")
	base := dir("", dir("etc"), dir("usr", file("zeros", make([]byte, 20<<20)), file("text", words(1, 10_000))))
	upper := dir("", dir("etc"), dir("usr", file("more", noise(2, 5<<20))))
	fresh := func() {
		must(t, os.RemoveAll(disk+"/filler"))
		must(t, os.RemoveAll(live))
		must(t, os.Mkdir(live, 0o755))
		must(t, (&liveSpec{codec: codec.Gzip, blockSize: 128 << 10, vid: defaultVID}).make(live, base, upper))
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
	must(t, os.RemoveAll(path))
	unix.Sync()
	var st unix.Statfs_t
	must(t, unix.Statfs(disk, &st))
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	if n := int64(st.Bavail)*st.Bsize - free; n > 0 {
		must(t, unix.Fallocate(int(f.Fd()), 0, 0, n))
	}
}

// TestManifestScript: what relive ls --manifest tells of the images is what
// scripts/manifest.py finds where the kernel mounts them.
func TestManifestScript(t *testing.T) {
	const script = "../../scripts/manifest.py"
	if _, err := os.Stat(script); err != nil {
		t.Skip("there is no scripts/manifest.py")
	}
	requireMounts(t, "python3")
	t.Parallel()
	live := t.TempDir()
	base := dir("", dir("etc"), dir("usr", file("text", words(1, 200_000)), file("odd\n\xff name", []byte("x")), dir("deep", file("f", nil))))
	upper := dir("", dir("etc"), dir("usr", file("more", noise(2, 300_000))))
	must(t, (&liveSpec{codec: codec.Gzip, blockSize: 128 << 10, vid: defaultVID}).make(live, base, upper))
	if code, _, stderr := relive(t, "compact", "-q", live); code != 0 {
		t.Fatal(stderr)
	}
	for name, options := range map[string]string{"linuxfs": "loop,ro", "rootfs.old": "loop,ro,noload"} {
		mnt := mountLoop(t, filepath.Join(live, name), options)
		a, b := filepath.Join(t.TempDir(), "kernel"), filepath.Join(t.TempDir(), "relive")
		tool(t, "python3", script, "make", "--all-xattrs", mnt, "-o", a)
		_, out, _ := relive(t, "ls", "-q", "--manifest", filepath.Join(live, name))
		must(t, os.WriteFile(b, []byte(out), 0o644))
		tool(t, "python3", script, "diff", a, b)
	}
}
