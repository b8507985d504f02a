// Package sourcecheck compares files with the sums that stand beside them, while
// they are copied.
package sourcecheck
