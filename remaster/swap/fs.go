package swap

import (
	"errors"
	"io"
	"time"

	"relive/remaster/refusal"
	"relive/tree/hostfs"
)

// FS is what the package needs of a file system. Paths are the host's, with
// '/'; symlinks in the last component are never followed. [OS] is the real one;
// the tests bring one that crashes.
type FS interface {
	// Lstat describes a name; a missing one is fs.ErrNotExist.
	Lstat(path string) (FileInfo, error)
	// ReadDir lists the names in a directory in byte order.
	ReadDir(path string) ([]string, error)
	// Readlink returns a symlink's target.
	Readlink(path string) (string, error)
	// Open opens a regular file for reading.
	Open(path string) (File, error)
	// WriteFile creates or truncates a file, writes data and syncs it. On error
	// the file may hold anything.
	WriteFile(path string, data []byte) error
	// CopyFile copies a regular file's content, holes included, to a new name;
	// metadata is set by SetMeta.
	CopyFile(from, to string) error
	// Mkdir makes a directory.
	Mkdir(path string) error
	// Symlink makes a symlink.
	Symlink(target, path string) error
	// SetMeta sets permissions and modification time, and the owner where the
	// file system and the caller's rights allow.
	SetMeta(path string, info FileInfo) error
	// Rename returns a file another name in one step, replacing what had it.
	Rename(from, to string) error
	// Exchange swaps two names in one step, or is ErrNoSupport.
	Exchange(a, b string) error
	// Link returns a regular file a second name, which must be free, or is
	// ErrNoSupport.
	Link(from, to string) error
	// Remove removes a name, of an empty directory too.
	Remove(path string) error
	// Sync makes a regular file's content durable.
	Sync(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
	// Filesystem tells what the file system of a directory is known by.
	Filesystem(path string) (hostfs.Filesystem, error)
	// Lock takes the exclusive lock of a directory without waiting; where
	// another process has it, it is ErrBusy. The kernel releases it when the
	// process ends.
	Lock(path string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.Closer
}

// Kind is the type of a file as far as this package tells types apart.
type Kind string

// The kinds of files. Anything that is neither of the first three is Other and
// is moved, but not copied.
const (
	Regular   Kind = "file"
	Directory Kind = "directory"
	Symlink   Kind = "symlink"
	Other     Kind = "special file"
)

// FileInfo describes a file.
type FileInfo struct {
	Kind     Kind
	Size     int64  // bytes, of regular files
	Perm     uint32 // the lower twelve bits of st_mode
	UID, GID uint32
	Mtime    time.Time
	Dev, Ino uint64 // identity; used only within one run
	// Mount: something is mounted here, a bind mount included, so that the name
	// cannot change hands. A kernel before 5.8 does not tell.
	Mount bool
}

var (
	// ErrNoSupport says that the file system lacks this operation.
	ErrNoSupport = errors.New("the file system does not support this")
	// ErrBusy says that another process works on the directory.
	ErrBusy = refusal.WithCode(refusal.Busy, errors.New("another relive is working on this directory"))
	// ErrInterrupted says that an earlier run left a journal; recover first.
	ErrInterrupted = refusal.WithCode(refusal.Interrupted, errors.New("an earlier run was interrupted"))
	// ErrUnfinished says that the commit point is passed, recovery will finish the rest.
	ErrUnfinished = errors.New("committed but not finished")
	// ErrForeign says that the names on disk fit no point of the journal's plan.
	ErrForeign = errors.New("the directory was changed by something else")
	// ErrMissing says that a file system that takes part in the run is not there, or
	// that another one is in its place.
	ErrMissing = refusal.WithCode(refusal.NotConnected, errors.New("a file system that takes part is missing"))
	// ErrPlan says that the steps do not fit together or not the directory.
	ErrPlan = errors.New("steps cannot be done")
)
