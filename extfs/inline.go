package extfs

import "relive/extfs/internal/ondisk"

// inlineData returns the content of an inode with inline data: the sixty bytes
// of its block pointers and the value of the attribute system.data after them.
// It may be longer than the inode's size.
func (fs *FS) inlineData(in *inode) ([]byte, error) {
	entries, err := fs.bodyEntries(in)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		e := &entries[i]
		if e.index != ondisk.XAIndexSystem || e.name != "data" {
			continue
		}
		if e.valueInum != 0 {
			return nil, fs.corrupt(in, "inline data continues in inode %d", e.valueInum)
		}
		return append(append(make([]byte, 0, ondisk.InBlockSize+len(e.value)), in.block[:]...), e.value...), nil
	}
	return nil, fs.corrupt(in, "inline data without the attribute %s", inlineDataName)
}
