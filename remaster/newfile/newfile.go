package newfile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"relive/remaster/hostdisk"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/remaster/written"
)

// Suffix is behind the names of files that are being made. No other files have
// it.
const Suffix = ".relive-part"

// scratchSuffix is behind the temporary name of a file for what is needed beside
// it while it is made.
const scratchSuffix = ".scratch"

// Options say how a file is made.
type Options struct {
	// Force replaces a file of that name.
	Force bool
	// Perm are the permissions of the file before the umask; 0 is 0o666.
	Perm fs.FileMode
	// Like names a file whose mode and owner the new one gets instead, where the
	// file system and the user may set them.
	Like string
	// Kinds are what the file will hold. A file system, or a container of one, of
	// another kind is not replaced: Force says that a file of that name may go, and
	// not that it is known what is in it. Where there are none that is not asked.
	Kinds []probe.Kind
	// Inputs are files that are read to make it, and that it must not replace.
	Inputs []string
}

// File is a file that is being made.
type File struct {
	*os.File
	path    string // where it is to be, symlinks followed
	force   bool
	scratch bool
	done    bool
}

// Check refuses what [Create] would refuse. It changes nothing. A plan that
// takes its time asks it first.
func Check(path string, o Options) error {
	_, err := check(path, o)
	return err
}

// check returns the path with symlinks followed.
func check(path string, o Options) (string, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return free(path)
	case err != nil:
		return "", err
	}
	for _, in := range o.Inputs {
		if other, err := os.Stat(in); err == nil && os.SameFile(st, other) {
			return "", refusal.New(refusal.SameFile, "name another file", "%s: it is what is read", path)
		}
	}
	switch {
	case st.IsDir():
		return "", refusal.New(refusal.WrongKind, "name a file in it", "%s: is a directory", path)
	case !st.Mode().IsRegular():
		return "", refusal.New(refusal.WrongKind, "name a file; cp or dd writes it elsewhere", "%s: not a file (%s)", path,
			kindOf(st.Mode()))
	case !o.Force:
		return "", exists(path)
	}
	if err := mayReplace(path, o.Kinds); err != nil {
		return "", err
	}
	why, err := hostdisk.InUse("/", path)
	if err != nil {
		return "", err
	}
	if why != "" {
		return "", refusal.New(refusal.InUse, "stop what uses it, or name another file", "%s: in use: %s", path, why)
	}
	return filepath.EvalSymlinks(path)
}

// mayReplace refuses to replace what holds a file system of another kind.
func mayReplace(path string, kinds []probe.Kind) error {
	if len(kinds) == 0 {
		return nil
	}
	res, err := probe.File(path)
	if err != nil {
		return err
	}
	if !res.Kind.IsVolume() || slices.Contains(kinds, res.Kind) || res.Kind.IsExt() && slices.ContainsFunc(kinds, probe.Kind.IsExt) {
		return nil
	}
	return refusal.New(refusal.LosesData, "name another file; if what it holds is not wanted any more, remove it yourself",
		"%s: it holds %s, and "+say.Force+" does not replace that", path, res.Name())
}

// maxLinks bounds the symlinks that are followed one after another, as the
// kernel does.
const maxLinks = 40

// free returns the path of a file that is not there yet, symlinks to it followed.
func free(path string) (string, error) {
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil {
			break // no link
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	dir := filepath.Dir(path)
	st, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if !st.IsDir() || strings.HasSuffix(path, "/") {
		return "", &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	return path, nil
}

func exists(path string) error {
	return refusal.New(refusal.OutputExists, "name another file, or use "+say.Force+" to replace it", "%s: exists already", path)
}

func busy(path string) error {
	return refusal.New(refusal.Busy, "wait until the other relive is done", "%s: another relive writes it", path)
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeCharDevice != 0:
		return "a character device"
	case m&fs.ModeDevice != 0:
		return "a block device"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return m.Type().String()
}

// TempName is what a file of that name is called until it is whole.
func TempName(path string) string {
	dir, name := filepath.Split(path)
	if len(name)+len(Suffix)+len(scratchSuffix) > unix.NAME_MAX {
		sum := sha256.Sum256([]byte(name))
		name = "." + hex.EncodeToString(sum[:16])
	}
	return dir + name + Suffix
}

// Left is how many bytes an interrupted run has left that was to write the same
// file. They are free again when that is written.
func Left(path string) int64 {
	var st unix.Stat_t
	if unix.Lstat(TempName(path), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0
	}
	return st.Blocks * 512
}

// Create begins a file. What would be unsafe or is wanted by another run is a
// Refusal. It has to be ended with [File.Commit] or [File.Discard].
func Create(path string, o Options) (*File, error) {
	path, err := check(path, o)
	if err != nil {
		return nil, err
	}
	perm := o.Perm
	if perm == 0 {
		perm = 0o666
	}
	temp := TempName(path)
	out, err := lock(temp, perm)
	if err != nil {
		return nil, err
	}
	f := &File{File: out, path: path, force: o.Force}
	// What another run named before this one had the lock is there now.
	if _, err := check(path, o); err != nil {
		return nil, errors.Join(err, f.Discard())
	}
	if err := remove(temp + scratchSuffix); err != nil {
		return nil, errors.Join(err, f.Discard())
	}
	if o.Like != "" {
		if err := f.like(o.Like); err != nil {
			return nil, errors.Join(err, f.Discard())
		}
	}
	clean(filepath.Dir(path), filepath.Base(temp))
	return f, nil
}

// Path is where the file is to be, with symlinks followed.
func (f *File) Path() string { return f.path }

// Scratch returns the name of a further file, which is not there yet, for what is
// needed while the file is made. It is removed with it.
func (f *File) Scratch() (string, error) {
	f.scratch = true
	return f.Name() + scratchSuffix, remove(f.Name() + scratchSuffix)
}

// like returns the file the mode and owner of another.
func (f *File) like(name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(owner.Uid), int(owner.Gid)) // as far as the user may
	}
	err = f.Chmod(st.Mode().Perm())
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // a file system that has no modes
	}
	return err
}

