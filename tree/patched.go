package tree

// Patched is the Data of a file that is another with some ranges changed, such
// as a file system image below a snapshot. A writer that finds the other's
// blocks stored copies those that are unchanged without reading them. The sizes
// may differ.
//
// A writer reads changed ranges by whole blocks, of which Below may have stored
// each as one that is decoded as a whole: a ReadAt that reads all of its range
// from Below at once, and then puts the changes over it, has each decoded once.
type Patched interface {
	Data
	// Below returns the content without the changes.
	Below() Data
	// ChangedIn tells whether a byte of [off, off+n) may differ from Below's. It
	// need not know where the shorter of the two ends. Calls may run at the same
	// time.
	ChangedIn(off, n int64) bool
}
