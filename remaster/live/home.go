package live

import "relive/tree"

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
