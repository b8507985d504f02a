package stick

import (
	"errors"
	"fmt"
	"io"

	"relive/remaster/probe"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// probe finds out what the partition holds. What is wrong with it goes into Err;
// only errors of the disk itself are returned.
func (p *Partition) probe(diskSize int64) error {
	r := io.NewSectionReader(p.disk, p.Start, min(p.Size, diskSize-p.Start))
	res, err := probe.Of(r, r.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.content = res.Kind
	if res.Kind.Known() && res.Kind != probe.GPT && res.Kind != probe.MBR {
		p.FileSystem, p.Label, p.UUID = string(res.Kind), res.Label, res.UUID
	}
	switch {
	case res.Kind == probe.FAT, res.Kind == probe.ExFAT:
		return p.probeFAT(r)
	case !readable(res.Kind):
		p.Err = unreadable(res.Kind, p.name)
	}
	return nil
}

// readable reports whether openFileSystem opens a kind.
func readable(kind probe.Kind) bool {
	return kind.IsExt() || kind == probe.FAT || kind == probe.ExFAT || kind == probe.ISO9660
}

// probeFAT looks whether it was unmounted cleanly, and what is wrong with it.
func (p *Partition) probeFAT(r *io.SectionReader) error {
	fs, err := fat.Open(r, r.Size(), p.name)
	if err == nil {
		p.Dirty = fs.Dirty()
		_, err = fs.Label()
	}
	if errors.Is(err, tree.ErrCorrupt) || errors.Is(err, tree.ErrUnsupported) {
		p.Err, err = fsckHint(err, "fsck."+p.FileSystem), nil
	}
	return err
}
