package hostdisk

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"relive/tree/hostfs"
)

// statfs is statfs(2) on a path or, where that does not exist yet, on the
// nearest directory above it that does.
func statfs(path string) (st unix.Statfs_t, at string, err error) {
	at, err = hostfs.FromRoot(path)
	if err != nil {
		return st, path, err
	}
	for {
		err = unix.Statfs(at, &st)
		if err == unix.EINTR {
			continue
		}
		if err != unix.ENOENT && err != unix.ENOTDIR || at == "/" {
			break
		}
		at = filepath.Dir(at)
	}
	if err != nil {
		err = &fs.PathError{Op: "statfs", Path: at, Err: err}
	}
	return st, at, err
}

// FreeSpace is the number of bytes that this user may still write to the file
// system of path, which need not exist yet.
func FreeSpace(path string) (int64, error) {
	st, _, err := statfs(path)
	if err != nil {
		return 0, err
	}
	return available(&st), nil
}

// available is the room in bytes. File systems behind a network give numbers
// that no disk has.
func available(st *unix.Statfs_t) int64 {
	unit := uint64(st.Frsize)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	if unit != 0 && st.Bavail > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return int64(st.Bavail * unit)
}

// types are the f_type values of statfs(2), from include/uapi/linux/magic.h and
// the sources of the file systems that have theirs elsewhere.
func typeName(magic int64) string {
	switch uint32(magic) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4" // ext2 and ext3 have the same number
	case unix.MSDOS_SUPER_MAGIC:
		return "vfat"
	case unix.EXFAT_SUPER_MAGIC:
		return "exfat"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.RAMFS_MAGIC:
		return "ramfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case 0x5346544e:
		return "ntfs"
	case 0x7366746e:
		return "ntfs3"
	case unix.FUSE_SUPER_MAGIC:
		return "fuse"
	case unix.SQUASHFS_MAGIC:
		return "squashfs"
	case unix.ISOFS_SUPER_MAGIC:
		return "iso9660"
	case unix.UDF_SUPER_MAGIC:
		return "udf"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case unix.REISERFS_SUPER_MAGIC:
		return "reiserfs"
	case 0x3153464a:
		return "jfs"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "cifs"
	case unix.V9FS_MAGIC:
		return "9p"
	case 0x61756673:
		return "aufs"
	case unix.BCACHEFS_SUPER_MAGIC:
		return "bcachefs"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("0x%x", uint32(magic))
}

// FilesystemType names the file system that holds path, which need not exist
// yet: "ext4", "vfat", "exfat", "fuseblk" and so on, as /proc/mounts has them;
// ext2 and ext3 too are "ext4" where their mount cannot be found. A number
// ("0x1234") is one that this package has no name for.
func FilesystemType(path string) (string, error) {
	st, at, err := statfs(path)
	if err != nil {
		return "", err
	}
	name := typeName(int64(st.Type))
	// statfs does not tell ext2 from ext4, nor what lies behind FUSE.
	if m, err := mountOf(at); err == nil && m != nil && (name == "fuse" || name == "ext4" || strings.HasPrefix(name, "0x")) {
		switch {
		case name == "fuse" && strings.HasPrefix(m.fstype, "fuse"),
			name == "ext4" && strings.HasPrefix(m.fstype, "ext"),
			strings.HasPrefix(name, "0x"):
			return m.fstype, nil
		}
	}
	return name, nil
}

// mountOf finds the mount that holds a path that exists, by its device number;
// nil where none of /proc's has that.
func mountOf(path string) (*mount, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, err
	}
	mounts, err := readMounts(os.DirFS("/"))
	if err != nil {
		return nil, err
	}
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	for i := range mounts {
		if mounts[i].dev == dev {
			return &mounts[i], nil
		}
	}
	return nil, nil
}

// MaxFileSize is the greatest length in bytes of a file on the file system that
// holds path, as far as it is below what images can have: 4 GiB - 1 on FAT, and
// math.MaxInt64 elsewhere. Behind FUSE and the network it cannot be known.
func MaxFileSize(path string) (int64, error) {
	name, err := FilesystemType(path)
	if err != nil {
		return 0, err
	}
	return maxFileSize(name), nil
}

func maxFileSize(fstype string) int64 {
	switch fstype {
	case "vfat", "msdos":
		return 1<<32 - 1
	}
	return math.MaxInt64
}
