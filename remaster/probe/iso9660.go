package probe

import (
	"strings"
	"unicode"
	"unicode/utf16"
)

// Volume descriptors of ISO 9660 (ECMA-119, section 8), of which only the label
// and the times are of interest here.
const (
	isoFirst  = 32 << 10 // of the first descriptor
	isoSector = 2048
	isoMost   = 16 // descriptors that are looked at, as in libblkid

	isoLabel    = 40
	isoLabelLen = 32
	isoEscapes  = 88
	isoCreated  = 813
	isoModified = 830

	isoSupplementary = 2
	isoEnd           = 255
)

// iso decodes a primary volume descriptor. The UUID is the time of the last
// modification, or of creation where there is none. ISO 9660 has '_' for what it
// cannot write in a label, and the descriptor of Joliet, where there is one, has
// the characters.
func iso(p *prober, b []byte, res *Result) bool {
	res.UUID = isoTime(b[isoModified:])
	if res.UUID == "" {
		res.UUID = isoTime(b[isoCreated:])
	}
	res.Label = text(b[isoLabel:][:isoLabelLen])
	for i := int64(1); i < isoMost; i++ {
		d := p.at(isoFirst+i*isoSector, isoSector)
		if d == nil || string(d[1:6]) != "CD001" || d[0] == isoEnd {
			break
		}
		if e := string(d[isoEscapes:][:3]); d[0] == isoSupplementary && (e == "%/@" || e == "%/C" || e == "%/E") {
			res.Label = jolietLabel(res.Label, d[isoLabel:][:isoLabelLen])
			break
		}
	}
	return p.err == nil
}

// isoTime returns the digits of a time as blkid writes them, or "" for none.
func isoTime(b []byte) string {
	d := string(b[:16])
	if strings.Trim(d, "0") == "" || strings.Trim(d, "0123456789") != "" {
		return ""
	}
	return strings.Join([]string{d[:4], d[4:6], d[6:8], d[8:10], d[10:12], d[12:14], d[14:16]}, "-")
}

// jolietLabel reconstructs a label as libblkid does: the plain one has 32
// characters of ASCII, many writers make them upper case, and '_' stands for what
// it cannot write; that of Joliet has all characters, but only sixteen. Where
// Joliet's is not the beginning of the plain one, it stands alone.
func jolietLabel(plain string, joliet []byte) string {
	var units []uint16
	for i := 0; i+1 < len(joliet); i += 2 {
		units = append(units, uint16(joliet[i])<<8|uint16(joliet[i+1]))
	}
	alone := strings.TrimRight(string(utf16.Decode(units)), " \x00")
	padded := plain + strings.Repeat(" ", max(0, isoLabelLen-len(plain)))
	var out []uint16
	at := 0
	for i := 0; i < len(units) && at < len(padded); i, at = i+1, at+1 {
		if utf16.IsSurrogate(rune(units[i])) && i+1 < len(units) {
			out = append(out, units[i])
			i++
		}
		c, u := uint16(padded[at]), units[i]
		switch {
		case c == '_':
			c = u
		case u == '_':
		case u < 0x80 && unicode.ToUpper(rune(c)) == unicode.ToUpper(rune(u)):
			if c >= 'A' && c <= 'Z' {
				c = u
			}
		default:
			return alone
		}
		out = append(out, c)
	}
	return strings.TrimRight(string(utf16.Decode(out))+padded[at:], " \x00")
}
