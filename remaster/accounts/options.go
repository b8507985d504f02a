package accounts

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"relive/tree"
)

// Mode says how much of a system's owner leaves with the tree.
type Mode uint8

// The modes. The zero Mode is Preserve.
const (
	// Preserve keeps every byte.
	Preserve Mode = iota
	// Reset takes the people's accounts and homes out and makes one new account.
	Reset
	// Secure is Reset, and takes out what identifies the machine or opens
	// something to who has it.
	Secure
)

// String is the mode's name on the command line.
func (m Mode) String() string {
	switch m {
	case Preserve:
		return "preserve"
	case Reset:
		return "reset"
	case Secure:
		return "secure"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// ParseMode reads a mode's name.
func ParseMode(s string) (Mode, error) {
	for m := Preserve; m <= Secure; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%w: accounts %q: preserve, reset or secure", ErrOptions, s)
}

// ErrOptions is the error of options that cannot be carried out, by themselves
// or for this system.
var ErrOptions = errors.New("cannot be done")

// User is an account that is made.
type User struct {
	// Name is the login name: what useradd takes, [a-z_][a-z0-9_-]{0,31}.
	Name string
	// FullName goes into the comment field; no colon, comma or control
	// character.
	FullName string
	// UID is the user's number; 0 is the lowest free one of the system's range
	// for people. The user's own group has the same number where that is free.
	UID uint32
	// Shell is the log-in shell's path in the tree, which must exist there; empty
	// is that of the system's family, or /bin/sh.
	Shell string
	// Groups are the groups beside the user's own, which must exist. Nil takes
	// those that the former first user was in, as far as a live system's user
	// needs them (setting "groups" in the rules), and all of these where there
	// was no such user. An empty list is none.
	Groups []string
	// Password is the account's; the zero Password locks it.
	Password Password
}

// Demo is the user that is made where none is named: demo with the password
// demo, as antiX and MX have it.
func Demo() *User { return &User{Name: "demo", Password: Plain("demo")} }

// Options say what to make of a system.
type Options struct {
	Mode Mode
	// User is the account that is made; nil is Demo.
	User *User
	// NoUser makes no account; User must be nil. Live systems that make their
	// user at boot need none.
	NoUser bool
	// Reserved are uids that a boot gives to an account that it makes itself, and the
	// new account so has not.
	Reserved []uint32
	// Root is the password of root; the zero Password locks it, Kept keeps it.
	Root Password
	// Hostname is the new name of the host; empty is that of the system's family.
	Hostname string
	// Rules are merged over the defaults, in their order.
	Rules []*Rules
	// Now is when the new passwords count as changed, in whole days; the zero
	// Time leaves that field empty. It is the time of a home that has no
	// etc/skel to take it from.
	Now tree.Time
	// Rand gives the salts of passwords, 16 bytes each; nil is crypto/rand.
	Rand io.Reader
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...))
}

// check tells what is wrong with the options whatever the system.
func (o *Options) check() error {
	if o.Mode > Secure {
		return refuse("%s", o.Mode)
	}
	if o.NoUser && o.User != nil {
		return refuse("a user and no user are asked for at once")
	}
	if err := o.Root.check("root"); err != nil {
		return err
	}
	if o.Hostname != "" && !isHostname(o.Hostname) {
		return refuse("host name %q: letters, digits and '-' in parts of 1 to 63 joined by '.', at most 64", o.Hostname)
	}
	if u := o.User; u != nil {
		return u.check()
	}
	return nil
}

func (u *User) check() error {
	if !isUserName(u.Name) {
		return refuse("user name %q: it must be 1 to 32 of a-z, 0-9, '_' and '-', and begin with a letter or '_'", u.Name)
	}
	if i := strings.IndexFunc(u.FullName, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' || r == ',' }); i >= 0 {
		return refuse("full name %q: it holds a colon, comma or control character", u.FullName)
	}
	if u.UID == math.MaxUint32 || u.UID == 65535 {
		return refuse("uid %d stands for no user", u.UID)
	}
	if u.Shell != "" && (u.Shell[0] != '/' || strings.ContainsAny(u.Shell, ":\n\x00")) {
		return refuse("shell %q is not an absolute path", u.Shell)
	}
	for _, g := range u.Groups {
		if g == "" || strings.ContainsAny(g, ":,\n") {
			return refuse("group name %q", g)
		}
	}
	if u.Password.how == passwordKept {
		return refuse("user %s is new and has no password to keep", u.Name)
	}
	return u.Password.check(u.Name)
}

// isUserName follows shadow's is_valid_name.
func isUserName(s string) bool {
	if s == "" || len(s) > 32 || s[0] == '-' || '0' <= s[0] && s[0] <= '9' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// isHostname follows RFC 1123 and Linux's limit of 64 bytes.
func isHostname(s string) bool {
	if len(s) > 64 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}
