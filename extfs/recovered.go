package extfs

import (
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"sort"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// Recovered is the device of an image as the kernel leaves it after the
// recovery of its journal, and before anything else: it reads with the blocks
// that the journal holds in their places, an empty journal, and a superblock
// that needs no recovery. The list of orphans, files that were deleted while
// they were open, is left for the next mount, as e2fsck leaves it after a
// replay.
//
// It is a tree.Content over the reader that was given to [Open], of the same
// size; that one stays in use and is not closed with it.
type Recovered struct {
	dev     *device
	fixes   []fix       // by offset
	changed []ByteRange // by offset, apart from each other
}

// fix is bytes that were made and stand nowhere on the device.
type fix struct {
	off  int64
	data []byte
}

// replayedLog is what is needed to mark a replayed log as empty.
type replayedLog struct {
	superblock uint64 // block of the image
	next       uint32 // number of the transaction after the last that counts
}

// Recovered returns the device as it is after recovery. Where nothing was to be
// recovered it is the device itself, and nothing has changed.
//
// Fast commits are not blocks that could be put into their places: an image
// with such that were replayed is tree.ErrUnsupported. Its journal has to stay
// for the kernel, which replays it at the next mount.
func (fs *FS) Recovered() (*Recovered, error) {
	if fs.fast != nil {
		return nil, tree.Unsupported(fs.name, "journal",
			"holds fast commits, which only the kernel or e2fsck can bring to their place; leave the journal as it is, or run e2fsck first")
	}
	r := &Recovered{dev: fs.dev}
	if !fs.needsRecovery {
		return r, nil
	}
	r.fixes = append(r.fixes, fix{ondisk.SuperblockOffset, fs.recoveredSuperblock()})
	if fs.replayed != nil {
		sb, err := fs.emptyJournal()
		if err != nil {
			return nil, err
		}
		r.fixes = append(r.fixes, fix{int64(fs.replayed.superblock << fs.geo.blockBits), sb})
	}
	sort.Slice(r.fixes, func(i, k int) bool { return r.fixes[i].off < r.fixes[k].off })
	r.noteChanges()
	return r, nil
}

// recoveredSuperblock returns the superblock as the kernel writes it at the end
// of recovery, with the free counts that are otherwise only written on unmount;
// its times are left as they are.
func (fs *FS) recoveredSuperblock() []byte {
	sb := append([]byte(nil), fs.sb...)
	put := func(off int, v uint32) { binary.LittleEndian.PutUint32(sb[off:], v) }
	put(ondisk.SBFeatureIncompat, ondisk.LE32(sb, ondisk.SBFeatureIncompat)&^ondisk.IncompatRecover)
	if fs.geo.hasRO(ondisk.ROOrphanPresent) && fs.orphanFileEmpty() {
		put(ondisk.SBFeatureROCompat, ondisk.LE32(sb, ondisk.SBFeatureROCompat)&^ondisk.ROOrphanPresent)
	}
	if blocks, inodes, err := fs.countFree(); err == nil {
		put(ondisk.SBFreeBlocksLo, uint32(blocks))
		if fs.geo.hasIncompat(ondisk.Incompat64Bit) {
			put(ondisk.SBFreeBlocksHi, uint32(blocks>>32))
		}
		put(ondisk.SBFreeInodes, uint32(inodes))
	}
	if fs.geo.metadataCsum() {
		put(ondisk.SBChecksum, ondisk.SuperblockChecksum(sb))
	}
	return sb
}

// orphanFileEmpty reports whether the orphan file names no orphans. The kernel
// says in the superblock that there may be some for as long as the file system
// is mounted, and takes that back, as it does with the need for recovery, where
// there are none. Each block of the file is inode numbers, 0 where unused, and
// a tail.
func (fs *FS) orphanFileEmpty() bool {
	if !fs.geo.hasCompat(ondisk.CompatOrphanFile) {
		return false
	}
	in, err := fs.inode(ondisk.LE32(fs.sb, ondisk.SBOrphanFileInode))
	if err != nil || in.mode&ondisk.ModeFmt != ondisk.ModeReg ||
		in.has(ondisk.FlEncrypt|ondisk.FlInlineData) || in.size > ondisk.OrphanMaxSize {
		return false
	}
	c := &blockContent{fs: fs, in: in}
	p := make([]byte, fs.geo.blockSize)
	for off := int64(0); off < in.size; off += int64(len(p)) {
		if tree.ReadFull(c, p, off) != nil || ondisk.LE32(p, len(p)-ondisk.OrphanTailSize) != ondisk.OrphanMagic ||
			!tree.IsZero(p[:len(p)-ondisk.OrphanTailSize]) {
			return false
		}
	}
	return true
}

// emptyJournal returns the journal's superblock as jbd2 writes it when it marks
// the log as empty: without a start, and with a number that no transaction of
// the log has, finished or not.
func (fs *FS) emptyJournal() ([]byte, error) {
	off := int64(fs.replayed.superblock << fs.geo.blockBits)
	if off < ondisk.SuperblockOffset+ondisk.SuperblockSize {
		return nil, tree.Corrupt(fs.name, "journal", "begins in block %d, where the superblock stands", fs.replayed.superblock)
	}
	sb := make([]byte, ondisk.JBDSBSize)
	if err := fs.dev.readAt(sb, off); err != nil {
		return nil, err
	}
	put := func(off int, v uint32) { binary.BigEndian.PutUint32(sb[off:], v) }
	put(ondisk.JSBStart, 0)
	put(ondisk.JSBSequence, fs.replayed.next+1)
	if ondisk.BE32(sb, ondisk.JBDHdrType) != ondisk.JBDSuperblockV2 {
		return sb, nil
	}
	// Fast commits are announced only while there may be some.
	incompat := ondisk.BE32(sb, ondisk.JSBIncompat) &^ ondisk.JBDIncompatFastCommit
	put(ondisk.JSBIncompat, incompat)
	if incompat&(ondisk.JBDIncompatCsumV2|ondisk.JBDIncompatCsumV3) != 0 {
		put(ondisk.JSBChecksum, journalSuperblockChecksum(sb))
	}
	return sb, nil
}

// noteChanges lists what the replayed blocks and the fixes cover.
func (r *Recovered) noteChanges() {
	bits := r.dev.bits
	all := make([]ByteRange, 0, len(r.dev.overlay)+len(r.fixes))
	for _, o := range r.dev.overlay {
		all = append(all, ByteRange{Start: int64(o.block << bits), Length: 1 << bits})
	}
	for _, f := range r.fixes {
		all = append(all, ByteRange{Start: f.off, Length: int64(len(f.data))})
	}
	sort.Slice(all, func(i, k int) bool { return all[i].Start < all[k].Start })
	for _, c := range all {
		if n := len(r.changed); n > 0 && c.Start <= r.changed[n-1].End() {
			last := &r.changed[n-1]
			last.Length = max(last.End(), c.End()) - last.Start
			continue
		}
		r.changed = append(r.changed, c)
	}
}

// Changed returns the ranges that recovery writes, in ascending order and apart
// from each other; all else reads as it does on the device.
func (r *Recovered) Changed() iter.Seq[ByteRange] {
	return func(yield func(ByteRange) bool) {
		for _, c := range r.changed {
			if !yield(c) {
				return
			}
		}
	}
}

// ChangedIn reports whether recovery writes any of n bytes from off on.
func (r *Recovered) ChangedIn(off, n int64) bool {
	i := r.changedFrom(off)
	return n > 0 && i < len(r.changed) && r.changed[i].Start < off+n
}

// changedFrom returns the index of the first change that ends after off.
func (r *Recovered) changedFrom(off int64) int {
	return sort.Search(len(r.changed), func(i int) bool { return r.changed[i].End() > off })
}

// Size implements tree.Content.
func (r *Recovered) Size() int64 { return r.dev.size }

// Close implements tree.Content; it leaves the device open.
func (r *Recovered) Close() error { return nil }

// ReadAt implements tree.Content.
func (r *Recovered) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	if off >= r.dev.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > r.dev.size-off {
		p, end = p[:r.dev.size-off], io.EOF
	}
	if err := r.dev.readAt(p, off); err != nil {
		return 0, err
	}
	for _, f := range r.fixes {
		if from, to := max(off, f.off), min(off+int64(len(p)), f.off+int64(len(f.data))); from < to {
			copy(p[from-off:to-off], f.data[from-f.off:])
		}
	}
	return len(p), end
}

