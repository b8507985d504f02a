package extfs

import (
	"strings"

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
		Compat:   CompatHasJournal | CompatExtAttr | CompatResizeInode | CompatDirIndex,
		Incompat: IncompatFiletype | IncompatExtents | Incompat64Bit | IncompatFlexBG,
		ROCompat: ROSparseSuper | ROLargeFile | ROHugeFile | RODirNlink | ROExtraIsize | ROMetadataCsum,
	}
}

// Names lists the features under e2fsprogs' names, in the order of dumpe2fs.
// A bit without a name shows as its word and number.
func (f FeatureSet) Names() []string {
	var out []string
	for _, w := range []struct {
		bits  uint32
		names []FeatureName
		word  string
	}{
		{f.Compat, CompatNames(), "FEATURE_C"},
		{f.Incompat, IncompatNames(), "FEATURE_I"},
		{f.ROCompat, ROCompatNames(), "FEATURE_R"},
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

func featureBitName(names []FeatureName, bit uint32, word string, n int) string {
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
			names []FeatureName
		}{
			{&f.Compat, CompatNames()}, {&f.Incompat, IncompatNames()}, {&f.ROCompat, ROCompatNames()},
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
	buildCompat = CompatHasJournal | CompatExtAttr | CompatResizeInode | CompatDirIndex |
		CompatOrphanFile | CompatStableInodes
	buildIncompat = IncompatFiletype | IncompatExtents | Incompat64Bit | IncompatFlexBG |
		IncompatEAInode | IncompatCsumSeed | IncompatLargeDir | IncompatInlineData
	buildROCompat = ROSparseSuper | ROLargeFile | ROHugeFile | ROGDTCsum | RODirNlink |
		ROExtraIsize | ROMetadataCsum

	// stateIncompat and stateROCompat tell what state a file system is in, not
	// how it is made, so features taken over from an old image lose them.
	stateIncompat = IncompatRecover
	stateROCompat = ROOrphanPresent
)

// checkFeatures gives the features to build with, or tells which one cannot be
// had.
func checkFeatures(image string, f FeatureSet, inodeSize int) (FeatureSet, error) {
	if f == (FeatureSet{}) {
		f = DefaultFeatures()
	}
	f.Incompat &^= stateIncompat
	f.ROCompat &^= stateROCompat
	// mke2fs does the same: the newer checksum takes the older one's place.
	if f.ROCompat&ROMetadataCsum != 0 {
		f.ROCompat &^= ROGDTCsum
	}
	bad := FeatureSet{f.Compat &^ buildCompat, f.Incompat &^ buildIncompat, f.ROCompat &^ buildROCompat}
	if names := bad.Names(); len(names) > 0 {
		return f, tree.Unsupported(image, "feature "+names[0], "cannot be built")
	}
	switch {
	case f.Compat&CompatResizeInode != 0 && f.ROCompat&ROSparseSuper == 0:
		return f, tree.Unsupported(image, "feature resize_inode", "needs sparse_super")
	case f.Incompat&Incompat64Bit != 0 && f.Incompat&IncompatExtents == 0:
		return f, tree.Unsupported(image, "feature 64bit", "needs extent")
	case f.Incompat&IncompatCsumSeed != 0 && f.ROCompat&ROMetadataCsum == 0:
		return f, tree.Unsupported(image, "feature metadata_csum_seed", "needs metadata_csum")
	case f.Compat&CompatOrphanFile != 0 && f.Compat&CompatHasJournal == 0:
		return f, tree.Unsupported(image, "feature orphan_file", "needs has_journal")
	case f.Incompat&IncompatInlineData != 0 && inodeSize == InodeSizeOld:
		return f, tree.Unsupported(image, "feature inline_data", "needs inodes larger than 128 bytes")
	}
	return f, nil
}

func (f FeatureSet) journal() bool    { return f.Compat&CompatHasJournal != 0 }
func (f FeatureSet) dirIndex() bool   { return f.Compat&CompatDirIndex != 0 }
func (f FeatureSet) resize() bool     { return f.Compat&CompatResizeInode != 0 }
func (f FeatureSet) orphanFile() bool { return f.Compat&CompatOrphanFile != 0 }
func (f FeatureSet) filetype() bool   { return f.Incompat&IncompatFiletype != 0 }
func (f FeatureSet) extents() bool    { return f.Incompat&IncompatExtents != 0 }
func (f FeatureSet) wide() bool       { return f.Incompat&Incompat64Bit != 0 }
func (f FeatureSet) flexBG() bool     { return f.Incompat&IncompatFlexBG != 0 }
func (f FeatureSet) eaInode() bool    { return f.Incompat&IncompatEAInode != 0 }
func (f FeatureSet) largeDir() bool   { return f.Incompat&IncompatLargeDir != 0 }
func (f FeatureSet) csum() bool       { return f.ROCompat&ROMetadataCsum != 0 }
func (f FeatureSet) hugeFile() bool   { return f.ROCompat&ROHugeFile != 0 }
func (f FeatureSet) dirNlink() bool   { return f.ROCompat&RODirNlink != 0 }

// groupCsum tells whether group descriptors have checksums, which is what
// allows groups to stay uninitialised.
func (f FeatureSet) groupCsum() bool { return f.ROCompat&(ROMetadataCsum|ROGDTCsum) != 0 }

// Buildable gives the features that an image can be built with, and the names
// of those that it has to do without: unknown ones, and ones whose
// preconditions do not hold. A state, such as needs_recovery, is left out
// without being named.
func (f FeatureSet) Buildable() (can FeatureSet, without []string) {
	f.Incompat &^= stateIncompat
	f.ROCompat &^= stateROCompat
	can = FeatureSet{f.Compat & buildCompat, f.Incompat & buildIncompat, f.ROCompat & buildROCompat}
	if can.ROCompat&ROSparseSuper == 0 {
		can.Compat &^= CompatResizeInode
	}
	if can.Incompat&IncompatExtents == 0 {
		can.Incompat &^= Incompat64Bit
	}
	if can.ROCompat&ROMetadataCsum == 0 {
		can.Incompat &^= IncompatCsumSeed
	}
	if can.Compat&CompatHasJournal == 0 {
		can.Compat &^= CompatOrphanFile
	}
	return can, FeatureSet{f.Compat &^ can.Compat, f.Incompat &^ can.Incompat, f.ROCompat &^ can.ROCompat}.Names()
}
