package kernel

import (
	"bytes"
	"compress/gzip"
	"fmt"
)

// Segment gives a compressed archive that, put behind an initrd, makes a file
// there, or puts another in its place: the kernel unpacks what lies in an initrd
// one after the other. The directory that the path is in must be in the initrd.
// The same file gives the same bytes.
func Segment(path string, content []byte) []byte {
	var b bytes.Buffer
	put := func(name string, mode int, content []byte) {
		// Inode, mode, owner, group, links, time, size, four numbers of devices, the
		// length of the name with its NUL, a sum that is not used.
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
		b.Write(content)
		b.Write(make([]byte, -b.Len()&3))
	}
	put(path, regular|0o644, content)
	put("TRAILER!!!", 0, nil)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b.Bytes()) // a buffer has no errors
	_ = z.Close()
	return out.Bytes()
}
