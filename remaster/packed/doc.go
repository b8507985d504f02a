// Package packed opens the compressed images that a base of a live system can be,
// and tells of them what does not depend on their format: SquashFS and EROFS. Who
// reads a base asks here, and names no format.
package packed
