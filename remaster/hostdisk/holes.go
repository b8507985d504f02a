package hostdisk

// HoldsHoles reports whether the file system at path stores files with holes
// without setting space aside for them. FAT and exFAT do not.
func HoldsHoles(path string) (bool, error) {
	typ, err := FilesystemType(path)
	if err != nil {
		return false, err
	}
	switch typ {
	case "vfat", "exfat", "hfs", "hfsplus":
		return false, nil
	}
	return true, nil
}
