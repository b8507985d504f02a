package mkfs

import (
	"encoding/binary"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// reservedBefore writes the inodes below the root's.
func (b *writer) reservedBefore() error { return b.emptyInode(ondisk.InoBad) }

// reservedAfter writes the reserved inodes above the root's: the resize inode,
// the journal, and those without a use, which have checksums nevertheless.
func (b *writer) reservedAfter() error {
	for ino := uint32(ondisk.InoRoot + 1); ino < firstInode; ino++ {
		var err error
		switch {
		case ino == ondisk.InoResize && b.g.feat.resize():
			err = b.resizeInode()
		case ino == ondisk.InoJournal && b.g.feat.journal():
			err = b.journalInode()
		default:
			err = b.emptyInode(ino)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *writer) emptyInode(ino uint32) error {
	b.last = max(b.last, ino)
	clear(b.raw)
	sealInode(b.raw, ino, b.g, b.seed)
	return b.inodes.write(b.raw, b.g.inodeOffset(ino))
}

// resizeInode writes the inode that owns the blocks reserved for more group
// descriptors: a double indirect block leads to the reserved blocks after the
// first group's descriptors, and each of those, as an indirect block, to its
// copies in the groups with a backup. Source: e2fsprogs lib/ext2fs/res_gdt.c;
// Linux fs/ext4/resize.c, reserve_backup_gdb.
func (b *writer) resizeInode() error {
	le := binary.LittleEndian
	perBlock := uint64(b.g.blockSize / 4)
	in := freshInode{
		mode: ondisk.ModeReg | 0o600, links: 1, time: b.o.Time, blocks: 1,
		size: (perBlock*perBlock + perBlock + ondisk.DirectBlocks) * uint64(b.g.blockSize),
	}
	le.PutUint32(in.iblock[(ondisk.DirectBlocks+1)*4:], uint32(b.g.resizeBlock))
	double := make([]byte, b.g.blockSize)
	for i := range b.g.reservedGDT {
		place := uint64(b.g.firstData) + 1 + uint64(b.g.descBlocks+i)
		le.PutUint32(double[uint64(b.g.descBlocks+i)%perBlock*4:], uint32(place))
		clear(b.block)
		n := uint64(0)
		for group := uint32(1); group < b.g.groups; group++ {
			if b.g.hasSuper(group) {
				le.PutUint32(b.block[n*4:], uint32(place+uint64(group)*uint64(b.g.blocksPerGroup)))
				n++
			}
		}
		in.blocks += 1 + n
		if n > 0 {
			if err := b.dirData.write(b.block, b.offset(place)); err != nil {
				return err
			}
		}
	}
	if err := b.dirData.write(double, b.offset(b.g.resizeBlock)); err != nil {
		return err
	}
	return b.putInode(&in, ondisk.InoResize)
}

// mapFixed maps a file that the geometry placed.
func (b *writer) mapFixed(in *freshInode, ino uint32, n uint32, data, meta []blockRun) error {
	b.extents = appendExtents(b.extents[:0], []logicalRun{{0, n}}, data)
	return b.mapExtents(in, ino, b.extents, &blockList{runs: meta})
}

// journalInode writes an empty journal: its superblock, and zeros.
func (b *writer) journalInode() error {
	in := freshInode{
		mode: ondisk.ModeReg | 0o600, links: 1, time: b.o.Time,
		size: uint64(b.g.journalLen) * uint64(b.g.blockSize),
	}
	if err := b.mapFixed(&in, ondisk.InoJournal, b.g.journalLen, b.g.journal, b.g.journalTree); err != nil {
		return err
	}
	be := binary.BigEndian
	clear(b.block)
	be.PutUint32(b.block[ondisk.JBDHdrMagic:], ondisk.JBDMagic)
	be.PutUint32(b.block[ondisk.JBDHdrType:], ondisk.JBDSuperblockV2)
	be.PutUint32(b.block[ondisk.JSBBlockSize:], uint32(b.g.blockSize))
	be.PutUint32(b.block[ondisk.JSBMaxLen:], b.g.journalLen)
	be.PutUint32(b.block[ondisk.JSBFirst:], 1)
	be.PutUint32(b.block[ondisk.JSBSequence:], 1)
	be.PutUint32(b.block[ondisk.JSBNrUsers:], 1)
	copy(b.block[ondisk.JSBUUID:], b.o.UUID[:])
	if err := b.data.write(b.block, b.offset(b.g.journal[0].start)); err != nil {
		return err
	}
	b.jnl = in
	return b.putInode(&in, ondisk.InoJournal)
}

// orphanFile writes the file that holds the numbers of orphans while the file
// system is mounted: empty blocks, each closed by magic and checksum. Source:
// Linux fs/ext4/orphan.c.
func (b *writer) orphanFile() error {
	ino := uint32(b.walk.next)
	in := freshInode{
		mode: ondisk.ModeReg | 0o600, links: 1, time: b.o.Time,
		size: uint64(b.g.orphanBlocks) * uint64(b.g.blockSize),
	}
	if err := b.mapFixed(&in, ino, b.g.orphanBlocks, b.g.orphan, b.g.orphanTree); err != nil {
		return err
	}
	list := blockList{runs: b.g.orphan}
	for {
		block, ok := list.next()
		if !ok {
			break
		}
		clear(b.block)
		end := b.g.blockSize - ondisk.OrphanTailSize
		binary.LittleEndian.PutUint32(b.block[end:], ondisk.OrphanMagic)
		if b.g.feat.csum() {
			sum := ondisk.CRC32CUint64(ondisk.InodeSeed(b.seed, ino, 0), block)
			binary.LittleEndian.PutUint32(b.block[end+4:], ondisk.CRC32C(sum, b.block[:end]))
		}
		if err := b.data.write(b.block, b.offset(block)); err != nil {
			return err
		}
	}
	b.orphanIno = ino
	return b.putInode(&in, ino)
}

// finish writes what is known only at the end.
func (b *writer) finish() error {
	if got, want := b.walk.next, uint64(len(b.c.records))+firstInode-1; got != want {
		return errChanged("there are fewer files")
	}
	if b.g.feat.orphanFile() {
		if err := b.orphanFile(); err != nil {
			return err
		}
	}
	for _, s := range [...]*stream{b.inodes, b.data, b.dirData, b.xattrs} {
		if err := s.flush(); err != nil {
			return err
		}
		if err := s.wait(); err != nil {
			return err
		}
	}
	freeBlocks, err := b.writeGroups()
	if err != nil {
		return err
	}
	freeInodes := b.g.inodes - b.last
	if err := b.writeSuperblocks(freeBlocks, freeInodes); err != nil {
		return err
	}
	b.report.Size = b.g.size
	b.report.BlockSize = b.g.blockSize
	b.report.Blocks = b.g.blocks
	b.report.FreeBlocks = freeBlocks
	b.report.Inodes = b.g.inodes
	b.report.FreeInodes = freeInodes
	b.report.JournalBlocks = b.g.journalLen
	b.report.Features = b.g.feat
	b.report.UUID = b.o.UUID
	b.report.HashSeed = b.o.HashSeed
	b.report.Time = b.o.Time
	return nil
}

// superTime is the time in a superblock: forty bits of seconds.
func superTime(t tree.Time) (lo uint32, hi uint8) {
	sec := min(max(t.Sec, 0), 1<<40-1)
	return uint32(sec), uint8(sec >> 32)
}
