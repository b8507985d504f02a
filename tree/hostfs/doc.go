// Package hostfs shows a directory of the host as a tree: an overlay that is
// kept as a directory, or, in tests, a tree as the kernel's own mount of an
// image shows it.
//
// It reads with lstat, readlink, llistxattr and SEEK_DATA, never follows a
// symlink, and stays on the file system that the directory is on. Attributes of
// the trusted namespace show only to root. It takes the host's word for
// everything: a tree that changes while it is read gives errors or a mix.
package hostfs
