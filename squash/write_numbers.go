package squash

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// Numbers says that inodes are to keep the numbers that they have in another
// image: those whose tree.Node.Origin names an inode of it.
//
// An overlay refers to files of the image below it by inode number
// (trusted.overlay.origin, which Linux's overlayfs follows), and so does
// whoever has opened them by file handle. Where numbers stay these lead to the
// same files in the new image, or to none.
//
// A number that the image had and that no inode of the tree has any more is not
// given to another, but to whatever comes with a later image. Numbers of the
// new image are therefore not without gaps. Those in between have an entry in
// the export table that names no inode.
type Numbers struct {
	// Of is the image; where it is nil no number is kept, but those that are held.
	Of *Reader
	// Held are numbers that an inode is given by path: the one that has a name
	// there, whatever its Origin, and no other. The path "" is of none.
	Held map[uint32]string
}

// numbering assigns the inode numbers of a plan while its tree is scanned.
type numbering struct {
	of   *Reader
	held map[string]uint32
	// kept are numbers that Held keeps from all others.
	kept map[uint32]string
	// want has for each inode of the tree, in the order of the scan, the number
	// that it is to have, 0 for any; sure tells whether that was held.
	want []uint32
	sure bitset
}

func newNumbering(n *Numbers) *numbering {
	if n == nil {
		return nil
	}
	held := make(map[string]uint32, len(n.Held))
	for _, number := range slices.Sorted(maps.Keys(n.Held)) {
		if path := n.Held[number]; path != "" {
			held[path] = number
		}
	}
	return &numbering{of: n.Of, held: held, kept: n.Held}
}

// add notes the next inode of the scan and gives its place in it.
func (n *numbering) add(path string, node *tree.Node) (place int) {
	if n == nil {
		return 0
	}
	place = len(n.want)
	want := uint32(0)
	if o := node.Origin; n.of != nil && o.Source == any(n.of) && o.Number <= math.MaxUint32 {
		if _, other := n.kept[uint32(o.Number)]; !other {
			want = uint32(o.Number)
		}
	}
	n.want = append(n.want, want)
	n.name(path, place)
	return place
}

// name notes a name of an inode.
func (n *numbering) name(path string, place int) {
	if n == nil {
		return
	}
	if number := n.held[path]; number != 0 && !n.sure.has(uint32(place)) {
		n.want[place] = number
		n.sure.set(uint32(place))
	}
}

// numbersMost bounds the numbers of an image by what its inodes need, since the
// export table has an entry for each.
func numbersMost(inodes int) uint64 { return min(4*uint64(inodes)+1<<16, math.MaxUint32-1) }

// assign returns the numbers in the order of the scan. Where they cannot be kept,
// since one is too high for so few inodes, they are new ones, but none that is
// held, and kept is false.
func (n *numbering) assign(ctx context.Context) (numbers []uint32, kept bool, err error) {
	if n == nil {
		return nil, false, nil
	}
	most := numbersMost(len(n.want) + len(n.kept))
	var taken bitset
	// What is held first; of the others the first of the tree.
	kept = true
	for _, sure := range []bool{true, false} {
		for place, number := range n.want {
			switch {
			case number == 0 || n.sure.has(uint32(place)) != sure:
			case uint64(number) > most:
				kept = false
			case taken.has(number):
				n.want[place] = 0
			default:
				taken.set(number)
			}
		}
	}
	if !kept {
		taken = nil
		clear(n.want)
	}
	for number := range n.kept {
		if uint64(number) <= most {
			taken.set(number)
		}
	}
	if kept && n.of != nil {
		// New ones get what neither this image has nor the new one.
		err := n.of.scanInodes(func(i inodeInfo) error {
			if uint64(i.Number) <= most {
				taken.set(i.Number)
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, false, err
		}
	}
	next := uint32(1)
	for place, number := range n.want {
		if number != 0 {
			continue
		}
		for taken.has(next) {
			next++
		}
		n.want[place] = next
		next++
	}
	return n.want, kept, nil
}

// bitset is a set of numbers; what is behind its end is not in it.
type bitset []uint64

func (b bitset) has(i uint32) bool { return int(i/64) < len(b) && b[i/64]>>(i%64)&1 != 0 }

func (b *bitset) set(i uint32) {
	if n := int(i/64) + 1; n > len(*b) {
		*b = append(*b, make([]uint64, n-len(*b))...)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

// NumbersKept reports whether the inodes keep their numbers as
// WriteOptions.Numbers asks for. Where they do not, numbers that are held are at
// least given to no other inode, if there is an export table.
func (p *Plan) NumbersKept() bool { return p.kept }

// number returns the number of the inode that is met as the next.
func (w *metaWriter) number() uint32 {
	w.met++
	switch {
	case w.met > w.plan.Stats.Inodes:
		return 1 // the tree has changed, of which run tells in the end
	case w.plan.numbers != nil:
		return w.plan.numbers[w.met-1]
	}
	return uint32(w.met)
}

// highest is the highest number of the plan's inodes.
func (p *Plan) highest() uint32 {
	most := uint32(0)
	for _, n := range p.numbers {
		most = max(most, n)
	}
	if p.numbers == nil {
		most = uint32(p.Stats.Inodes)
	}
	return most
}

// noInode is the entry in the export table of a number that no inode has. It
// names a byte beyond the end of the first metadata block, which Linux answers
// with an error where a file handle asks for it, without reading anything.
const noInode ondisk.Ref = 0xffff

// CheckNumbers reads the image that was written and compares its inode numbers
// with those that the plan gives.
func (p *Plan) CheckNumbers(ctx context.Context, r *Reader) error {
	if p.numbers == nil {
		return nil
	}
	root, err := r.Root()
	if err != nil {
		return err
	}
	next := 0
	links := map[uint64]bool{}
	return tree.Walk(ctx, root, func(path string, n *tree.Node) error {
		if n.Type != tree.Directory && n.Nlink > 1 {
			if links[n.Inode.Number] {
				return nil
			}
			links[n.Inode.Number] = true
		}
		if next >= len(p.numbers) || n.Inode.Number != uint64(p.numbers[next]) {
			return fmt.Errorf("%s: inode number %d, which is another than it should be", tree.Quote(path), n.Inode.Number)
		}
		next++
		return nil
	})
}
