// Package ondisk has the structures and numbers of SquashFS 4.0 as they are in
// an image, with their encoding and decoding. It judges nothing: what a field
// may say is the reader's to check. Sources of the format: see package squash.
package ondisk
