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
