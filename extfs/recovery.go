package extfs

import (
	"sort"

	"relive/extfs/internal/ondisk"
)

// recovery is one replay of a log: where it ends, which blocks are revoked,
// and what replaces which.
type recovery struct {
	j       *journal
	end     uint32            // the transaction before which the log ends
	revoked map[uint64]uint32 // block -> last transaction that revokes it
	blocks  map[uint64]overlayBlock
	next    uint64 // block of the log
	read    uint64 // blocks passed over; more than the log has means a circle
}

// recover replays the journal: a pass that finds its end, one that collects
// the revoked blocks, one that notes where the blocks of the file system have
// their newest copy; then the fast commits. It reads the superblock again.
func (fs *FS) recover(j *journal) error {
	// A start of 0 says that nothing waits, not even fast commits.
	if j.start == 0 {
		return nil
	}
	r := &recovery{j: j, revoked: make(map[uint64]uint32), blocks: make(map[uint64]overlayBlock)}
	if err := r.scan(); err != nil {
		return err
	}
	if err := r.pass(r.noteRevokes, nil); err != nil {
		return err
	}
	if err := r.pass(nil, r.noteBlocks); err != nil {
		return err
	}
	commits, err := r.fastCommits()
	if err != nil {
		return err
	}
	at, err := j.physical(0)
	if err != nil {
		return err
	}
	fs.replayed = &replayedLog{superblock: at, next: r.end}
	overlay := make([]overlayBlock, 0, len(r.blocks))
	for _, b := range r.blocks {
		overlay = append(overlay, b)
	}
	sort.Slice(overlay, func(i, k int) bool { return overlay[i].block < overlay[k].block })
	fs.dev.overlay = overlay
	fs.journal.Transactions = int(r.end - j.sequence)
	fs.journal.ReplayBlocks = len(overlay)
	fs.cache = newBlockCache(fs.cache.limit)
	clear(fs.groupCache)
	device := fs.sb
	if err := fs.readSuperblock(); err != nil {
		return err
	}
	keepErrors(fs.sb, device)
	return fs.replayFastCommits(commits)
}

// sequenceAfter reports whether transaction a is later than b; the numbers wrap.
func sequenceAfter(a, b uint32) bool { return int32(a-b) > 0 }

// step reads the next block of the log and tells what it is; kind 0 ends the
// log: no block of it, or one of another transaction.
func (r *recovery) step(sequence uint32) (p []byte, kind uint32, err error) {
	if p, err = r.j.read(r.next); err != nil {
		return nil, 0, err
	}
	if err := r.advance(1); err != nil {
		return nil, 0, err
	}
	if ondisk.BE32(p, ondisk.JBDHdrMagic) != ondisk.JBDMagic || ondisk.BE32(p, ondisk.JBDHdrSeq) != sequence {
		return p, 0, nil
	}
	return p, ondisk.BE32(p, ondisk.JBDHdrType), nil
}

func (r *recovery) advance(n int) error {
	r.next += uint64(n)
	if r.next >= r.j.last {
		r.next = r.j.wrap(r.next)
	}
	if r.read += uint64(n); r.read > r.j.last-r.j.first+1 || r.next >= r.j.last {
		return r.j.corrupt("the log has no end")
	}
	return nil
}

