// Package lists compares what guests' systems show: lists of all paths that
// e2e/guest/list writes, as a boot finds the system and as it leaves it.
package lists
