package extfs

import (
	"encoding/binary"
	"fmt"

	"relive/tree"
)

// decodeACL turns a POSIX ACL as ext4 stores it (version 1, entries of 4 or 8
// bytes) into the value that user space reads (version 2, entries of 8 bytes).
// An ACL without entries is no ACL: the result is empty.
func decodeACL(p []byte) (string, error) {
	if len(p) == 0 {
		return "", nil
	}
	if len(p) < aclHdrSize {
		return "", fmt.Errorf("ACL of %d bytes", len(p))
	}
	if v := le32(p, 0); v != aclVersion {
		return "", fmt.Errorf("ACL version %d: %w", v, tree.ErrUnsupported)
	}
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, aclHdrSize+2*len(p)), aclXattrVersion)
	for p = p[aclHdrSize:]; len(p) > 0; {
		if len(p) < aclShortSize {
			return "", fmt.Errorf("ACL entry of %d bytes", len(p))
		}
		id, size := uint32(aclUndefinedID), aclShortSize
		switch tag := le16(p, 0); tag {
		case aclUserObj, aclGroupObj, aclMask, aclOther:
		case aclUser, aclGroup:
			if size = aclLongSize; len(p) < size {
				return "", fmt.Errorf("ACL entry of %d bytes", len(p))
			}
			id = le32(p, aclShortSize)
		default:
			return "", fmt.Errorf("ACL entry with tag %#x", tag)
		}
		out = append(out, p[:aclShortSize]...)
		out = binary.LittleEndian.AppendUint32(out, id)
		p = p[size:]
	}
	if len(out) == aclHdrSize {
		return "", nil
	}
	return string(out), nil
}

// encodeACL turns a POSIX ACL from the form of user space, where all entries
// have eight bytes, into ext4's, where those without an id have four.
func encodeACL(v string) (string, error) {
	p := []byte(v)
	if len(p) < aclHdrSize || (len(p)-aclHdrSize)%aclXattrSize != 0 || le32(p, 0) != aclXattrVersion {
		return "", fmt.Errorf("%w: not a POSIX ACL of version %d", tree.ErrCorrupt, aclXattrVersion)
	}
	le := binary.LittleEndian
	out := le.AppendUint32(make([]byte, 0, len(p)), aclVersion)
	for p = p[aclHdrSize:]; len(p) > 0; p = p[aclXattrSize:] {
		tag := le16(p, 0)
		out = append(out, p[:aclShortSize]...)
		switch tag {
		case aclUser, aclGroup:
			out = append(out, p[aclShortSize:aclXattrSize]...)
		case aclUserObj, aclGroupObj, aclMask, aclOther:
		default:
			return "", fmt.Errorf("%w: POSIX ACL entry with tag %#x", tree.ErrCorrupt, tag)
		}
	}
	return string(out), nil
}
