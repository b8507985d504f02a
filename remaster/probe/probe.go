package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"relive/remaster/stick/fat"
	"relive/remaster/stick/partition"
	"relive/tree"
	"relive/tree/hostfs"
)

var le, be = binary.LittleEndian, binary.BigEndian

// Result is what was recognised.
type Result struct {
	Kind Kind
	// Label and UUID are empty where the kind has none, or none is set. FAT's label
	// is of an unknown code page.
	Label, UUID string
	// Version is of kinds that people call by it: "2" of LUKS.
	Version string
	// Table is the partition table, which a file system that begins behind its
	// sector may have beside it; ISO images that boot from disks do.
	Table partition.Kind
}

// Name is the name that people know, with the version where that is a part of it.
func (r Result) Name() string {
	if r.Kind == LUKS {
		return r.Kind.Name() + r.Version
	}
	return r.Kind.Name()
}

// File probes a file or block device of the host.
func File(path string) (Result, error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return Result{}, err
	}
	defer c.Close()
	r, err := Of(c, c.Size())
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Of probes size bytes that r reads.
func Of(r io.ReaderAt, size int64) (Result, error) {
	p := &prober{r: r, size: size}
	res := p.probe()
	return res, p.err
}

// FirstData returns the offset of the first byte that is not zero, or -1 where
// there is none. It reads all that is not known to be a hole.
func FirstData(ctx context.Context, c tree.Content) (int64, error) {
	buf := make([]byte, 1<<20)
	for off := int64(0); ; {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			return -1, nil
		}
		if err != nil {
			return 0, err
		}
		for start < end {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			b := buf[:min(int64(len(buf)), end-start)]
			if err := tree.ReadFull(c, b, start); err != nil {
				return 0, fmt.Errorf("read %d bytes at %d: %w", len(b), start, err)
			}
			if !tree.IsZero(b) {
				for i := range b {
					if b[i] != 0 {
						return start + int64(i), nil
					}
				}
			}
			start += int64(len(b))
		}
		off = end
	}
}

// headBytes is what is read at once: nearly all magic numbers stand in there.
const headBytes = 72 << 10

// cutShort is how long a magic number must be to count alone, where the device
// ends within the superblock.
const cutShort = 6

// zeroHead is how much of content that is of no known kind must be zero for it to
// be Zeros: a COW's header, and all that the kernel writes with it.
const zeroHead = 4096

// prober reads from a device for one probing. After an error of the reader it
// gives nothing any more, and the error is what counts.
type prober struct {
	r    io.ReaderAt
	size int64
	head []byte
	err  error
}

// at returns n bytes at an offset, or nil where the device ends before.
func (p *prober) at(off, n int64) []byte {
	if p.err != nil || off < 0 || n > p.size || off > p.size-n {
		return nil
	}
	if p.head == nil {
		p.head = p.read(0, min(headBytes, p.size))
	}
	if end := off + n; end <= int64(len(p.head)) {
		return p.head[off:end:end]
	}
	return p.read(off, n)
}

func (p *prober) read(off, n int64) []byte {
	b := make([]byte, n)
	if err := tree.ReadFull(p.r, b, off); err != nil {
		p.err = fmt.Errorf("read %d bytes at %d: %w", n, off, err)
		return nil
	}
	return b
}

// has reports whether a magic number stands at an offset.
func (p *prober) has(off int64, magic string) bool {
	return string(p.at(off, int64(len(magic)))) == magic
}

func (p *prober) probe() (res Result) {
	res, found := p.signature()
	if p.err != nil {
		return Result{}
	}
	boot := p.at(0, 512)
	if !found && fat.IsFAT(boot) {
		res, found = p.fat(FAT), true
	}
	// mkfs.fat and Windows write a table into the boot sectors of their file
	// systems that covers the whole disk.
	switch res.Kind {
	case FAT, ExFAT, NTFS, BitLocker:
	default:
		res.Table = p.table()
	}
	if !found {
		res.Kind = Kind(res.Table)
	}
	if !found && res.Table == partition.None {
		res.Kind = p.unknown()
	}
	if p.err != nil {
		return Result{}
	}
	return res
}

// signature looks for all that has a magic number.
func (p *prober) signature() (Result, bool) {
	for _, s := range signatures() {
		at := s.at
		if s.end {
			at = s.fromEnd(p.size)
		}
		if s.magic != "" && !p.has(at, s.magic) {
			continue
		}
		res := Result{Kind: s.kind}
		if s.size > 0 || s.decode != nil {
			super := p.at(s.base(at), s.size)
			if super == nil && len(s.magic) < cutShort || super != nil && s.decode != nil && !s.decode(p, super, &res) {
				continue
			}
		}
		return res, p.err == nil
	}
	return Result{}, false
}

// table tells the kind of a partition table.
func (p *prober) table() partition.Kind {
	if p.err != nil {
		return partition.None
	}
	t, err := partition.Read(p.r, p.size, 0, "")
	if errors.Is(err, tree.ErrCorrupt) {
		return partition.GPT // of which both copies are damaged
	}
	if err != nil {
		p.err = err
		return partition.None
	}
	return t.Kind
}

// fat completes what is known of a FAT or exFAT. One that is damaged has no label.
func (p *prober) fat(kind Kind) Result {
	res := Result{Kind: kind}
	fs, err := fat.Open(p.r, p.size, "")
	if err == nil {
		res.UUID, res.Version = fs.UUID(), string(fs.Kind())
		res.Label, err = fs.Label()
	}
	if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
		p.err = err
	}
	return res
}

// unknown tells zeros from the rest.
func (p *prober) unknown() Kind {
	if b := p.at(0, min(zeroHead, p.size)); len(b) > 0 && tree.IsZero(b) {
		return Zeros
	}
	return Unknown
}
