package live

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree/systest"
)

// TestMountedVolume: the names of the volume that a directory is on are found
// among udev's links, and no others.
func TestMountedVolume(t *testing.T) {
	t.Parallel()
	dir := systest.TempDir(t)
	var st unix.Stat_t
	systest.Must(t, unix.Stat(dir, &st))
	links := filepath.Join(dir, "disk")
	systest.Must(t, os.MkdirAll(links+"/by-uuid", 0o755))
	systest.Must(t, os.MkdirAll(links+"/by-label", 0o755))
	if got := mountedVolume(links, dir); got != (Volume{}) {
		t.Errorf("without links: %v", got)
	}
	if os.Getuid() != 0 {
		systest.Lacks(t, "not root: device nodes cannot be made")
	}
	for name, dev := range map[string]uint64{"mine": st.Dev, "other": st.Dev + 1} {
		systest.Must(t, unix.Mknod(filepath.Join(links, name), unix.S_IFBLK|0o600, int(dev)))
	}
	for name, to := range map[string]string{"by-uuid/1111-AAAA": "other", "by-uuid/2222-BBBB": "mine", `by-label/MY\x20\x2fSTICK`: "mine",
		"by-label/A": "other", "by-label/GONE": "nothing"} {
		systest.Must(t, os.Symlink("../"+to, filepath.Join(links, name)))
	}
	if got, want := mountedVolume(links, dir), (Volume{"MY /STICK", "2222-BBBB"}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
