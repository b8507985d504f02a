package hostfs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Filesystem is what a file system is known by, wherever it is mounted. What is
// not known is "".
type Filesystem struct {
	// UUID is as blkid gives it: of FAT its serial number, "1234-ABCD".
	UUID string `json:"uuid,omitempty"`
	// Label is the label that people see.
	Label string `json:"label,omitempty"`
}

// String names the file system for people.
func (f Filesystem) String() string {
	var words []string
	if f.UUID != "" {
		words = append(words, "UUID "+f.UUID)
	}
	if f.Label != "" {
		words = append(words, "label "+strconv.Quote(f.Label))
	}
	if len(words) == 0 {
		return "a file system without a known UUID"
	}
	return "the file system with " + strings.Join(words, ", ")
}

// Requests of ioctl(2): FS_IOC_GETFSUUID (Linux 6.9) and FS_IOC_GETFSLABEL of
// linux/fs.h, FAT_IOCTL_GET_VOLUME_ID of linux/msdos_fs.h. A kernel, a file system
// or a machine with other numbers refuses them.
const (
	getFSUUID  = 2<<30 | 17<<16 | 0x15<<8
	getFSLabel = 2<<30 | fsLabelMax<<16 | 0x94<<8 | 49
	getFATID   = 2<<30 | 4<<16 | 'r'<<8 | 0x13
	fsLabelMax = 256
)

// FilesystemOf tells what the file system of a directory is known by: what the
// kernel says of it, else what udev has linked its device by. That nothing is
// known is no error.
func FilesystemOf(dir string) (Filesystem, error) { return filesystemOf(dir, "/dev/disk") }

func filesystemOf(dir, links string) (f Filesystem, err error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return f, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	// Who may not read the directory still knows the device.
	if fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		f = asked(fd)
		unix.Close(fd)
	}
	if f.UUID == "" {
		f.UUID = linked(filepath.Join(links, "by-uuid"), uint64(st.Dev))
	}
	if f.Label == "" {
		f.Label = linked(filepath.Join(links, "by-label"), uint64(st.Dev))
	}
	return f, nil
}

// RealPath is the path of a file from the root, free of symlinks.
func RealPath(file string) (string, error) {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return "", err
	}
	return FromRoot(real)
}

// FromRoot is a path from the root, in which symlinks stay. Other than with
// filepath.Abs none is on the way to the working directory, whatever name a
// shell has for that: ".." at the beginning of a path leads where the kernel takes it.
func FromRoot(file string) (string, error) {
	if filepath.IsAbs(file) {
		return filepath.Clean(file), nil
	}
	here, err := os.Getwd()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	return filepath.Join(here, file), err
}

// asked asks the kernel.
func asked(fd int) (f Filesystem) {
	var uuid struct {
		n    uint8
		uuid [16]byte
	}
	var id uint32
	switch {
	case ask(fd, getFSUUID, unsafe.Pointer(&uuid)) && uuid.n == 16 && uuid.uuid != [16]byte{}:
		u := uuid.uuid
		f.UUID = fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	case ask(fd, getFATID, unsafe.Pointer(&id)):
		f.UUID = fatUUID(id)
	}
	var label [fsLabelMax]byte
	if ask(fd, getFSLabel, unsafe.Pointer(&label)) {
		f.Label, _, _ = strings.Cut(string(label[:]), "\x00")
	}
	return f
}

// fatUUID is a FAT's serial number as blkid gives it.
func fatUUID(id uint32) string { return fmt.Sprintf("%04X-%04X", id>>16, id&0xffff) }

func ask(fd int, request uintptr, answer unsafe.Pointer) bool {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(answer))
	runtime.KeepAlive(answer)
	return errno == 0
}

// linked looks a device up among links that udev makes.
func linked(dir string, dev uint64) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "" // no udev
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, e.Name()), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && uint64(st.Rdev) == dev {
			return udevDecoded(e.Name())
		}
	}
	return ""
}

// udevDecoded undoes udev's encoding of what cannot stand in a file's name: \xNN
// for a byte.
func udevDecoded(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if strings.HasPrefix(name[i:], `\x`) && i+4 <= len(name) {
			if n, err := strconv.ParseUint(name[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}
