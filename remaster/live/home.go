package live

import (
	"relive/remaster/refusal"
	"relive/tree"
)

// HomeDir is where homes lie in a system.
const HomeDir = "home"

// LostAndFound is e2fsck's directory at the top of an ext file system.
const LostAndFound = "lost+found"

// HomeRoot is the directory of the image of homes that a boot mounts, and its
// path in the image.
func (l *Live) HomeRoot() (root *tree.Node, nested string, err error) {
	if root, err = l.Home.FS.Root(); err != nil {
		return nil, "", err
	}
	if l.Layout.Traits().HomeInside {
		// livesys mounts the image's home where it has one.
		if inner, err := DirectoryAt(root, HomeDir); err != nil || inner != nil {
			return inner, HomeDir, err
		}
	}
	return root, "", nil
}

// RefusePendingHome refuses to make another image of homes while a boot is to take
// one up: antiX's init copies the homes into homefs.new, and puts the present image
// in the place of homefs.old (initrd/init: copy_homefs).
func (l *Live) RefusePendingHome() error {
	if name := l.Pending(l.Files.Home); name != "" {
		return refusal.New(refusal.Pending, "boot once with persistence of homes, so that the homes are copied into it, or remove it",
			"%s: %s is pending: the next boot would copy the homes into it, and put what is made now in the place of %s", l.Dir, name,
			OldName(l.Files.Home, 1))
	}
	return nil
}
