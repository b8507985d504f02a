// Package verify reads a live directory or an image from end to end and tells what
// is damaged.
package verify
