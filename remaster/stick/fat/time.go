package fat

import (
	"time"

	"relive/tree"
)

// dosTime decodes date and time of day (FAT: General Overview, "Date and Time
// Formats"; exFAT specification, section 7.4.8). Zero days and months, which
// some writers leave, count as the first, as Linux has it.
func dosTime(date, clock uint16) tree.Time {
	t := time.Date(1980+int(date>>9), time.Month(max(1, date>>5&15)), int(max(1, date&31)),
		int(clock>>11), int(clock>>5&63), int(clock&31)*2, 0, time.UTC)
	return tree.TimeOf(t)
}

// exTime decodes a time stamp of exFAT, with its part in units of ten
// milliseconds and its offset from UTC in quarters of an hour, which counts
// where its highest bit is set.
func exTime(stamp uint32, hundredths, offset uint8) tree.Time {
	t := dosTime(uint16(stamp>>16), uint16(stamp))
	hundredths = min(hundredths, 199)
	t.Sec += int64(hundredths / 100)
	t.Nsec = uint32(hundredths%100) * 1e7
	if offset&0x80 != 0 {
		quarters := int64(int8(offset<<1) >> 1)
		t.Sec -= quarters * 15 * 60
	}
	return t
}

// dosStamp encodes a time: date, time of day in two seconds, and the rest in
// hundredths of a second. What lies before 1980 or after 2107 becomes the first or
// the last that there is.
func dosStamp(t tree.Time) (date, clock uint16, rest uint8) {
	const first, last = 315532800, 4354819199 // 1980-01-01, 2107-12-31 23:59:59
	switch {
	case t.Sec < first:
		t = tree.Time{Sec: first}
	case t.Sec > last:
		t = tree.Time{Sec: last}
	}
	u := t.Time()
	date = uint16(u.Year()-1980)<<9 | uint16(u.Month())<<5 | uint16(u.Day())
	clock = uint16(u.Hour())<<11 | uint16(u.Minute())<<5 | uint16(u.Second()/2)
	return date, clock, uint8(u.Second()%2*100 + u.Nanosecond()/1e7)
}
