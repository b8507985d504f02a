package tree

import "time"

// Time is a time stamp as file systems hold it: seconds since 1970-01-01 UTC,
// negative before, and nanoseconds 0 to 999,999,999 that count upward from
// there.
type Time struct {
	Sec  int64
	Nsec uint32
}

// TimeOf converts a time.Time.
func TimeOf(t time.Time) Time {
	return Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// Time converts to a time.Time in UTC.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool {
	return t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec
}

// Whole returns the time as a SquashFS image holds it: whole seconds from 0 to
// 2^32-1, values beyond held to the nearest end.
func (t Time) Whole() Time {
	return Time{Sec: min(max(t.Sec, 0), 1<<32-1)}
}
