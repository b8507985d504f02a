package iso

import (
	"context"

	"relive/tree"
)

// Extent is where a part of a file lies in the image, in bytes.
type Extent struct{ Offset, Length int64 }

// Extents returns where the stored bytes of a regular file of an image lie, in
// their order; ok is false for nodes that are not of this package. What is
// compressed by zisofs is given as it is stored.
func Extents(n *tree.Node) (extents []Extent, ok bool) {
	f, ok := n.Data.(*file)
	if !ok {
		return nil, false
	}
	v := f.d.img.vol
	for i := -1; i < len(f.more); i++ {
		e := f.first
		if i >= 0 {
			e = f.more[i]
		}
		if e.bytes > 0 {
			extents = append(extents, Extent{v.offset(e.block), int64(e.bytes)})
		}
	}
	return extents, true
}

// PathsAt finds the files whose content starts at the given sectors of 2048
// bytes, such as those of boot images, in the tree that Root gives: the first
// path for each. A sector at which no file starts is left out.
func (img *Image) PathsAt(ctx context.Context, sectors ...uint32) (map[uint32]string, error) {
	found := make(map[uint32]string, len(sectors))
	root, err := img.Root()
	if err != nil {
		return nil, err
	}
	wanted := make(map[uint32]bool, len(sectors))
	for _, s := range sectors {
		wanted[s] = true
	}
	err = tree.Walk(ctx, root, func(path string, n *tree.Node) error {
		f, ok := n.Data.(*file)
		if !ok || f.stored == 0 {
			return nil
		}
		off := img.vol.offset(f.first.block)
		if s := uint32(off / sectorSize); off%sectorSize == 0 && wanted[s] && found[s] == "" {
			found[s] = path
		}
		return nil
	})
	return found, err
}
