// Package nearest finds, of what exists, that which was probably meant by a name
// that does not.
package nearest
