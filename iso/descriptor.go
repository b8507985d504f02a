package iso

import (
	"encoding/binary"
	"fmt"

	"relive/tree"
)

// Volume descriptors (ECMA-119 8): type, "CD001", version.
const (
	standardID = "CD001"

	typeBoot          = 0
	typePrimary       = 1
	typeSupplementary = 2
	typePartition     = 3
	typeTerminator    = 255
)

// maxDescriptors bounds the set; real ones have three to five.
const maxDescriptors = 100

// Fields of a primary or supplementary volume descriptor (ECMA-119 8.4, 8.5).
const (
	vdVersion       = 6
	vdFlags         = 7
	vdSystemID      = 8  // 32
	vdVolumeID      = 40 // 32
	vdVolumeSpace   = 80 // both orders
	vdEscapes       = 88 // 32, supplementary
	vdBlockSize     = 128
	vdPathTableSize = 132
	vdPathTableL    = 140
	vdRoot          = 156 // 34
	vdVolumeSetID   = 190 // 128
	vdPublisherID   = 318 // 128
	vdPreparerID    = 446 // 128
	vdApplicationID = 574 // 128
	vdCopyright     = 702 // 37
	vdAbstract      = 739 // 37
	vdBibliographic = 776 // 37
	vdCreated       = 813 // 17
	vdModified      = 830 // 17
	vdExpires       = 847 // 17
	vdEffective     = 864 // 17
	vdAppUse        = 883 // 512
	vdAppUseSize    = 512
)

// volume is a primary or supplementary volume descriptor.
type volume struct {
	raw       []byte // the sector
	sector    int64
	blockBits uint // log2 of the logical block size, 9 to 11
	root      record
	escape    int // Joliet's UCS-2 level 1 to 3, 0 for other volumes
}

// offset is the place of a logical block in bytes.
func (v *volume) offset(block uint32) int64 { return int64(block) << v.blockBits }

// volumeSet is what the volume descriptors name.
type volumeSet struct {
	primary  *volume
	joliet   *volume
	enhanced bool // ISO 9660:1999
	// enhancedSets are the volumes of that, as far as they can be read.
	enhancedSets []*volume
	boot         []byte // El Torito's boot record, nil without
	bootAt       int64  // its sector
	end          int64  // the sector after the terminator
	udf          bool
	unknown      []string // descriptors that are not read, in words for a person
}

func descriptorPlace(sector int64) string {
	return fmt.Sprintf("volume descriptor in sector %d", sector)
}

// readVolumeSet reads the volume descriptors from sector 16 on to the
// terminator.
func (img *Image) readVolumeSet() error {
	for sector := int64(systemSectors); ; sector++ {
		if sector == systemSectors+maxDescriptors {
			return tree.Corrupt(img.name, "volume descriptors", "more than %d without a terminator", maxDescriptors)
		}
		place := descriptorPlace(sector)
		p := make([]byte, sectorSize)
		if err := img.readAt(p, sector*sectorSize, place); err != nil {
			return err
		}
		if string(p[1:6]) != standardID {
			return img.notADescriptor(p, sector)
		}
		done, err := img.addDescriptor(p, sector)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	if img.set.primary == nil {
		return tree.Corrupt(img.name, "volume descriptors", "there is no primary one")
	}
	img.set.udf = img.findUDF()
	return nil
}

// notADescriptor tells what stands where a volume descriptor is expected.
func (img *Image) notADescriptor(p []byte, sector int64) error {
	switch id := string(p[1:6]); {
	case sector > systemSectors:
		return tree.Corrupt(img.name, descriptorPlace(sector), "the set ends without a terminator")
	case id == "BEA01" || id == "NSR02" || id == "NSR03":
		return tree.Unsupported(img.name, descriptorPlace(sector), "the image has UDF alone, without ISO 9660")
	case string(p[9:14]) == "CDROM":
		return tree.Unsupported(img.name, descriptorPlace(sector), "High Sierra, the form before ISO 9660")
	}
	return tree.Corrupt(img.name, descriptorPlace(sector), "no ISO 9660 image: the identifier is %q", p[1:6])
}

// addDescriptor takes one descriptor into the set; done after the terminator.
func (img *Image) addDescriptor(p []byte, sector int64) (done bool, err error) {
	s := &img.set
	switch p[0] {
	case typeTerminator:
		s.end = sector + 1
		return true, nil
	case typeBoot:
		if s.boot == nil && trimmed(p[7:39]) == elToritoID {
			s.boot, s.bootAt = p, sector
		} else {
			s.unknown = append(s.unknown, fmt.Sprintf("the boot record of %q in sector %d", trimmed(p[7:39]), sector))
		}
	case typePrimary:
		if s.primary == nil {
			s.primary, err = img.decodeVolume(p, sector)
		}
		// Further ones are copies of the first (ECMA-119 6.7.1.1).
	case typeSupplementary:
		if p[vdVersion] == 2 {
			s.enhanced = true
			if v, err := img.decodeVolume(p, sector); err == nil {
				s.enhancedSets = append(s.enhancedSets, v)
			}
			break
		}
		// Joliet 1995, "SVD Escape Sequences"; bit 0 of the flags tells of
		// sequences that are not registered.
		level := 0
		switch string(p[vdEscapes : vdEscapes+3]) {
		case "%/@":
			level = 1
		case "%/C":
			level = 2
		case "%/E":
			level = 3
		}
		if level > 0 && s.joliet == nil {
			if s.joliet, err = img.decodeVolume(p, sector); err == nil {
				s.joliet.escape = level
			}
		} else {
			s.unknown = append(s.unknown, fmt.Sprintf("the supplementary volume descriptor in sector %d", sector))
		}
	default:
		s.unknown = append(s.unknown, fmt.Sprintf("the volume descriptor of type %d in sector %d", p[0], sector))
	}
	return false, err
}

func (img *Image) decodeVolume(p []byte, sector int64) (*volume, error) {
	v := &volume{raw: p, sector: sector}
	place := descriptorPlace(sector)
	switch bs := binary.LittleEndian.Uint16(p[vdBlockSize:]); bs {
	case 512:
		v.blockBits = 9
	case 1024:
		v.blockBits = 10
	case 2048:
		v.blockBits = 11
	default:
		return nil, tree.Corrupt(img.name, place, "logical blocks of %d bytes", bs)
	}
	var fault string
	if v.root, fault = decodeRecord(p[vdRoot : vdRoot+34]); fault != "" {
		return nil, tree.Corrupt(img.name, place, "the root's record %s", fault)
	}
	if !v.root.isDir() {
		return nil, tree.Corrupt(img.name, place, "the root is not a directory")
	}
	return v, nil
}

// findUDF reports whether a UDF volume recognition sequence follows (ECMA-167
// part 2, 8.3).
func (img *Image) findUDF() bool {
	var p [6]byte
	for sector := img.set.end; sector < img.set.end+4; sector++ {
		if sector*sectorSize+int64(len(p)) > img.size || tree.ReadFull(img.r, p[:], sector*sectorSize) != nil {
			return false
		}
		switch string(p[1:6]) {
		case "NSR02", "NSR03":
			return true
		case "BEA01":
		default:
			return false
		}
	}
	return false
}
