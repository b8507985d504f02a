package extfs

// BuildOptions gives the options with which Build makes an empty file system
// like this one: size of the image, label, UUID, hash seed, sizes of blocks
// and inodes, number of inodes, reserved blocks, features, journal, mount
// options and what is done on errors. Time is left zero. Features that Build
// cannot make are among them, so that Build refuses them by name, unless the
// caller takes them out; an image of revision 0, which has none, gets filetype.
func (fs *FS) BuildOptions() BuildOptions {
	g, sb := fs.geo, fs.sb
	o := BuildOptions{
		Name:         fs.name,
		Size:         fs.dev.size,
		Label:        cString(sb[sbVolumeName:][:16]),
		UUID:         g.uuid,
		BlockSize:    int(g.blockSize),
		InodeSize:    g.inodeSize,
		Inodes:       g.inodes,
		Features:     FeatureSet{g.compat, g.incompat &^ stateIncompat, g.roCompat &^ stateROCompat},
		UnsignedHash: le32(sb, sbFlags)&flagUnsignedHash != 0,
	}
	if n := int(le16(sb, sbErrors)); n >= 1 && n <= 3 {
		o.OnErrors = n
	}
	mount := le32(sb, sbDefaultMountOpts)
	o.MountOptions = &mount
	copy(o.HashSeed[:], sb[sbHashSeed:])
	reserved := uint64(le32(sb, sbReservedBlocksLo))
	if o.Features.wide() {
		reserved |= uint64(le32(sb, sbReservedBlocksHi)) << 32
	}
	o.ReservedBlocks, o.ReservedPercent = reserved, -1
	if o.Features.journal() && !fs.journal.External {
		o.JournalBlocks = uint32(fs.journal.Blocks)
		if o.JournalBlocks == defaultJournalBlocks(g.blocks) {
			// What mke2fs chooses may be more than it lets one ask for.
			o.JournalBlocks = 0
		}
	}
	if o.Features == (FeatureSet{}) {
		o.Features.Incompat = incompatFiletype
	}
	return o
}
