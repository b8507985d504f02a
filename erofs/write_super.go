package erofs

import (
	"encoding/binary"
	"fmt"
	"math"

	"relive/codec"
	"relive/erofs/internal/ondisk"
)

// incompat are the features that the options stand for.
func (o *WriteOptions) incompat() (bits uint32) {
	if len(o.Compressions) > 0 && !o.Legacy {
		bits |= ondisk.IncompatZeroPadding
	}
	if o.Configs {
		bits |= ondisk.IncompatConfigs
	}
	if o.ChunkSize > 0 {
		bits |= ondisk.IncompatChunks
	}
	if o.Tails {
		bits |= ondisk.IncompatTails
	}
	if o.packs() || o.Dedupe {
		bits |= ondisk.IncompatFragments
	}
	return bits
}

// configs gives the bitmap of compressions, and the configurations behind the
// superblock in the order of its bits.
func (o *WriteOptions) configs() (bitmap uint16, b []byte) {
	if !o.Configs {
		if len(o.Compressions) > 0 {
			return o.Compressions[0].Distance, nil
		}
		return 0, nil
	}
	le := binary.LittleEndian
	for algo := range codec.Raw(algorithms) {
		for i := range o.Compressions {
			c := &o.Compressions[i]
			if c.Algorithm != algo {
				continue
			}
			bitmap |= 1 << algo
			var config [14]byte
			n := len(config)
			switch algo {
			case codec.RawLZ4:
				le.PutUint16(config[:], c.Distance)
				le.PutUint16(config[2:], uint16(o.pclusterBlocks()))
			case codec.MicroLZMA:
				le.PutUint32(config[:], c.Options.Dictionary)
			case codec.RawDeflate:
				n, config[0] = 6, c.Options.WindowBits
			case codec.RawZstd:
				n, config[1] = 6, c.Options.WindowLog-ondisk.ZstdLogMin
			}
			b = append(b, make([]byte, up(int64(len(b)), 4)-int64(len(b)))...)
			b = le.AppendUint16(b, uint16(n))
			b = append(b, config[:n]...)
		}
	}
	return bitmap, b
}

// superblock writes the first block, and with it, as the last bytes of all, the
// superblock: until then the file is no EROFS image.
func (w *writer) superblock() error {
	p := w.plan
	o := &p.o
	blocks := w.pos >> writeBits
	if blocks > math.MaxUint32 {
		return fmt.Errorf("an image of %d blocks is larger than EROFS can be", blocks)
	}
	sb := ondisk.Superblock{
		Compat: ondisk.CompatChecksum | ondisk.CompatMtime, BlockBits: writeBits, Root16: uint16(p.dirs[0].nid), Inodes: p.Stats.Inodes,
		Epoch: o.Epoch.Sec, FixedNsec: o.Epoch.Nsec, Blocks: uint32(blocks), MetaBlock: uint32(p.places.inodes >> writeBits),
		XattrBlock: uint32(p.places.shared >> writeBits), UUID: o.UUID, Incompat: o.incompat(), PackedNID: w.packedNID,
	}
	copy(sb.Label[:], o.Label)
	var configs []byte
	sb.Algorithms, configs = o.configs()
	block := make([]byte, BlockSize)
	copy(block[ondisk.SuperblockOffset+ondisk.SuperblockSize:], configs)
	encode := func() { copy(block[ondisk.SuperblockOffset:], sb.Append(nil)) }
	encode()
	switch {
	case o.NullUUID:
		sb.UUID = [16]byte{}
	case o.UUID == [16]byte{}:
		w.sum.Write(block)
		copy(sb.UUID[:], w.sum.Sum(nil))
		// A number that is made of something, as RFC 9562 has it.
		sb.UUID[6], sb.UUID[8] = sb.UUID[6]&0x0f|0x80, sb.UUID[8]&0x3f|0x80
	}
	encode()
	off, n := ondisk.ChecksumRange(writeBits)
	sb.Checksum = ondisk.Sum(block[off : off+n])
	encode()
	w.uuid = sb.UUID
	_, err := w.out.WriteAt(block, w.base)
	return err
}
