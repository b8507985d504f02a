package refusal

import (
	"errors"
	"io/fs"
	"syscall"

	"relive/tree"
)

// Code says what stands in the way, for programs: a front end may have words and
// offers of its own for each. The strings are stable.
type Code string

// What is asked for.
const (
	// WrongOption: options that are wrong whatever the directory holds.
	WrongOption Code = "wrong-option"
	// WrongCompression: a codec, level or block size that do not go together.
	WrongCompression Code = "wrong-compression"
	// InvalidName: a name that cannot be given.
	InvalidName Code = "invalid-name"
	// NotFound: what is named, or what the verb is about, is not there.
	NotFound Code = "not-found"
	// Ambiguous: there are several, and nothing tells which is meant.
	Ambiguous Code = "ambiguous"
	// Unmatched: a path or pattern that matches nothing.
	Unmatched Code = "unmatched"
	// WrongKind: what is named is another kind of thing than the verb works on.
	WrongKind Code = "wrong-kind"
	// SameFile: the output is what is read, or a part of it.
	SameFile Code = "same-file"
	// OutputExists: the output, or what it would be called, is there already.
	OutputExists Code = "output-exists"
	// NeedsForce: it is likely a mistake, and nobody but a person can tell.
	NeedsForce Code = "needs-force"
	// LosesData: what would be lost is not kept elsewhere.
	LosesData Code = "loses-data"
)

// What the live system is.
const (
	// UnsupportedLayout: systems of this kind do not have it, or do it otherwise.
	UnsupportedLayout Code = "unsupported-layout"
	// UnsupportedForm: the base or the overlay has a form with which it cannot be done.
	UnsupportedForm Code = "unsupported-form"
	// AnotherSystem: a source that is for another distribution, machine or layout.
	AnotherSystem Code = "another-system"
	// UnmatchedVersion: the overlay was written over another base, by version ids or
	// by what is recorded of both.
	UnmatchedVersion Code = "unmatched-version"
	// BoundToBase: the overlay refers to what its base holds, and fits no other.
	BoundToBase Code = "bound-to-base"
	// Pending: files wait for the next boot to take them up.
	Pending Code = "pending"
	// InTheWay: something is there that would come between.
	InTheWay Code = "in-the-way"
	// FormerIncomplete: a former state that is not whole.
	FormerIncomplete Code = "former-incomplete"
	// TooManyFormer: no number is free for one more former state.
	TooManyFormer Code = "too-many-former"
	// CannotBoot: the new system would not boot.
	CannotBoot Code = "cannot-boot"
	// NoBootFiles: there is nothing that an ISO could boot with.
	NoBootFiles Code = "no-boot-files"
	// Required: a file that is to go, and without which the image is of no use.
	Required Code = "required"
	// Conflict: the overlay and the new base changed the same.
	Conflict Code = "conflict"
	// Encrypted: what is encrypted is not opened.
	Encrypted Code = "encrypted"
)

// How the machine stands.
const (
	// InUse: a file that would be replaced is mounted or open.
	InUse Code = "in-use"
	// Busy: another run works on it.
	Busy Code = "busy"
	// Interrupted: an earlier run was cut off, and is to be finished or undone first.
	Interrupted Code = "interrupted"
	// NotConnected: a file system that takes part is not there.
	NotConnected Code = "not-connected"
	// NotMounted: a stick on which files cannot be replaced while it is not mounted.
	NotMounted Code = "not-mounted"
	// Changed: a file changed while it was read, or between looking and doing.
	Changed Code = "changed"
	// NotPermitted: the user may not do it.
	NotPermitted Code = "not-permitted"
	// NotInstalled: a library or package that it takes is not there.
	NotInstalled Code = "not-installed"
	// NotEnoughSpace: the disk is full, or would be.
	NotEnoughSpace Code = "not-enough-space"
	// FileTooLarge: the file system holds no file of this size.
	FileTooLarge Code = "file-too-large"
	// WrongSize: an image of this size cannot hold what it is to hold, or not be made.
	WrongSize Code = "wrong-size"
)

// What files hold.
const (
	// SumsDiffer: a file is not the one that its sum was made of.
	SumsDiffer Code = "sums-differ"
	// Damaged: a file breaks the rules of its format.
	Damaged Code = "damaged"
	// Unreadable: some of the files of a system cannot be read.
	Unreadable Code = "unreadable"
	// Unsupported: a file needs what is not read.
	Unsupported Code = "unsupported"
)

// CodeOf returns the code of an error, or "" for a failed system call and the
// like.
func CodeOf(err error) Code {
	var c interface{ RefusalCode() Code }
	var entry *tree.EntryError
	var partial *tree.PartialError
	switch {
	case errors.As(err, &c):
		return c.RefusalCode()
	case errors.Is(err, ErrOption):
		return WrongOption
	case errors.As(err, &entry), errors.As(err, &partial):
		return Unreadable
	case errors.Is(err, fs.ErrPermission):
		return NotPermitted
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return NotEnoughSpace
	case errors.Is(err, syscall.EFBIG):
		return FileTooLarge
	case errors.Is(err, tree.ErrCorrupt):
		return Damaged
	case errors.Is(err, tree.ErrUnsupported):
		return Unsupported
	}
	return ""
}

// coded is an error with a code that is no Refusal.
type coded struct {
	error
	code Code
}

func (c *coded) Unwrap() error { return c.error }

// RefusalCode is the code, for CodeOf.
func (c *coded) RefusalCode() Code { return c.code }

// WithCode returns an error a code.
func WithCode(code Code, err error) error { return &coded{err, code} }
