package bootfiles

import (
	"context"

	"relive/tree"
)

// Find returns the set-up of a medium that has loaders: the tree of a stick, of an
// ISO, or of a directory like one. What the medium lacks is taken from packages,
// in their order: trees of systems, such as the live system itself and the one
// that relive runs on. Nil trees are passed over.
//
// A medium without loaders gives a Setup without boot images. Errors are those of
// reading; they name the file.
func Find(ctx context.Context, medium *tree.Node, packages ...*tree.Node) (*Setup, error) {
	m, systems := source{medium, true}, sources(packages)
	p := &plan{}
	p.Origin = "the medium"
	found, err := p.mediumISOLINUX(m, systems)
	if err == nil && !found {
		found, err = p.mediumGRUB(m, systems)
	}
	if err != nil {
		return nil, err
	}
	if !found {
		p.note("BIOS: there is no ISOLINUX on the medium, nor an image of GRUB for CDs")
	}
	if found, err = p.mediumImage(m); err != nil {
		return nil, err
	}
	if !found {
		before := len(p.Boot)
		if err := p.mediumDirectory(ctx, m); err != nil {
			return nil, err
		}
		if found = len(p.Boot) > before; !found {
			p.note("UEFI: there is neither an image that firmware boots from on the medium, nor one that can be made of a directory EFI")
		}
	}
	return p.finish()
}

// sources are the trees of systems that there are.
func sources(trees []*tree.Node) (out []source) {
	for _, t := range trees {
		if t != nil {
			out = append(out, source{root: t})
		}
	}
	return out
}
