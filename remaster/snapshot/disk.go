package snapshot

import (
	"slices"

	"relive/iso"
	"relive/tree"
)

// holdVolume has the ISO, written to a disk, have a partition that is the volume, as
// Linux reads its tables: Ubuntu's and Fedora's media are so. Boots that look for
// persistence on the disk that they started from leave out the device that their
// medium is; where that is the whole disk they leave out all partitions that were
// added behind (live-boot, casper: subdevices). Partitions of a GPT do not overlap,
// so that the image for EFI lies behind the files; made are those that were put into
// the tree for that alone.
func (p *Plan) holdVolume(made *tree.Node) error {
	r := &p.recipe
	d := r.Disk
	if d == nil || d.Table != iso.TableGPT || d.Mountable || d.Start > 0 {
		return nil
	}
	boot, appended := slices.Clone(r.Boot), slices.Clone(r.Appended)
	var edits tree.Edits
	for i := range boot {
		b := &boot[i]
		switch {
		case !b.InImage():
			continue
		case b.Platform != iso.PlatformEFI:
			if b.GPT != nil {
				return nil // as it came, with a partition among the files
			}
			continue
		}
		data, size := b.Hidden, b.Size
		if b.Path != "" {
			n, err := p.root.Lookup(b.Path)
			if err != nil {
				return err
			}
			data, size = n.Data, n.Size
			if made != nil {
				if own, err := made.Lookup(b.Path); err != nil {
					return err
				} else if own != nil {
					edits.Remove(b.Path)
				}
			}
		}
		appended = append(appended, iso.Partition{Data: data, Size: size})
		b.Path, b.Hidden, b.Size, b.Appended = "", nil, 0, len(appended)
	}
	root, err := edits.Apply(p.root)
	if err != nil {
		return err
	}
	p.root, r.Boot, r.Appended = root, boot, appended
	c := *d
	c.Mountable, c.Image = true, nil
	r.Disk = &c
	return nil
}
