package fat

import (
	"context"
	"crypto/sha256"
	"fmt"

	"relive/tree"
)

// BuildOptions say what a new file system is to be besides its tree.
type BuildOptions struct {
	// Label is the volume's, up to 11 characters of ASCII; empty for none.
	Label string
	// Serial is the volume's serial number; 0 stands for one made of the label and
	// of the tree's names, sizes and times.
	Serial uint32
	// Size of the volume in bytes, a multiple of 512; 0 stands for the smallest that
	// holds the tree and has Free bytes left.
	Size int64
	// Free is how many bytes are to be left where Size is 0.
	Free int64
	// Kind is FAT12, FAT16 or FAT32; empty for what mkfs.fat takes for the size.
	Kind Kind
	// Hidden is how many sectors of 512 bytes lie before the volume on its disk.
	Hidden uint32
	// Time is that of the label; the zero Time stands for the newest of the tree.
	Time tree.Time
}

// Plan is a file system of which all is known but the content of its files.
type Plan struct {
	img image
}

// NewPlan lays out a file system of a tree. Nothing is read but the tree's
// directories; what stays in memory is what directories of FAT take, and some
// hundred bytes for each name.
//
// Owners, modes and attributes are dropped, hard links become files of their own,
// times are cut to two seconds of UTC and to the years from 1980 to 2107. What FAT
// has no place for is an error that names the path: symlinks and devices, names
// that are the same but for case, that are no UTF-8, have characters that
// FAT forbids, end in a dot or a blank or are longer than 255 UTF-16 units, files
// of 4 GiB and more, directories of more than 65536 entries.
func NewPlan(ctx context.Context, root *tree.Node, o BuildOptions) (*Plan, error) {
	if root.Type != tree.Directory {
		return nil, fmt.Errorf("a file system of a %s", root.Type)
	}
	if o.Size < 0 || o.Size%buildSector != 0 || o.Free < 0 {
		return nil, fmt.Errorf("a FAT file system of %d bytes", max(o.Size, o.Free))
	}
	label, err := labelBytes(o.Label)
	if err != nil {
		return nil, err
	}
	b := builder{ctx: ctx, hash: sha256.New()}
	fmt.Fprintf(b.hash, "%q", o.Label)
	if err := b.plan(root, nil); err != nil {
		return nil, err
	}
	if o.Time == (tree.Time{}) {
		o.Time = b.newest
	}
	if o.Label != "" {
		b.label = labelEntry(label, o.Time)
	}
	if o.Serial == 0 {
		o.Serial = max(1, le.Uint32(b.hash.Sum(nil)))
	}
	g, err := fit(&b, o)
	if err != nil {
		return nil, err
	}
	p := &Plan{image{size: g.total * g.sector, geometry: g}}
	free, err := b.allocate(&p.img)
	if err != nil {
		return nil, err
	}
	p.img.freshHead(o, label, b.rootCluster(), free)
	b.finish(&p.img)
	return p, nil
}

// Size is the volume's size in bytes.
func (p *Plan) Size() int64 { return p.img.size }

// Kind tells which of the formats it is.
func (p *Plan) Kind() Kind { return p.img.kind }

// Data is the volume as content: made of tables, which are computed where they
// are read, and of the files' own content. The same tree and options give the
// same bytes. A file that has another size than the tree said is an error when
// it is read.
func (p *Plan) Data() tree.Data { return &p.img }
