package mkfs

import (
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// FeatureSet is the three feature words of a superblock, s_feature_compat,
// s_feature_incompat and s_feature_ro_compat.
type FeatureSet struct {
	Compat, Incompat, ROCompat uint32
}

// DefaultFeatures is what mke2fs -t ext4 of Debian 12 sets: has_journal
// ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super
// large_file huge_file dir_nlink extra_isize metadata_csum.
func DefaultFeatures() FeatureSet {
	return FeatureSet{
		Compat:   ondisk.CompatHasJournal | ondisk.CompatExtAttr | ondisk.CompatResizeInode | ondisk.CompatDirIndex,
		Incompat: ondisk.IncompatFiletype | ondisk.IncompatExtents | ondisk.Incompat64Bit | ondisk.IncompatFlexBG,
		ROCompat: ondisk.ROSparseSuper | ondisk.ROLargeFile | ondisk.ROHugeFile | ondisk.RODirNlink |
			ondisk.ROExtraIsize | ondisk.ROMetadataCsum,
	}
}

// Names lists the features under e2fsprogs' names, in the order of dumpe2fs.
// A bit without a name shows as its word and number.
func (f FeatureSet) Names() []string {
	var out []string
	for _, w := range []struct {
		bits  uint32
		names []ondisk.FeatureName
		word  string
	}{
		{f.Compat, ondisk.CompatNames(), "FEATURE_C"},
		{f.Incompat, ondisk.IncompatNames(), "FEATURE_I"},
		{f.ROCompat, ondisk.ROCompatNames(), "FEATURE_R"},
	} {
		for bit := range 32 {
			if w.bits&(1<<bit) == 0 {
				continue
			}
			out = append(out, featureBitName(w.names, uint32(1)<<bit, w.word, bit))
		}
	}
	return out
}

func featureBitName(names []ondisk.FeatureName, bit uint32, word string, n int) string {
	for _, f := range names {
		if f.Bit == bit {
			return f.Name
		}
	}
	return word + string(rune('0'+n/10)) + string(rune('0'+n%10))
}

// String is the names joined by spaces.
func (f FeatureSet) String() string { return strings.Join(f.Names(), " ") }

// ParseFeatures adds and removes features by e2fsprogs' names: "extent" or
// "+extent" adds, "^extent" removes. The aliases extents, gdt_csum and
// dir_index's kin that mke2fs knows are understood. An unknown name is an
// error.
func (f FeatureSet) ParseFeatures(names ...string) (FeatureSet, error) {
	for _, name := range names {
		plain := strings.TrimPrefix(name, "+")
		off := strings.HasPrefix(name, "^")
		plain = strings.TrimPrefix(plain, "^")
		switch plain {
		case "extents":
			plain = "extent"
		case "gdt_csum":
			plain = "uninit_bg"
		case "dirindex":
			plain = "dir_index"
		}
		found := false
		for _, w := range []struct {
			word  *uint32
			names []ondisk.FeatureName
		}{
			{&f.Compat, ondisk.CompatNames()}, {&f.Incompat, ondisk.IncompatNames()}, {&f.ROCompat, ondisk.ROCompatNames()},
		} {
			for _, n := range w.names {
				if n.Name != plain {
					continue
				}
				found = true
				if off {
					*w.word &^= n.Bit
				} else {
					*w.word |= n.Bit
				}
			}
		}
		if !found {
			return f, tree.Unsupported("", "feature "+plain, "is not known")
		}
	}
	return f, nil
}

// What the builder can make.
const (
	buildCompat = ondisk.CompatHasJournal | ondisk.CompatExtAttr | ondisk.CompatResizeInode | ondisk.CompatDirIndex |
		ondisk.CompatOrphanFile | ondisk.CompatStableInodes
	buildIncompat = ondisk.IncompatFiletype | ondisk.IncompatExtents | ondisk.Incompat64Bit | ondisk.IncompatFlexBG |
		ondisk.IncompatEAInode | ondisk.IncompatCsumSeed | ondisk.IncompatLargeDir | ondisk.IncompatInlineData
	buildROCompat = ondisk.ROSparseSuper | ondisk.ROLargeFile | ondisk.ROHugeFile | ondisk.ROGDTCsum | ondisk.RODirNlink |
		ondisk.ROExtraIsize | ondisk.ROMetadataCsum

	// stateIncompat and stateROCompat tell what state a file system is in, not
	// how it is made, so features taken over from an old image lose them.
	stateIncompat = ondisk.IncompatRecover
	stateROCompat = ondisk.ROOrphanPresent
)

// checkFeatures returns the features to build with, or tells which one cannot be
// had.
func checkFeatures(image string, f FeatureSet, inodeSize int) (FeatureSet, error) {
	if f == (FeatureSet{}) {
		f = DefaultFeatures()
	}
	f.Incompat &^= stateIncompat
	f.ROCompat &^= stateROCompat
	// mke2fs does the same: the newer checksum takes the older one's place.
	if f.ROCompat&ondisk.ROMetadataCsum != 0 {
		f.ROCompat &^= ondisk.ROGDTCsum
	}
	bad := FeatureSet{f.Compat &^ buildCompat, f.Incompat &^ buildIncompat, f.ROCompat &^ buildROCompat}
	if names := bad.Names(); len(names) > 0 {
		return f, tree.Unsupported(image, "feature "+names[0], "cannot be built")
	}
	switch {
	case f.Compat&ondisk.CompatResizeInode != 0 && f.ROCompat&ondisk.ROSparseSuper == 0:
		return f, tree.Unsupported(image, "feature resize_inode", "needs sparse_super")
	case f.Incompat&ondisk.Incompat64Bit != 0 && f.Incompat&ondisk.IncompatExtents == 0:
		return f, tree.Unsupported(image, "feature 64bit", "needs extent")
	case f.Incompat&ondisk.IncompatCsumSeed != 0 && f.ROCompat&ondisk.ROMetadataCsum == 0:
		return f, tree.Unsupported(image, "feature metadata_csum_seed", "needs metadata_csum")
	case f.Compat&ondisk.CompatOrphanFile != 0 && f.Compat&ondisk.CompatHasJournal == 0:
		return f, tree.Unsupported(image, "feature orphan_file", "needs has_journal")
	case f.Incompat&ondisk.IncompatInlineData != 0 && inodeSize == ondisk.InodeSizeOld:
		return f, tree.Unsupported(image, "feature inline_data", "needs inodes larger than 128 bytes")
	}
	return f, nil
}

func (f FeatureSet) journal() bool    { return f.Compat&ondisk.CompatHasJournal != 0 }
func (f FeatureSet) dirIndex() bool   { return f.Compat&ondisk.CompatDirIndex != 0 }
func (f FeatureSet) resize() bool     { return f.Compat&ondisk.CompatResizeInode != 0 }
func (f FeatureSet) orphanFile() bool { return f.Compat&ondisk.CompatOrphanFile != 0 }
func (f FeatureSet) filetype() bool   { return f.Incompat&ondisk.IncompatFiletype != 0 }
func (f FeatureSet) extents() bool    { return f.Incompat&ondisk.IncompatExtents != 0 }
func (f FeatureSet) wide() bool       { return f.Incompat&ondisk.Incompat64Bit != 0 }
func (f FeatureSet) flexBG() bool     { return f.Incompat&ondisk.IncompatFlexBG != 0 }
func (f FeatureSet) eaInode() bool    { return f.Incompat&ondisk.IncompatEAInode != 0 }
func (f FeatureSet) largeDir() bool   { return f.Incompat&ondisk.IncompatLargeDir != 0 }
func (f FeatureSet) csum() bool       { return f.ROCompat&ondisk.ROMetadataCsum != 0 }
func (f FeatureSet) hugeFile() bool   { return f.ROCompat&ondisk.ROHugeFile != 0 }
func (f FeatureSet) dirNlink() bool   { return f.ROCompat&ondisk.RODirNlink != 0 }

// groupCsum reports whether group descriptors have checksums, which is what
// allows groups to stay uninitialised.
func (f FeatureSet) groupCsum() bool { return f.ROCompat&(ondisk.ROMetadataCsum|ondisk.ROGDTCsum) != 0 }

// Buildable returns the features that an image can be built with, and the names
// of those that it has to do without: unknown ones, and ones whose
// preconditions do not hold. A state, such as needs_recovery, is left out
// without being named.
func (f FeatureSet) Buildable() (can FeatureSet, without []string) {
	f.Incompat &^= stateIncompat
	f.ROCompat &^= stateROCompat
	can = FeatureSet{f.Compat & buildCompat, f.Incompat & buildIncompat, f.ROCompat & buildROCompat}
	if can.ROCompat&ondisk.ROSparseSuper == 0 {
		can.Compat &^= ondisk.CompatResizeInode
	}
	if can.Incompat&ondisk.IncompatExtents == 0 {
		can.Incompat &^= ondisk.Incompat64Bit
	}
	if can.ROCompat&ondisk.ROMetadataCsum == 0 {
		can.Incompat &^= ondisk.IncompatCsumSeed
	}
	if can.Compat&ondisk.CompatHasJournal == 0 {
		can.Compat &^= ondisk.CompatOrphanFile
	}
	return can, FeatureSet{f.Compat &^ can.Compat, f.Incompat &^ can.Incompat, f.ROCompat &^ can.ROCompat}.Names()
}
