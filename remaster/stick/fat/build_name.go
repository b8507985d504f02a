package fat

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"relive/tree"
)

// maxUnits is how many UTF-16 units a long name has at most.
const maxUnits = 255

// longUnits returns a name in UTF-16, the reverse of utf16Name; fact is why it
// cannot be.
func longUnits(name string) (units []uint16, fact string) {
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n == 1 {
			// The three bytes that stand for a lone surrogate.
			if s := name[i:]; len(s) >= 3 && s[0] == 0xED && s[1]&0xE0 == 0xA0 && s[2]&0xC0 == 0x80 {
				units = append(units, 0xD000|uint16(s[1]&0x3F)<<6|uint16(s[2]&0x3F))
				i += 3
				continue
			}
			return nil, "is not valid UTF-8"
		}
		units = utf16.AppendRune(units, r)
		i += n
	}
	if len(units) > maxUnits {
		return nil, fmt.Sprintf("has %d UTF-16 units, more than %d", len(units), maxUnits)
	}
	return units, ""
}

// nameFault tells why a new file cannot have a name (FAT: General Overview, "Long
// Directory Entries"), or is empty.
func nameFault(name string) string {
	if err := tree.CheckName(name); err != nil && len(name) <= 255 {
		return "is no file name"
	}
	for _, r := range name {
		if r < 0x20 || strings.ContainsRune(`"*:<>?\|`, r) {
			return fmt.Sprintf("holds %q, which FAT has no place for", r)
		}
	}
	if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return "ends in a dot or a blank, which FAT has no place for"
	}
	return ""
}

// foldName returns the same for names that differ in case only.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, name)
}

// shortForm is the name of a short entry: eight characters and three, filled by blanks.
type shortForm [shortName]byte

func shortOf(base, ext string) shortForm {
	var s shortForm
	copy(s[:], "           ")
	copy(s[:shortBase], base)
	copy(s[shortBase:], ext)
	return s
}

// inShort reports whether a short name may hold a character.
func inShort(c rune) bool {
	return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c < 0x80 && c > 0x20 && strings.ContainsRune("$%'-_@~`!(){}^#&", c)
}

// plainShort returns the short name that is the name itself but for case; exact
// tells that not even case differs, so that no long name is needed.
func plainShort(name string) (s shortForm, exact, ok bool) {
	base, ext, dot := strings.Cut(name, ".")
	if base == "" || len(base) > shortBase || len(ext) > shortName-shortBase || dot && ext == "" {
		return s, false, false
	}
	upper := strings.ToUpper(name)
	for _, c := range strings.Replace(upper, ".", "", 1) {
		if !inShort(c) {
			return s, false, false
		}
	}
	return shortOf(strings.ToUpper(base), strings.ToUpper(ext)), upper == name, true
}

// basis returns what a short name is made of where the name itself is none (FAT:
// General Overview, "The Basis-Name Generation Algorithm"): without blanks and
// dots but the last, with _ for what it cannot hold.
func basis(name string) (base, ext string) {
	name = strings.TrimLeft(name, ". ")
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name, ext = name[:i], name[i+1:]
	}
	cut := func(s string, most int) string {
		out := make([]byte, 0, most)
		for _, r := range s {
			if len(out) == most {
				break
			}
			if r >= 'a' && r <= 'z' {
				r -= 'a' - 'A'
			}
			switch {
			case r == ' ' || r == '.':
			case inShort(r):
				out = append(out, byte(r))
			default:
				out = append(out, '_')
			}
		}
		return string(out)
	}
	if base = cut(name, shortBase); base == "" {
		base = "_"
	}
	return base, cut(ext, shortName-shortBase)
}

// shortNames are the short names of a directory.
type shortNames struct {
	used map[shortForm]bool
	next map[string]int // number to try next, by the first characters and extension
}

// take returns a free short name with a numeric tail.
func (s *shortNames) take(name string) (shortForm, error) {
	base, ext := basis(name)
	key := base[:min(len(base), 6)] + "." + ext
	for n := max(1, s.next[key]); n < 1000000; n++ {
		tail := "~" + strconv.Itoa(n)
		out := shortOf(base[:min(len(base), shortBase-len(tail))]+tail, ext)
		if !s.used[out] {
			s.used[out], s.next[key] = true, n+1
			return out, nil
		}
	}
	return shortForm{}, errors.New("no short name is left")
}

// appendLong appends the entries of a long name, the last part first.
func appendLong(out []byte, units []uint16, checksum byte) []byte {
	parts := (len(units) + lnUnits - 1) / lnUnits
	for part := parts; part > 0; part-- {
		var e [entrySize]byte
		e[lnOrder], e[deAttr], e[lnChecksum] = byte(part), attrLongName, checksum
		if part == parts {
			e[lnOrder] |= lnLast
		}
		for i := range lnUnits {
			u := uint16(0xFFFF)
			switch at := (part-1)*lnUnits + i; {
			case at < len(units):
				u = units[at]
			case at == len(units):
				u = 0
			}
			le.PutUint16(e[longUnit(i):], u)
		}
		out = append(out, e[:]...)
	}
	return out
}

// labelBytes returns a label as it is stored. Characters beyond ASCII would be read
// by the code page of whoever reads them.
func labelBytes(label string) (s shortForm, err error) {
	copy(s[:], "           ")
	for i, c := range []byte(label) {
		switch {
		case i == len(s):
			return s, fmt.Errorf("label %q: more than %d characters", label, len(s))
		case c < ' ' || c >= 0x7F || strings.IndexByte(`"*+,./:;<=>?[\]|`, c) >= 0 || i == 0 && c == ' ':
			return s, fmt.Errorf("label %q: has characters that cannot stand in a label of FAT", label)
		}
		s[i] = c
	}
	return s, nil
}
