// Package sumlist follows lists of sums on a medium: which files they are of, and
// what becomes of them when files change.
package sumlist
