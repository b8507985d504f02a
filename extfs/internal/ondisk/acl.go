package ondisk

import (
	"encoding/binary"
	"fmt"

	"relive/tree"
)

// DecodeACL turns a POSIX ACL as ext4 stores it (version 1, entries of 4 or 8
// bytes) into the value that user space reads (version 2, entries of 8 bytes).
// An ACL without entries is no ACL: the result is empty.
func DecodeACL(p []byte) (string, error) {
	if len(p) == 0 {
		return "", nil
	}
	if len(p) < ACLHdrSize {
		return "", fmt.Errorf("ACL of %d bytes", len(p))
	}
	if v := LE32(p, 0); v != ACLVersion {
		return "", fmt.Errorf("ACL version %d: %w", v, tree.ErrUnsupported)
	}
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, ACLHdrSize+2*len(p)), ACLXattrVersion)
	for p = p[ACLHdrSize:]; len(p) > 0; {
		if len(p) < ACLShortSize {
			return "", fmt.Errorf("ACL entry of %d bytes", len(p))
		}
		id, size := uint32(ACLUndefinedID), ACLShortSize
		switch tag := LE16(p, 0); tag {
		case ACLUserObj, ACLGroupObj, ACLMask, ACLOther:
		case ACLUser, ACLGroup:
			if size = ACLLongSize; len(p) < size {
				return "", fmt.Errorf("ACL entry of %d bytes", len(p))
			}
			id = LE32(p, ACLShortSize)
		default:
			return "", fmt.Errorf("ACL entry with tag %#x", tag)
		}
		out = append(out, p[:ACLShortSize]...)
		out = binary.LittleEndian.AppendUint32(out, id)
		p = p[size:]
	}
	if len(out) == ACLHdrSize {
		return "", nil
	}
	return string(out), nil
}

// EncodeACL turns a POSIX ACL from the form of user space, where all entries
// have eight bytes, into ext4's, where those without an id have four.
func EncodeACL(v string) (string, error) {
	p := []byte(v)
	if len(p) < ACLHdrSize || (len(p)-ACLHdrSize)%ACLXattrSize != 0 || LE32(p, 0) != ACLXattrVersion {
		return "", fmt.Errorf("%w: not a POSIX ACL of version %d", tree.ErrCorrupt, ACLXattrVersion)
	}
	le := binary.LittleEndian
	out := le.AppendUint32(make([]byte, 0, len(p)), ACLVersion)
	for p = p[ACLHdrSize:]; len(p) > 0; p = p[ACLXattrSize:] {
		tag := LE16(p, 0)
		out = append(out, p[:ACLShortSize]...)
		switch tag {
		case ACLUser, ACLGroup:
			out = append(out, p[ACLShortSize:ACLXattrSize]...)
		case ACLUserObj, ACLGroupObj, ACLMask, ACLOther:
		default:
			return "", fmt.Errorf("%w: POSIX ACL entry with tag %#x", tree.ErrCorrupt, tag)
		}
	}
	return string(out), nil
}
