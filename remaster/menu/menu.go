package menu

import "relive/tree"

// Entry is what a person can choose in a menu.
type Entry struct {
	Title string
	// Kernel is the path of the kernel as it stands in the menu; empty where the
	// entry boots nothing of the kind, such as a loader's module.
	Kernel string
	// Initrd are the paths of the images, in order.
	Initrd []string
	// Args are the kernel's arguments as they stand in its command line. A
	// variable of GRUB is ${name}.
	Args []string
}

// Linux reports whether the entry boots Linux, by the name of its kernel: tests
// of memory are loaded as kernels too.
func (e Entry) Linux() bool { return bootsLinux(e.Kernel) }

// Menu is a menu to be written.
type Menu struct {
	Title string
	// Timeout is how long to wait for a key before Default is booted, in seconds;
	// 0 waits for ever.
	Timeout int
	// Default is an index of Entries.
	Default int
	Entries []Entry
}

// Read returns the entries of a menu in their order; what files that it includes
// hold is not among them. The path is for errors. Those are tree.ErrCorrupt and
// tree.ErrUnsupported.
func Read(kind Kind, path string, text []byte) ([]Entry, error) {
	if len(text) > MaxText {
		return nil, tooLarge(path, int64(len(text)))
	}
	switch kind {
	case Syslinux:
		return readSyslinux(text), nil
	case GRUB:
		return readGRUB(path, text)
	case Loader:
		return readLoader(text), nil
	case Environment:
		return nil, nil
	}
	return nil, tree.Unsupported(path, "", "no kind of menu")
}
