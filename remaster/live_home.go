package remaster

import "relive/tree"

// homeDir is where homes lie in a system.
const homeDir = "home"

// lostAndFound is e2fsck's directory at the top of an ext file system.
const lostAndFound = "lost+found"

// homeRoot is the directory of the image of homes that a boot mounts, and its
// path in the image.
func (l *Live) homeRoot() (root *tree.Node, nested string, err error) {
	if root, err = l.Home.FS.Root(); err != nil {
		return nil, "", err
	}
	if l.Layout.Traits().HomeInside {
		// livesys mounts the image's home where it has one.
		if inner, err := directoryAt(root, homeDir); err != nil || inner != nil {
			return inner, homeDir, err
		}
	}
	return root, "", nil
}
