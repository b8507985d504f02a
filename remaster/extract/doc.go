// Package extract writes a tree to a directory of the host.
//
// Laws:
//   - Nothing outside the directory is touched, whatever the tree holds and
//     whatever stands in the directory: every step goes by the descriptor of the
//     directory that it is in, and no symlink is followed (openat(2) with
//     O_NOFOLLOW, and O_EXCL for what is made).
//   - Nothing that is there is overwritten unless that is asked for; conflicts
//     are found before anything is written. Directories are shared.
//   - What is extracted as root equals the tree: types, modes, owners, times,
//     device numbers, targets, hard-link groups, content. What cannot be made,
//     by another user or on a file system that does not hold it, is told in the
//     Report, never passed over in silence.
//   - A set-user-ID or set-group-ID bit is not set on a file whose owner could
//     not be.
//
// Left out: extended attributes.
package extract
