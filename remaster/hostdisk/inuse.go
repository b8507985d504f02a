package hostdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"relive/tree/hostfs"
)

// InUse reports whether the running system uses an image file: mounted, or
// attached to a loop device. reason says how, in words; it is empty where the
// file is not in use. root is the directory that has proc and sys below it,
// "/" but in tests.
//
// The file is recognised by device and inode number as well as by its path, so
// other names of it, bind mounts and loop devices whose file was renamed since
// are found too. Without the right to open loop devices, a file that lost its
// name while attached is recognised by its directory and size only, and rather
// once too often.
func InUse(root, path string) (reason string, err error) {
	abs, err := hostfs.FromRoot(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", err
	}
	u := user{host: os.DirFS(root), root: root, file: info, names: map[string]bool{abs: true, real: true}}
	if u.mounts, err = readMounts(u.host); err != nil {
		return "", err
	}
	if info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0 {
		return u.device()
	}
	if reason, err = u.loops(); reason != "" || err != nil {
		return reason, err
	}
	return u.mounted(), nil
}

// user looks for the user of one file.
type user struct {
	host   fs.FS
	root   string
	file   fs.FileInfo
	names  map[string]bool // absolute paths of the file
	mounts []mount
}

// is reports whether a path that the kernel shows is the file.
func (u *user) is(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	if info, err := os.Stat(path); err == nil {
		return os.SameFile(info, u.file)
	}
	return u.names[path] // a place that this process cannot look at
}

// device looks at the users of a block device: mounts of it, or of a partition
// of it, and devices that stand on it.
func (u *user) device() (string, error) {
	st, ok := u.file.Sys().(*syscall.Stat_t)
	if !ok {
		return "", nil
	}
	number := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	at := "sys/dev/block/" + number
	// The partitions, too: each is a directory with a file dev.
	parts, err := fs.Glob(u.host, at+"/*/dev")
	if err != nil {
		return "", err
	}
	dirs := map[string]string{number: at}
	for _, p := range parts {
		b, err := fs.ReadFile(u.host, p)
		if err != nil {
			return "", err
		}
		if _, err := fs.Stat(u.host, filepath.Dir(p)+"/partition"); err == nil {
			dirs[strings.TrimSpace(string(b))] = filepath.Dir(p)
		}
	}
	for _, m := range u.mounts {
		if dirs[m.dev] != "" || u.is(m.source) {
			return fmt.Sprintf("%s is mounted at %s", m.source, m.point), nil
		}
	}
	for _, dir := range dirs {
		holders, err := fs.ReadDir(u.host, dir+"/holders")
		if err == nil && len(holders) > 0 {
			return "part of /dev/" + holders[0].Name(), nil
		}
	}
	return "", nil
}

// loops looks at the loop devices.
func (u *user) loops() (string, error) {
	// Not the pattern of the whole path, for which each device's directory is read.
	all, err := fs.Glob(u.host, "sys/block/loop*")
	if err != nil {
		return "", err
	}
	for _, dir := range all {
		b, err := fs.ReadFile(u.host, dir+"/loop/backing_file")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO) {
			continue // nothing is attached
		}
		if err != nil {
			return "", err
		}
		device := "/dev/" + filepath.Base(dir)
		backing := strings.TrimSuffix(string(b), "\n")
		uses, err := u.backs(device, backing)
		if err != nil {
			return "", err
		}
		if !uses {
			continue
		}
		for _, m := range u.mounts {
			if m.source == device {
				return fmt.Sprintf("mounted at %s through %s", m.point, device), nil
			}
		}
		return "attached to " + device, nil
	}
	return "", nil
}

// backs reports whether the file is what a loop device has behind it. The device
// itself knows device and inode number; only who may not open it has to go by
// the name.
func (u *user) backs(device, backing string) (bool, error) {
	if dev, ino, ok := loopFile(filepath.Join(u.root, device)); ok {
		st, isStat := u.file.Sys().(*syscall.Stat_t)
		return isStat && uint64(st.Dev) == dev && st.Ino == ino, nil
	}
	if u.is(backing) {
		return true, nil
	}
	name, deleted := strings.CutSuffix(backing, " (deleted)")
	if !deleted {
		return false, nil
	}
	// The file lost this name, by removal or because another took its place; it
	// may live on under another one in the same directory, such as linuxfs.old.
	// If the size fits too, it is safer to take it for this one, unless this one
	// is what took the place.
	if u.names[name] || !u.sameDir(name) {
		return false, nil
	}
	b, err := fs.ReadFile(u.host, "sys/block/"+filepath.Base(device)+"/size")
	if err != nil {
		return false, err
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return false, fmt.Errorf("%s: size in /sys: %w", device, err)
	}
	return sectors == u.file.Size()/512, nil
}

