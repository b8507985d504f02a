package iso

import (
	"strings"
	"unicode/utf16"
)

// plainName is the name of a record as Linux shows it without Rock Ridge
// (fs/isofs/namei.c): in lower case, without a version of 1 and the dot that
// ends a name without extension; other versions stand behind a dot.
func plainName(id []byte) string {
	var b strings.Builder
	b.Grow(len(id))
	for i, c := range id {
		rest := string(id[i:])
		switch {
		case rest == ".;1" || rest == ";1":
			return b.String()
		case c == ';' || c == '/':
			c = '.'
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// jolietName is a name in big-endian UCS-2 as Linux shows it: without a version
// of 1 and dots at the end.
func jolietName(id []byte) string {
	s := decodeUTF16(id)
	s = strings.TrimSuffix(s, ";1")
	for len(s) >= 2 && s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return s
}

// decodeUTF16 decodes big-endian UTF-16; a surrogate that stands alone becomes
// U+FFFD.
func decodeUTF16(p []byte) string {
	u := make([]uint16, len(p)/2)
	for i := range u {
		u[i] = uint16(p[2*i])<<8 | uint16(p[2*i+1])
	}
	return string(utf16.Decode(u))
}
