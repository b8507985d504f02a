// Package progress tells how far the writer of an image has come.
package progress
