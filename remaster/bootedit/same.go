package bootedit

import (
	"context"
	"io"
	"slices"

	"relive/tree"
	"relive/tree/hostfs"
)

// SameFile reports whether two files hold the same; one that is not there holds
// what no other does.
func SameFile(ctx context.Context, a, b *tree.Node) (bool, error) {
	if a == nil || b == nil || a.Size != b.Size {
		return false, nil
	}
	return tree.SameContent(ctx, a, b)
}

// IsHFS reports whether a boot image holds an HFS or HFS+ file system, by the
// signature of its volume header (Apple TN1150; Inside Macintosh: Files).
func IsHFS(r *io.SectionReader) (bool, error) {
	var b [2]byte
	if r.Size() < 1026 {
		return false, nil
	}
	if err := tree.ReadFull(r, b[:], 1024); err != nil {
		return false, err
	}
	return slices.Contains([]string{"H+", "HX", "BD"}, string(b[:])), nil
}

// HostContent is the Data of a file of the host.
type HostContent string

// NewSection is a part of a content as a reader.
func NewSection(c tree.Content, at, size int64) *io.SectionReader {
	return io.NewSectionReader(c, at, size)
}

// Open implements tree.Data.
func (h HostContent) Open() (tree.Content, error) { return hostfs.OpenFile(string(h)) }
