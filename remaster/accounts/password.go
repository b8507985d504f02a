package accounts

import (
	"crypto/rand"
	"crypto/sha512"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
)

type passwordKind uint8

const (
	passwordLocked passwordKind = iota
	passwordPlain
	passwordHashed
	passwordKept
)

// Password says what becomes of an account's password. The zero Password is
// Locked. It does not show what it holds when printed.
type Password struct {
	how passwordKind
	// text is behind a pointer, so that no way of printing shows it.
	text *string
}

// Locked is no password: nobody logs in with one, and no hash is left.
func Locked() Password { return Password{} }

// Plain is a password as it is typed. It is hashed with the scheme that the
// system uses for new ones: yescrypt where the system is found to know it,
// otherwise SHA-512 crypt.
func Plain(password string) Password { return Password{passwordPlain, &password} }

// Hashed is a password as crypt(5) writes it.
func Hashed(hash string) Password { return Password{passwordHashed, &hash} }

// Kept leaves the password that is there.
func Kept() Password { return Password{how: passwordKept} }

// String tells the kind of password alone.
func (p Password) String() string {
	return [...]string{"locked", "plain", "hashed", "kept"}[p.how]
}

// GoString is String, so that no format verb shows the password.
func (p Password) GoString() string { return p.String() }

// maxPassword is libxcrypt's CRYPT_MAX_PASSPHRASE_SIZE less its NUL, in bytes.
const maxPassword = 511

func (p Password) value() string {
	if p.text == nil {
		return ""
	}
	return *p.text
}

func (p Password) check(name string) error {
	switch p.how {
	case passwordPlain:
		if p.value() == "" || len(p.value()) > maxPassword || strings.ContainsAny(p.value(), "\x00\n\r") {
			return refuse("password of %s: it must have 1 to %d bytes on one line", name, maxPassword)
		}
	case passwordHashed:
		// The characters that crypt(5) allows in a hash.
		for _, c := range []byte(p.value()) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte(":;*!\\", c) >= 0 {
				return refuse("password hash of %s: it holds a character that crypt(5) does not allow", name)
			}
		}
		if len(p.value()) < 13 || len(p.value()) > 383 {
			return refuse("password hash of %s: no hash of crypt(5) has %d bytes", name, len(p.value()))
		}
	}
	return nil
}

// scheme is a way to hash passwords.
type scheme uint8

const (
	// cryptSHA512 is $6$, by Drepper's "Unix crypt using SHA-256 and SHA-512";
	// every libc knows it.
	cryptSHA512 scheme = iota
	// cryptYes is $y$, by crypt(5) of libxcrypt 4.3 and later.
	cryptYes
	// cryptGuessed is $6$ without a number of rounds, as mkpasswd -m sha-512 makes it:
	// what guesses a password by its salt finds no other (initrd's persist-password of
	// antiX and MX, guess_password).
	cryptGuessed
)

const (
	// sha512Rounds is twenty times the default of 5000, which is from 2007.
	sha512Rounds = 100000
	// guessedRounds are those that are meant where the hash names none.
	guessedRounds = 5000
	// yescryptSetting is libxcrypt's default cost: N 4096, r 32, 16 MiB.
	yescryptSetting = "$y$j9T$"
	saltBytes       = 16
)

// hash is what goes into the second field of shadow. guessed are passwords that a
// boot is to be able to guess.
func (p Password) hash(s scheme, guessed []string, r io.Reader) (string, error) {
	switch p.how {
	case passwordHashed:
		return p.value(), nil
	case passwordPlain:
	default:
		return locked, nil
	}
	if slices.Contains(guessed, p.value()) {
		s = cryptGuessed
	}
	if r == nil {
		r = rand.Reader
	}
	salt := make([]byte, saltBytes)
	if _, err := io.ReadFull(r, salt); err != nil {
		return "", fmt.Errorf("salt of a password: %w", err)
	}
	return hashPassword(p.value(), s, salt)
}

func hashPassword(password string, s scheme, salt []byte) (string, error) {
	if s == cryptYes {
		setting := yescryptSetting + string(yescrypt.Encode64(salt))
		h, err := yescrypt.Hash([]byte(password), []byte(setting))
		if err != nil {
			return "", fmt.Errorf("hashing a password: %w", err)
		}
		return string(h), nil
	}
	if s != cryptSHA512 && s != cryptGuessed {
		return "", fmt.Errorf("hashing a password: scheme %d", s)
	}
	// Six bits of each byte are used: 16 characters, the most that $6$ takes.
	text := make([]byte, len(salt))
	for i, b := range salt {
		text[i] = itoa64[b&0x3f]
	}
	if s == cryptGuessed {
		return fmt.Sprintf("$6$%s$%s", text, crypt.KeySHACrypt(sha512.New, []byte(password), text, guessedRounds)), nil
	}
	key := crypt.KeySHACrypt(sha512.New, []byte(password), text, sha512Rounds)
	return fmt.Sprintf("$6$rounds=%d$%s$%s", sha512Rounds, text, key), nil
}

const itoa64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// locked is the second field of shadow for an account without a password.
const locked = "!"

// isHash reports whether the password field of an account file holds anything
// that a password could be guessed from, be it locked by a '!' before it. What
// it may hold else are words like x, *, !!, NP and *LK*.
func isHash(field []byte) bool {
	s := strings.TrimLeft(string(field), "!*")
	return len(s) >= 13 || strings.HasPrefix(s, "$") || strings.HasPrefix(s, "_")
}
