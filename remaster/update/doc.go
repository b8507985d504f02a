// Package update replaces base, kernel and initrd of a live directory with those
// of another one or of an ISO.
package update
