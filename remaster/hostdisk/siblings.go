package hostdisk

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Sibling is another partition of the disk that a directory is on.
type Sibling struct {
	Device string // "/dev/sdb2"
	// Labels and UUIDs are those that udev has links for; empty where it has none.
	Label, UUID, PartLabel, PartUUID string
	// FileSystem and Mounted are the kind of the file system and where its root is
	// mounted, empty where it is not.
	FileSystem, Mounted string
}

// Siblings lists the other partitions of the disk on which dir is, as far as the
// host tells of them: none for a file system that is on no partition.
func Siblings(root, dir string) []Sibling {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil {
		return nil
	}
	return siblings(root, fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))))
}

// siblings is Siblings for the device with that number.
func siblings(root, number string) (out []Sibling) {
	own, err := filepath.EvalSymlinks(filepath.Join(root, "sys/dev/block", number))
	if err != nil || !Exists(filepath.Join(own, "partition")) {
		return nil
	}
	entries, err := os.ReadDir(filepath.Dir(own))
	if err != nil {
		return nil
	}
	mounts, err := readMounts(os.DirFS(root))
	if err != nil {
		mounts = nil // they are found, and not where they are mounted
	}
	for _, e := range entries {
		at := filepath.Join(filepath.Dir(own), e.Name())
		if at == own || !Exists(filepath.Join(at, "partition")) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(at, "dev"))
		if err != nil {
			continue
		}
		s := Sibling{Device: "/dev/" + e.Name()}
		for dir, to := range map[string]*string{"by-label": &s.Label, "by-uuid": &s.UUID, "by-partlabel": &s.PartLabel,
			"by-partuuid": &s.PartUUID} {
			*to = linkTo(filepath.Join(root, "dev/disk", dir), e.Name())
		}
		i := slices.IndexFunc(mounts, func(m mount) bool { return m.dev == strings.TrimSpace(string(b)) && m.root == "/" })
		if i >= 0 {
			s.FileSystem, s.Mounted = mounts[i].fstype, mounts[i].point
		}
		out = append(out, s)
	}
	return out
}

// linkTo returns the name of the link in a directory that leads to a device, ""
// where there is none.
func linkTo(dir, device string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink {
			continue
		}
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && filepath.Base(to) == device {
			return e.Name()
		}
	}
	return ""
}

// IsMountPoint reports whether a file system is mounted at a directory.
func IsMountPoint(dir string) bool {
	var st, above unix.Stat_t
	if unix.Stat(dir, &st) != nil || unix.Stat(filepath.Join(dir, ".."), &above) != nil {
		return false
	}
	return st.Dev != above.Dev
}
