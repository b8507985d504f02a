package live

import (
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/menu"
	"relive/remaster/sumlist"
)

// Medium is how the system of a live directory is laid out on an ISO. Paths
// are those on the ISO, unless said otherwise.
type Medium struct {
	// Root is the root of the medium that the live directory lies on, a path of
	// its place. On a disk that holds other things too it is where the names
	// begin that are looked at.
	Root string
	// Rename is a directory of the medium and its name on the ISO; both are
	// empty where it keeps its name.
	Rename [2]string
	// Own are patterns of what is taken of the medium whatever makes the ISO boot,
	// relative to its root; Whole of what else is taken of a medium that boots.
	Own, Whole []string
	// Base is where the new base lies, and beside the files that tell of it.
	Base     string
	Sidecars []Companion
	// EmptyImages are images that lie over the base and hold nothing any more.
	EmptyImages []string
	// Missed are files of the medium that a boot or an installer uses and that do not
	// come along.
	Missed []Missed
	// Kernels and initrds are patterns of where they lie, best first.
	Kernels, Initrds []string
	// InitrdFiles are files of an initrd that say how a medium boots, by their
	// paths, and what they have to say on an ISO, where an initrd has them.
	// InitrdPrivate are directories of an initrd, with a slash behind, that may hold
	// files of the owner.
	InitrdFiles   map[string]string
	InitrdPrivate []string
	// Machine are patterns of arguments that no other medium has, such as those that
	// name a disk of the machine that a medium was in.
	Machine []string
	// Marker is the path of an empty file by which a boot may know the medium of a
	// UUID, nil where there is none.
	Marker func(uuid string) string
	// Values are arguments that tell the medium in ways that an ISO does not have,
	// and those that take their place. The label is as udev names the volume.
	Values func(label, uuid string) []menu.ValueEdit
	// Arguments are what a kernel is told so that the medium boots. The label is
	// written as udev names the volume; where it is "" the volume is told by its
	// UUID.
	Arguments func(label, uuid string) []string
}

// Missed are patterns of paths on a medium and what it means that they do not come
// along to an ISO.
type Missed struct {
	Patterns []string
	Why      string
	// System: what a boot puts into the system, so that it is missed where all of it
	// is to come along.
	System bool
}

// mediumMarks are the directories by which a medium that boots is known.
var mediumMarks = []string{"boot/grub", "boot/grub2", "boot/isolinux", "boot/syslinux", "boot/loader", "isolinux", "syslinux", "EFI/BOOT",
	"EFI/boot", "efi/boot", "loader/entries", "images/pxeboot"}

// IsMedium reports whether a directory is the root of a medium that boots, and
// not that of an installed system.
func IsMedium(at Place, dir string) bool {
	if IsDir(at, filepath.Join(dir, "etc")) && IsDir(at, filepath.Join(dir, "usr")) {
		return false
	}
	return slices.ContainsFunc(mediumMarks, func(name string) bool { return IsDir(at, filepath.Join(dir, name)) })
}

// BootTakes are taken of every medium.
var BootTakes = []string{"boot", "EFI", "efi", "isolinux", "syslinux", "loader", ".disk", "autorun.inf", "autorun.ico", "cdrom.ico",
	"shellx64.efi", "shellia32.efi", "efi.img"}

// AboveDir returns the directory that the live directory is in, and its name
// there. A live directory that is the root of a file system has none.
func (l *Live) AboveDir() (root, name string) {
	if at, ok := l.Place.(Tree); ok && l.Dir == at.Name {
		return l.Dir, ""
	}
	dir := l.Absolute()
	return filepath.Dir(dir), filepath.Base(dir)
}

// Absolute is the live directory's path, as long as there is one that does not
// depend on where relive runs.
func (l *Live) Absolute() string {
	if l.OnHost() {
		if dir, err := filepath.Abs(l.Dir); err == nil {
			return dir
		}
	}
	return l.Dir
}

// besideBase are the files that tell of the new base's size and, where there
// are several images, of their order.
func besideBase(l *Live, base string) (out []Companion) {
	for _, c := range l.Files.Companions {
		if c.List != nil {
			continue // lists of sums are made of all that is on the ISO
		}
		if rest, ok := strings.CutPrefix(c.Name, sumlist.Stem(l.Files.Base)); ok {
			c.Name = sumlist.Stem(base) + rest
		}
		if filepath.Base(c.Name) == livebootModules {
			own := filepath.Base(base)
			c.Text = func(Facts) string { return own + "\n" }
		}
		out = append(out, c)
	}
	return out
}

// besideStack are the files that tell of the images of a stack, of which all is in
// the lowest now: each told of what it and those below it showed.
func besideStack(l *Live) (out []Companion) {
	for _, image := range l.Files.Stack {
		for i := range Ties {
			t := &Ties[i]
			name, ok := strings.CutPrefix(t.name, "STEM")
			if name = sumlist.Stem(image) + name; !ok || !t.Made() || !IsFile(l.Place, filepath.Join(l.Dir, name)) {
				continue
			}
			c := Companion{Name: name, Sum: t.Sum, Text: t.text, Packages: t.packages}
			if t.packages {
				former, err := ReadSmall(l.Place, filepath.Join(l.Dir, name), maxPackageList)
				if err != nil {
					continue // what cannot be read has no form to be listed in
				}
				c.Former = former
			}
			out = append(out, c)
		}
	}
	return out
}

// literally is a pattern that matches the name itself.
func literally(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}
