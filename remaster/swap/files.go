package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// copyLimit is the number of entries from which on a directory is not copied:
// what a live directory holds in directories is small.
const copyLimit = 65536

// maxDepth bounds the recursion into directories.
const maxDepth = 256

// copyTree copies a file, symlink or directory to a new name. syncTree makes it
// durable.
func copyTree(ctx context.Context, fsys FS, from, to string) error {
	c := copier{ctx: ctx, fsys: fsys}
	return c.copy(from, to, 0)
}

type copier struct {
	ctx     context.Context
	fsys    FS
	entries int
}

func (c *copier) copy(from, to string, depth int) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if c.entries++; c.entries > copyLimit {
		return fmt.Errorf("copying %s: more than %d entries", from, copyLimit)
	}
	if depth > maxDepth {
		return fmt.Errorf("copying %s: directories more than %d deep", from, maxDepth)
	}
	info, err := c.fsys.Lstat(from)
	if err != nil {
		return err
	}
	switch info.Kind {
	case Regular:
		if err := c.fsys.CopyFile(from, to); err != nil {
			return err
		}
		return c.fsys.SetMeta(to, info)
	case Symlink:
		target, err := c.fsys.Readlink(from)
		if err != nil {
			return err
		}
		if err := c.fsys.Symlink(target, to); err != nil {
			return err
		}
		return c.fsys.SetMeta(to, info)
	case Directory:
		names, err := c.fsys.ReadDir(from)
		if err != nil {
			return err
		}
		if err := c.fsys.Mkdir(to); err != nil {
			return err
		}
		for _, n := range names {
			if err := c.copy(from+"/"+n, to+"/"+n, depth+1); err != nil {
				return err
			}
		}
		return c.fsys.SetMeta(to, info)
	}
	return fmt.Errorf("copying %s: it is a %s", from, info.Kind)
}

// syncTree makes a file, or a directory with all below it, durable; the name
// itself becomes so with its parent.
func syncTree(fsys FS, path string) error {
	info, err := fsys.Lstat(path)
	if err != nil {
		return err
	}
	switch info.Kind {
	case Regular:
		return fsys.Sync(path)
	case Directory:
		names, err := fsys.ReadDir(path)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := syncTree(fsys, path+"/"+n); err != nil {
				return err
			}
		}
		return fsys.SyncDir(path)
	}
	return nil
}

// noMounts refuses a directory with something mounted in it. Removing that
// would remove what is mounted, were it even the running system bound there.
func noMounts(fsys FS, path string, depth int) error {
	info, err := fsys.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mount {
		return fmt.Errorf("%s is a mount point", path)
	}
	if info.Kind != Directory {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("%s: directories more than %d deep", path, maxDepth)
	}
	names, err := fsys.ReadDir(path)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := noMounts(fsys, path+"/"+n, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// removeTree removes a file, or a directory with all below it, if nothing is
// mounted there; was tells whether there was one.
func removeTree(fsys FS, path string) (was bool, err error) {
	if err := noMounts(fsys, path, 0); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, removeAll(fsys, path)
}

func removeAll(fsys FS, path string) error {
	info, err := fsys.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mount {
		return fmt.Errorf("%s is a mount point", path)
	}
	if info.Kind == Directory {
		names, err := fsys.ReadDir(path)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := removeAll(fsys, path+"/"+n); err != nil {
				return err
			}
		}
	}
	return fsys.Remove(path)
}
