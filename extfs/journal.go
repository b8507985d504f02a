package extfs

import (
	"fmt"
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// JournalInfo tells of an image's journal.
type JournalInfo struct {
	// Present: the file system has a journal, in itself or elsewhere.
	Present bool
	// External: the journal is on another device; nothing more is known of it.
	External bool
	// Inode is the inode that holds the journal.
	Inode uint32
	// Blocks is its length in blocks of the file system.
	Blocks int64
	// FastCommitBlocks is the part of Blocks that is the fast commit area.
	FastCommitBlocks int64
	// Features are the names of its features, as dumpe2fs gives them.
	Features []string
	// Errno is the error that the kernel left in it, 0 where there is none.
	Errno int32
	// Err is what is wrong with the journal itself, where that does not matter
	// because nothing has to be replayed.
	Err error
	// Clean: nothing in it waits to be replayed. Where it does, Open has
	// replayed it in memory, and the following tell how much.
	Clean bool
	// Transactions is the number of complete transactions, ReplayBlocks that
	// of the blocks of the file system that they replace.
	Transactions int
	ReplayBlocks int
	// FastCommits is the number of fast commits after them.
	FastCommits int
}

// journal is the log in an image, opened for recovery.
type journal struct {
	fs       *FS
	in       *inode
	compat   uint32
	incompat uint32
	blocks   uint64 // length
	first    uint64 // first block of the log
	last     uint64 // end of the log; the fast commit area follows
	start    uint64 // where the oldest transaction begins
	sequence uint32 // and its number
	seed     uint32 // of checksums v2 and v3

	chunk      []byte // of the log, read at once
	chunkFirst uint64
}

// journalChunk is how much of the log is read at once.
const journalChunk = 256 << 10

func (j *journal) csumV2or3() bool {
	return j.incompat&(ondisk.JBDIncompatCsumV2|ondisk.JBDIncompatCsumV3) != 0
}

// tagBytes is the length of a tag in a descriptor block.
func (j *journal) tagBytes() int {
	if j.incompat&ondisk.JBDIncompatCsumV3 != 0 {
		return ondisk.Tag3Size
	}
	n := ondisk.TagSize32
	if j.incompat&ondisk.JBDIncompat64Bit != 0 {
		n = ondisk.TagSize64
	}
	if j.incompat&ondisk.JBDIncompatCsumV2 != 0 {
		n += ondisk.TagSizeCsumV2
	}
	return n
}

func (j *journal) corrupt(fact string, args ...any) error {
	return tree.Corrupt(j.fs.name, "journal", fact, args...)
}

// openJournal looks at the journal and, where the file system needs recovery,
// replays it in memory.
func (fs *FS) openJournal() error {
	geo := fs.geo
	recover := geo.hasIncompat(ondisk.IncompatRecover)
	fs.needsRecovery = recover
	if !geo.hasCompat(ondisk.CompatHasJournal) {
		if recover {
			return tree.Corrupt(fs.name, "superblock", "needs recovery, but has no journal")
		}
		return nil
	}
	fs.journal = JournalInfo{Present: true, Clean: true}
	if geo.journalInode == 0 {
		fs.journal.External = true
		if geo.journalDevice == 0 && recover {
			return tree.Corrupt(fs.name, "superblock", "needs recovery, but names no journal")
		}
		if recover {
			return tree.Unsupported(fs.name, "journal", "is on another device and has to be replayed; run e2fsck with both first")
		}
		return nil
	}
	j, err := fs.loadJournal()
	if err != nil {
		if !recover {
			// Nothing has to be replayed, so a broken journal takes nothing away.
			fs.journal.Inode, fs.journal.Err = geo.journalInode, err
			return nil
		}
		return err
	}
	// Without the flag the kernel ignores what the journal holds: it is old.
	if !recover {
		return nil
	}
	return fs.recover(j)
}

// loadJournal reads and checks the journal's inode and superblock.
func (fs *FS) loadJournal() (*journal, error) {
	in, err := fs.inode(fs.geo.journalInode)
	if err != nil {
		return nil, fmt.Errorf("%w (the journal)", err)
	}
	j := &journal{fs: fs, in: in}
	switch {
	case in.mode&ondisk.ModeFmt != ondisk.ModeReg || in.links == 0:
		return nil, j.corrupt("inode %d is no file", in.number)
	case in.has(ondisk.FlEncrypt | ondisk.FlInlineData):
		return nil, j.corrupt("inode %d is encrypted or inline", in.number)
	}
	j.blocks = uint64(in.size) >> fs.geo.blockBits
	if j.blocks > fs.geo.blocks || j.blocks < 2 {
		return nil, j.corrupt("%d blocks in a file system of %d", j.blocks, fs.geo.blocks)
	}
	content := &blockContent{fs: fs, in: in}
	if _, end, err := content.NextData(0); err != nil || end>>fs.geo.blockBits < int64(j.blocks) {
		return nil, j.corrupt("has holes")
	}
	sb := make([]byte, ondisk.JBDSBSize)
	if err := tree.ReadFull(content, sb, 0); err != nil {
		return nil, err
	}
	if err := j.decodeSuperblock(sb); err != nil {
		return nil, err
	}
	fs.journal.Inode = in.number
	fs.journal.Blocks = int64(j.blocks)
	fs.journal.FastCommitBlocks = int64(j.blocks - j.last)
	fs.journal.Features = j.features()
	fs.journal.Errno = int32(ondisk.BE32(sb, ondisk.JSBErrno))
	fs.journal.Clean = j.start == 0
	return j, nil
}

// decodeSuperblock checks the journal's superblock as jbd2 does.
func (j *journal) decodeSuperblock(sb []byte) error {
	if m := ondisk.BE32(sb, ondisk.JBDHdrMagic); m != ondisk.JBDMagic {
		return j.corrupt("magic number %#08x", m)
	}
	switch t := ondisk.BE32(sb, ondisk.JBDHdrType); t {
	case ondisk.JBDSuperblockV1:
	case ondisk.JBDSuperblockV2:
		j.compat = ondisk.BE32(sb, ondisk.JSBCompat)
		j.incompat = ondisk.BE32(sb, ondisk.JSBIncompat)
		if ro := ondisk.BE32(sb, ondisk.JSBROCompat); ro != 0 || j.incompat&^ondisk.JBDIncompatKnown != 0 {
			return tree.Unsupported(j.fs.name, "journal", "features %#x, %#x", j.incompat, ro)
		}
	default:
		return tree.Unsupported(j.fs.name, "journal", "superblock of type %d", t)
	}
	if bs := ondisk.BE32(sb, ondisk.JSBBlockSize); int64(bs) != j.fs.geo.blockSize {
		return j.corrupt("blocks of %d bytes, the file system's have %d", bs, j.fs.geo.blockSize)
	}
	length := uint64(ondisk.BE32(sb, ondisk.JSBMaxLen))
	if length > j.blocks {
		return j.corrupt("%d blocks, but its inode holds %d", length, j.blocks)
	}
	j.blocks = length
	if err := j.checkSuperblockChecksum(sb); err != nil {
		return err
	}
	j.first = uint64(ondisk.BE32(sb, ondisk.JSBFirst))
	j.last = j.blocks
	if j.incompat&ondisk.JBDIncompatFastCommit != 0 {
		n := uint64(ondisk.BE32(sb, ondisk.JSBNumFCBlocks))
		if n == 0 {
			n = ondisk.JBDDefFCBlks
		}
		// jbd2 leaves the log whole where that would make it too short.
		if n <= j.blocks && j.blocks-n >= ondisk.JBDMinBlocks {
			j.last = j.blocks - n
		}
	}
	j.start = uint64(ondisk.BE32(sb, ondisk.JSBStart))
	j.sequence = ondisk.BE32(sb, ondisk.JSBSequence)
	if j.first == 0 || j.first >= j.last {
		return j.corrupt("the log begins at block %d of %d", j.first, j.last)
	}
	if j.start != 0 && (j.start < j.first || j.start >= j.last) {
		return j.corrupt("the log starts at block %d, outside of %d to %d", j.start, j.first, j.last)
	}
	return nil
}

// checkSuperblockChecksum checks which checksums are in use, and with v2 and
// v3 the superblock's own.
func (j *journal) checkSuperblockChecksum(sb []byte) error {
	v2, v3 := j.incompat&ondisk.JBDIncompatCsumV2 != 0, j.incompat&ondisk.JBDIncompatCsumV3 != 0
	switch {
	case v2 && v3, (v2 || v3) && j.compat&ondisk.JBDCompatChecksum != 0:
		return j.corrupt("has two kinds of checksums at once")
	case !v2 && !v3:
		return nil
	}
	if t := sb[ondisk.JSBChecksumTyp]; t != ondisk.JBDCRC32C {
		return tree.Unsupported(j.fs.name, "journal", "checksums of type %d", t)
	}
	c := journalSuperblockChecksum(sb)
	if want := ondisk.BE32(sb, ondisk.JSBChecksum); want != c {
		return j.corrupt("superblock checksum is %#08x, the content gives %#08x", want, c)
	}
	j.seed = ondisk.CRC32C(^uint32(0), sb[ondisk.JSBUUID:ondisk.JSBUUID+ondisk.JBDUUIDSize])
	return nil
}

// journalSuperblockChecksum is the s_checksum of a journal's superblock of 1024
// bytes, of which it counts itself as zero.
func journalSuperblockChecksum(sb []byte) uint32 {
	c := ondisk.CRC32C(^uint32(0), sb[:ondisk.JSBChecksum])
	return ondisk.CRC32C(ondisk.CRC32CZero(c, 4), sb[ondisk.JSBChecksum+4:])
}

// features lists the names of the journal's features.
func (j *journal) features() []string {
	out := featureNames(j.compat, ondisk.JBDCompatNames(), "journal_compat")
	return append(out, featureNames(j.incompat, ondisk.JBDIncompatNames(), "journal_incompat")...)
}

// read returns a block of the journal, valid until the next call.
func (j *journal) read(n uint64) ([]byte, error) {
	if n >= j.blocks {
		return nil, j.corrupt("block %d is past its end", n)
	}
	bs := uint64(j.fs.geo.blockSize)
	if n < j.chunkFirst || n >= j.chunkFirst+uint64(len(j.chunk))/bs {
		count := min(max(journalChunk/bs, 1), j.blocks-n)
		if uint64(cap(j.chunk)) < count*bs {
			j.chunk = make([]byte, count*bs)
		}
		j.chunk = j.chunk[:count*bs]
		if err := tree.ReadFull(&blockContent{fs: j.fs, in: j.in}, j.chunk, int64(n*bs)); err != nil {
			j.chunk = j.chunk[:0]
			return nil, err
		}
		j.chunkFirst = n
	}
	return j.chunk[(n-j.chunkFirst)*bs:][:bs], nil
}

// physical returns the block of the image that holds a block of the journal.
func (j *journal) physical(n uint64) (uint64, error) {
	r, err := j.fs.mapBlock(j.in, n)
	if err != nil {
		return 0, err
	}
	if r.hole() {
		return 0, j.corrupt("block %d is a hole", n)
	}
	return r.physical, nil
}

// wrap brings a block number that ran past the end of the log back to its
// beginning.
func (j *journal) wrap(n uint64) uint64 {
	if n >= j.last {
		n -= j.last - j.first
	}
	return n
}

// featureNameOf is the name of one bit.
func featureNameOf(bit uint32, names []ondisk.FeatureName, kind string) string {
	for _, n := range names {
		if n.Bit == bit {
			return n.Name
		}
	}
	return fmt.Sprintf("%s %#x", strings.ReplaceAll(kind, "_", " "), bit)
}
