// Package tree is the data model that every source and sink of relive shares:
// a file system tree of nodes with their metadata, extended attributes and
// content.
//
// A source (a SquashFS image, an ext2/3/4 image, a directory of the host)
// opens as a root [Node]; a layer or transform takes trees and gives a tree; a
// sink (the SquashFS writer, the ext4 builder) consumes one. A Node is plain
// data: a transform that changes metadata copies the struct and sets fields,
// and whatever else the node carries, such as the stored form of its content
// that lets the SquashFS writer copy compressed blocks, travels along
// untouched.
//
// Laws:
//   - Children come in strictly ascending byte order of their names; a name is
//     1 to 255 bytes without '/' and NUL and is neither "." nor "..".
//   - Reading the same directory twice gives equal nodes in equal order.
//   - A directory of which an entry cannot be read is an error for who does not ask
//     ([PartialError]); who only looks asks, and has the rest and the bad names
//     apart ([Node.Readable], [WalkReadable], CompareOptions.Bad).
//   - Every method may be called from several goroutines at once.
//   - Names, link targets and extended attributes are raw bytes held in Go
//     strings; nothing assumes UTF-8.
//   - Compare(t, t) reports no difference.
//
// The model is not an fs.FS, whose names must be UTF-8 and whose look-ups go by
// path; [FS] shows any tree as one.
package tree
