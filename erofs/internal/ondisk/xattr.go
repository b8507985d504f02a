package ondisk

import "encoding/binary"

// Lengths of the parts of extended attributes, in bytes.
const (
	XattrHeaderSize = 12
	XattrIDSize     = 4
	XattrEntrySize  = 4
)

// XattrBodySize is the length of an inode's body of attributes.
func XattrBodySize(count uint16) int64 {
	if count == 0 {
		return 0
	}
	return XattrHeaderSize + XattrIDSize*int64(count-1)
}

// XattrHeader is the head of a body.
type XattrHeader struct {
	Filter uint32 // a bit that is set says that names with that hash are absent
	Shared uint8  // number of ids that follow
}

// DecodeXattrHeader decodes the head of a body.
func DecodeXattrHeader(b []byte) XattrHeader {
	return XattrHeader{Filter: binary.LittleEndian.Uint32(b), Shared: b[4]}
}

// Append encodes the head of a body.
func (h *XattrHeader) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, h.Filter)
	return append(dst, h.Shared, 0, 0, 0, 0, 0, 0, 0)
}

// XattrLong marks the index of an attribute whose name begins with a long prefix.
const XattrLong uint8 = 1 << 7

// XattrEntry is the head of an attribute, which its name and its value follow.
type XattrEntry struct {
	NameLen  uint8
	Index    uint8 // of the prefix
	ValueLen uint16
}

// DecodeXattrEntry decodes the head of an attribute.
func DecodeXattrEntry(b []byte) XattrEntry {
	return XattrEntry{NameLen: b[0], Index: b[1], ValueLen: binary.LittleEndian.Uint16(b[2:])}
}

// Append encodes the head of an attribute.
func (e *XattrEntry) Append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, e.NameLen, e.Index), e.ValueLen)
}

// Len is the length of the attribute with its padding.
func (e *XattrEntry) Len() int {
	return (XattrEntrySize + int(e.NameLen) + int(e.ValueLen) + 3) &^ 3
}

// XattrPrefixes are the prefixes by their index, "" where there is none.
var XattrPrefixes = [...]string{1: "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security."}

// XattrPrefix gives the prefix of an index, or "".
func XattrPrefix(index uint8) string {
	if int(index) < len(XattrPrefixes) {
		return XattrPrefixes[index]
	}
	return ""
}

// Indexes of the prefixes that are whole names.
const (
	XattrACLAccess  uint8 = 2
	XattrACLDefault uint8 = 3
)