// sameDir reports whether a path lies in the directory of the file.
func (u *user) sameDir(path string) bool {
	for n := range u.names {
		if filepath.Dir(n) == filepath.Dir(path) {
			return true
		}
	}
	return false
}

// loopFile asks a loop device for device and inode number of the file behind it.
func loopFile(device string) (dev, ino uint64, ok bool) {
	f, err := os.Open(device)
	if err != nil {
		return 0, 0, false
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return 0, 0, false
	}
	return info.Device, info.Inode, true
}

// mounted looks for mounts of the file: file systems that take a file as their
// source by themselves, and bind mounts over or of it.
func (u *user) mounted() string {
	for _, m := range u.mounts {
		switch {
		case u.is(m.source):
			return "mounted at " + m.point
		case m.root != "/" && u.is(m.point):
			return "bind-mounted at " + m.point
		case m.fstype == "overlay":
			for _, layer := range m.layers {
				if u.is(layer) {
					return "part of the overlay at " + m.point
				}
			}
		}
	}
	return ""
}

// mount is a line of mountinfo.
type mount struct {
	dev    string // major:minor
	root   string // the directory or file within the file system
	point  string
	fstype string
	source string
	layers []string // directories that an overlay names in its options
}

// readMounts reads proc/self/mountinfo, or where that is missing proc/mounts.
func readMounts(host fs.FS) ([]mount, error) {
	b, err := fs.ReadFile(host, "proc/self/mountinfo")
	if err == nil {
		return parseMountinfo(string(b))
	}
	old, err2 := fs.ReadFile(host, "proc/mounts")
	if err2 != nil {
		return nil, err
	}
	return parseMounts(string(old))
}

// parseMountinfo reads the lines of mountinfo: id, parent, device, root, mount
// point, options, optional fields up to "-", type, source, options.
func parseMountinfo(text string) ([]mount, error) {
	var all []mount
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		dash := 6
		for dash < len(f) && f[dash] != "-" {
			dash++
		}
		if dash+2 >= len(f) {
			return nil, fmt.Errorf("mountinfo: line %q has too few fields", strings.TrimSpace(line))
		}
		all = append(all, mount{dev: f[2], root: unescape(f[3]), point: unescape(f[4]), fstype: unescape(f[dash+1]),
			source: unescape(f[dash+2])})
		if m := &all[len(all)-1]; m.fstype == "overlay" && dash+3 < len(f) {
			m.layers = overlayLayers(f[dash+3])
		}
	}
	return all, nil
}

// overlayLayers returns the directories in the options of an overlay mount. The
// kernel shows them as they were given (fs/overlayfs/params.c): in upperdir,
// workdir and lowerdir a backslash takes the meaning of what follows it, such as
// of the colons that separate lower layers; layers that were added one by one,
// with a plus, have no such thing. All that is escaped once more in octal, also
// commas and backslashes.
func overlayLayers(options string) (dirs []string) {
	for o := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		value = unescape(value)
		switch key {
		case "upperdir", "workdir":
			dirs = append(dirs, layers(value, "")...)
		case "lowerdir":
			dirs = append(dirs, layers(value, ":")...)
		case "lowerdir+", "datadir+":
			dirs = append(dirs, value)
		}
	}
	return dirs
}

// layers splits at the separator, unless a backslash is before it, and drops the
// backslashes.
func layers(value, separator string) []string {
	dirs := []string{""}
	for i := 0; i < len(value); i++ {
		last := &dirs[len(dirs)-1]
		switch {
		case value[i] == '\\' && i+1 < len(value):
			i++
			*last += value[i : i+1]
		case value[i:i+1] == separator:
			dirs = append(dirs, "")
		default:
			*last += value[i : i+1]
		}
	}
	return dirs
}

// parseMounts reads the lines of /proc/mounts: source, mount point, type.
func parseMounts(text string) ([]mount, error) {
	var all []mount
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) < 3 {
			return nil, fmt.Errorf("/proc/mounts: line %q has too few fields", strings.TrimSpace(line))
		}
		m := mount{root: "/", source: unescape(f[0]), point: unescape(f[1]), fstype: unescape(f[2])}
		if m.fstype == "overlay" && len(f) > 3 {
			m.layers = overlayLayers(f[3])
		}
		all = append(all, m)
	}
	return all, nil
}

// unescape reads the octal escapes (\040) that the kernel writes for white
// space and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, "\\") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1]) && isOctal(s[i+2]) && isOctal(s[i+3]) {
			b = append(b, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }
