package stick

import (
	"errors"
	"io"

	"relive/extfs"
	"relive/iso"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// opened is a file system.
type opened struct {
	root *tree.Node
	// replays: what is shown is not all on the device where it belongs; a journal
	// has the newer state.
	replays bool
}

// openFileSystem opens a file system of that kind.
func openFileSystem(kind probe.Kind, r *io.SectionReader, name string) (opened, error) {
	switch kind {
	case probe.FAT, probe.ExFAT:
		fs, err := fat.Open(r, r.Size(), name)
		if err != nil {
			return opened{}, fsckHint(err, "fsck."+string(kind))
		}
		root, err := fs.Root()
		return opened{root: root}, err
	case probe.Ext2, probe.Ext3, probe.Ext4:
		fs, err := extfs.Open(r, r.Size(), name)
		if err != nil {
			return opened{}, fsckHint(err, "e2fsck -f")
		}
		root, err := fs.Root()
		return opened{root, fs.Info().NeedsRecovery}, err
	case probe.ISO9660:
		img, err := iso.Open(r, r.Size(), name)
		if err != nil {
			return opened{}, err
		}
		root, err := img.Root()
		return opened{root: root}, err
	}
	return opened{}, unreadable(kind, name)
}

// unreadable is the error of a kind that is known and not read.
func unreadable(kind probe.Kind, name string) error {
	fact := "nothing that is known"
	if kind.Known() {
		fact = kind.Name() + ", which relive does not read from a stick"
	}
	hint := kind.Hint()
	if kind == probe.SquashFS || kind == probe.EROFS {
		hint = "give the partition's device, or a copy of it, where an image is wanted"
	}
	return refusal.WithHint(tree.Unsupported(name, "", "%s", fact), hint)
}

// fsckHint adds the tool that looks into a broken file system.
func fsckHint(err error, tool string) error {
	if errors.Is(err, tree.ErrCorrupt) {
		return refusal.WithHint(err, tool+" tells more and may repair it; make a copy first")
	}
	return err
}
