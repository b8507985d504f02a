// Package source opens whatever can be shown as a tree: a live directory or a
// layer of it, an image, a stick.
package source
