package tree

// Patched is the Data of a file that is another with some ranges changed, such
// as a file system image below a snapshot. A writer that finds the other's
// blocks stored copies those that are unchanged without reading them.
//
// Where ChangedIn says false, both contents have equal bytes, or end: bytes
// beyond the end of the shorter of the two count as changed.
type Patched interface {
	Data
	// Below gives the content without the changes.
	Below() Data
	// ChangedIn tells whether a byte of [off, off+n) may differ from Below's.
	ChangedIn(off, n int64) bool
}
