// Package replace puts new files in the place of those of a live directory, in one
// transaction: the base and what tells of it, further files, and the overlay. What
// was there is kept under other names, and more than was asked for of that is
// never removed.
package replace
