package tree

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape shows raw bytes as printable ASCII: every byte outside 0x21..0x7e,
// and '%', as %XX. It is the form of names in manifests.
func Escape(s string) string {
	clean := true
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == '%' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e || s[i] == '%' {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Quote shows a path of a tree to a person: with a leading slash, and quoted as
// a Go string where it holds anything that would not show as itself, such as
// control characters and those that turn the direction of text.
func Quote(path string) string {
	path = "/" + strings.TrimPrefix(path, "/")
	for _, r := range path {
		if !unicode.IsPrint(r) || r == '"' || r == '\\' || r == utf8.RuneError {
			return fmt.Sprintf("%q", path)
		}
	}
	return path
}
