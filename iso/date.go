package iso

import (
	"time"

	"relive/tree"
)

// quarter is the unit of the offset from GMT in dates (ECMA-119 8.4.26.1).
const quarter = 15 * 60

// shortDate decodes the seven bytes of a directory record's date (ECMA-119
// 9.1.5). A date that is not set, or none of the calendar, is the zero Time.
func shortDate(p []byte) tree.Time {
	return date(1900+int(p[0]), int(p[1]), int(p[2]), int(p[3]), int(p[4]), int(p[5]), 0, int8(p[6]))
}

// longDate decodes the 17 bytes of a volume descriptor's date (ECMA-119
// 8.4.26.1): digits YYYYMMDDHHMMSScc and the offset from GMT.
func longDate(p []byte) tree.Time {
	var f [7]int
	for i, end, at := 0, [7]int{4, 6, 8, 10, 12, 14, 16}, 0; i < len(f); i++ {
		for ; at < end[i]; at++ {
			if p[at] < '0' || p[at] > '9' {
				return tree.Time{}
			}
			f[i] = f[i]*10 + int(p[at]-'0')
		}
	}
	return date(f[0], f[1], f[2], f[3], f[4], f[5], f[6], int8(p[16]))
}

func date(year, month, day, hour, minute, second, hundredths int, offset int8) tree.Time {
	if month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return tree.Time{}
	}
	sec := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC).Unix()
	// Linux takes offsets out of the range for none.
	if offset >= -52 && offset <= 52 {
		sec -= int64(offset) * quarter
	}
	return tree.Time{Sec: sec, Nsec: uint32(hundredths) * 1e7}
}

// volumeUUID is the identity that GRUB and libblkid give to an image: the
// digits of the date of modification or, where that is not set, of creation.
func volumeUUID(modified, created []byte) string {
	for _, p := range [][]byte{modified, created} {
		set := false
		for _, c := range p[:16] {
			if c < '0' || c > '9' {
				set = false
				break
			}
			set = set || c != '0'
		}
		if !set {
			continue
		}
		s := string(p[:4])
		for i := 4; i < 16; i += 2 {
			s += "-" + string(p[i:i+2])
		}
		return s
	}
	return ""
}

// putShortDate encodes a date for a directory record, in GMT; one whose year is
// not from 1900 to 2155 becomes the nearest that can be told.
func putShortDate(p []byte, t tree.Time) {
	u := t.Time()
	switch y := u.Year(); {
	case y < 1900:
		u = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	case y > 1900+255:
		u = time.Date(1900+255, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	p[0], p[1], p[2] = byte(u.Year()-1900), byte(u.Month()), byte(u.Day())
	p[3], p[4], p[5], p[6] = byte(u.Hour()), byte(u.Minute()), byte(u.Second()), 0
}

// zoneOf is the offset from GMT of a date of 17 bytes, in quarters of an hour; 0
// for one out of the range.
func zoneOf(p []byte) int8 {
	if z := int8(p[16]); z >= -52 && z <= 52 {
		return z
	}
	return 0
}

// putLongDate encodes a date of 17 bytes with that offset from GMT in quarters
// of an hour, and hundredths of a second; years from 1 to 9999 can be told.
func putLongDate(p []byte, t tree.Time, zone int8) {
	u := t.Time().Add(time.Duration(zone) * quarter * time.Second)
	switch y := u.Year(); {
	case y < 1:
		u = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	case y > 9999:
		u = time.Date(9999, 12, 31, 23, 59, 59, 990e6, time.UTC)
	}
	copy(p, u.Format("20060102150405"))
	cc := u.Nanosecond() / 1e7
	p[14], p[15], p[16] = '0'+byte(cc/10), '0'+byte(cc%10), byte(zone)
}
