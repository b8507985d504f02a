package live

import (
	"path/filepath"
	"slices"
	"strings"

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

// OpenHome opens the image of homes where there is one. What is wrong with it
// concerns those who use it, not the base.
func (l *Live) OpenHome(name string) {
	if name == "" {
		return
	}
	path := filepath.Join(l.Dir, name)
	if !l.home.partition && !IsFile(l.Place, path) {
		return
	}
	if l.Home, l.HomeProblem = l.OpenImage(path); l.HomeProblem != nil {
		l.Home = nil
	}
}

// openHomes opens what a boot with persistence of homes mounts at /home.
func (l *Live) openHomes() error {
	if l.homes.name == "" {
		l.OpenHome(l.Files.Home)
		return nil
	}
	root, err := l.Place.Directory(l.HomesDir())
	if err != nil {
		return err
	}
	if l.Layout.Traits().HomeInside {
		if inner, err := DirectoryAt(root, HomeDir); err != nil {
			return err
		} else if inner != nil {
			root = inner
		}
	}
	var edits tree.Edits
	edits.Remove(LostAndFound)
	if root, err = edits.Apply(root); err != nil {
		return err
	}
	l.Binds = slices.DeleteFunc(slices.Clone(l.Binds), func(b bind) bool {
		return b.Dir == HomeDir || strings.HasPrefix(b.Dir, HomeDir+"/")
	})
	l.Binds = append(l.Binds, bind{HomeDir, root})
	return nil
}

// HomesDir is the directory that was named for the homes, "" where none was.
func (l *Live) HomesDir() string {
	if l.homes.name == "" {
		return ""
	}
	return filepath.Join(l.Dir, l.homes.name)
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
