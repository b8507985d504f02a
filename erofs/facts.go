package erofs

import (
	"context"

	"relive/tree"
)

// Superblock returns the image's superblock as it is stored, without extensions.
func (r *Reader) Superblock() []byte { return append([]byte(nil), r.raw[:]...) }

// Content returns the size in bytes of all files that the image holds, each inode
// counted once, and the number of inodes. It reads every directory and inode.
func (r *Reader) Content(ctx context.Context) (size, inodes int64, err error) {
	root, err := r.Root()
	if err != nil {
		return 0, 0, err
	}
	linked := map[tree.Inode]bool{}
	err = tree.Walk(ctx, root, func(_ string, n *tree.Node) error {
		if n.Nlink > 1 && n.Type != tree.Directory {
			if linked[n.Inode] {
				return nil
			}
			linked[n.Inode] = true
		}
		inodes++
		if n.Type == tree.Regular {
			size += n.Size
		}
		return nil
	})
	return size, inodes, err
}
