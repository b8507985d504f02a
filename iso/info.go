package iso

import (
	"encoding/binary"

	"relive/tree"
)

// Info is what the volume descriptors tell of an image. Texts are as they are
// stored, without the spaces that fill them.
type Info struct {
	ImageSize  int64 // bytes that there are
	BlockSize  int   // of logical blocks, in bytes
	Blocks     int64 // of the volume
	VolumeSize int64 // Blocks in bytes; what lies behind may be appended partitions

	VolumeID      string
	SystemID      string
	VolumeSetID   string
	Publisher     string
	Preparer      string
	Application   string
	Copyright     string // a file in the root
	Abstract      string // a file in the root
	Bibliographic string // a file in the root

	// Times that are not set are zero.
	Created, Modified, Expires, Effective tree.Time
	// UUID is the identity that GRUB and libblkid make of the time of
	// modification or creation: YYYY-MM-DD-HH-MM-SS-cc.
	UUID string

	RockRidge   bool
	Extensions  []string // identifiers that ER entries of the root name
	JolietLevel int      // 1 to 3, 0 without
	// JolietVolumeID is the volume's name in Joliet's descriptor.
	JolietVolumeID string
	Enhanced       bool // there is a volume descriptor of ISO 9660:1999
	UDF            bool // a UDF file system shares the image; it is not read
	ElTorito       bool // there is a boot record
	Names          Names
}

// Info returns what the volume descriptors tell.
func (img *Image) Info() Info {
	v := img.set.primary
	p := v.raw
	text := func(at, n int) string { return trimmed(p[at : at+n]) }
	i := Info{
		ImageSize:     img.size,
		BlockSize:     1 << v.blockBits,
		Blocks:        int64(binary.LittleEndian.Uint32(p[vdVolumeSpace:])),
		VolumeID:      text(vdVolumeID, 32),
		SystemID:      text(vdSystemID, 32),
		VolumeSetID:   text(vdVolumeSetID, 128),
		Publisher:     text(vdPublisherID, 128),
		Preparer:      text(vdPreparerID, 128),
		Application:   text(vdApplicationID, 128),
		Copyright:     text(vdCopyright, 37),
		Abstract:      text(vdAbstract, 37),
		Bibliographic: text(vdBibliographic, 37),
		Created:       longDate(p[vdCreated:]),
		Modified:      longDate(p[vdModified:]),
		Expires:       longDate(p[vdExpires:]),
		Effective:     longDate(p[vdEffective:]),
		UUID:          volumeUUID(p[vdModified:], p[vdCreated:]),
		RockRidge:     img.rock.present,
		Extensions:    img.rock.ids,
		Enhanced:      img.set.enhanced,
		UDF:           img.set.udf,
		ElTorito:      img.set.boot != nil,
		Names:         img.names,
	}
	i.VolumeSize = i.Blocks << v.blockBits
	if j := img.set.joliet; j != nil {
		i.JolietLevel = j.escape
		i.JolietVolumeID = trimmed([]byte(decodeUTF16(j.raw[vdVolumeID : vdVolumeID+32])))
	}
	return i
}
