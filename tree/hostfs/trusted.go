package hostfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"relive/tree"
)

// ErrTrustedHidden is the error of CheckTrusted for a process that does not see
// attributes trusted.*.
var ErrTrustedHidden = errors.New("attributes trusted.* are hidden from this process: it lacks CAP_SYS_ADMIN in the initial user namespace")

// CheckTrusted reports whether attributes trusted.* of the files at path show to
// this process. Without them, an overlay's upper directory reads as if it had
// no marks: deleted files show again, renamed directories are empty, and files
// with data below read as zeros. Nothing else tells, for Linux lists such
// attributes, or says that they do not exist, as it finds the caller's right
// (fs/xattr.c: xattr_permission, simple_xattr_list).
//
// The error is ErrTrustedHidden where this process has not that right; it is
// tree.ErrUnsupported where the file system holds no such attributes, so that it
// cannot have served as an upper layer without the mount option userxattr.
func CheckTrusted(path string) error {
	may, err := seesTrusted()
	if err != nil {
		return fmt.Errorf("%s: whether attributes trusted.* show: %w", path, err)
	}
	if !may {
		return &os.PathError{Op: "getxattr", Path: path, Err: ErrTrustedHidden}
	}
	_, err = unix.Getxattr(path, "trusted.overlay.opaque", nil)
	switch {
	case err == nil, errors.Is(err, unix.ENODATA):
		return nil
	case errors.Is(err, unix.ENOTSUP):
		return tree.Unsupported(path, "", "its file system does not hold attributes trusted.*")
	}
	return &os.PathError{Op: "getxattr", Path: path, Err: err}
}

// seesTrusted sets such an attribute on a file in memory, which asks for the
// same right as seeing one. Where memory files hold none, it asks for the
// process's capabilities.
func seesTrusted() (bool, error) {
	fd, err := unix.MemfdCreate("trusted", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Fsetxattr(fd, "trusted.relive", []byte("y"), 0)
		unix.Close(fd)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
			return false, nil
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false, err
	}
	ns, err := os.Readlink("/proc/self/ns/user")
	if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without user namespaces
		return false, err
	}
	return hasSysAdmin(status, ns)
}

// initialUserNS is the initial user namespace (include/linux/proc_ns.h,
// PROC_USER_INIT_INO).
const initialUserNS = "user:[4026531837]"

// hasSysAdmin takes /proc/self/status and what /proc/self/ns/user links to,
// empty where the kernel has no user namespaces.
func hasSysAdmin(status []byte, ns string) (bool, error) {
	const capSysAdmin = 21 // include/uapi/linux/capability.h
	for line := range bytes.Lines(status) {
		v, ok := strings.CutPrefix(string(line), "CapEff:")
		if !ok {
			continue
		}
		caps, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		if err != nil {
			return false, fmt.Errorf("/proc/self/status: CapEff: %w", err)
		}
		return caps>>capSysAdmin&1 != 0 && (ns == "" || ns == initialUserNS), nil
	}
	return false, errors.New("/proc/self/status: no CapEff")
}