// NextData implements tree.Content: what recovery writes is data, and else the
// device tells, where it can.
func (r *Recovered) NextData(off int64) (start, end int64, err error) {
	off = max(off, 0)
	if off >= r.dev.size {
		return 0, 0, io.EOF
	}
	d, ok := r.dev.r.(interface {
		NextData(off int64) (start, end int64, err error)
	})
	if !ok {
		return tree.WholeData(off, r.dev.size)
	}
	start, end, err = d.NextData(off)
	if err == nil {
		end = min(end, r.dev.size)
		if start >= r.dev.size {
			err = io.EOF
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	i := r.changedFrom(off)
	if i == len(r.changed) {
		if err != nil {
			return 0, 0, io.EOF
		}
		return start, end, nil
	}
	c := r.changed[i]
	from := max(off, c.Start)
	switch {
	case err != nil || c.End() < start:
		return from, c.End(), nil
	case from < start: // the change goes over into the data
		return from, max(end, c.End()), nil
	}
	return start, end, nil
}

// keepErrors brings what the kernel recorded of errors into the superblock of
// the replay: it writes that past the journal, whose copy is older.
func keepErrors(sb, device []byte) {
	copy(sb[ondisk.SBErrorCount:ondisk.SBMountOpts], device[ondisk.SBErrorCount:ondisk.SBMountOpts])
	state := ondisk.LE16(sb, ondisk.SBState) | ondisk.LE16(device, ondisk.SBState)&ondisk.StateErrors
	binary.LittleEndian.PutUint16(sb[ondisk.SBState:], state)
}