// scan finds the end of the log: the first transaction without a commit block.
// A wrong checksum is a broken journal where the commit that it belongs to is
// newer than the one before, and else a leftover of an older log. A commit
// block that does not fit ends the log where commits are asynchronous, because
// they may be written before their blocks are.
func (r *recovery) scan() error {
	j := r.j
	r.next, r.read = j.start, 0
	sequence := j.sequence
	var lastTime uint64
	stale := false    // a checksum was wrong in this transaction
	sum := ^uint32(0) // of the transaction's blocks, with checksums v1
	ended := false    // r.end is known, only v1 looks further
	v1 := j.compat&ondisk.JBDCompatChecksum != 0
	for {
		p, kind, err := r.step(sequence)
		if err != nil {
			return err
		}
		switch kind {
		case ondisk.JBDDescriptor:
			stale = stale || !j.checkTail(p)
			n := j.countTags(p)
			if v1 && !ended {
				sum = ondisk.CRC32BE(sum, p)
				if sum, err = r.sumBlocks(sum, n); err != nil {
					return err
				}
				continue
			}
			if err := r.advance(n); err != nil {
				return err
			}
			continue
		case ondisk.JBDRevoke:
			stale = stale || !j.checkTail(p)
			continue
		case ondisk.JBDCommit:
			time := ondisk.BE64(p, ondisk.JCBSec)
			older := time < lastTime
			if stale {
				if !older {
					return j.corrupt("wrong checksum in transaction %d", sequence)
				}
				break
			}
			if ended {
				return j.corrupt("wrong checksum in transaction %d, and another follows", r.end)
			}
			if !j.checkCommit(p, sum, v1) {
				if older {
					break
				}
				if j.incompat&ondisk.JBDIncompatAsyncCommit == 0 {
					return j.corrupt("wrong checksum in the commit of transaction %d", sequence)
				}
				if !v1 {
					break
				}
				ended, r.end = true, sequence
			}
			sum = ^uint32(0)
			lastTime = time
			sequence++
			continue
		}
		if !ended {
			r.end = sequence
		}
		return nil
	}
}

