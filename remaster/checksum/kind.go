package checksum

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"
)

// Kind is a digest, by the name of the tool that prints it without its "sum".
type Kind string

// The digests that media carry.
const (
	MD5    Kind = "md5"
	SHA1   Kind = "sha1"
	SHA224 Kind = "sha224"
	SHA256 Kind = "sha256"
	SHA384 Kind = "sha384"
	SHA512 Kind = "sha512"
)

// Kinds are all digests, the weakest first.
var Kinds = []Kind{MD5, SHA1, SHA224, SHA256, SHA384, SHA512}

// New returns a new hash; nil where the kind is none of Kinds.
func (k Kind) New() hash.Hash {
	switch k {
	case MD5:
		return md5.New()
	case SHA1:
		return sha1.New()
	case SHA224:
		return sha256.New224()
	case SHA256:
		return sha256.New()
	case SHA384:
		return sha512.New384()
	case SHA512:
		return sha512.New()
	}
	return nil
}

// Digits is how many hexadecimal digits a sum has.
func (k Kind) Digits() int {
	switch k {
	case MD5:
		return 2 * md5.Size
	case SHA1:
		return 2 * sha1.Size
	case SHA224:
		return 2 * sha256.Size224
	case SHA256:
		return 2 * sha256.Size
	case SHA384:
		return 2 * sha512.Size384
	case SHA512:
		return 2 * sha512.Size
	}
	return 0
}

// ofDigits returns the kind whose sums have that length, "" where none has. All
// six lengths differ.
func ofDigits(n int) Kind {
	for _, k := range Kinds {
		if k.Digits() == n {
			return k
		}
	}
	return ""
}

// tagged returns the kind by what BSD's tools and openssl call it in a line:
// "SHA256", "SHA2-256", "sha512".
func tagged(tag string) Kind {
	tag = strings.ReplaceAll(strings.ToLower(tag), "-", "")
	if rest, ok := strings.CutPrefix(tag, "sha2"); ok && len(rest) == 3 && rest != "24" && rest != "56" {
		tag = "sha" + rest
	}
	for _, k := range Kinds {
		if string(k) == tag {
			return k
		}
	}
	return ""
}

// stems are the names, in lower case, that a list of a digest has apart from its
// extension.
func stems(digest string) []string {
	return []string{digest + "sum", digest + "sums", digest + "sum.txt", digest + "sums.txt"}
}

// Named reports whether a file of that name is a list of sums, and of which
// kind: "linuxfs.md5", "x.sha256sum", "md5sum.txt", "SHA384SUMS". Of a list
// whose lines alone tell the kind ("CHECKSUM", "Fedora-41-CHECKSUM") it is "".
func Named(name string) (kind Kind, ok bool) {
	lower := strings.ToLower(name)
	for _, k := range Kinds {
		if isListOf(lower, string(k)) {
			return k, true
		}
	}
	for _, stem := range []string{"checksum", "checksums"} {
		if lower == stem || lower == stem+".txt" || strings.HasSuffix(lower, "-"+stem) || strings.HasSuffix(lower, "."+stem) {
			return "", true
		}
	}
	return "", false
}

func isListOf(lower, digest string) bool {
	for _, stem := range stems(digest) {
		// Some set another word before: "live-sha256sum.txt", "filesystem.md5sums".
		if lower == stem || strings.HasSuffix(lower, "-"+stem) || strings.HasSuffix(lower, "."+stem) {
			return true
		}
	}
	stem, ok := strings.CutSuffix(lower, "."+digest)
	return ok && stem != ""
}

// foreign are digests that media rarely carry and that are not computed here.
var foreign = []string{"b2", "b3", "blake2b", "blake2s", "blake3", "sha3", "sha3-256", "sha3-512", "sha512-256", "sm3", "rmd160", "crc32",
	"cksum"}

// Foreign returns the digest of a list of sums that is none of Kinds, by the
// file's name ("b2sum.txt" is "b2"), and "" for all other files.
func Foreign(name string) string {
	lower := strings.ToLower(name)
	for _, digest := range foreign {
		if isListOf(lower, digest) {
			return digest
		}
	}
	return ""
}
