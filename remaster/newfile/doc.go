// Package newfile makes a file that has its name only when it is whole: an ISO,
// an image, a list of decisions, what a verb writes with -o.
//
// It grows under a temporary name in the same directory, NAME.relive-part, which
// is locked from the beginning: a second run that is to write the same file is
// refused, whatever it is to write. [File.Commit] makes it durable (fsync), has it
// checked, and gives it its name in one step: without Force in a way that replaces
// no file, also none that somebody has made in the meantime; then it makes the
// name durable. So whoever finds the name finds all of the file, also after the
// power was cut.
//
// A run that is killed leaves the temporary file, without a lock. The next run
// that writes a file into that directory removes it.
//
// A symlink in the place of the file is followed: what it leads to is made or
// replaced, and the link stays. What is neither a file nor free (a directory, a
// device, a pipe) is refused.
//
// Where a file system has neither rename without replacing (renameat2) nor hard
// links, a look just before the rename has to do; other runs of relive are kept
// out by the lock there, too. Where it has no locks, a temporary file that is
// there counts as one that is being written.
//
// Files of a live directory that change together are not this package's, but
// package swap's.
package newfile