// sumBlocks goes on with a checksum v1 over the next n blocks of the log.
func (r *recovery) sumBlocks(sum uint32, n int) (uint32, error) {
	for range n {
		p, err := r.j.read(r.next)
		if err != nil {
			return 0, err
		}
		sum = ondisk.CRC32BE(sum, p)
		if err := r.advance(1); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// pass goes over the complete transactions and calls onRevoke and onDescriptor,
// which may be nil, for their blocks. onDescriptor passes over the blocks that
// belong to the descriptor.
func (r *recovery) pass(onRevoke func(p []byte, sequence uint32) error, onDescriptor func(p []byte, sequence uint32) error) error {
	r.next, r.read = r.j.start, 0
	for sequence := r.j.sequence; sequenceAfter(r.end, sequence); {
		p, kind, err := r.step(sequence)
		if err != nil {
			return err
		}
		switch kind {
		case ondisk.JBDDescriptor:
			if onDescriptor == nil {
				err = r.advance(r.j.countTags(p))
			} else {
				err = onDescriptor(p, sequence)
			}
		case ondisk.JBDRevoke:
			if onRevoke != nil {
				err = onRevoke(p, sequence)
			}
		case ondisk.JBDCommit:
			sequence++
		default:
			err = r.j.corrupt("transaction %d has no end", sequence)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noteRevokes takes in a revoke block: its blocks are not to be replayed from
// this transaction or an earlier one.
func (r *recovery) noteRevokes(p []byte, sequence uint32) error {
	j := r.j
	size, tail := 4, 0
	if j.incompat&ondisk.JBDIncompat64Bit != 0 {
		size = 8
	}
	if j.csumV2or3() {
		tail = ondisk.JBDTailSize
	}
	used := int64(ondisk.BE32(p, ondisk.JBDRevokeLen))
	if used > int64(len(p)-tail) {
		return j.corrupt("transaction %d: revoke block with %d bytes", sequence, used)
	}
	for at := ondisk.JBDRevokeHdr; int64(at+size) <= used; at += size {
		block := uint64(ondisk.BE32(p, at))
		if size == 8 {
			block = ondisk.BE64(p, at)
		}
		if last, ok := r.revoked[block]; !ok || sequenceAfter(sequence, last) {
			r.revoked[block] = sequence
		}
	}
	return nil
}

// noteBlocks notes the copies that a descriptor block describes.
func (r *recovery) noteBlocks(descriptor []byte, sequence uint32) error {
	j := r.j
	// The descriptor must outlive the reading of its blocks.
	for _, t := range j.tags(append([]byte(nil), descriptor...)) {
		at := r.next
		if err := r.advance(1); err != nil {
			return err
		}
		if last, ok := r.revoked[t.block]; ok && !sequenceAfter(sequence, last) {
			continue
		}
		if t.block >= uint64(j.fs.dev.size)>>j.fs.geo.blockBits {
			return j.corrupt("transaction %d writes block %d, past the end of the image", sequence, t.block)
		}
		if j.csumV2or3() {
			p, err := j.read(at)
			if err != nil {
				return err
			}
			if !j.checkBlock(t, p, sequence) {
				return j.corrupt("transaction %d: wrong checksum of block %d", sequence, t.block)
			}
		}
		from, err := j.physical(at)
		if err != nil {
			return err
		}
		r.blocks[t.block] = overlayBlock{block: t.block, from: from, escaped: t.flags&ondisk.TagEscape != 0}
	}
	return nil
}

// tag is an entry of a descriptor block.
type tag struct {
	block    uint64
	flags    uint32
	checksum uint32
}

// tags decodes a descriptor block.
func (j *journal) tags(p []byte) []tag {
	var out []tag
	j.eachTag(p, func(t tag) { out = append(out, t) })
	return out
}

// countTags is the number of blocks that follow a descriptor block.
func (j *journal) countTags(p []byte) int {
	n := 0
	j.eachTag(p, func(tag) { n++ })
	return n
}

func (j *journal) eachTag(p []byte, visit func(tag)) {
	size, end := j.tagBytes(), len(p)
	if j.csumV2or3() {
		end -= ondisk.JBDTailSize
	}
	for at := ondisk.JBDHdrSize; at+size <= end; {
		t := tag{block: uint64(ondisk.BE32(p, at+ondisk.TagBlock))}
		if j.incompat&ondisk.JBDIncompatCsumV3 != 0 {
			t.flags = ondisk.BE32(p, at+ondisk.Tag3Flags)
			t.checksum = ondisk.BE32(p, at+ondisk.Tag3Checksum)
		} else {
			t.flags = uint32(ondisk.BE16(p, at+ondisk.TagFlags))
			t.checksum = uint32(ondisk.BE16(p, at+ondisk.TagChecksum))
		}
		if j.incompat&ondisk.JBDIncompat64Bit != 0 {
			t.block |= uint64(ondisk.BE32(p, at+ondisk.TagBlockHi)) << 32
		}
		visit(t)
		if at += size; t.flags&ondisk.TagSameUUID == 0 {
			at += ondisk.JBDUUIDSize
		}
		if t.flags&ondisk.TagLast != 0 {
			return
		}
	}
}

// checkTail checks the checksum at the end of a descriptor or revoke block.
func (j *journal) checkTail(p []byte) bool {
	if !j.csumV2or3() {
		return true
	}
	body := len(p) - ondisk.JBDTailSize
	return ondisk.CRC32CZero(ondisk.CRC32C(j.seed, p[:body]), 4) == ondisk.BE32(p, body)
}

// checkBlock checks the checksum of a copied block, of which v2 keeps only the
// lower half.
func (j *journal) checkBlock(t tag, p []byte, sequence uint32) bool {
	c := ondisk.CRC32C(ondisk.CRC32C(j.seed, []byte{byte(sequence >> 24), byte(sequence >> 16), byte(sequence >> 8), byte(sequence)}), p)
	if j.incompat&ondisk.JBDIncompatCsumV3 == 0 {
		c &= 0xFFFF
	}
	return c == t.checksum
}

// checkCommit checks the checksum in a commit block: with v1 sum, that of all
// the transaction's descriptors and blocks, else that of the block itself. One
// of which only the header reached the disk is right too.
func (j *journal) checkCommit(p []byte, sum uint32, v1 bool) bool {
	want := ondisk.BE32(p, ondisk.JCBChecksum)
	if v1 {
		kind, size := p[ondisk.JCBChecksumType], p[ondisk.JCBChecksumSize]
		return kind == ondisk.JBDCRC32 && size == ondisk.JBDCRC32Size && want == sum ||
			kind == 0 && size == 0 && want == 0
	}
	if !j.csumV2or3() {
		return true
	}
	before := ondisk.CRC32C(j.seed, p[:ondisk.JCBChecksum])
	header := ondisk.CRC32C(ondisk.CRC32CZero(before, 4), p[ondisk.JCBChecksum+4:ondisk.JBDCommitSize])
	if ondisk.CRC32C(header, p[ondisk.JBDCommitSize:]) == want {
		return true
	}
	return ondisk.CRC32C(header, make([]byte, len(p)-ondisk.JBDCommitSize)) == want
}
