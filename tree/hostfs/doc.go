// Package hostfs shows a directory of the host as a tree: an overlay that is
// kept as a directory, or, in tests, a tree as the kernel's own mount of an
// image shows it.
//
// It reads with lstat, readlink, llistxattr and SEEK_DATA, never follows a
// symlink, and stays on the file system that the directory is on. Attributes of
// the trusted namespace show only to root, and nothing tells that they are
// missing: [CheckTrusted] does. A file that is not any more what it was when it
// was listed is [ErrChanged]; so is a directory that another one has replaced,
// but names that come and go in a directory show as they are found.
package hostfs
