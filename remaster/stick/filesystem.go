package stick

import (
	"errors"
	"io"

	"relive/extfs"
	"relive/iso"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// isoKind is ISO 9660's name, the one kind that stands beside a partition table.
const isoKind = "iso9660"

// opened is a file system.
type opened struct {
	root *tree.Node
	// replays: what is shown is not all on the device where it belongs; a journal
	// has the newer state.
	replays bool
}

// openFileSystem opens a file system of that kind.
func openFileSystem(kind string, r *io.SectionReader, name string) (opened, error) {
	switch kind {
	case "vfat", "exfat":
		fs, err := fat.Open(r, r.Size(), name)
		if err != nil {
			return opened{}, fsckHint(err, "fsck."+kind)
		}
		root, err := fs.Root()
		return opened{root: root}, err
	case "ext2", "ext3", "ext4":
		fs, err := extfs.Open(r, r.Size(), name)
		if err != nil {
			return opened{}, fsckHint(err, "e2fsck -f")
		}
		root, err := fs.Root()
		return opened{root, fs.Info().NeedsRecovery}, err
	case isoKind:
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
func unreadable(kind, name string) error {
	fact := "nothing that is known"
	if kind != "" {
		fact = kind + ", which relive does not read"
	}
	hint := "mount it and give the directory"
	switch kind {
	case "":
		hint = "where it is mounted somewhere, give the directory"
	case "crypto_LUKS":
		hint = "open it with cryptsetup and give the device under /dev/mapper"
	case "LVM2_member":
		hint = "activate it with vgchange -ay and give the logical volume"
	case "linux_raid_member":
		hint = "assemble it with mdadm and give the device that results"
	case "swap":
		hint = "it holds no files"
	case "squashfs":
		hint = "give the partition's device, or a copy of it, where a SquashFS image is wanted"
	}
	return withHint(tree.Unsupported(name, "", "%s", fact), hint)
}

// hinted is an error with what a person can do about it.
type hinted struct {
	error
	hint string
}

// Unwrap gives the error without the hint.
func (h *hinted) Unwrap() error { return h.error }

// Hint gives the hint.
func (h *hinted) Hint() string { return h.hint }

func withHint(err error, hint string) error { return &hinted{err, hint} }

// fsckHint adds the tool that looks into a broken file system.
func fsckHint(err error, tool string) error {
	if errors.Is(err, tree.ErrCorrupt) {
		return withHint(err, tool+" tells more and may repair it; make a copy first")
	}
	return err
}
