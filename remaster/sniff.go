package remaster

import (
	"fmt"

	"relive/dmmerge"
	"relive/tree"
)

// magics tell file systems and containers by what stands at an offset, as
// blkid does.
var magics = []struct {
	kind   string
	offset int64
	bytes  string
}{
	{"ext", 1080, "\x53\xef"},
	{"squashfs", 0, "hsqs"},
	{"XFS", 0, "XFSB"},
	{"btrfs", 0x10040, "_BHRfS_M"},
	{"F2FS", 1024, "\x10\x20\xf5\xf2"},
	{"EROFS", 1024, "\xe2\xe1\xf5\xe0"},
	{"LUKS", 0, "LUKS\xba\xbe"},
	{"exFAT", 3, "EXFAT   "},
	{"NTFS", 3, "NTFS    "},
	{"FAT", 0x52, "FAT32   "},
	{"FAT", 0x36, "FAT1"},
	{"swap", 4086, "SWAPSPACE2"},
}

// sniff tells what a file holds: "zeros" where it begins with 4 KiB of them, ""
// where that is nothing known.
func sniff(at place, path string) (string, error) {
	c, err := at.open(path)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return sniffContent(c, path)
}

// sniffContent is sniff for an opened file.
func sniffContent(c tree.Content, path string) (string, error) {
	if dmmerge.Is(c, c.Size()) {
		return "dm-snapshot", nil
	}
	for _, m := range magics {
		b := make([]byte, len(m.bytes))
		if m.offset+int64(len(b)) > c.Size() {
			continue
		}
		if err := tree.ReadFull(c, b, m.offset); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		if string(b) == m.bytes {
			return m.kind, nil
		}
	}
	if p := make([]byte, min(4096, c.Size())); len(p) > 0 {
		if err := tree.ReadFull(c, p, 0); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		if tree.IsZero(p) {
			return "zeros", nil
		}
	}
	return "", nil
}
