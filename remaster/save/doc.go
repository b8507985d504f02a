// Package save brings what a system has written to RAM into the overlay, as antiX
// does when it is saved by hand.
package save