// Tries and the wait between them are for the moment in which another run gives
// a temporary file its name, or removes one that was left.
const (
	tries = 20
	wait  = 5 * time.Millisecond
)

// lock makes the temporary file and locks it. One that was left gives way.
//
// Who has the lock of the file that has the name owns the name: it is removed and
// given away by its owner alone. Between making a file and locking it another run
// may take it for one that was left; the loser of the two begins again.
func lock(temp string, perm fs.FileMode) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
		left := errors.Is(err, fs.ErrExist)
		if left {
			f, err = os.OpenFile(temp, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			held, err := locked(f, temp)
			switch {
			case errors.Is(err, errNoLocks) && left:
				f.Close()
				return nil, refusal.New(refusal.Busy, "remove it if no other relive is running",
					"%s: another relive writes it, or was interrupted", temp)
			case errors.Is(err, errNoLocks), err == nil && held && !left:
				return f, nil
			case err == nil && held:
				err = remove(temp)
			}
			f.Close()
			if err != nil {
				return nil, err
			}
			if held {
				continue
			}
		}
		if try == tries {
			return nil, busy(strings.TrimSuffix(temp, Suffix))
		}
		time.Sleep(wait)
	}
}

var errNoLocks = errors.New("this file system has no locks")

// locked locks a file that was opened by that name, and reports whether the name
// is still its own. A lock that another holds is no error, but not held.
func locked(f *os.File, name string) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return false, errNoLocks
	case err != nil:
		return false, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !os.SameFile(st, now) {
		return false, err
	}
	if !st.Mode().IsRegular() {
		return false, fmt.Errorf("%s: not a file", name)
	}
	return true, nil
}

// clean removes what killed runs have left in a directory: temporary files that
// nobody has locked, but for that of the name own. It is a service, and what
// hinders it is no error.
func clean(dir, own string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, d := range entries {
		name, scratch := strings.CutSuffix(d.Name(), scratchSuffix)
		if !strings.HasSuffix(name, Suffix) || name == own || !d.Type().IsRegular() {
			continue
		}
		at := filepath.Join(dir, name)
		if _, err := os.Lstat(at); scratch && err == nil {
			continue // it goes with its own
		}
		if scratch {
			_ = os.Remove(at + scratchSuffix)
			continue
		}
		f, err := os.OpenFile(at, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if held, err := locked(f, at); err == nil && held {
			_ = os.Remove(at + scratchSuffix)
			_ = os.Remove(at)
		}
		f.Close()
	}
}

// Commit makes the file durable, has verify look at it, and gives it its name.
// verify may be nil; it gets the file, of which the kernel was asked to forget
// what is in memory, so that it reads what is on the disk. On an error there is
// no new file, but for one that says that it has its name.
func (f *File) Commit(ctx context.Context, verify func(f *os.File) error) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Discard())
		}
	}()
	if err := written.Settle(ctx, f.File); err != nil {
		return err
	}
	if verify != nil {
		if err := verify(f.File); err != nil {
			return err
		}
	}
	if f.scratch {
		if err := remove(f.Name() + scratchSuffix); err != nil {
			return err
		}
	}
	if err := f.name(); err != nil {
		return err
	}
	f.done = true
	if err = (swap.OS{}).SyncDir(filepath.Dir(f.path)); err != nil {
		err = fmt.Errorf("%s: is whole and has its name, which a power cut may take away: %w", f.path, err)
	}
	// Closing gives the lock up, so it comes last.
	return errors.Join(err, f.Close())
}

// name returns the file its name.
func (f *File) name() error {
	temp := f.Name()
	if f.force {
		return os.Rename(temp, f.path)
	}
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, f.path, unix.RENAME_NOREPLACE)
	if lacks(err) {
		if err = os.Link(temp, f.path); err == nil {
			return os.Remove(temp)
		}
	}
	if lacks(err) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) {
		if _, err := os.Lstat(f.path); err == nil {
			return exists(f.path)
		}
		return os.Rename(temp, f.path)
	}
	if errors.Is(err, fs.ErrExist) {
		return exists(f.path)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: temp, New: f.path, Err: err}
	}
	return nil
}

// lacks tells an operation that a file system has not from one that failed.
func lacks(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)
}

// Discard removes what was made. After Commit it does nothing, so that it can be
// deferred.
func (f *File) Discard() error {
	if f.done {
		return nil
	}
	f.done = true
	var err error
	if f.scratch {
		err = remove(f.Name() + scratchSuffix)
	}
	return errors.Join(err, remove(f.Name()), f.Close())
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Write makes a small file with that text.
func Write(path string, text []byte, o Options) error {
	f, err := Create(path, o)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Discard())
	}
	return f.Commit(context.Background(), nil)
}
