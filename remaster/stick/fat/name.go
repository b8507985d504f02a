package fat

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// cp437 is the upper half of code page 437, in which short names are read unless
// a mount says otherwise.
const cp437 = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»" +
	"░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀" +
	"αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0"

// utf16Name turns UTF-16 into UTF-8. A lone surrogate becomes the three bytes
// that UTF-8's rule makes of its number, so that different names stay different.
func utf16Name(units []uint16) string {
	var b strings.Builder
	for i := 0; i < len(units); i++ {
		u := units[i]
		if !utf16.IsSurrogate(rune(u)) {
			b.WriteRune(rune(u))
			continue
		}
		if i+1 < len(units) {
			if r := utf16.DecodeRune(rune(u), rune(units[i+1])); r != utf8.RuneError {
				b.WriteRune(r)
				i++
				continue
			}
		}
		b.Write([]byte{0xE0 | byte(u>>12), 0x80 | byte(u>>6&0x3F), 0x80 | byte(u&0x3F)})
	}
	return b.String()
}

// dosName turns the bytes of a short name into UTF-8.
func dosName(p []byte, lower bool) string {
	upper := []rune(cp437)
	var b strings.Builder
	for _, c := range p {
		r := rune(c)
		if c >= 0x80 {
			r = upper[c-0x80]
		}
		if lower {
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
