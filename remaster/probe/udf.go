package probe

import (
	"encoding/hex"
	"strings"
	"unicode/utf16"
)

// Descriptors of UDF (ECMA-167, part 3) that hold the volume's names, by the
// tag at their beginning.
const (
	udfPrimary    = 1
	udfAnchor     = 2
	udfLogical    = 6
	udfTerminator = 8

	// udfMost bounds the descriptors that are looked at.
	udfMost = 64
)

// udf knows one by the recognition sequence that begins with BEA01, and reads
// label and UUID from where the anchor in sector 256 leads to, for the sizes of
// sectors that there are.
func udf(p *prober, _ []byte, res *Result) bool {
	known := false
	for i := int64(1); i < isoMost && !known; i++ {
		id := string(p.at(isoFirst+i*isoSector+1, 5))
		known = id == "NSR02" || id == "NSR03"
	}
	if !known {
		return false
	}
	for _, sector := range []int64{512, 1024, 2048, 4096} {
		anchor := p.at(256*sector, 512)
		if anchor == nil || le.Uint16(anchor) != udfAnchor || le.Uint32(anchor[12:]) != 256 {
			continue
		}
		length, start := int64(le.Uint32(anchor[16:])), int64(le.Uint32(anchor[20:]))
		for i := int64(0); i < min(length/sector, udfMost); i++ {
			d := p.at((start+i)*sector, 512)
			if d == nil || le.Uint32(d[12:]) != uint32(start+i) {
				break
			}
			switch le.Uint16(d) {
			case udfPrimary:
				res.UUID = udfUUID(udfString(d[72:200]))
			case udfLogical:
				res.Label = strings.TrimRight(udfString(d[84:212]), " ")
			case udfTerminator:
				return p.err == nil
			}
		}
		break
	}
	return p.err == nil
}

// udfString decodes a string of OSTA's compressed Unicode: the width of a
// character, the characters, and in the last byte how many bytes of all that count.
func udfString(b []byte) string {
	n := min(int(b[len(b)-1]), len(b)-1)
	if n < 1 {
		return ""
	}
	var units []uint16
	switch b[0] {
	case 8:
		for _, c := range b[1:n] {
			units = append(units, uint16(c))
		}
	case 16:
		for i := 1; i+1 < n; i += 2 {
			units = append(units, be.Uint16(b[i:]))
		}
	}
	s, _, _ := strings.Cut(string(utf16.Decode(units)), "\x00")
	return s
}

// udfUUID makes 16 hexadecimal digits of the identifier of the volume set as
// libblkid does: the standards want its first 8 characters, or 16, to be such.
func udfUUID(set string) string {
	if len(set) < 8 {
		return ""
	}
	b := []byte(set[:min(len(set), 16)])
	digits := 0
	for digits < len(b) && strings.IndexByte("0123456789abcdefABCDEF", b[digits]) >= 0 {
		digits++
	}
	b = append(b, make([]byte, 16-len(b))...)
	switch {
	case digits < 8:
		return hex.EncodeToString(b[:8])
	case digits < 16:
		return strings.ToLower(string(b[:8])) + hex.EncodeToString(b[8:12])
	}
	return strings.ToLower(string(b))
}
